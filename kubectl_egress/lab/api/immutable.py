"""What of an object may not be changed, once it is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_egress.lab.api.resources import Resource
from kubectl_egress.lab.api.status import Cause, invalid_value
from kubectl_egress.lab.api.validation import forbidden_value

Body = Mapping[str, Any]

_IMMUTABLE = "field is immutable"


def changes_refused(old: Body, new: Body, resource: Resource) -> list[Cause]:
    """What may not be changed, and was."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    kind = resource.kind
    if kind in ("Deployment", "ReplicaSet", "DaemonSet") and before.get("selector") != after.get("selector"):
        return [invalid_value("spec.selector", after.get("selector"), _IMMUTABLE)]
    if kind == "StatefulSet":
        return list(_stateful_set_update(before, after))
    if kind == "Job":
        fields = ("selector", "template", "completionMode", "completions", "backoffLimitPerIndex")
        return [
            invalid_value(f"spec.{field}", after.get(field), _IMMUTABLE)
            for field in fields
            if before.get(field) != after.get(field)
        ]
    if kind == "Pod":
        return list(_pod_update(before, after))
    if kind in ("ConfigMap", "Secret"):
        return list(_data_update(old, new))
    if kind == "Service" and before.get("clusterIP") != after.get("clusterIP"):
        return [invalid_value("spec.clusterIPs[0]", after.get("clusterIP"), "may not change once set")]
    if kind == "ControllerRevision" and old.get("data") != new.get("data"):
        return [invalid_value("data", new.get("data"), _IMMUTABLE)]
    return []


def _stateful_set_update(before: Body, after: Body) -> Iterator[Cause]:
    allowed = {
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    }
    if any(before.get(field) != after.get(field) for field in {*before, *after} - allowed):
        yield forbidden_value(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
            "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        )


def _pod_update(before: Body, after: Body) -> Iterator[Cause]:
    def frozen(spec: Body) -> dict[str, Any]:
        kept = {key: value for key, value in spec.items() if key not in ("activeDeadlineSeconds", "tolerations")}
        for field in ("containers", "initContainers"):
            kept[field] = [{**container, "image": ""} for container in spec.get(field) or []]
        return kept

    if frozen(before) != frozen(after):
        yield forbidden_value(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        )


def _data_update(old: Body, new: Body) -> Iterator[Cause]:
    if old.get("type") != new.get("type"):
        yield invalid_value("type", new.get("type"), _IMMUTABLE)
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield forbidden_value("immutable", "field is immutable when `immutable` is set")
    for field in ("data", "binaryData"):
        if (old.get(field) or {}) != (new.get(field) or {}):
            yield forbidden_value(field, "field is immutable when `immutable` is set")
