"""What the controllers share: writes as values, who owns what, when a pod counts, names of templates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kubectl_egress.lab.api.registry import SUFFIX_ALPHABET
from kubectl_egress.lab.api.store import ObjectStore

Body = Mapping[str, Any]
Object = dict[str, Any]

POD_TEMPLATE_HASH = "pod-template-hash"
REVISION_HASH = "controller-revision-hash"


@dataclass(frozen=True, slots=True)
class Create:
    """Create an object; `owner` is told when it fails."""

    resource: str
    body: Body
    owner: str
    """The uid of the object on whose behalf."""


@dataclass(frozen=True, slots=True)
class Update:
    """Replace an object (not its status)."""

    resource: str
    body: Body


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Replace an object's status."""

    resource: str
    body: Body
    status: Body


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object."""

    resource: str
    body: Body


Write = Create | Update | SetStatus | Delete


def owned(store: ObjectStore, resource: str, owner: Body) -> list[Body]:
    """The objects of a resource whose controller is `owner`, oldest first."""
    metadata = owner["metadata"]
    found = [body for body in store.view(resource, metadata["namespace"]) if controller_uid(body) == metadata["uid"]]
    return sorted(found, key=age_key)


def age_key(body: Body) -> tuple[str, str]:
    """Sorts by age, oldest first."""
    return (body["metadata"]["creationTimestamp"], body["metadata"]["name"])


def controller_uid(body: Body) -> str | None:
    """The uid of the object's controller, if it has one."""
    references = body["metadata"].get("ownerReferences") or []
    return next((reference["uid"] for reference in references if reference.get("controller")), None)


def reference(owner: Body) -> Object:
    """The ownerReference to a controller."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def terminating(body: Body) -> bool:
    """Whether it is being deleted."""
    return bool(body["metadata"].get("deletionTimestamp"))


def phase(pod: Body) -> str:
    """Pending, Running, Succeeded, Failed."""
    return str((pod.get("status") or {}).get("phase", "Pending"))


def active(pods: Iterable[Body]) -> list[Body]:
    """Those that neither have ended nor are ending."""
    return [pod for pod in pods if not terminating(pod) and phase(pod) not in ("Succeeded", "Failed")]


def _ready_condition(pod: Body) -> Body | None:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return next((item for item in conditions if item.get("type") == "Ready" and item.get("status") == "True"), None)


def ready(pod: Body) -> bool:
    """Whether it is Ready."""
    return _ready_condition(pod) is not None


def available(pod: Body, seconds: int, now: datetime) -> bool:
    """Whether it has been Ready for `minReadySeconds`."""
    condition = _ready_condition(pod)
    if condition is None or not seconds:
        return condition is not None
    since = condition.get("lastTransitionTime")
    return bool(since) and moment(str(since)) + timedelta(seconds=seconds) <= now


def moment(text: str) -> datetime:
    """The time that a timestamp says."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def pod_of(owner: Body, template: Body, labels: Body | None = None, *, name: str = "") -> Object:
    """A pod made from a template; without a name, it is called after its owner."""
    metadata = template.get("metadata") or {}
    prefix = owner["metadata"]["name"] + "-"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **({"name": name} if name else {"generateName": prefix}),
            "namespace": owner["metadata"]["namespace"],
            "labels": {**(metadata.get("labels") or {}), **(labels or {})},
            "annotations": dict(metadata.get("annotations") or {}),
            "ownerReferences": [reference(owner)],
        },
        "spec": template["spec"],
    }


def template_hash(template: Body) -> str:
    """A name for a template: ten letters of the alphabet of generated names."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    letters = []
    for _ in range(10):
        digest, rest = divmod(digest, len(SUFFIX_ALPHABET))
        letters.append(SUFFIX_ALPHABET[rest])
    return "".join(letters)


def doomed_first(pods: Sequence[Body]) -> list[Body]:
    """In which order pods go when there are too many: what is not ready before what is, the young before the old."""
    youngest = sorted(pods, key=age_key, reverse=True)
    return sorted(youngest, key=ready)


def condition(
    kind: str, status: str, reason: str, message: str, now: str, before: Sequence[Body] = (), *, touch: bool = False
) -> Object:
    """A condition; its times stay as they were unless it changes, or `touch` says that there was news."""
    old = next((item for item in before if item["type"] == kind), None)
    same = old is not None and (old["status"], old["reason"]) == (status, reason)
    if old is not None and same and not touch:
        return dict(old)
    since = old["lastTransitionTime"] if old is not None and old["status"] == status else now
    fields = {"type": kind, "status": status, "reason": reason, "message": message}
    return {**fields, "lastUpdateTime": now, "lastTransitionTime": since}
