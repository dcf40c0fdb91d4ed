"""A migration that stands as a whole or not at all, and an undo: plans in, outcomes told, errors raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kubectl_egress.apply.lease import HeldLeases, LeaseLostError, holding
from kubectl_egress.apply.run import Conditions, NotProvenError, run
from kubectl_egress.cluster.secrets import Secrets
from kubectl_egress.cluster.survey import survey
from kubectl_egress.errors import EgressError, UnreachableError
from kubectl_egress.journal import from_config_map, is_journal
from kubectl_egress.model import Action, Host, Outcome, Plan
from kubectl_egress.plan import CHANGED_SINCE, found_migrated, plan_undo

if TYPE_CHECKING:
    from kubectl_egress.cluster import Cluster

Tell = Callable[[Outcome], None]
SAME_COMMAND = "run the same command again"
"""As remedies have it."""


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
    with holding(cluster) as held:
        return _carry_out(plan, cluster, conditions, tell, held)


def _carry_out(plan: Plan, cluster: Cluster, conditions: Conditions, tell: Tell, held: HeldLeases) -> Progress:
    done: list[Outcome] = []
    try:
        for outcome in run(plan, cluster, conditions, held):
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
    with holding(cluster) as held:
        try:
            return _carry_out(plan, cluster, conditions, tell, held)
        except UnfinishedError as error:
            if conditions.dry_run or not (error.progress.written or error.cause.passing):
                raise _unchanged(error.cause) from error
            if isinstance(error.cause, LeaseLostError):
                raise error.cause from error
            _check_held(held, error)
            undoing(error.cause)
            undone = _undo(error, plan, cluster, conditions, tell, held)
            raise _undone(error.cause, undone, plan) from error


def _check_held(held: HeldLeases, error: UnfinishedError) -> None:
    """LeaseLostError where the failure comes of another run that has taken over: what it does is not ours to undo."""
    try:
        held.check()
    except UnreachableError:
        pass  # the undo finds out
    except LeaseLostError as lost:
        raise lost from error


def _undo(
    error: UnfinishedError, plan: Plan, cluster: Cluster, conditions: Conditions, tell: Tell, held: HeldLeases
) -> Plan:
    """Take back what was done before `error`; how. EgressError with both reasons when that stops too."""
    try:
        undo_plan = undo_of(plan, cluster, held)
        _carry_out(undo_plan, cluster, replace(conditions, calling=frozenset()), tell, held)
        return undo_plan
    except EgressError as second:
        raise EgressError(
            f"{error.message}; and the undo stopped too: {second.message}", _way_back(second.remedy, plan, conditions)
        ) from second


def _way_back(remedy: str, plan: Plan, conditions: Conditions) -> str:
    """What helps against what has stopped an undo, and how it goes on; the command that was typed is no undo."""
    undo = conditions.way_back or f"kubectl egress undo {' '.join(map(str, plan.hosts))} -n {plan.namespace}"
    if SAME_COMMAND in remedy:
        return remedy.replace(SAME_COMMAND, f"run {undo}")
    return f"{remedy}; then {undo} goes on with it" if remedy else f"{undo} goes on with it"


def undo_of(plan: Plan, cluster: Cluster, held: HeldLeases) -> Plan:
    """The plan that takes back what this migration has changed: its own callers, whatever other runs have added.

    Of a host that was migrated before it, the mesh objects and the journal are as it found them, for the callers that stay.
    Of its hosts only those whose journal it has written, which are held from then on: an answer may have been lost.
    """
    own = frozenset(step.ref for step in plan.steps if step.action is Action.PATCH and step.ref is not None)
    runs = {from_config_map(step.after).run for step in plan.steps if step.after and is_journal(step.after)}
    seen = survey(cluster, live=False, secrets=Secrets.RECORDED)
    hosts = []
    for document in seen.journals:
        journal = from_config_map(document.body)
        if journal.run in runs and journal.host in plan.hosts:
            hosts.append(journal.host)
            held.hold(document.ref, document.body)
    return plan_undo(seen, hosts, own, earlier=found_migrated(plan))


_WHOLE = "everything is as it was before"


def _ended(undo_plan: Plan) -> Iterator[Host]:
    """The hosts that an undo gives up for good: it deletes their journals."""
    for step in undo_plan.steps:
        if step.action is Action.DELETE and step.before is not None and is_journal(step.before):
            yield from_config_map(step.before).host


def _unchanged(cause: EgressError) -> EgressError:
    """The same failure, which came before anything was changed."""
    cause.remedy = "nothing was changed" + (f"; {cause.remedy}" if cause.remedy else "")
    return cause


def _undone(cause: EgressError, undo_plan: Plan, plan: Plan) -> EgressError:
    """The same failure, with the reassurance that everything is as it was, or what is not."""
    left = "; ".join(finding.message for finding in undo_plan.findings if finding.code == CHANGED_SINCE)
    given_up = ", ".join(map(str, sorted(found_migrated(plan).keys() & set(_ended(undo_plan)))))
    whole = f"{given_up}: called over https:// again, as before it was first migrated" if given_up else _WHOLE
    remedy = f"undone, but for this: {left}" if left else whole
    remedy += f"; {cause.remedy}" if cause.remedy else ""
    if isinstance(cause, NotProvenError):
        return NotProvenError(cause.verdicts, remedy)
    told = EgressError(cause.message, remedy)
    told.exit_status = cause.exit_status
    return told
