"""The flows of a namespace as Prometheus remembers them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kubectl_egress.graph.flows import BLACK_HOLE, PASSTHROUGH, Flow
from kubectl_egress.model import Host, Ref
from kubectl_egress.prometheus import histories
from kubectl_egress.prometheus.answers import Samples


def remembered(
    workloads: Sequence[Ref], hosts: Sequence[Host], answers: Mapping[str, Samples], seconds: float
) -> tuple[Flow, ...]:
    """From the answers to `prometheus.queries`; only what there was."""
    return tuple(_flows(workloads, hosts, answers, seconds))


def _flows(
    workloads: Sequence[Ref], hosts: Sequence[Host], answers: Mapping[str, Samples], seconds: float
) -> Iterator[Flow]:
    for one in histories([(host, ref) for ref in workloads for host in hosts], answers, seconds, 0.0):
        if one.requests or one.connections or one.in_clear:
            p95 = one.latency.get("p95")
            yield Flow(
                one.workload, one.host, seconds, one.requests, one.by_code, one.connections, 0, one.in_clear, p95
            )
    for ref in workloads:
        opened = _sum(answers, "tcp", ref, PASSTHROUGH)
        blocked = _sum(answers, "tcp", ref, (BLACK_HOLE,)) + _sum(answers, "blocked", ref, (BLACK_HOLE,))
        if opened or blocked:
            yield Flow(ref, None, seconds, connections=opened, blocked=blocked)


def _sum(answers: Mapping[str, Samples], query: str, workload: Ref, names: Sequence[str]) -> int:
    return round(
        sum(
            value
            for labels, value in answers.get(query, ())
            if labels.get("destination_service_name") in names
            and labels.get("source_workload") == workload.name
            and labels.get("source_workload_namespace") == workload.namespace
        )
    )
