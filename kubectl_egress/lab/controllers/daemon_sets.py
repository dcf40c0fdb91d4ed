"""DaemonSet → one Pod, on the only node."""

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
from kubectl_egress.lab.controllers.revisions import current_hash, record


def reconcile(owner: Body, pods: Sequence[Body], revisions: Sequence[Body], now: datetime) -> Iterator[Write]:
    """The next step towards the pod that the DaemonSet wants, and its status."""
    update = current_hash(owner)
    if not terminating(owner):
        yield from record(owner, revisions)
        rolling = owner["spec"]["updateStrategy"]["type"] == "RollingUpdate"
        for pod in pods:
            outdated = rolling and pod["metadata"]["labels"].get(REVISION_HASH) != update
            if not terminating(pod) and (outdated or phase(pod) in ("Succeeded", "Failed")):
                yield Delete("pods", pod)
        if not pods:
            yield Create(
                "pods", pod_of(owner, owner["spec"]["template"], {REVISION_HASH: update}), owner["metadata"]["uid"]
            )
    yield SetStatus("daemonsets", owner, _status(owner, active(pods), update, now))


def _status(owner: Body, running: Sequence[Body], update: str, now: datetime) -> Object:
    seconds = owner["spec"].get("minReadySeconds", 0)
    there = min(len(running), 1)
    working = min(sum(available(pod, seconds, now) for pod in running), 1)
    updated = any(pod["metadata"]["labels"].get(REVISION_HASH) == update for pod in running)
    status = {
        "currentNumberScheduled": there,
        "desiredNumberScheduled": 1,
        "numberMisscheduled": 0,
        "numberReady": min(sum(map(ready, running)), 1),
        "observedGeneration": owner["metadata"]["generation"],
    }
    counts = {"updatedNumberScheduled": int(updated), "numberAvailable": working, "numberUnavailable": 1 - working}
    return {**status, **{field: count for field, count in counts.items() if count}}
