"""The steps of a plan, done one after the other: Plan → Outcome*."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kubectl_egress.apply import knowing, old_pods, passing, waiting, writing
from kubectl_egress.apply.lease import HeldLeases
from kubectl_egress.apply.observing import observe
from kubectl_egress.errors import EgressError, RefusedError, UnreachableError
from kubectl_egress.journal import Journal, from_config_map, is_journal
from kubectl_egress.model import Action, Host, Judgement, Outcome, Plan, Ref, Step, Verdict, Wait
from kubectl_egress.verify import Baseline

if TYPE_CHECKING:
    from kubectl_egress.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Conditions:
    """How long to wait, whether to write, and whom to tell."""

    timeout: float = 300.0
    """Seconds for the proxies, for each rollout, and for old pods to go."""
    window: float = 15.0
    """Seconds of verification, at most."""
    dry_run: bool = False
    """Send every write with `dryRun=All`, and skip waits and verification."""
    calling: frozenset[tuple[Ref, frozenset[Host]]] = frozenset()
    """Workloads that had been calling one of some hosts before: if now all of these are silent, that is a failure."""
    say: Callable[[str], None] = lambda _: None
    way_back: str = ""
    """The command that undoes it, as whoever asked would type it."""


class NotProvenError(RefusedError):
    """The verification of a migration says no; `verdicts` says why."""

    def __init__(self, verdicts: Sequence[Verdict], remedy: str = "") -> None:
        worst = next(verdict for verdict in verdicts)
        about = f"{worst.workload.kind.lower()}/{worst.workload.name}, {worst.host}"
        super().__init__(f"{worst.judgement}: {about}: {worst.reason}", remedy)
        self.verdicts = tuple(verdicts)


def run(plan: Plan, cluster: Cluster, conditions: Conditions, held: HeldLeases) -> Iterator[Outcome]:
    """Each step's outcome as it is done. The first failure is raised, and nothing after it is tried.

    EgressError for what a step ran into; NotProvenError when the verification does not hold; LeaseLostError.
    """

    def say(text: str) -> None:
        held.check_known()
        conditions.say(text)

    for step in plan.steps:
        yield _done(step, plan, cluster, replace(conditions, say=say), held)


def _done(step: Step, plan: Plan, cluster: Cluster, conditions: Conditions, held: HeldLeases) -> Outcome:
    if step.action not in (Action.WAIT, Action.VERIFY):
        if conditions.dry_run:
            # What is deleted is there, whatever was to be changed of it before; a delete tests its uid alone.
            if step.action is not Action.DELETE and any(
                one.ref == step.ref for one in plan.steps if one.order < step.order
            ):
                return Outcome(step, False, "a dry run has not made what this changes")
            return writing.write(step, cluster, dry_run=True)
        held.before(step)
        outcome = writing.write(step, cluster, dry_run=False, check=held.check)
        held.after(outcome)
        return outcome
    if conditions.dry_run:
        return Outcome(step, False, "a dry run waits for nothing")
    try:
        return _waited(step, plan, cluster, conditions)
    except EgressError:
        # What was waited for may be another run's doing, which has taken over.
        with contextlib.suppress(UnreachableError):
            held.check()
        raise


def _waited(step: Step, plan: Plan, cluster: Cluster, conditions: Conditions) -> Outcome:
    if step.action is Action.VERIFY:
        return _verified(step, plan, cluster, conditions)
    if step.wait is Wait.PROXIES:
        return waiting.for_proxies(step, plan, cluster, conditions.timeout, conditions.say)
    if step.wait is Wait.NAMED:
        return knowing.for_name(step, plan, cluster, conditions.timeout, conditions.say)
    if step.wait is Wait.PAST:
        return passing.for_passing(step, plan, cluster, conditions.timeout, conditions.say)
    if step.wait is Wait.ROLLOUT:
        return waiting.for_rollout(step, plan, cluster, conditions.timeout, conditions.say)
    return old_pods.for_old_pods(step, plan, cluster, conditions.timeout, conditions.say)


def _verified(step: Step, plan: Plan, cluster: Cluster, conditions: Conditions) -> Outcome:
    journals = _journals(plan)
    baselines = {journal.host: Baseline.of(journal.baseline) for journal in journals}
    pairs = [(one.host, workload) for one in journals for workload in step.workloads if one.caller(workload)]
    verdicts = observe(cluster, pairs, conditions.window, conditions.say, baselines=baselines)
    bad = unacceptable(verdicts, conditions.calling)
    if bad:
        raise NotProvenError(bad)
    return Outcome(step, True, ", ".join(_said(one, len(step.workloads) > 1) for one in verdicts))


def _journals(plan: Plan) -> Sequence[Journal]:
    """The journals that the plan writes, as it leaves them; in the order of its hosts."""
    found = {
        journal.host: journal
        for journal in (from_config_map(step.after) for step in plan.steps if is_journal(step.after) and step.after)
    }
    return [found[host] for host in plan.hosts if host in found]


def _said(verdict: Verdict, several: bool) -> str:
    return (
        f"{verdict.workload.name} {verdict.host} {verdict.judgement}"
        if several
        else f"{verdict.host} {verdict.judgement}"
    )


def unacceptable(verdicts: Sequence[Verdict], calling: frozenset[tuple[Ref, frozenset[Host]]]) -> list[Verdict]:
    """The verdicts with which a migration may not stand: silence is fine where there had been no calls before."""
    silent = {(one.workload, one.host) for one in verdicts if one.judgement is Judgement.SILENT}
    fallen = {
        (workload, host)
        for workload, hosts in calling
        if all((workload, host) in silent for host in hosts)
        for host in hosts
    }
    fine = (Judgement.VERIFIED, Judgement.UNKNOWN, Judgement.SILENT)
    return [one for one in verdicts if one.judgement not in fine or (one.workload, one.host) in fallen]
