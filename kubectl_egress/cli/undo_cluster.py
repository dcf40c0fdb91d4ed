"""`undo` on a live cluster: survey → plan → steps."""

from __future__ import annotations

from collections.abc import Sequence

from kubectl_egress.apply import Conditions, LeaseLostError, UnfinishedError, carry_out
from kubectl_egress.cli.doing import Narration, hosts_text, new_lease, waited_for_others
from kubectl_egress.cli.options import Connection
from kubectl_egress.cli.output import say
from kubectl_egress.cli.sources import journals_of
from kubectl_egress.cluster import Cluster
from kubectl_egress.cluster.connection import parse_timeout
from kubectl_egress.cluster.permissions import not_permitted
from kubectl_egress.cluster.secrets import Secrets
from kubectl_egress.cluster.survey import survey
from kubectl_egress.errors import EgressError, ForbiddenError
from kubectl_egress.model import Plan
from kubectl_egress.plan import CHANGED_SINCE, permissions, plan_undo
from kubectl_egress.urls import parse_host


def make_plan(cluster: Cluster, hosts: Sequence[str], *, writing: bool) -> Plan:
    """The plan that undoes the hosts; without any, all that the namespace's journals name. EgressError if there is none.

    `writing`: it is going to be done, so that whoever is at work on the same hosts has to have ended.
    """
    seen = survey(cluster, live=False, secrets=Secrets.RECORDED)
    journals = journals_of(seen)
    chosen = list(dict.fromkeys(parse_host(host) for host in hosts)) or sorted(journal.host for journal in journals)
    if not chosen:
        raise EgressError(
            f"nothing is migrated in namespace {seen.namespace}", "give -n NAMESPACE for another namespace"
        )
    if writing and waited_for_others(cluster, seen, chosen):
        seen = survey(cluster, live=False, secrets=Secrets.RECORDED)
    return plan_undo(seen, chosen, lease=new_lease())


def perform(plan: Plan, cluster: Cluster, timeout: str, dry_run: bool, connection: Connection) -> None:
    """Do the plan, and say each outcome; what stops it says how to go on."""
    _check_permitted(plan, cluster)
    narration = Narration(plan, connection, undoing=True)
    seconds = parse_timeout(timeout) or float("inf")
    try:
        conditions = Conditions(timeout=seconds, dry_run=dry_run, say=narration.now)
        carry_out(plan, cluster, conditions, narration.outcome)
    except KeyboardInterrupt as interruption:
        raise narration.interrupted(interruption, dry_run=dry_run) from None
    except UnfinishedError as error:
        if not error.progress.written or isinstance(error.cause, LeaseLostError):
            raise error.cause from error
        again = f"{narration.go_on()} goes on from here"
        raise EgressError(error.message, f"{error.remedy}; {again}" if error.remedy else again) from error
    finally:
        narration.ticker.end()
    left = any(finding.code == CHANGED_SINCE for finding in plan.findings)
    end = "undone, but for what somebody else has changed since (see above)" if left else "as it was before"
    say("Nothing was changed (server dry run).\n" if dry_run else f"{hosts_text(plan)}: {end}.\n")


def _check_permitted(plan: Plan, cluster: Cluster) -> None:
    """Raise ForbiddenError where the undo would have to stop half-way."""
    denied = not_permitted(cluster, permissions(plan.steps))
    if denied:
        refused = ", ".join(f"{one.verb} {one.resource}" for one in denied)
        raise ForbiddenError(
            f"nothing was changed: may not {refused} in namespace {plan.namespace}",
            f"ask for the permission; kubectl auth can-i {denied[0].verb} {denied[0].resource} -n {plan.namespace} checks it",
            status=403,
            reason="Forbidden",
        )
