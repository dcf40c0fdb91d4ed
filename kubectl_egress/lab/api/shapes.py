"""What the real server cannot decode: a field of another type than Go's, told in its decoder's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubectl_egress.lab.api.resources import MESH_KINDS, Resource
from kubectl_egress.lab.api.status import StatusError, bad_request

_OBJECT_LISTS = frozenset(
    [
        "containers",
        "initContainers",
        "env",
        "envFrom",
        "volumes",
        "volumeMounts",
        "hostAliases",
        "ports",
        "matchExpressions",
        "items",
        "imagePullSecrets",
        "tolerations",
        "ownerReferences",
    ]
)
_STRING_LISTS = frozenset(["command", "args", "hostnames", "values", "finalizers"])
_STRING_MAPS = frozenset(["labels", "annotations", "matchLabels", "nodeSelector"])
_OBJECTS = frozenset(
    [
        "metadata",
        "spec",
        "template",
        "jobTemplate",
        "strategy",
        "updateStrategy",
        "rollingUpdate",
        "securityContext",
        "resources",
        "valueFrom",
        "configMapKeyRef",
        "secretKeyRef",
        "fieldRef",
        "configMapRef",
        "secretRef",
        "emptyDir",
        "configMap",
        "secret",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
    ]
)
_INTEGERS = frozenset(
    [
        "replicas",
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
        "partition",
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
        "terminationGracePeriodSeconds",
        "containerPort",
    ]
)
_BOOLEANS = frozenset(["paused", "suspend", "immutable", "hostNetwork"])
_STRINGS = frozenset(
    ["name", "generateName", "namespace", "image", "value", "restartPolicy", "ip", "mountPath", "schedule", "timeZone"]
)
_DATA = frozenset(["data", "stringData", "binaryData"])


def check_shape(body: Mapping[str, Any], resource: Resource) -> None:
    """Raise StatusError (400) for a body with a field of a type that it cannot have; null fits everywhere.

    Only the fields that the lab or the tool reads are looked at; the shape of mesh objects is the embedded istiod's matter.
    """
    for field in ("metadata", "spec"):
        if not isinstance(body.get(field, {}), dict):
            raise _undecodable(resource, body[field], field, "object")
    _check(body["metadata"], "metadata", resource)
    if resource.kind in ("ConfigMap", "Secret"):
        for field in sorted(_DATA & body.keys()):
            _strings(body[field], field, resource)
    if resource.kind not in MESH_KINDS:
        _check(body.get("spec"), "spec", resource)


def _check(value: Any, path: str, resource: Resource) -> None:
    if isinstance(value, list):
        for item in value:
            _check(item, path, resource)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if inner is not None:
                _field(name, inner, f"{path}.{name}", resource)


def _field(name: str, value: Any, path: str, resource: Resource) -> None:
    kind = type(value)
    if (name == "selector" and resource.kind == "Service") or name in _STRING_MAPS:
        _strings(value, path, resource)
    elif name in _STRING_LISTS:
        _all(value, str, path, resource)
    elif name in _OBJECT_LISTS:
        _all(value, dict, path, resource)
        _check(value, path, resource)
    elif name in _OBJECTS or name == "selector":
        _expect(kind is dict, value, path, "object", resource)
        _check(value, path, resource)
    elif name in _INTEGERS:
        _expect(kind is int, value, path, "int32", resource)
    elif name in _BOOLEANS:
        _expect(kind is bool, value, path, "bool", resource)
    elif name in _STRINGS:
        _expect(kind is str, value, path, "string", resource)
    else:
        _check(value, path, resource)


def _all(values: Any, wanted: type, path: str, resource: Resource) -> None:
    _expect(isinstance(values, list), values, path, "array", resource)
    for value in values:
        _expect(isinstance(value, wanted), value, path, "string" if wanted is str else "object", resource)


def _strings(values: Any, path: str, resource: Resource) -> None:
    if values is None:
        return
    _expect(isinstance(values, dict), values, path, "map[string]string", resource)
    for value in values.values():
        _expect(isinstance(value, str), value, path, "string", resource)


def _expect(fits: bool, value: Any, path: str, wanted: str, resource: Resource) -> None:
    if not fits:
        raise _undecodable(resource, value, path, wanted)


def _undecodable(resource: Resource, value: Any, path: str, wanted: str) -> StatusError:
    found = {bool: "bool", int: "number", float: "number", list: "array", dict: "object", str: "string"}
    return bad_request(
        f'{resource.kind} in version "{resource.versions[0]}" cannot be handled as a {resource.kind}: '
        f"json: cannot unmarshal {found.get(type(value), 'null')} into Go struct field {path} of type {wanted}"
    )
