"""Rollouts of Argo, Knative and OpenKruise, as their own controllers and command-line tools judge them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubectl_egress.kinds.status import Hold, count, observed, quoted
from kubectl_egress.kinds.table import CUSTOM_KINDS, row_of
from kubectl_egress.model import Body


def is_custom(body: Body) -> bool:
    """Whether the object is of a kind that a resource definition adds."""
    return row_of(body) in CUSTOM_KINDS


def hold(body: Body) -> Hold:
    """Why a change of this object's pod template does not reach all pods that run."""
    return _HOLDS[str(body["kind"])](body.get("spec") or {})


def rollout_done(body: Body) -> tuple[bool, str]:
    """Whether every pod has the template as it is now, and a line about it."""
    kind = str(body["kind"])
    if not observed(body):
        return False, f"Waiting for {kind.lower()} spec update to be observed..."
    failed = rollout_failed(body)
    return (False, failed) if failed else _DONE[kind](body, body.get("status") or {})


def rollout_failed(body: Body) -> str:
    """Why waiting is in vain: a Rollout that is degraded or aborted, a revision that does not come up; else empty."""
    status = body.get("status") or {}
    if not observed(body):
        return ""
    if body["kind"] == "Rollout" and (status.get("abort") or status.get("phase") == "Degraded"):
        return f"rollout {quoted(body)} is degraded: {status.get('message') or 'it was aborted'}"
    if body["kind"] == "Service":
        made = _condition(status, "ConfigurationsReady")
        if made.get("status") == "False":
            return f"service {quoted(body)}: its revision failed: {made.get('message') or made.get('reason')}"
    return ""


# ---- Argo Rollouts (pkg/apis/rollouts/v1alpha1) -------------------------------------------------------------------------


def _rollout_hold(spec: Body) -> Hold:
    if spec.get("paused"):
        return Hold.PAUSED
    strategy = _part(spec, "strategy")
    if _part(strategy, "blueGreen").get("autoPromotionEnabled") is False:
        return Hold.PROMOTION
    steps = _part(strategy, "canary").get("steps")
    pauses = [step["pause"] for step in steps if isinstance(step, Mapping) and "pause" in step] if steps else []
    return Hold.PROMOTION if any(not (pause or {}).get("duration") for pause in pauses) else Hold.NONE


def _rollout(body: Body, status: Body) -> tuple[bool, str]:
    wanted = count(body.get("spec") or {}, "replicas", 1)
    updated, total, available = (count(status, field) for field in ("updatedReplicas", "replicas", "availableReplicas"))
    waiting = f"Waiting for rollout {quoted(body)} to finish: "
    if status.get("pauseConditions"):
        return False, f"{waiting}it is paused until somebody promotes it"
    if updated < wanted:
        return False, f"{waiting}{updated} out of {wanted} new replicas have been updated..."
    if total > updated:
        return False, f"{waiting}{total - updated} old replicas are pending termination..."
    if available < updated:
        return False, f"{waiting}{available} of {updated} updated replicas are available..."
    if status.get("stableRS") != status.get("currentPodHash"):
        return False, f"{waiting}the new pods are not the stable ones yet..."
    return True, f"rollout {quoted(body)} successfully rolled out"


# ---- Knative (pkg/apis/serving/v1) --------------------------------------------------------------------------------------


def _service_hold(spec: Body) -> Hold:
    """With a fixed name, the next template is refused; with fixed traffic, an old revision goes on."""
    named = _part(_part(spec, "template"), "metadata").get("name")
    traffic = spec.get("traffic")
    entries: Sequence[Any] = traffic if isinstance(traffic, list) else ()
    fixed = any(isinstance(one, Mapping) and one.get("revisionName") for one in entries)
    return Hold.PINNED if named or fixed else Hold.NONE


def _service(body: Body, status: Body) -> tuple[bool, str]:
    latest = status.get("latestCreatedRevisionName")
    if latest != status.get("latestReadyRevisionName") or _condition(status, "Ready").get("status") != "True":
        return False, f"Waiting for service {quoted(body)}: revision {latest} is not ready..."
    return True, f"service {quoted(body)}: revision {latest} is ready"


def _condition(status: Body, name: str) -> Body:
    return next((one for one in status.get("conditions") or () if one.get("type") == name), {})


# ---- OpenKruise (apis/apps) ---------------------------------------------------------------------------------------------


def _clone_set_hold(spec: Body) -> Hold:
    strategy = _part(spec, "updateStrategy")
    return _strategy_hold(strategy, in_place=strategy.get("type") == "InPlaceOnly")


def _ordinal_hold(spec: Body) -> Hold:
    """Advanced StatefulSet and DaemonSet: the fields stand in `rollingUpdate`."""
    strategy = _part(spec, "updateStrategy")
    if strategy.get("type") == "OnDelete":
        return Hold.ON_DELETE
    rolling = _part(strategy, "rollingUpdate")
    return _strategy_hold(rolling, in_place=rolling.get("podUpdatePolicy") == "InPlaceOnly")


def _strategy_hold(strategy: Body, *, in_place: bool) -> Hold:
    if strategy.get("paused"):
        return Hold.PAUSED
    if in_place:
        return Hold.IN_PLACE
    kept = str(strategy.get("partition") or "0").rstrip("%")
    return Hold.PARTITION if kept != "0" or strategy.get("selector") else Hold.NONE


def _clone_set(body: Body, status: Body) -> tuple[bool, str]:
    wanted = count(body.get("spec") or {}, "replicas", 1)
    updated, ready, total = (count(status, field) for field in ("updatedReplicas", "updatedReadyReplicas", "replicas"))
    waiting = f"Waiting for cloneset {quoted(body)} to finish: "
    if updated < wanted:
        return False, f"{waiting}{updated} out of {wanted} new pods have been updated..."
    if total > updated:
        return False, f"{waiting}{total - updated} old pods are pending termination..."
    if ready < wanted:
        return False, f"{waiting}{ready} of {wanted} updated pods are ready..."
    return True, f"cloneset {quoted(body)} successfully rolled out"


def _part(mapping: Body, field: str) -> Body:
    value = mapping.get(field)
    return value if isinstance(value, Mapping) else {}


_HOLDS: Mapping[str, Callable[[Body], Hold]] = {
    "Rollout": _rollout_hold,
    "Service": _service_hold,
    "CloneSet": _clone_set_hold,
    "StatefulSet": _ordinal_hold,
    "DaemonSet": _ordinal_hold,
}
_DONE: Mapping[str, Callable[[Body, Body], tuple[bool, str]]] = {
    "Rollout": _rollout,
    "Service": _service,
    "CloneSet": _clone_set,
}
