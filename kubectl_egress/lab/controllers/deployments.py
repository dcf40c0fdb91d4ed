"""Deployment → ReplicaSets: rolling updates and recreation (k8s.io/kubernetes pkg/controller/deployment)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from kubectl_egress.lab.controllers.deployment_status import is_complete, status_of
from kubectl_egress.lab.controllers.ownership import (
    POD_TEMPLATE_HASH,
    Body,
    Create,
    Delete,
    Object,
    SetStatus,
    Update,
    Write,
    age_key,
    phase,
    reference,
    template_hash,
    terminating,
)

REVISION = "deployment.kubernetes.io/revision"
_DESIRED = "deployment.kubernetes.io/desired-replicas"
_MAXIMUM = "deployment.kubernetes.io/max-replicas"
_OWN_ANNOTATIONS = (
    REVISION,
    _DESIRED,
    _MAXIMUM,
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision-history",
)


@dataclass(frozen=True, slots=True)
class _Rollout:
    """A Deployment and its ReplicaSets, sorted out."""

    deployment: Body
    new: Body | None
    old: tuple[Body, ...]

    @property
    def replicas(self) -> int:
        count: int = self.deployment["spec"]["replicas"]
        return count

    @property
    def every(self) -> tuple[Body, ...]:
        return (*self.old, self.new) if self.new else self.old

    @property
    def bounds(self) -> tuple[int, int]:
        """maxSurge and maxUnavailable in pods; never both none."""
        rolling = self.deployment["spec"]["strategy"].get("rollingUpdate") or {}
        surge = pods_of(rolling.get("maxSurge", 0), self.replicas, up=True)
        unavailable = pods_of(rolling.get("maxUnavailable", 0), self.replicas, up=False)
        return surge, unavailable if surge or unavailable else 1


def pods_of(value: int | str, replicas: int, *, up: bool) -> int:
    """A number of pods, or a percentage of them."""
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * replicas
    return math.ceil(share / 100) if up else share // 100


def reconcile(deployment: Body, replica_sets: Sequence[Body], pods: Sequence[Body], now: datetime) -> Iterator[Write]:
    """What brings the ReplicaSets one step on, and the Deployment's status; `pods` are those of its ReplicaSets."""
    template = _bare(deployment["spec"]["template"])
    same = [item for item in replica_sets if _bare(item["spec"]["template"]) == template]
    new = same[0] if same else None
    rollout = _Rollout(deployment, new, tuple(item for item in replica_sets if item is not new))
    if not terminating(deployment):
        if deployment["spec"].get("paused"):
            yield from _resize(rollout)
        else:
            yield from _steps(rollout, pods)
        if is_complete(deployment):
            yield from _forget(rollout)
    status = status_of(deployment, rollout.new, rollout.old, now, rollout.bounds[1])
    yield SetStatus("deployments", deployment, status)


def _bare(template: Body) -> Object:
    """The template without the label that only ReplicaSets have."""
    metadata = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != POD_TEMPLATE_HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}


def _steps(rollout: _Rollout, pods: Sequence[Body]) -> Iterator[Write]:
    revision = str(max([0, *map(_revision, rollout.old)]) + 1)
    if rollout.new is None:
        yield Create("replicasets", _new_replica_set(rollout, revision), rollout.deployment["metadata"]["uid"])
        yield from _annotate(rollout.deployment, revision)
        return
    if _revision(rollout.new) < int(revision):
        # an old template is wanted again: its ReplicaSet becomes the newest.
        yield Update("replicasets", _annotated(rollout.new, {REVISION: revision}))
    yield from _annotate(rollout.deployment, max(revision, str(_revision(rollout.new)), key=int))
    if rollout.deployment["spec"]["strategy"]["type"] == "Recreate":
        yield from _recreate(rollout, rollout.new, pods)
    else:
        yield from _roll(rollout, rollout.new)


def _revision(body: Body) -> int:
    return int((body["metadata"].get("annotations") or {}).get(REVISION, "0"))


def _annotated(body: Body, values: Body) -> Object:
    metadata = body["metadata"]
    annotations = {**(metadata.get("annotations") or {}), **values}
    unconditional = {key: value for key, value in metadata.items() if key != "resourceVersion"}
    return {**body, "metadata": {**unconditional, "annotations": annotations}}


def _annotate(deployment: Body, revision: str) -> Iterator[Write]:
    if (deployment["metadata"].get("annotations") or {}).get(REVISION) != revision:
        yield Update("deployments", _annotated(deployment, {REVISION: revision}))


