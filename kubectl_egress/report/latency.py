"""The latencies of a verdict: the histograms of its pods as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubectl_egress.model import Verdict
from kubectl_egress.verify import percentiles


def latency_of(verdict: Verdict) -> Mapping[str, float | None]:
    """p50, p95 and p99 in ms over the requests of all pods; None where there were none."""
    return percentiles(_added([pod.buckets for pod in verdict.pods if pod.buckets]))


def milliseconds(value: float | None) -> str:
    """`12ms`, `0.4ms`; '' for None."""
    return "" if value is None else f"{value:.0f}ms" if value >= 1 else f"{value:.1f}ms"


def _added(histograms: Sequence[Sequence[tuple[float, int]]]) -> tuple[tuple[float, int], ...]:
    """Cumulative histograms as one; where one lacks a bound, its nearest smaller bound counts."""
    bounds = sorted({bound for histogram in histograms for bound, _ in histogram})
    return tuple((bound, sum(_up_to(histogram, bound) for histogram in histograms)) for bound in bounds)


def _up_to(histogram: Sequence[tuple[float, int]], bound: float) -> int:
    return max((count for other, count in histogram if other <= bound), default=0)
