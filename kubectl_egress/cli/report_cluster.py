"""`report` on a live cluster: journals, drift, verdicts, and the plan of the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from kubectl_egress import drift, kinds
from kubectl_egress.cli.list_cluster import asked, originals
from kubectl_egress.cli.options import Connection
from kubectl_egress.cli.sources import journals_of, refuse_blind
from kubectl_egress.cli.verify_cluster import proven
from kubectl_egress.cluster import Cluster, connect
from kubectl_egress.cluster.connection import parse_timeout
from kubectl_egress.cluster.revisions import revisions
from kubectl_egress.cluster.secrets import Secrets
from kubectl_egress.cluster.survey import survey
from kubectl_egress.errors import EgressError
from kubectl_egress.journal import Journal
from kubectl_egress.model import Host, Survey
from kubectl_egress.plan import Command, by_hand, plan_undo
from kubectl_egress.report.ticket import Ticket
from kubectl_egress.urls import parse_host


def ticket_of(
    hosts: Sequence[str], namespace: str, window: str, connection: Connection, say: Callable[[str], None]
) -> Ticket:
    """Everything that the page says; an empty `window` asks no proxy. EgressError where nothing is migrated."""
    wanted = [parse_host(host) for host in hosts]
    cluster = connect(connection.options(namespace))
    try:
        seen = survey(cluster, live=False, secrets=Secrets.RECORDED)
        refuse_blind(seen)
        journals = _chosen(journals_of(seen), wanted, seen)
        chosen = [journal.host for journal in journals]
        found = drift.migrations(seen, originals(cluster, seen), asked(cluster, seen) if window else None)
        present = {workload.ref for workload in seen.workloads}
        pairs = [
            (one.host, caller.workload) for one in journals for caller in one.callers if caller.workload in present
        ]
        seconds = parse_timeout(window) or 0.0 if window else 0.0
        verdicts = proven(cluster, seen, pairs, seconds, say) if window and pairs else ()
        commands, trouble = _by_hand(cluster, seen, journals)
        return Ticket(
            namespace=seen.namespace,
            server=cluster.transport.server,
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            migrations=tuple(one for one in found.items if one.host in chosen),
            verdicts=verdicts,
            verified=bool(window),
            undo=f"kubectl egress undo {' '.join(map(str, chosen))} -n {seen.namespace}",
            by_hand=commands,
            by_hand_trouble=trouble,
        )
    finally:
        cluster.close()


def _chosen(journals: Sequence[Journal], wanted: Sequence[Host], seen: Survey) -> list[Journal]:
    chosen = [journal for journal in journals if not wanted or journal.host in wanted]
    missing = [host for host in wanted if host not in {journal.host for journal in journals}]
    if missing or not chosen:
        what = ", ".join(map(str, missing)) or "nothing"
        raise EgressError(
            f"{what} is {'not ' if missing else ''}migrated in namespace {seen.namespace}",
            "kubectl egress list -A shows what is",
        )
    return sorted(chosen, key=lambda one: one.host)


def _by_hand(cluster: Cluster, seen: Survey, journals: Sequence[Journal]) -> tuple[tuple[Command, ...], str]:
    """The commands, or why there are none: an undo that has to be refused has no way by hand either."""
    try:
        plan = plan_undo(seen, [journal.host for journal in journals])
    except EgressError as error:
        return (), f"{error.message}; {error.remedy}"
    callers = sorted({caller.workload for journal in journals for caller in journal.callers})
    templates = {workload.ref: kinds.pod_template(workload.document.body) or {} for workload in seen.workloads}
    return by_hand(plan, journals, {ref: revisions(cluster, ref) for ref in callers}, templates), ""
