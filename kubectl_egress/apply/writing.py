"""One write each: create, JSON patch with tests, delete with a uid precondition; doing it twice does no harm."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from kubectl_egress import kinds, paths
from kubectl_egress.apply import standing
from kubectl_egress.apply.lease import at_work
from kubectl_egress.errors import ApiError, ConflictError, EgressError, InvalidError, NotFoundError
from kubectl_egress.journal import from_config_map, is_journal, lease_of
from kubectl_egress.model import Action, Body, Outcome, PatchOperation, Step
from kubectl_egress.plan.guard import GENERATION

if TYPE_CHECKING:
    from kubectl_egress.cluster import Cluster

ATTEMPTS = 4
PAUSE = 0.5
"""Seconds before the second attempt; twice as long before each further one."""


def write(step: Step, cluster: Cluster, *, dry_run: bool, check: Callable[[], None] = lambda: None) -> Outcome:
    """Do a step that writes. ConflictError when the object is not what the plan was made for; ApiError as it comes.

    Where no answer came, or one that leaves open whether it was done, it is tried again: every write has its own
    precondition, so that it is done once. `check` is asked before each further attempt, and may raise.
    """
    doing = {Action.CREATE: _create, Action.DELETE: _delete}.get(step.action, partial(_patch, check=check))
    for attempt in range(1, ATTEMPTS):
        try:
            return doing(step, cluster, dry_run)
        except EgressError as error:
            # A busy server has been asked often enough by the transport, and has done nothing.
            if not error.passing or (isinstance(error, ApiError) and error.status == 429):
                raise
        time.sleep(PAUSE * 2 ** (attempt - 1))
        check()
    return doing(step, cluster, dry_run)


def _create(step: Step, cluster: Cluster, dry_run: bool) -> Outcome:
    assert step.after is not None, "a create step has an object"
    assert step.ref is not None, "a create step has an object"
    try:
        cluster.create(step.after, dry_run=dry_run)
    except ConflictError as error:
        try:
            present = cluster.get(step.ref)
        except NotFoundError:
            # Not the name's conflict, but one of a quota's accounts, say.
            error.passing = True
            raise error from None
        # An Istio object is created in the version that is served, whichever the plan names.
        if not _holds(present, {key: value for key, value in step.after.items() if key != "apiVersion"}):
            _refuse_second(step, present)
            raise ConflictError(
                f"{step.ref.kind.lower()} {step.ref.name} has appeared since the plan was made, and says something else",
                "look at it, and run the same command again: it plans anew",
                status=error.status,
                reason=error.reason,
            ) from error
        return Outcome(step, True, "there already")
    return Outcome(step, True)


def _refuse_second(step: Step, present: Body) -> None:
    """Raise ConflictError, in words, where another run has written the journal since the plan was made."""
    if not (is_journal(present) and is_journal(step.after)):
        return
    holder, own = lease_of(present), lease_of(step.after or {})
    if holder is not None and (own is None or holder.run != own.run):
        raise at_work(present)
    if holder is None:
        found = from_config_map(present)
        raise ConflictError(
            f"{found.host} was {found.phase} meanwhile by {found.by} (run {found.run})",
            "run the same command again: it plans anew",
            status=409,
            reason="Conflict",
        )


def _holds(present: object, wanted: object) -> bool:
    """Whether `present` says all that `wanted` says; servers add fields."""
    if isinstance(wanted, Mapping):
        return isinstance(present, Mapping) and all(
            key in present and _holds(present[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return (
            isinstance(present, list)
            and len(present) == len(wanted)
            and all(_holds(one, other) for one, other in zip(present, wanted, strict=True))
        )
    return present == wanted


def _delete(step: Step, cluster: Cluster, dry_run: bool) -> Outcome:
    assert step.before is not None, "a delete step has an object"
    assert step.ref is not None, "a delete step has an object"
    try:
        cluster.delete(step.ref, uid=step.before["metadata"]["uid"], dry_run=dry_run)
    except NotFoundError:
        return Outcome(step, True, "gone already")
    return Outcome(step, True)


def _patch(step: Step, cluster: Cluster, dry_run: bool, check: Callable[[], None]) -> Outcome:
    assert step.ref is not None, "a patch step has an object"
    try:
        stored = cluster.patch(step.ref, step.patch, dry_run=dry_run)
    except ConflictError as error:
        # The server tries a patch some times itself when the object moves meanwhile; our tests guard it.
        error.passing = True
        raise
    except InvalidError as error:
        current = cluster.get(step.ref)
        if _as_planned(step, current):
            raise  # what refuses is not a `test` of ours, but validation or admission
        if _done_already(step, current):
            return Outcome(step, True, "done already")
        again = _same_template(step, current)
        if again is None:
            _refuse_second(step, current)
            raise ConflictError(
                f"{step.ref.kind.lower()}/{step.ref.name} was changed by somebody else since the plan was made",
                "run the same command again: it plans anew",
                status=error.status,
                reason=error.reason,
            ) from error
        check()
        stored = cluster.patch(step.ref, again, dry_run=dry_run)
    if step.action is Action.PATCH:
        standing.refuse_changed(step, stored)
    return Outcome(step, True)


def _done_already(step: Step, current: Body) -> bool:
    """Whether the patch has been applied, by an attempt whose answer was lost."""
    for operation in step.patch:
        try:
            value = paths.get(current, operation.steps)
        except (KeyError, IndexError, TypeError):
            if operation.op in ("add", "replace"):
                return False
            continue
        if operation.op == "remove" or (operation.op in ("add", "replace") and not _holds(value, operation.value)):
            return False
    return bool(step.patch)


def _as_planned(step: Step, current: Body) -> bool:
    """Whether what the patch tests still stands: the spec of a workload, the whole of anything else."""
    if step.before is None:
        return False
    field = "generation" if any(one.steps == GENERATION for one in step.patch) else "resourceVersion"
    planned, now = ((body.get("metadata") or {}).get(field) for body in (step.before, current))
    return planned is not None and planned == now


def _same_template(step: Step, current: Body) -> tuple[PatchOperation, ...] | None:
    """The patch for a workload whose generation moved while its pod template did not (somebody scaled it), or None."""
    generation = current.get("metadata", {}).get("generation")
    guards = [operation for operation in step.patch if operation.steps == GENERATION]
    if step.before is None or not guards or guards[0].value == generation:
        return None
    steps = kinds.template_steps(step.before["kind"])
    if paths.get(current, steps) != paths.get(step.before, steps):
        return None
    return tuple(
        PatchOperation("test", GENERATION, generation) if operation.steps == GENERATION else operation
        for operation in step.patch
    )
