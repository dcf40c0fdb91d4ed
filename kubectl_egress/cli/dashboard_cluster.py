"""`dashboard` on a live cluster: what the journals say is migrated."""

from __future__ import annotations

from kubectl_egress import drift
from kubectl_egress.cli.options import Connection
from kubectl_egress.cli.sources import readable_journals, refuse_blind
from kubectl_egress.cluster import connect
from kubectl_egress.cluster.survey import survey
from kubectl_egress.errors import EgressError
from kubectl_egress.report.dashboard import Watched


def watched_of(namespace: str, all_namespaces: bool, connection: Connection) -> tuple[list[Watched], str]:
    """What is migrated, by namespace, and the namespace that was asked for ('' for all). EgressError for nothing."""
    cluster = connect(connection.options(namespace))
    try:
        seen = survey(cluster, all_namespaces=all_namespaces, live=False)
    finally:
        cluster.close()
    refuse_blind(seen)
    readable_journals(seen)
    journals = drift.readable(seen)
    if not journals:
        where = f" in namespace {seen.namespace}" if seen.namespace else ""
        raise EgressError(f"nothing is migrated{where}", "kubectl egress list -A shows what is")
    found = []
    for name in sorted({journal.namespace for journal in journals}):
        own = [journal for journal in journals if journal.namespace == name]
        hosts = tuple(sorted({journal.host for journal in own}))
        workloads = tuple(sorted({caller.workload for journal in own for caller in journal.callers}))
        found.append(Watched(name, hosts, workloads))
    return found, seen.namespace
