"""`migrate` on a live cluster: survey → plan → question → transaction."""

from __future__ import annotations

import getpass
import secrets
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kubectl_egress import findings, inspection
from kubectl_egress.apply import Conditions, InterruptedMigrationError, transaction
from kubectl_egress.cli.migrate import Choice, Doing, confirmed, refuse_blocked, show_plan
from kubectl_egress.cli.options import Connection
from kubectl_egress.cli.output import Ticker, say
from kubectl_egress.cluster import Cluster, connect
from kubectl_egress.cluster.connection import parse_timeout
from kubectl_egress.cluster.survey import survey
from kubectl_egress.cluster.targets import parse_targets
from kubectl_egress.errors import EgressError
from kubectl_egress.model import CallSite, Host, Outcome, Plan, Ref, Survey
from kubectl_egress.plan import MigrationRequest, calling, plan_migration
from kubectl_egress.report import outcome_line
from kubectl_egress.urls import parse_host, shown

if TYPE_CHECKING:
    from kubectl_egress.apply.transaction import Progress


def migrate_cluster(hosts: Sequence[str], choice: Choice, doing: Doing, connection: Connection, output: str) -> int:
    """Migrate callers in a namespace of the cluster; the exit status."""
    asked = tuple(dict.fromkeys(parse_host(host) for host in hosts))
    cluster = connect(connection.options(choice.namespace, doing.field_manager))
    try:
        seen = survey(cluster, hosts=None)
        sites = inspection.call_sites(seen)
        workloads = _workloads(cluster, choice)
        wanted = asked or _all_hosts(seen, sites, workloads)
        plan = make_plan(seen, sites, wanted, workloads, choice)
        if output:
            show_plan(plan, output)
            refuse_blocked(plan, frozenset(choice.ignore or ()))
            return 3 if doing.exit_code and plan.steps else 0
        return _ask_and_do(plan, cluster, seen, sites, choice, doing)
    finally:
        cluster.close()


def _workloads(cluster: Cluster, choice: Choice) -> frozenset[Ref] | None:
    """The workloads that `--workload` and `-l` mean; None without either."""
    if not choice.workload and not choice.selector:
        return None
    targets = parse_targets(choice.workload or ())
    narrowed = survey(cluster, targets, selector=choice.selector, live=False)
    return frozenset(workload.ref for workload in narrowed.workloads)


def _all_hosts(seen: Survey, sites: Sequence[CallSite], workloads: frozenset[Ref] | None) -> tuple[Host, ...]:
    chosen = [site for site in sites if workloads is None or site.workload in workloads]
    report = inspection.inspect(seen, chosen, findings.check(seen, chosen, None))
    if not report.ready_hosts:
        raise EgressError(
            "there is no host that could be migrated", "kubectl egress inspect shows what there is, and why"
        )
    return report.ready_hosts


def make_plan(
    seen: Survey, sites: Sequence[CallSite], hosts: tuple[Host, ...], workloads: frozenset[Ref] | None, choice: Choice
) -> Plan:
    """The plan with its findings; EgressError for a host that nothing asked for calls."""
    _check_called(hosts, sites, workloads, seen)
    found = findings.check(seen, sites, hosts, fail_open=choice.fail_open)
    request = MigrationRequest(
        hosts=hosts,
        run=secrets.token_hex(4),
        by=f"{getpass.getuser()}@{socket.gethostname()}",
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        fail_open=choice.fail_open,
        workloads=workloads,
    )
    concerned = [one for one in found if workloads is None or one.workload is None or one.workload in workloads]
    return plan_migration(seen, sites, concerned, request)


def _check_called(
    hosts: Sequence[Host], sites: Sequence[CallSite], workloads: frozenset[Ref] | None, seen: Survey
) -> None:
    called = {site.server for site in sites if workloads is None or site.workload in workloads}
    missing = [host for host in hosts if host not in called]
    if missing:
        there = ", ".join(sorted(str(host) for host in called)) or "none"
        raise EgressError(
            f"nothing in namespace {seen.namespace} was found that calls {', '.join(map(str, missing))}",
            f"external hosts that were found: {there}; see kubectl egress inspect",
        )


def _ask_and_do(
    plan: Plan, cluster: Cluster, seen: Survey, sites: Sequence[CallSite], choice: Choice, doing: Doing
) -> int:
    show_plan(plan, "")
    refuse_blocked(plan, frozenset(choice.ignore or ()))
    if doing.exit_code:
        return 3 if plan.steps else 0
    if not plan.steps:
        return 0
    if doing.dry_run == "client":
        say("Nothing was changed (client dry run).\n")
        return 0
    server = doing.dry_run == "server"
    if not server and not confirmed(f"Do these {len(plan.steps)} steps?", doing.yes):
        say("Nothing was changed.\n")
        return 1
    conditions = Conditions(
        timeout=parse_timeout(doing.timeout) or float("inf"),
        window=parse_timeout(doing.window) or 0.0,
        dry_run=server,
        calling=calling(seen, sites, plan.hosts),
    )
    perform(plan, cluster, conditions)
    say("Nothing was changed (server dry run).\n" if server else f"{_names(plan)}: migrated.\n")
    return 0


def perform(plan: Plan, cluster: Cluster, conditions: Conditions) -> Progress:
    """Do a migration's plan, and say each outcome; an interruption says how to go on or back."""
    ticker = Ticker(sys.stderr)

    def tell(outcome: Outcome) -> None:
        ticker.line(outcome_line(outcome))

    def undoing(cause: EgressError) -> None:
        ticker.line(shown(f"error: {cause.message}"))
        ticker.line("undoing what was done:")

    try:
        return transaction.migrate(plan, cluster, replace(conditions, say=ticker.now), tell, undoing)
    except InterruptedMigrationError as interruption:
        ticker.line(interrupted_text(interruption.progress, "migrate"))
        raise
    finally:
        ticker.end()


def interrupted_text(progress: Progress, verb: str) -> str:
    """What was done when Ctrl-C came, and the commands to go on and back."""
    plan = progress.plan
    if not progress.written:
        return "\ninterrupted: nothing was changed"
    where = f"{_names(plan)} -n {plan.namespace}"
    back = f"; kubectl egress undo {where} puts everything back" if verb == "migrate" else ""
    count = f"{len(progress.done)} of {len(plan.steps)} steps"
    return f"\ninterrupted after {count}; kubectl egress {verb} {where} goes on{back}"


def _names(plan: Plan) -> str:
    return " ".join(map(str, plan.hosts))
