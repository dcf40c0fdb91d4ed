"""`graph` on a live cluster: what is written, and two looks at the sidecars."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from kubectl_egress import drift, inspection
from kubectl_egress.cli.inspect import checked
from kubectl_egress.cli.options import Connection, History, Selection
from kubectl_egress.cli.sources import refuse_blind
from kubectl_egress.cluster import Cluster, connect
from kubectl_egress.cluster.connection import parse_timeout
from kubectl_egress.cluster.proxies import has_proxy, is_running, read_snapshots
from kubectl_egress.cluster.survey import is_leaving, survey
from kubectl_egress.cluster.targets import parse_targets
from kubectl_egress.graph import Flow, Graph, flows, graph, hosts_of, remembered
from kubectl_egress.model import Body, Host, Proxy, ProxyUnread, Ref, Survey

LOOK = 0.5
"""Seconds between two lines of progress."""


def graph_of(
    targets: Sequence[str],
    selection: Selection,
    window: str,
    history: History,
    connection: Connection,
    say: Callable[[str], None],
) -> Graph:
    """The graph of the targets, with rates over `window` as their own sidecars count them, or from Prometheus."""
    parsed = parse_targets(targets)
    seconds = parse_timeout(window) or 0.0
    cluster = connect(connection.options(selection.namespace))
    try:
        seen = survey(cluster, parsed, selector=selection.selector, all_namespaces=selection.all_namespaces)
        refuse_blind(seen)
        sites = inspection.call_sites(seen)
        report = inspection.inspect(seen, sites, checked(seen, sites))
        hosts = hosts_of(seen, sites)
        source = "the proxies"
        if history.prometheus:
            seconds = parse_timeout(history.since) or 300.0
            found, source = _remembered(cluster, seen, hosts, seconds, history.prometheus)
        else:
            found = _watched(cluster, seen, hosts, seconds, say)
    finally:
        cluster.close()
    return graph(
        seen,
        report,
        found,
        migrated=[(journal.namespace, journal.host) for journal in drift.readable(seen)],
        seconds=seconds,
        source=source,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        unread=list(_unread(seen)),
    )


def _watched(
    cluster: Cluster, seen: Survey, hosts: Sequence[Host], seconds: float, say: Callable[[str], None]
) -> list[Flow]:
    pods = {
        workload.ref: [pod for pod in workload.pods if has_proxy(pod) and is_running(pod) and not is_leaving(pod)]
        for workload in seen.workloads
    }
    everyone = [pod for found in pods.values() for pod in found]
    if not everyone:
        return []
    before = read_snapshots(cluster, everyone, hosts)
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        say(f"watching {len(everyone)} proxies: {left:.0f} s")
        time.sleep(min(LOOK, left))
    after = read_snapshots(cluster, everyone, hosts)
    return [
        flow
        for workload, found in pods.items()
        for flow in flows(workload, hosts, _of(found, before), _of(found, after))
    ]


def _remembered(
    cluster: Cluster, seen: Survey, hosts: Sequence[Host], seconds: float, where: str
) -> tuple[list[Flow], str]:
    """The same from Prometheus, and which one it was."""
    from kubectl_egress.cluster.prometheus import Prometheus
    from kubectl_egress.prometheus import queries

    prometheus = Prometheus(cluster, where)
    answers, _ = prometheus.ask(queries(seen.namespace, seconds))
    found = remembered([workload.ref for workload in seen.workloads], hosts, answers, seconds)
    return list(found), f"Prometheus {prometheus.name}"


def _of(pods: Sequence[Body], said: Mapping[Ref, Proxy]) -> list[Proxy]:
    refs = [Ref("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in pods]
    return [said[ref] for ref in refs]


def _unread(seen: Survey) -> Iterator[str]:
    for one in seen.proxies.values():
        if isinstance(one, ProxyUnread):
            yield f"pod {one.pod.namespace}/{one.pod.name}: {one.reason}"
    for denied in seen.denied:
        if not denied.absent:
            yield f"may not {denied.verb} {denied.resource}"
