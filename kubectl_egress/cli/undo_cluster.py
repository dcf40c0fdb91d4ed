"""`undo` on a live cluster: survey → plan → steps."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kubectl_egress.apply import Conditions, InterruptedMigrationError, UnfinishedError, carry_out
from kubectl_egress.cli.migrate_cluster import interrupted_text
from kubectl_egress.cli.output import Ticker, say
from kubectl_egress.cluster import Cluster
from kubectl_egress.cluster.connection import parse_timeout
from kubectl_egress.cluster.survey import survey
from kubectl_egress.errors import EgressError
from kubectl_egress.journal import from_config_map
from kubectl_egress.model import Plan
from kubectl_egress.plan import plan_undo
from kubectl_egress.report import outcome_line
from kubectl_egress.urls import parse_host


def make_plan(cluster: Cluster, hosts: Sequence[str]) -> Plan:
    """The plan that undoes the hosts; without any, all that the namespace's journals name. EgressError if there is none."""
    seen = survey(cluster, live=False)
    journals = [from_config_map(document.body) for document in seen.journals]
    chosen = [parse_host(host) for host in hosts] or sorted(journal.host for journal in journals)
    if not chosen:
        raise EgressError(f"nothing is migrated in namespace {seen.namespace}", "see -n for another namespace")
    return plan_undo(seen, list(dict.fromkeys(chosen)))


def perform(plan: Plan, cluster: Cluster, timeout: str, dry_run: bool) -> None:
    """Do the plan, and say each outcome; what stops it says how to go on."""
    ticker = Ticker(sys.stderr)
    seconds = parse_timeout(timeout) or float("inf")
    where = f"{' '.join(map(str, plan.hosts))} -n {plan.namespace}"
    try:
        conditions = Conditions(timeout=seconds, dry_run=dry_run, say=ticker.now)
        carry_out(plan, cluster, conditions, lambda outcome: ticker.line(outcome_line(outcome)))
    except InterruptedMigrationError as interruption:
        ticker.line(interrupted_text(interruption.progress, "undo"))
        raise
    except UnfinishedError as error:
        if not error.progress.written:
            raise error.cause from error
        again = f"kubectl egress undo {where} goes on from here"
        raise EgressError(error.message, f"{error.remedy}; {again}" if error.remedy else again) from error
    finally:
        ticker.end()
    say(
        "Nothing was changed (server dry run).\n"
        if dry_run
        else f"{', '.join(map(str, plan.hosts))}: as it was before.\n"
    )
