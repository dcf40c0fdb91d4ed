"""One write each: create, JSON patch with tests, delete with a uid precondition; doing it twice does no harm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kubectl_egress import kinds, paths
from kubectl_egress.errors import ConflictError, InvalidError, NotFoundError
from kubectl_egress.model import Action, Body, Outcome, PatchOperation, Step
from kubectl_egress.plan.guard import GENERATION

if TYPE_CHECKING:
    from kubectl_egress.cluster import Cluster


def write(step: Step, cluster: Cluster, *, dry_run: bool) -> Outcome:
    """Do a step that writes. ConflictError when the object is not what the plan was made for; ApiError as it comes."""
    if step.action is Action.CREATE:
        return _create(step, cluster, dry_run)
    if step.action is Action.DELETE:
        return _delete(step, cluster, dry_run)
    return _patch(step, cluster, dry_run)


def _create(step: Step, cluster: Cluster, dry_run: bool) -> Outcome:
    assert step.after is not None, "a create step has an object"
    assert step.ref is not None, "a create step has an object"
    try:
        cluster.create(step.after, dry_run=dry_run)
    except ConflictError as error:
        present = cluster.get(step.ref)
        if not _holds(present, step.after):
            raise ConflictError(
                f"{step.ref.kind.lower()} {step.ref.name} has appeared since the plan was made, and says something else",
                "look at it, and run the same command again: it plans anew",
                status=error.status,
                reason=error.reason,
            ) from error
        return Outcome(step, True, "there already")
    return Outcome(step, True)


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


def _patch(step: Step, cluster: Cluster, dry_run: bool) -> Outcome:
    assert step.ref is not None, "a patch step has an object"
    try:
        cluster.patch(step.ref, step.patch, dry_run=dry_run)
    except InvalidError as error:
        current = cluster.get(step.ref)
        if _as_planned(step, current):
            raise  # what refuses is not a `test` of ours, but validation or admission
        again = _same_template(step, current)
        if again is None:
            raise ConflictError(
                f"{step.ref.kind.lower()}/{step.ref.name} was changed by somebody else since the plan was made",
                "run the same command again: it plans anew",
                status=error.status,
                reason=error.reason,
            ) from error
        cluster.patch(step.ref, again, dry_run=dry_run)
    return Outcome(step, True)


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
