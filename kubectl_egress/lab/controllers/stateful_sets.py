"""StatefulSet → Pods by number, one at a time (k8s.io/kubernetes pkg/controller/statefulset)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from kubectl_egress.lab.controllers.ownership import (
    REVISION_HASH,
    Body,
    Create,
    Delete,
    Object,
    SetStatus,
    Write,
    active,
    available,
    phase,
    pod_of,
    ready,
    terminating,
)
from kubectl_egress.lab.controllers.revisions import current_hash, record, template_at


def reconcile(owner: Body, pods: Sequence[Body], revisions: Sequence[Body], now: datetime) -> Iterator[Write]:
    """The next step towards the pods that the StatefulSet wants, and its status."""
    update = f"{owner['metadata']['name']}-{current_hash(owner)}"
    current = str((owner.get("status") or {}).get("currentRevision") or update)
    if not terminating(owner):
        yield from record(owner, revisions)
        yield from _steps(owner, pods, revisions, current, update)
    yield SetStatus("statefulsets", owner, _status(owner, pods, current, update, now))


def ordinal(pod: Body) -> int:
    """The number of a StatefulSet's pod."""
    return int(pod["metadata"]["name"].rpartition("-")[2])


def _steps(owner: Body, pods: Sequence[Body], revisions: Sequence[Body], current: str, update: str) -> Iterator[Write]:
    spec = owner["spec"]
    ordered = spec["podManagementPolicy"] == "OrderedReady"
    present = {ordinal(pod): pod for pod in pods}
    for number in range(spec["replicas"]):
        pod = present.get(number)
        if pod is None:
            yield Create("pods", _pod(owner, number, revisions, current, update), owner["metadata"]["uid"])
        elif phase(pod) in ("Succeeded", "Failed") and not terminating(pod):
            yield Delete("pods", pod)
        if ordered and (pod is None or terminating(pod) or not ready(pod)):
            return
    condemned = [present[number] for number in sorted(present, reverse=True) if number >= spec["replicas"]]
    for pod in condemned:
        if not terminating(pod):
            yield Delete("pods", pod)
        if ordered:
            return
    yield from _roll(owner, present, update)


def _partition(owner: Body) -> int:
    number: int = (owner["spec"]["updateStrategy"].get("rollingUpdate") or {}).get("partition", 0)
    return number


def _roll(owner: Body, present: dict[int, Body], update: str) -> Iterator[Write]:
    """Replace the highest pod of an old revision, once all above it are ready."""
    if owner["spec"]["updateStrategy"]["type"] != "RollingUpdate":
        return
    for number in range(owner["spec"]["replicas"] - 1, _partition(owner) - 1, -1):
        pod = present.get(number)
        if pod is None or terminating(pod):
            return
        if pod["metadata"]["labels"].get(REVISION_HASH) != update:
            yield Delete("pods", pod)
            return
        if not ready(pod):
            return


def _pod(owner: Body, number: int, revisions: Sequence[Body], current: str, update: str) -> Object:
    rolling = owner["spec"]["updateStrategy"]["type"] == "RollingUpdate"
    revision = update if number >= _partition(owner) or not rolling else current
    template = template_at(revisions, revision) or owner["spec"]["template"]
    name = f"{owner['metadata']['name']}-{number}"
    labels = {
        REVISION_HASH: revision,
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(number),
    }
    pod = pod_of(owner, template, labels, name=name)
    pod["spec"] = {**pod["spec"], "hostname": name, "subdomain": owner["spec"]["serviceName"]}
    return pod


def _status(owner: Body, pods: Sequence[Body], current: str, update: str, now: datetime) -> Object:
    running = active(pods)
    revisions = [pod["metadata"]["labels"].get(REVISION_HASH) for pod in running]
    seconds, wanted = owner["spec"].get("minReadySeconds", 0), owner["spec"]["replicas"]
    prepared, updated = sum(map(ready, running)), revisions.count(update)
    if updated == len(running) == wanted == prepared:
        current = update
    counts = {
        "readyReplicas": prepared,
        "currentReplicas": revisions.count(current),
        "updatedReplicas": updated,
    }
    return {
        "observedGeneration": owner["metadata"]["generation"],
        "replicas": len(running),
        "availableReplicas": sum(available(pod, seconds, now) for pod in running),
        "currentRevision": current,
        "updateRevision": update,
        "collisionCount": 0,
        **{field: count for field, count in counts.items() if count},
    }
