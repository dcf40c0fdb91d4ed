"""ReplicaSet → Pods: as many as it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from kubectl_egress.lab.api.store import timestamp
from kubectl_egress.lab.controllers.ownership import (
    Body,
    Create,
    Delete,
    Object,
    SetStatus,
    Write,
    active,
    available,
    condition,
    doomed_first,
    pod_of,
    ready,
    terminating,
)


def reconcile(replica_set: Body, pods: Sequence[Body], now: datetime, failure: str = "") -> Iterator[Write]:
    """What brings the pods to the number that the ReplicaSet wants; `failure` is why the last creation failed."""
    running = active(pods)
    if not terminating(replica_set):
        surplus = len(running) - replica_set["spec"]["replicas"]
        for pod in doomed_first(running)[: max(surplus, 0)]:
            yield Delete("pods", pod)
        for _ in range(-surplus):
            pod = pod_of(replica_set, replica_set["spec"]["template"])
            yield Create("pods", pod, replica_set["metadata"]["uid"])
    yield SetStatus("replicasets", replica_set, _status(replica_set, running, now, failure))


def _status(replica_set: Body, running: Sequence[Body], now: datetime, failure: str) -> Object:
    seconds = replica_set["spec"].get("minReadySeconds", 0)
    counts = {
        "fullyLabeledReplicas": len(running),
        "readyReplicas": sum(map(ready, running)),
        "availableReplicas": sum(available(pod, seconds, now) for pod in running),
    }
    status: Object = {"replicas": len(running), "observedGeneration": replica_set["metadata"]["generation"]}
    status.update({field: count for field, count in counts.items() if count})
    if failure:
        before = (replica_set.get("status") or {}).get("conditions") or []
        failed = condition("ReplicaFailure", "True", "FailedCreate", failure, timestamp(now), before)
        failed.pop("lastUpdateTime", None)
        status["conditions"] = [failed]
    return status