def _new_replica_set(rollout: _Rollout, revision: str) -> Object:
    deployment = rollout.deployment
    spec, metadata = deployment["spec"], deployment["metadata"]
    name = template_hash(_bare(spec["template"]))
    label = {POD_TEMPLATE_HASH: name}
    template = spec["template"]
    labels = {**((template.get("metadata") or {}).get("labels") or {}), **label}
    copied = {key: value for key, value in (metadata.get("annotations") or {}).items() if key not in _OWN_ANNOTATIONS}
    surge, _ = rollout.bounds
    replica_set: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{name}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": {
                **copied,
                REVISION: revision,
                _DESIRED: str(rollout.replicas),
                _MAXIMUM: str(rollout.replicas + surge),
            },
            "ownerReferences": [reference(deployment)],
        },
        "spec": {
            "replicas": 0,
            "selector": _labelled(spec["selector"], label),
            "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
        },
    }
    if seconds := spec.get("minReadySeconds"):
        replica_set["spec"]["minReadySeconds"] = seconds
    return replica_set


def _labelled(selector: Body, label: Body) -> Object:
    return {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), **label}}


def _size(body: Body) -> int:
    count: int = body["spec"]["replicas"]
    return count


def _available(body: Body) -> int:
    count: int = (body.get("status") or {}).get("availableReplicas", 0)
    return count


def _scale(rollout: _Rollout, replica_set: Body, replicas: int) -> Iterator[Write]:
    if _size(replica_set) == replicas:
        return
    annotations = {_DESIRED: str(rollout.replicas), _MAXIMUM: str(rollout.replicas + rollout.bounds[0])}
    scaled = _annotated(replica_set, annotations)
    yield Update("replicasets", {**scaled, "spec": {**replica_set["spec"], "replicas": replicas}})


def _roll(rollout: _Rollout, new: Body) -> Iterator[Write]:
    """One step of a rolling update: first up, and when nothing goes up, down."""
    surge, unavailable = rollout.bounds
    total = sum(map(_size, rollout.every))
    room = rollout.replicas + surge - total
    if _size(new) > rollout.replicas:
        yield from _scale(rollout, new, rollout.replicas)
    elif _size(new) < rollout.replicas and room > 0:
        yield from _scale(rollout, new, min(_size(new) + room, rollout.replicas))
    else:
        yield from _shrink(rollout, new, total, rollout.replicas - unavailable)


def _shrink(rollout: _Rollout, new: Body, total: int, least: int) -> Iterator[Write]:
    """Take old pods away: those that are not available first, then as many as may be missing."""
    spare = total - least - (_size(new) - _available(new))
    sizes = {item["metadata"]["name"]: _size(item) for item in rollout.old}
    for item in sorted(rollout.old, key=age_key):
        unhealthy = min(max(spare, 0), _size(item) - min(_available(item), _size(item)))
        sizes[item["metadata"]["name"]] -= unhealthy
        spare -= unhealthy
    extra = min(sum(map(_available, rollout.every)) - least, spare)
    for item in sorted(rollout.old, key=age_key):
        name = item["metadata"]["name"]
        healthy = min(max(extra, 0), sizes[name])
        extra -= healthy
        yield from _scale(rollout, item, sizes[name] - healthy)


def _recreate(rollout: _Rollout, new: Body, pods: Sequence[Body]) -> Iterator[Write]:
    """All old pods go, terminating ones too, before the first new one comes."""
    for item in rollout.old:
        yield from _scale(rollout, item, 0)
    old = {item["metadata"]["uid"] for item in rollout.old}
    left = [
        pod
        for pod in pods
        if phase(pod) not in ("Succeeded", "Failed")
        and any(owner["uid"] in old for owner in pod["metadata"].get("ownerReferences") or [])
    ]
    if not left and not any(map(_size, rollout.old)):
        yield from _scale(rollout, new, rollout.replicas)


def _resize(rollout: _Rollout) -> Iterator[Write]:
    """A paused Deployment changes its size alone, where it is clear whose size that is."""
    sized = [item for item in rollout.every if _size(item)]
    if len(sized) == 1 or (not sized and rollout.every):
        yield from _scale(rollout, sized[0] if sized else rollout.every[-1], rollout.replicas)


def _forget(rollout: _Rollout) -> Iterator[Write]:
    """Delete the oldest of the empty ReplicaSets beyond revisionHistoryLimit."""
    empty = [item for item in rollout.old if not _size(item) and not (item.get("status") or {}).get("replicas")]
    surplus = len(empty) - rollout.deployment["spec"]["revisionHistoryLimit"]
    for item in sorted(empty, key=_revision)[: max(surplus, 0)]:
        yield Delete("replicasets", item)
