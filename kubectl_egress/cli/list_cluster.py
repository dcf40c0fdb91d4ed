"""`list` on a live cluster: journals, what they name, and what the sidecars of their workloads say."""

from __future__ import annotations

from collections.abc import Mapping

from kubectl_egress import drift
from kubectl_egress.cli.options import Connection
from kubectl_egress.cli.sources import readable_journals, refuse_blind
from kubectl_egress.cluster import Cluster, connect
from kubectl_egress.cluster.proxies import has_proxy, is_running, read_snapshots
from kubectl_egress.cluster.secrets import Secrets
from kubectl_egress.cluster.survey import is_leaving, survey
from kubectl_egress.drift import Migrations
from kubectl_egress.errors import NotFoundError
from kubectl_egress.model import Body, Proxy, Ref, Survey


def migrations_of(namespace: str, all_namespaces: bool, connection: Connection) -> Migrations:
    """Every migration of the namespace, or of all, held against what is there now."""
    cluster = connect(connection.options(namespace))
    try:
        seen = survey(cluster, all_namespaces=all_namespaces, live=False, secrets=Secrets.RECORDED)
        refuse_blind(seen)
        readable_journals(seen)
        return drift.migrations(seen, originals(cluster, seen), asked(cluster, seen))
    finally:
        cluster.close()


def originals(cluster: Cluster, seen: Survey) -> Mapping[Ref, Body | None]:
    """The ConfigMaps and Secrets that were copied, as they are now; the survey has read the Secrets."""
    found: dict[Ref, Body | None] = {}
    for ref in drift.originals_of(seen):
        if ref.kind == "Secret":
            found[ref] = seen.secrets.get(ref)
            continue
        try:
            found[ref] = seen.config_maps.get(ref) or cluster.get(ref)
        except NotFoundError:
            found[ref] = None
    return found


def asked(cluster: Cluster, seen: Survey) -> Mapping[Ref, Proxy]:
    """What the sidecars of the migrated workloads say about the migrated hosts."""
    hosts = sorted({journal.host for journal in drift.readable(seen)})
    callers = {caller.workload for journal in drift.readable(seen) for caller in journal.callers}
    pods = [
        pod
        for workload in seen.workloads
        if workload.ref in callers
        for pod in workload.pods
        if has_proxy(pod) and is_running(pod) and not is_leaving(pod)
    ]
    said = read_snapshots(cluster, pods, hosts)
    return {Ref(ref.kind, ref.namespace, ref.name): proxy for ref, proxy in said.items()}
