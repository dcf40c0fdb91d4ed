"""A Deployment's status: counts, and the conditions by which `kubectl rollout status` goes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from kubectl_egress.lab.api.store import timestamp
from kubectl_egress.lab.controllers.ownership import Body, Object, condition, moment

_AVAILABLE = "NewReplicaSetAvailable"
_PAUSED = "DeploymentPaused"


def is_complete(deployment: Body) -> bool:
    """Whether the last status says that the rollout is done."""
    status = deployment.get("status") or {}
    wanted = deployment["spec"]["replicas"]
    counts = (status.get(field, 0) for field in ("replicas", "updatedReplicas", "availableReplicas"))
    return status.get("observedGeneration", 0) >= deployment["metadata"]["generation"] and all(
        count == wanted for count in counts
    )


def status_of(deployment: Body, new: Body | None, old: Sequence[Body], now: datetime, unavailable: int) -> Object:
    """The status that the ReplicaSets' statuses add up to; `unavailable` is how many pods may be missing."""
    every = [*old, new] if new else list(old)
    updated = _sum("replicas", [new] if new else [])
    counts = {
        "replicas": _sum("replicas", every),
        "updatedReplicas": updated,
        "readyReplicas": _sum("readyReplicas", every),
        "availableReplicas": _sum("availableReplicas", every),
    }
    missing = max(sum(item["spec"]["replicas"] for item in every) - counts["availableReplicas"], 0)
    counts["unavailableReplicas"] = missing
    status: Object = {field: count for field, count in counts.items() if count}
    status["observedGeneration"] = deployment["metadata"]["generation"]
    status["conditions"] = _conditions(deployment, status, every, new, now, unavailable)
    return status


def _sum(field: str, replica_sets: Sequence[Body]) -> int:
    return sum((item.get("status") or {}).get(field, 0) for item in replica_sets)


def _conditions(
    deployment: Body, status: Body, every: Sequence[Body], new: Body | None, now: datetime, unavailable: int
) -> list[Object]:
    before = (deployment.get("status") or {}).get("conditions") or []
    text = timestamp(now)
    enough = status.get("availableReplicas", 0) >= deployment["spec"]["replicas"] - unavailable
    conditions = [
        condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", text, before)
        if enough
        else condition(
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
            text,
            before,
        ),
        _progressing(deployment, status, new, now),
    ]
    for item in every:
        failed = next(iter((item.get("status") or {}).get("conditions") or []), None)
        if failed:
            conditions.append(condition("ReplicaFailure", "True", failed["reason"], failed["message"], text, before))
            break
    return sorted(conditions, key=lambda item: str(item["type"]))


def _progressing(deployment: Body, status: Body, new: Body | None, now: datetime) -> Object:
    before = deployment.get("status") or {}
    conditions = before.get("conditions") or []
    old = next((item for item in conditions if item["type"] == "Progressing"), None)
    text, name = timestamp(now), deployment["metadata"]["name"]

    def told(value: str, reason: str, message: str, *, touch: bool = False) -> Object:
        return condition("Progressing", value, reason, message, text, conditions, touch=touch)

    if deployment["spec"].get("paused"):
        return told("Unknown", _PAUSED, "Deployment is paused")
    if old is not None and old["reason"] == _PAUSED:
        return told("Unknown", "DeploymentResumed", "Deployment is resumed")
    if new is None:
        return told("True", "NewReplicaSetCreated", f'Created new replica set for deployment "{name}"')
    called = f'ReplicaSet "{new["metadata"]["name"]}"'
    if is_complete({**deployment, "status": status}):
        return told("True", _AVAILABLE, f"{called} has successfully progressed.")
    if _moved(before, status):
        return told("True", "ReplicaSetUpdated", f"{called} is progressing.", touch=True)
    # a rollout that was complete is not late when a pod restarts.
    done = (
        old is not None
        and old["reason"] == _AVAILABLE
        and before.get("observedGeneration") == status["observedGeneration"]
    )
    late = timedelta(seconds=deployment["spec"]["progressDeadlineSeconds"])
    if old is not None and not done and moment(old["lastUpdateTime"]) + late < now:
        return told("False", "ProgressDeadlineExceeded", f"{called} has timed out progressing.")
    return dict(old) if old is not None else told("True", "ReplicaSetUpdated", f"{called} is progressing.")


def _moved(before: Body, after: Body) -> bool:
    """Whether there is progress: more new pods, fewer old ones, more of them ready or available."""
    grown = any(
        after.get(field, 0) > before.get(field, 0)
        for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    older = [status.get("replicas", 0) - status.get("updatedReplicas", 0) for status in (before, after)]
    return grown or older[1] < older[0]
