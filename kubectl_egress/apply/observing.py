"""Look at the proxies twice and more, and judge what happened in between: pairs of host and workload → Verdict*."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kubectl_egress import mesh
from kubectl_egress.apply.pods import finished, terminating
from kubectl_egress.apply.waiting import patiently
from kubectl_egress.cluster.proxies import read_snapshots
from kubectl_egress.cluster.survey import pods_of
from kubectl_egress.model import Body, Host, PodVerdict, Proxy, ProxyUnread, Ref, Verdict
from kubectl_egress.verify import Baseline, Expected, decided, judge, judge_pod

if TYPE_CHECKING:
    from kubectl_egress.cluster import Cluster

LOOK = 1.0
"""Seconds between two looks."""
PATIENCE = 30.0
"""Seconds for which an API server may be away."""

Pairs = Sequence[tuple[Host, Ref]]


def observe(
    cluster: Cluster,
    pairs: Pairs,
    window: float,
    say: Callable[[str], None],
    *,
    latency: bool = False,
    baselines: Mapping[Host, Baseline] | None = None,
    takers: Mapping[Host, Sequence[str]] | None = None,
) -> tuple[Verdict, ...]:
    """One verdict for each pair, as soon as all are certain, at latest after `window` seconds.

    `latency`: go on until the latencies of the window are there too, which Envoy merges every 5 s.
    `baselines`: how the calls went before, by host. `takers`: other hosts whose entries take connections to a host's alias.
    `before` of a pod is the first look at it: a pod that appears in the window counts from then on.
    """
    taking = takers or {}
    hosts = tuple(
        dict.fromkeys([*(host for host, _ in pairs), *(Host(one) for all_ in taking.values() for one in all_)])
    )
    workloads = tuple(dict.fromkeys(workload for _, workload in pairs))
    patience = time.monotonic() + PATIENCE
    pods = patiently(lambda: _serving(pods_of(cluster, workloads)), patience, say)
    first = dict(_look(cluster, pods, hosts))
    started = time.monotonic()
    while True:
        time.sleep(min(LOOK, max(0.0, window)))
        pods = patiently(lambda: _serving(pods_of(cluster, workloads)), started + window + PATIENCE, say)
        now = _look(cluster, pods, hosts)
        for ref, proxy in now.items():
            if isinstance(first.get(ref, proxy), ProxyUnread):
                first[ref] = proxy  # it has come up since, and counts from here
            first.setdefault(ref, proxy)
        verdicts = tuple(
            _judge(host, workload, pods[workload], first, now, (baselines or {}).get(host), tuple(taking.get(host, ())))
            for host, workload in pairs
        )
        if decided(verdicts, latency=latency) or time.monotonic() - started >= window:
            return verdicts
        say(f"watching the proxies: {_undecided(verdicts)}")


def _serving(pods: Mapping[Ref, tuple[Body, ...]]) -> Mapping[Ref, tuple[Body, ...]]:
    return {
        workload: tuple(pod for pod in found if not terminating(pod) and not finished(pod))
        for workload, found in pods.items()
    }


def _look(cluster: Cluster, pods: Mapping[Ref, tuple[Body, ...]], hosts: Sequence[Host]) -> Mapping[Ref, Proxy]:
    return read_snapshots(cluster, [pod for found in pods.values() for pod in found], hosts)


def _judge(
    host: Host,
    workload: Ref,
    pods: Sequence[Body],
    first: Mapping[Ref, Proxy],
    now: Mapping[Ref, Proxy],
    baseline: Baseline | None,
    takers: tuple[str, ...],
) -> Verdict:
    judged: list[PodVerdict] = []
    for pod in pods:
        ref = Ref("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
        aliases = mesh.aliases_in(pod, host)
        judged.append(judge_pod(host, first[ref], now[ref], Expected.of(host, aliases, takers=takers), baseline))
    closed = bool(pods) and all(mesh.closed_by(mesh.aliases_in(pod, host), [pod]) for pod in pods)
    addresses = dict.fromkeys(address for pod in pods for address in mesh.aliases_in(pod, host)) if closed else ()
    verdict = judge(host, workload, judged, closed)
    return replace(verdict, closed_by=tuple(f"the host alias {address}" for address in addresses))


def _undecided(verdicts: Sequence[Verdict]) -> str:
    return ", ".join(sorted({f"{one.workload.name} {one.host} {one.judgement}" for one in verdicts}))
