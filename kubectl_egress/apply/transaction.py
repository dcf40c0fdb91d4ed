"""A migration that stands as a whole or not at all, and an undo: plans in, outcomes told, errors raised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kubectl_egress.apply.run import Conditions, NotProvenError, run
from kubectl_egress.cluster.survey import survey
from kubectl_egress.errors import EgressError
from kubectl_egress.journal import from_config_map
from kubectl_egress.model import Action, Outcome, Plan
from kubectl_egress.plan import plan_undo

if TYPE_CHECKING:
    from kubectl_egress.cluster import Cluster

Tell = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a plan has come; what an interruption reports."""

    done: tuple[Outcome, ...]
    plan: Plan

    @property
    def written(self) -> bool:
        """Whether anything was changed."""
        return any(one.done and one.step.action not in (Action.WAIT, Action.VERIFY) for one in self.done)


class InterruptedMigrationError(KeyboardInterrupt):
    """Ctrl-C in the middle; `progress` says what was done."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress


def carry_out(plan: Plan, cluster: Cluster, conditions: Conditions, tell: Tell) -> Progress:
    """Do a plan and nothing else; each outcome is told as it comes."""
    done: list[Outcome] = []
    try:
        for outcome in run(plan, cluster, conditions):
            done.append(outcome)
            tell(outcome)
    except KeyboardInterrupt:
        raise InterruptedMigrationError(Progress(tuple(done), plan)) from None
    except EgressError as error:
        error.add_note(f"{len(done)} of {len(plan.steps)} steps were done")
        raise UnfinishedError(error, Progress(tuple(done), plan)) from error
    return Progress(tuple(done), plan)


class UnfinishedError(EgressError):
    """A plan that stopped; `cause` is why, `progress` how far it came."""

    def __init__(self, cause: EgressError, progress: Progress) -> None:
        super().__init__(cause.message, cause.remedy)
        self.cause = cause
        self.progress = progress
        self.exit_status = cause.exit_status


def migrate(
    plan: Plan, cluster: Cluster, conditions: Conditions, tell: Tell, undoing: Callable[[EgressError], None]
) -> Progress:
    """Do a migration; when a step fails, undo what it has changed, and raise the failure.

    `undoing` is told why before the undo begins. The raised error's remedy says whether the undo was whole.
    """
    try:
        return carry_out(plan, cluster, conditions, tell)
    except UnfinishedError as error:
        if conditions.dry_run or not error.progress.written:
            raise _unchanged(error.cause) from error
        undoing(error.cause)
        try:
            undo_plan = undo_of(plan, cluster)
            carry_out(undo_plan, cluster, replace(conditions, calling=frozenset()), tell)
        except EgressError as second:
            hosts = " ".join(map(str, plan.hosts))
            raise EgressError(
                f"{error.message}; and the undo stopped too: {second.message}",
                f"kubectl egress undo {hosts} -n {plan.namespace} goes on with it",
            ) from second
        raise _undone(error.cause) from error


def undo_of(plan: Plan, cluster: Cluster) -> Plan:
    """The plan that takes back what this migration has changed: its own callers, whatever other runs have added."""
    own = frozenset(step.ref for step in plan.steps if step.action is Action.PATCH and step.ref is not None)
    seen = survey(cluster, live=False)
    journals = [from_config_map(document.body) for document in seen.journals]
    return plan_undo(seen, [journal.host for journal in journals if journal.host in plan.hosts], own)


def _unchanged(cause: EgressError) -> EgressError:
    """The same failure, which came before anything was changed."""
    cause.remedy = "nothing was changed" + (f"; {cause.remedy}" if cause.remedy else "")
    return cause


def _undone(cause: EgressError) -> EgressError:
    """The same failure, with the reassurance that everything is as it was."""
    remedy = "everything is as it was before" + (f"; {cause.remedy}" if cause.remedy else "")
    if isinstance(cause, NotProvenError):
        return NotProvenError(cause.verdicts, remedy)
    told = EgressError(cause.message, remedy)
    told.exit_status = cause.exit_status
    return told
