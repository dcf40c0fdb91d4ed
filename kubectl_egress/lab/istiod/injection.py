"""The sidecar injector: which pods get a sidecar, and what that adds to them.

Source: istio/istio `pkg/kube/inject/inject.go`, the webhook's selectors and the injection template of 1.31.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from kubectl_egress.lab.families import VARIABLE, dual_stack
from kubectl_egress.lab.istiod.bootstrap import HEALTH_PORT, METRICS_PORT
from kubectl_egress.lab.istiod.workload import PROXY_CONTAINER, canonical_name, canonical_revision, workload_of
from kubectl_egress.lab.parts import Body, LabRefusal

INIT_CONTAINER = "istio-init"
IMAGE = "docker.io/istio/proxyv2:1.31-lab-like"
STATUS_ANNOTATION = "sidecar.istio.io/status"
NATIVE_ANNOTATION = "sidecar.istio.io/nativeSidecar"
INJECT = "sidecar.istio.io/inject"

_PROXY_UID = 1337
_IGNORED = frozenset({"kube-system", "kube-public", "kube-node-lease", "local-path-storage"})
_PREFIX = "traffic.sidecar.istio.io/"

# Annotations that change the sidecar in ways that the lab does not follow.
_NOT_MODELLED = (
    "inject.istio.io/templates",
    "proxy.istio.io/config",
    "sidecar.istio.io/bootstrapOverride",
    "sidecar.istio.io/extraStatTags",
    "sidecar.istio.io/statsInclusionPrefixes",
    "sidecar.istio.io/statsInclusionRegexps",
    "sidecar.istio.io/statsInclusionSuffixes",
    "sidecar.istio.io/userVolume",
)


def injected(pod: Body, namespace: Body) -> Body:
    """The pod with its sidecar, or the same pod if it gets none or has one.

    Raises LabRefusal where the pod's annotations ask for what is not modelled.
    """
    if not _asked(pod, namespace) or _has_proxy(pod):
        return pod
    _refuse_unmodelled(pod)
    fresh: dict[str, Any] = copy.deepcopy(dict(pod))
    metadata, spec = fresh["metadata"], fresh["spec"]
    metadata.setdefault("namespace", namespace["metadata"]["name"])
    native = (metadata.get("annotations") or {}).get(NATIVE_ANNOTATION) == "true"
    _label(metadata, workload_of(fresh).name)
    _annotate(metadata, native=native, first=spec["containers"][0]["name"])
    proxy = _proxy(fresh, native=native)
    init = [_init(metadata["annotations"])]
    if native:
        spec["initContainers"] = [*init, proxy, *(spec.get("initContainers") or ())]
    else:
        # istio-init comes last, so that what initialises the application still has the network without a proxy.
        spec["initContainers"] = [*(spec.get("initContainers") or ()), *init]
        spec["containers"] = [*spec["containers"], proxy]
    return fresh


def _asked(pod: Body, namespace: Body) -> bool:
    """The webhook's selectors first (labels of namespace and pod), then the injector's own look at the pod."""
    metadata = pod["metadata"]
    pod_labels: Mapping[str, str] = metadata.get("labels") or {}
    labels: Mapping[str, str] = namespace["metadata"].get("labels") or {}
    if (pod["spec"] or {}).get("hostNetwork") or namespace["metadata"]["name"] in _IGNORED:
        return False
    word = pod_labels.get(INJECT, "")
    by_namespace = labels.get("istio-injection", "")
    called = by_namespace == "enabled" or (not by_namespace and labels.get("istio.io/rev") == "default")
    if not by_namespace and "istio.io/rev" not in labels:
        called = word == "true" or pod_labels.get("istio.io/rev") == "default"
    wanted = word if INJECT in pod_labels else (metadata.get("annotations") or {}).get(INJECT, "")
    return called and wanted != "false"


def _has_proxy(pod: Body) -> bool:
    spec = pod["spec"]
    containers = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
    return any(container.get("name") == PROXY_CONTAINER for container in containers)


def _refuse_unmodelled(pod: Body) -> None:
    annotations = pod["metadata"].get("annotations") or {}
    for name in _NOT_MODELLED:
        if annotations.get(name):
            raise LabRefusal(f"the lab's sidecar injector does not model the annotation {name}")
    if annotations.get("sidecar.istio.io/interceptionMode", "REDIRECT") != "REDIRECT":
        raise LabRefusal("the lab's sidecar injector does not model an interceptionMode other than REDIRECT")


def _label(metadata: dict[str, Any], workload: str) -> None:
    labels = metadata["labels"] = dict(metadata.get("labels") or {})
    labels.setdefault("security.istio.io/tlsMode", "istio")
    labels["service.istio.io/canonical-name"] = canonical_name(labels, workload)
    labels["service.istio.io/canonical-revision"] = canonical_revision(labels)


def _annotate(metadata: dict[str, Any], *, native: bool, first: str) -> None:
    annotations = metadata["annotations"] = dict(metadata.get("annotations") or {})
    status = {
        "initContainers": [INIT_CONTAINER, *([PROXY_CONTAINER] if native else [])],
        "containers": [] if native else [PROXY_CONTAINER],
        "volumes": [],
        "imagePullSecrets": None,
        "revision": "default",
    }
    annotations[STATUS_ANNOTATION] = json.dumps(status, separators=(",", ":"))
    annotations["istio.io/rev"] = "default"
    annotations.setdefault("kubectl.kubernetes.io/default-container", first)
    annotations.setdefault("kubectl.kubernetes.io/default-logs-container", first)
    annotations.setdefault("prometheus.io/path", "/stats/prometheus")
    annotations.setdefault("prometheus.io/port", "15020")
    annotations.setdefault("prometheus.io/scrape", "true")


def _init(annotations: Mapping[str, str]) -> dict[str, Any]:
    """The arguments are how Istio says what is redirected: istio-iptables takes them."""
    arguments = {
        "-p": "15001",
        "-z": "15006",
        "-u": str(_PROXY_UID),
        "-m": "REDIRECT",
        "-i": annotations.get(_PREFIX + "includeOutboundIPRanges", "*"),
        "-x": annotations.get(_PREFIX + "excludeOutboundIPRanges", ""),
        "-b": annotations.get(_PREFIX + "includeInboundPorts", "*"),
        "-d": annotations.get(_PREFIX + "excludeInboundPorts", f"{METRICS_PORT},{HEALTH_PORT},15020"),
        "-q": annotations.get(_PREFIX + "includeOutboundPorts", ""),
        "-o": annotations.get(_PREFIX + "excludeOutboundPorts", ""),
    }
    return {
        "name": INIT_CONTAINER,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": ["istio-iptables", *(word for pair in arguments.items() for word in pair)],
        "securityContext": {"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False, "privileged": False},
        "resources": {},
    }


def _proxy(pod: Body, *, native: bool) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/healthz/ready", "port": HEALTH_PORT}}
    found: dict[str, Any] = {
        "name": PROXY_CONTAINER,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": ["proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc.cluster.local"],
        "env": _environment(pod),
        "ports": [{"name": "http-envoy-prom", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        "readinessProbe": probe | {"periodSeconds": 15, "failureThreshold": 4, "timeoutSeconds": 3},
        "securityContext": {"runAsUser": _PROXY_UID, "runAsGroup": _PROXY_UID, "runAsNonRoot": True},
        "resources": {},
    }
    if native:
        found["restartPolicy"] = "Always"
        found["startupProbe"] = probe | {"periodSeconds": 1, "failureThreshold": 600, "timeoutSeconds": 3}
    return found


def _environment(pod: Body) -> list[dict[str, Any]]:
    workload = workload_of(pod)
    namespace = pod["metadata"]["namespace"]
    owner = f"kubernetes://apis/{workload.api_version}/namespaces/{namespace}/{workload.kind.lower()}s/{workload.name}"
    fields = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "INSTANCE_IP": "status.podIP",
        "SERVICE_ACCOUNT": "spec.serviceAccountName",
        "HOST_IP": "status.hostIP",
    }
    values = {
        "PILOT_CERT_PROVIDER": "istiod",
        "CA_ADDR": "istiod.istio-system.svc:15012",
        "PROXY_CONFIG": "{}",
        "ISTIO_META_CLUSTER_ID": "Kubernetes",
        "ISTIO_META_INTERCEPTION_MODE": "REDIRECT",
        "ISTIO_META_WORKLOAD_NAME": workload.name,
        "ISTIO_META_OWNER": owner,
        "ISTIO_META_MESH_ID": "cluster.local",
        "TRUST_DOMAIN": "cluster.local",
        **({VARIABLE: "true"} if dual_stack(pod) else {}),
    }
    return [
        *(
            {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
            for name, path in fields.items()
        ),
        *({"name": name, "value": value} for name, value in values.items()),
    ]
