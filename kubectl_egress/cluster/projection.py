"""Which fields of what is listed are kept: those that something reads, so that a large cluster fits into little memory."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from kubectl_egress.model import DNS_AUTO_ALLOCATE, DNS_CAPTURE, DUAL_STACK, Body
from kubectl_egress.scan import source_references

# A field, and the fields below it that are kept; None keeps the whole value. Lists: of each of their entries.
Fields = Mapping[str, "Fields | None"]

_OWNER: Fields = {"apiVersion": None, "kind": None, "name": None, "controller": None}
_CONTAINER: Fields = {"name": None, "restartPolicy": None, "env": {"name": None, "value": None}}
_PROXY_SETTINGS = (DNS_CAPTURE, DNS_AUTO_ALLOCATE, *DUAL_STACK)
_STATUSES: Fields = {"name": None, "state": None, "ready": None}

# Everything that is read of a pod. tests/test_projection.py runs all checks on pods that refuse to give anything else.
POD: Fields = {
    "apiVersion": None,
    "kind": None,
    "metadata": {
        "name": None,
        "namespace": None,
        "uid": None,
        "deletionTimestamp": None,
        "annotations": None,
        "labels": {"pod-template-hash": None, "serving.knative.dev/service": None},
        "ownerReferences": _OWNER,
    },
    "spec": {
        "containers": _CONTAINER,
        "initContainers": {**_CONTAINER, "args": None},
        "hostAliases": None,
    },
    "status": {
        "phase": None,
        "podIPs": None,
        "containerStatuses": _STATUSES,
        "initContainerStatuses": _STATUSES,
    },
}

# What stands between a workload and its pods.
BETWEEN: Fields = {"metadata": {"name": None, "namespace": None, "ownerReferences": _OWNER}}

# Of who wrote what, the names tell a GitOps controller; the rest is a third of an object's size.
_MANAGERS: Fields = {"manager": None}


def projected(value: Any, fields: Fields | None) -> Any:
    """The value with the fields alone; what it does not have stays away."""
    if fields is None:
        return value
    if isinstance(value, list):
        return [projected(entry, fields) for entry in value]
    if not isinstance(value, Mapping):
        return value
    return {key: projected(value[key], below) for key, below in fields.items() if key in value}


SOURCES = "sources"
"""Where a pod, as it is kept, has kind and name of the ConfigMaps and Secrets that it reads; none of its own fields."""
# What every pod reads, and nobody changes.
_EVERYBODYS = frozenset({("ConfigMap", "kube-root-ca.crt"), ("ConfigMap", "istio-ca-root-cert")})


def pod(body: Body) -> Body:
    """A pod with the fields that are read, and the names of the ConfigMaps and Secrets that it reads."""
    found: dict[str, Any] = projected(body, POD)
    names = {(kind, name) for _, kind, name in source_references(body)} - _EVERYBODYS
    if names:
        found[SOURCES] = tuple((sys.intern(kind), sys.intern(name)) for kind, name in sorted(names))
    spec = found.get("spec") or {}
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        _keep_proxy_settings(container)
    return found


def _keep_proxy_settings(container: dict[str, Any]) -> None:
    """Of an environment, the sidecar's settings alone: the rest is long, and may be secret."""
    environment = container.pop("env", ())
    kept = [entry for entry in environment or () if entry.get("name") in _PROXY_SETTINGS]
    if kept and container.get("name") == "istio-proxy":
        container["env"] = kept


def between(body: Body) -> Body:
    """A ReplicaSet or Job with its name and owners."""
    found: Body = projected(body, BETWEEN)
    return found


def without_managers(body: Body) -> Body:
    """The object as it is, without who wrote which field."""
    return {**body, "metadata": {key: value for key, value in body["metadata"].items() if key != "managedFields"}}


def with_manager_names(body: Body) -> Body:
    """The object as it is; of who wrote which field, the names alone."""
    metadata = body["metadata"]
    if "managedFields" not in metadata:
        return body
    return {**body, "metadata": {**metadata, "managedFields": projected(metadata["managedFields"], _MANAGERS)}}
