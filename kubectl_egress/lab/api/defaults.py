"""What the real server fills in (k8s.io/kubernetes pkg/apis/*/v1/defaults.go), and the parts of admission that do the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from kubectl_egress.lab.api.quality import quality

Body = Mapping[str, Any]
Object = dict[str, Any]

NODE_NAME = "lab"
"""The only node."""

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def with_defaults(body: Body) -> Object:
    """A copy with the defaults of its kind."""
    filled: Object = copy.deepcopy(dict(body))
    if default := _DEFAULTS.get(filled["kind"]):
        default(filled)
    return filled


def _fill(target: Object, values: Body) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = copy.deepcopy(value)


def _container(container: Object) -> None:
    image = str(container.get("image", ""))
    latest = "@" not in image and (image.endswith(":latest") or ":" not in image.rpartition("/")[2])
    policy = "Always" if latest else "IfNotPresent"
    _fill(
        container,
        {
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": policy,
        },
    )
    for port in container.get("ports") or []:
        _fill(port, {"protocol": "TCP"})
    for entry in container.get("env") or []:
        if reference := (entry.get("valueFrom") or {}).get("fieldRef"):
            _fill(reference, {"apiVersion": "v1"})
    for name in _PROBES:
        if probe := container.get(name):
            _fill(probe, _PROBE)
            if get := probe.get("httpGet"):
                _fill(get, {"path": "/", "scheme": "HTTP"})


def _volume(volume: Object) -> None:
    if not any(key != "name" for key in volume):
        volume["emptyDir"] = {}
    for source in ("configMap", "secret", "downwardAPI", "projected"):
        if isinstance(volume.get(source), dict):
            _fill(volume[source], {"defaultMode": 420})


def _pod_spec(spec: Object) -> None:
    _fill(
        spec,
        {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "securityContext": {},
            "schedulerName": "default-scheduler",
        },
    )
    if "serviceAccountName" in spec:
        _fill(spec, {"serviceAccount": spec["serviceAccountName"]})
    for container in _all_containers(spec):
        _container(container)
    for volume in spec.get("volumes") or []:
        _volume(volume)


def _pod(body: Object) -> None:
    spec = body["spec"]
    _fill(spec, {"serviceAccountName": "default"})
    _pod_spec(spec)
    for container in _all_containers(spec):
        if limits := container["resources"].get("limits"):
            # Of what is limited, as much is requested.
            container["resources"]["requests"] = {**limits, **(container["resources"].get("requests") or {})}
    _fill(
        spec,
        {
            "enableServiceLinks": True,
            "preemptionPolicy": "PreemptLowerPriority",
            "priority": 0,
            # the scheduler's work: there is one node.
            "nodeName": NODE_NAME,
        },
    )
    body["status"] = {"phase": "Pending", "qosClass": quality(_all_containers(spec))}


def _all_containers(spec: Body) -> list[Object]:
    return [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]


def _template(spec: Object) -> None:
    template = spec["template"]
    metadata = template.setdefault("metadata", {})
    metadata.setdefault("creationTimestamp", None)
    _pod_spec(template["spec"])


def _deployment(body: Object) -> None:
    spec = body["spec"]
    _template(spec)
    rolling = {"type": "RollingUpdate"}
    _fill(spec, {"replicas": 1, "strategy": rolling, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    _fill(spec["strategy"], rolling)
    if spec["strategy"]["type"] == "RollingUpdate":
        _fill(spec["strategy"], {"rollingUpdate": {}})
        _fill(spec["strategy"]["rollingUpdate"], {"maxSurge": "25%", "maxUnavailable": "25%"})


def _replica_set(body: Object) -> None:
    _template(body["spec"])
    _fill(body["spec"], {"replicas": 1})


def _stateful_set(body: Object) -> None:
    spec = body["spec"]
    _template(spec)
    values = {"replicas": 1, "podManagementPolicy": "OrderedReady", "revisionHistoryLimit": 10, "serviceName": ""}
    _fill(spec, {**values, "updateStrategy": {"type": "RollingUpdate"}})
    _fill(spec["updateStrategy"], {"type": "RollingUpdate"})
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _fill(spec["updateStrategy"], {"rollingUpdate": {}})
        _fill(spec["updateStrategy"]["rollingUpdate"], {"partition": 0})
    _fill(spec, {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"}})


def _daemon_set(body: Object) -> None:
    spec = body["spec"]
    _template(spec)
    _fill(spec, {"updateStrategy": {"type": "RollingUpdate"}, "revisionHistoryLimit": 10})
    _fill(spec["updateStrategy"], {"type": "RollingUpdate"})
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _fill(spec["updateStrategy"], {"rollingUpdate": {}})
        _fill(spec["updateStrategy"]["rollingUpdate"], {"maxSurge": 0, "maxUnavailable": 1})


def _job_spec(spec: Object) -> None:
    _template(spec)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    values = {"parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False}
    _fill(spec, {**values, "podReplacementPolicy": "TerminatingOrFailed", "manualSelector": False})


def _job(body: Object) -> None:
    _job_spec(body["spec"])


def _cron_job(body: Object) -> None:
    spec = body["spec"]
    _fill(
        spec,
        {"concurrencyPolicy": "Allow", "suspend": False, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1},
    )
    spec["jobTemplate"].setdefault("metadata", {}).setdefault("creationTimestamp", None)
    _template(spec["jobTemplate"]["spec"])


def _service(body: Object) -> None:
    spec = body.setdefault("spec", {})
    _fill(spec, {"type": "ClusterIP", "sessionAffinity": "None"})
    if spec["type"] != "ExternalName":
        _fill(spec, {"internalTrafficPolicy": "Cluster"})
    for port in spec.get("ports") or []:
        _fill(port, {"protocol": "TCP", "targetPort": port.get("port")})
    body.setdefault("status", {"loadBalancer": {}})


def _secret(body: Object) -> None:
    _fill(body, {"type": "Opaque"})


def _network_policy(body: Object) -> None:
    spec = body.setdefault("spec", {})
    _fill(spec, {"policyTypes": ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]})
    for rule in [*(spec.get("egress") or []), *(spec.get("ingress") or [])]:
        for port in rule.get("ports") or []:
            _fill(port, {"protocol": "TCP"})


def _namespace(body: Object) -> None:
    name = body["metadata"]["name"]
    body["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name
    body["spec"] = {"finalizers": ["kubernetes"]}
    body["status"] = {"phase": "Active"}


_DEFAULTS: dict[str, Callable[[Object], None]] = {
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Job": _job,
    "CronJob": _cron_job,
    "Service": _service,
    "Secret": _secret,
    "Namespace": _namespace,
    "NetworkPolicy": _network_policy,
}
