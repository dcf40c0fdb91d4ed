"""Which objects the server refuses, and in which words (k8s.io/kubernetes pkg/apis/*/validation, as far as the lab goes)."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from zoneinfo import available_timezones

from kubectl_egress.lab.api.keys import SUBDOMAIN, SUBDOMAIN_MESSAGE, keyed
from kubectl_egress.lab.api.policy_checks import network_policy
from kubectl_egress.lab.api.resources import Resource
from kubectl_egress.lab.api.schedule import schedule
from kubectl_egress.lab.api.selectors import selector_test
from kubectl_egress.lab.api.status import Cause, invalid_value

Body = Mapping[str, Any]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_LARGEST_CONFIG = 1024 * 1024
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")

_LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


def _required(field: str, why: str = "") -> Cause:
    return Cause(field, "FieldValueRequired", f"Required value: {why}" if why else "Required value")


def forbidden_value(field: str, why: str) -> Cause:
    """A field that may not be there, or not be changed."""
    return Cause(field, "FieldValueForbidden", f"Forbidden: {why}")


def _duplicate(field: str, value: Any) -> Cause:
    return Cause(field, "FieldValueDuplicate", f"Duplicate value: {json.dumps(value)}")


def pod_specs(body: Body) -> Iterator[tuple[str, Any]]:
    """Each pod spec in an object, with its path."""
    spec = body.get("spec") or {}
    if body.get("kind") == "Pod":
        yield "spec", spec
    elif body.get("kind") == "CronJob":
        template = ((spec.get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
        yield "spec.jobTemplate.spec.template.spec", template.get("spec") or {}
    elif body.get("kind") in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"):
        yield "spec.template.spec", (spec.get("template") or {}).get("spec") or {}


def pod_templates(body: Body) -> Iterator[tuple[str, Body]]:
    """Each pod template in an object, with its path."""
    steps = _TEMPLATE_OF.get(str(body.get("kind")))
    found: Any = body
    for step in steps or ():
        found = (found or {}).get(step)
    if steps and isinstance(found, Mapping):
        yield ".".join(steps), found


def containers(spec: Body, path: str) -> Iterator[tuple[str, Any]]:
    """Each container of a pod spec, with its path."""
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field) or []):
            yield f"{path}.{field}[{index}]", container


# ---- on create and update -------------------------------------------------------------------------------------------


def problems(body: Body, resource: Resource) -> list[Cause]:
    """Everything that is wrong with an object that has its defaults."""
    causes = list(_name(body, resource))
    causes += keyed(body["metadata"], "metadata")
    for path, template in pod_templates(body):
        # The real server leaves `metadata` out of the path, too.
        causes += keyed(template.get("metadata") or {}, path)
    for path, spec in pod_specs(body):
        causes += _pod_spec(spec, path)
    if check := _BY_KIND.get(resource.kind):
        causes += check(body)
    return causes


def _name(body: Body, resource: Resource) -> Iterator[Cause]:
    name = body["metadata"].get("name", "")
    if not name:
        yield _required("metadata.name", "name or generateName is required")
        return
    label = resource.kind in ("Namespace", "Service")
    pattern, message, longest = (_LABEL, _LABEL_MESSAGE, 63) if label else (SUBDOMAIN, SUBDOMAIN_MESSAGE, 253)
    if resource.kind == "CronJob":
        longest = 52  # room for the time that its Jobs carry
    if not pattern.fullmatch(name):
        yield invalid_value("metadata.name", name, message)
    if len(name) > longest:
        yield invalid_value("metadata.name", name, f"must be no more than {longest} characters")


def _pod_spec(spec: Body, path: str) -> Iterator[Cause]:
    if not spec.get("containers"):
        yield _required(f"{path}.containers")
    seen: set[str] = set()
    volumes = {volume.get("name") for volume in spec.get("volumes") or []}
    for where, container in containers(spec, path):
        name = container.get("name", "")
        if not name:
            yield _required(f"{where}.name")
        elif not _LABEL.fullmatch(name) or len(name) > 63:
            yield invalid_value(f"{where}.name", name, _LABEL_MESSAGE)
        elif name in seen:
            yield _duplicate(f"{where}.name", name)
        seen.add(name)
        yield from _container(container, where, volumes)
    for index, alias in enumerate(spec.get("hostAliases") or []):
        yield from _host_alias(alias, f"{path}.hostAliases[{index}]")


def _container(container: Body, where: str, volumes: set[Any]) -> Iterator[Cause]:
    if not container.get("image"):
        yield _required(f"{where}.image")
    for index, entry in enumerate(container.get("env") or []):
        field = f"{where}.env[{index}]"
        if not entry.get("name"):
            yield _required(f"{field}.name")
        elif not _ENV_NAME.fullmatch(entry["name"]):
            yield invalid_value(
                f"{field}.name",
                entry["name"],
                "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.'",
            )
        if entry.get("value") and entry.get("valueFrom"):
            yield invalid_value(f"{field}.valueFrom", "", "may not be specified when `value` is not empty")
    for index, mount in enumerate(container.get("volumeMounts") or []):
        field = f"{where}.volumeMounts[{index}]"
        if mount.get("name") not in volumes:
            yield Cause(f"{field}.name", "FieldValueNotFound", f"Not found: {json.dumps(mount.get('name'))}")
        if not mount.get("mountPath"):
            yield _required(f"{field}.mountPath")


def _host_alias(alias: Body, field: str) -> Iterator[Cause]:
    try:
        ipaddress.ip_address(alias.get("ip", ""))
    except ValueError:
        yield invalid_value(
            f"{field}.ip", alias.get("ip", ""), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        )
    for index, name in enumerate(alias.get("hostnames") or []):
        if not SUBDOMAIN.fullmatch(name):
            yield invalid_value(f"{field}.hostnames[{index}]", name, SUBDOMAIN_MESSAGE)


def _selected_template(body: Body) -> Iterator[Cause]:
    spec = body["spec"]
    selector = spec.get("selector")
    if not selector:
        yield _required("spec.selector")
        selector = {}
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid_value("spec.selector", selector, "empty selector is invalid for deployment")
    elif not selector_test(selector)(labels):
        yield invalid_value("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    policy = spec["template"]["spec"].get("restartPolicy")
    if policy != "Always":
        field = "spec.template.spec.restartPolicy"
        yield Cause(
            field, "FieldValueNotSupported", f'Unsupported value: {json.dumps(policy)}: supported values: "Always"'
        )
    if isinstance(spec.get("replicas"), int) and spec["replicas"] < 0:
        yield invalid_value("spec.replicas", spec["replicas"], "must be greater than or equal to 0")


def _deployment(body: Body) -> Iterator[Cause]:
    yield from _selected_template(body)
    rolling = body["spec"]["strategy"].get("rollingUpdate") or {}
    for field, value in rolling.items():
        good = value >= 0 if isinstance(value, int) else bool(re.fullmatch(r"[0-9]+%", str(value)))
        if not good:
            yield invalid_value(
                f"spec.strategy.rollingUpdate.{field}", value, "must be a whole number or a percentage (e.g. '5%')"
            )
    if rolling and all(str(rolling.get(field, 0)) in ("0", "0%") for field in ("maxSurge", "maxUnavailable")):
        field = "spec.strategy.rollingUpdate.maxUnavailable"
        yield invalid_value(field, rolling.get("maxUnavailable"), "may not be 0 when `maxSurge` is 0")
    if body["spec"]["strategy"]["type"] not in ("RollingUpdate", "Recreate"):
        yield invalid_value("spec.strategy.type", body["spec"]["strategy"]["type"], "must be RollingUpdate or Recreate")


def _stateful_set(body: Body) -> Iterator[Cause]:
    yield from _selected_template(body)
    if body["spec"].get("volumeClaimTemplates"):
        yield forbidden_value("spec.volumeClaimTemplates", "the lab has no persistent volumes")


def _daemon_set(body: Body) -> Iterator[Cause]:
    yield from _selected_template(body)
    if (body["spec"]["updateStrategy"].get("rollingUpdate") or {}).get("maxSurge"):
        yield forbidden_value(
            "spec.updateStrategy.rollingUpdate.maxSurge", "the lab replaces a daemon's pod without surge"
        )


def _job(body: Body) -> Iterator[Cause]:
    yield from _job_spec(body["spec"], "spec")


def _job_spec(spec: Body, path: str) -> Iterator[Cause]:
    policy = spec["template"]["spec"].get("restartPolicy")
    if policy not in ("OnFailure", "Never"):
        field = f"{path}.template.spec.restartPolicy"
        message = f'Unsupported value: {json.dumps(policy)}: supported values: "OnFailure", "Never"'
        yield Cause(field, "FieldValueNotSupported" if policy else "FieldValueRequired", message)
    if spec.get("completionMode") == "Indexed":
        yield forbidden_value(f"{path}.completionMode", "the lab does not do Indexed Jobs")


def _cron_job(body: Body) -> Iterator[Cause]:
    spec = body["spec"]
    if not spec.get("schedule"):
        yield _required("spec.schedule")
    else:
        try:
            schedule(spec["schedule"])
        except ValueError as error:
            yield invalid_value("spec.schedule", spec["schedule"], str(error))
    if spec.get("timeZone") and spec["timeZone"] not in available_timezones():
        yield invalid_value("spec.timeZone", spec["timeZone"], "unknown time zone")
    yield from _job_spec(spec["jobTemplate"]["spec"], "spec.jobTemplate.spec")


def _config_map(body: Body) -> Iterator[Cause]:
    # What it holds, in bytes; of binary data, as of a Secret's, before its encoding.
    encoded = {**(body.get("binaryData") or {}), **((body.get("data") or {}) if body["kind"] == "Secret" else {})}
    plain = {} if body["kind"] == "Secret" else body.get("data") or {}
    size = sum(len(value) * 3 // 4 for value in encoded.values()) + sum(len(value.encode()) for value in plain.values())
    if size > _LARGEST_CONFIG:
        # Of a ConfigMap the real server names no field.
        field = "data" if body["kind"] == "Secret" else "[]"
        yield Cause(field, "FieldValueTooLong", f"Too long: may not be more than {_LARGEST_CONFIG} bytes")
    for field in ("data", "binaryData"):
        for key in body.get(field) or {}:
            if not _CONFIG_KEY.fullmatch(key):
                yield invalid_value(
                    f"{field}[{key}]",
                    key,
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
                    "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                )


def _service(body: Body) -> Iterator[Cause]:
    spec = body["spec"]
    if not spec.get("ports") and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        yield _required("spec.ports")


_BY_KIND: dict[str, Callable[[Body], Iterator[Cause]]] = {
    "Deployment": _deployment,
    "ReplicaSet": _selected_template,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Job": _job,
    "CronJob": _cron_job,
    "ConfigMap": _config_map,
    "Secret": _config_map,
    "Service": _service,
    "NetworkPolicy": network_policy,
}

_TEMPLATE_OF: dict[str, tuple[str, ...]] = {
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


def missing(body: Body) -> list[Cause]:
    """The required objects without which not even defaults can be given."""
    if body["kind"] == "Pod":
        return [] if isinstance(body.get("spec"), dict) else [_required("spec.containers")]
    if not (steps := _TEMPLATE_OF.get(body["kind"])):
        return []
    found: Any = body
    for step in (*steps, "spec"):
        found = found.get(step) if isinstance(found, Mapping) else None
    return [] if isinstance(found, Mapping) else [_required(".".join((*steps, "spec", "containers")))]
