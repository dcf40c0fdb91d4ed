"""`verify` on a live cluster: journals → pairs of host and workload → verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kubectl_egress import inspection
from kubectl_egress.apply import observe
from kubectl_egress.cli.options import Connection
from kubectl_egress.cli.sources import journals_of, refuse_blind
from kubectl_egress.cluster import connect
from kubectl_egress.cluster.connection import parse_timeout
from kubectl_egress.cluster.survey import survey
from kubectl_egress.errors import EgressError
from kubectl_egress.model import Host, Ref, Survey, Verdict
from kubectl_egress.urls import parse_host
from kubectl_egress.verify import Baseline


def verdicts_of(
    hosts: Sequence[str], namespace: str, window: str, connection: Connection, say: Callable[[str], None]
) -> tuple[Verdict, ...]:
    """A verdict for each host and each workload that calls it; EgressError when there is none to give."""
    asked = [parse_host(host) for host in hosts]
    cluster = connect(connection.options(namespace))
    try:
        seen = survey(cluster, live=False)
        refuse_blind(seen)
        before = {journal.host: Baseline.of(journal.baseline) for journal in journals_of(seen)}
        seconds = parse_timeout(window) or 0.0
        return observe(cluster, _pairs(seen, asked), seconds, say, latency=True, baselines=before)
    finally:
        cluster.close()


def _pairs(seen: Survey, asked: Sequence[Host]) -> list[tuple[Host, Ref]]:
    """What the journals name, and who else calls a host in clear; a host that was asked for needs no journal."""
    journals = journals_of(seen)
    hosts = asked or sorted(journal.host for journal in journals)
    known = {(journal.host, caller.workload) for journal in journals for caller in journal.callers}
    present = {workload.ref for workload in seen.workloads}
    calling = {(site.server, site.workload) for site in inspection.call_sites(seen) if not site.url.encrypted or asked}
    pairs = sorted(pair for pair in known | calling if pair[0] in hosts and pair[1] in present)
    if pairs:
        return pairs
    if asked:
        raise EgressError(
            f"nothing in namespace {seen.namespace} calls {', '.join(map(str, asked))}",
            "kubectl egress inspect shows what is called",
        )
    raise EgressError(f"nothing is migrated in namespace {seen.namespace}", "give -n NAMESPACE for another namespace")
