"""What keeps pods on an old template, and when a rollout is done."""

from __future__ import annotations

from kubectl_egress.kinds import custom
from kubectl_egress.kinds.status import Hold, count, observed, quoted
from kubectl_egress.model import Body


def hold(body: Body) -> Hold:
    """Why a change of this object's pod template does not reach all pods that run."""
    if custom.is_custom(body):
        return custom.hold(body)
    kind, spec = body.get("kind"), body.get("spec") or {}
    if kind == "Deployment":
        return Hold.PAUSED if spec.get("paused") else Hold.NONE
    if kind in ("StatefulSet", "DaemonSet"):
        strategy = spec.get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return Hold.ON_DELETE
        return Hold.PARTITION if (strategy.get("rollingUpdate") or {}).get("partition") else Hold.NONE
    return {"Job": Hold.IMMUTABLE, "CronJob": Hold.NEXT_RUN}.get(str(kind), Hold.NO_ROLLOUT)


def rollout_done(body: Body) -> tuple[bool, str]:
    """Whether every pod has the template as it is now, and what `kubectl rollout status` says of it.

    As kubectl decides (kubectl pkg/polymorphichelpers/rollout_status.go). Kinds that do not roll are done at once;
    `rollout_failed` says when there is nothing to wait for.
    """
    if custom.is_custom(body) and body["kind"] not in (
        "StatefulSet",
        "DaemonSet",
    ):  # whose status is that of Kubernetes' own
        return custom.rollout_done(body)
    decide = {"Deployment": _deployment, "DaemonSet": _daemon_set, "StatefulSet": _stateful_set}.get(
        str(body.get("kind"))
    )
    if decide is None:
        return True, f"{str(body.get('kind', '')).lower()} {quoted(body)} does not roll out"
    return decide(body)


def rollout_failed(body: Body) -> str:
    """Why waiting is in vain: a Deployment's progress deadline has passed, a Rollout is degraded; empty otherwise."""
    if custom.is_custom(body):
        return custom.rollout_failed(body)
    if body.get("kind") != "Deployment" or not observed(body):
        return ""
    return f"deployment {quoted(body)} exceeded its progress deadline" if deadline_passed(body) else ""


def deadline_passed(body: Body) -> str:
    """When a Deployment's progress deadline was found to have passed (UTC, as the status has it); empty if it was not."""
    for condition in (body.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return str(condition.get("lastUpdateTime") or condition.get("lastTransitionTime") or "unknown")
    return ""


def _deployment(body: Body) -> tuple[bool, str]:
    if not observed(body):
        return False, "Waiting for deployment spec update to be observed..."
    failed = rollout_failed(body)
    if failed:
        return False, failed
    status = body.get("status") or {}
    wanted = count(body.get("spec") or {}, "replicas", 1)
    updated, total = count(status, "updatedReplicas"), count(status, "replicas")
    available = count(status, "availableReplicas")
    waiting = f"Waiting for deployment {quoted(body)} rollout to finish: "
    if updated < wanted:
        return False, f"{waiting}{updated} out of {wanted} new replicas have been updated..."
    if total > updated:
        return False, f"{waiting}{total - updated} old replicas are pending termination..."
    if available < updated:
        return False, f"{waiting}{available} of {updated} updated replicas are available..."
    return True, f"deployment {quoted(body)} successfully rolled out"


def _daemon_set(body: Body) -> tuple[bool, str]:
    if hold(body) is Hold.ON_DELETE:
        return True, "rollout status is only available for RollingUpdate strategy type"
    if not observed(body):
        return False, "Waiting for daemon set spec update to be observed..."
    status = body.get("status") or {}
    wanted = count(status, "desiredNumberScheduled")
    updated, available = count(status, "updatedNumberScheduled"), count(status, "numberAvailable")
    waiting = f"Waiting for daemon set {quoted(body)} rollout to finish: "
    if updated < wanted:
        return False, f"{waiting}{updated} out of {wanted} new pods have been updated..."
    if available < wanted:
        return False, f"{waiting}{available} of {wanted} updated pods are available..."
    return True, f"daemon set {quoted(body)} successfully rolled out"


def _stateful_set(body: Body) -> tuple[bool, str]:
    if hold(body) is Hold.ON_DELETE:
        return True, "rollout status is only available for RollingUpdate strategy type"
    status, spec = body.get("status") or {}, body.get("spec") or {}
    if not count(status, "observedGeneration") or not observed(body):
        return False, "Waiting for statefulset spec update to be observed..."
    wanted, ready = count(spec, "replicas", 1), count(status, "readyReplicas")
    if ready < wanted:
        return False, f"Waiting for {wanted - ready} pods to be ready..."
    updated = count(status, "updatedReplicas")
    # kubectl prints "partitioned" for every rollingUpdate block; the API server always writes one with partition 0,
    # and then the number of updated pods decides just as well.
    rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate")
    if rolling is not None:
        share = wanted - count(rolling, "partition")
        if updated < share:
            return (
                False,
                f"Waiting for partitioned roll out to finish: {updated} out of {share} new pods have been updated...",
            )
        return True, f"partitioned roll out complete: {updated} new pods have been updated..."
    revision = status.get("updateRevision", "")
    if revision != status.get("currentRevision", ""):
        return False, f"waiting for statefulset rolling update to complete {updated} pods at revision {revision}..."
    current = count(status, "currentReplicas")
    return True, f"statefulset rolling update complete {current} pods at revision {revision}..."
