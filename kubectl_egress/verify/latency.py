"""Percentiles out of cumulative histogram buckets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Buckets = Sequence[tuple[float, int]]


def percentiles(buckets: Buckets, ranks: Sequence[float] = (50, 95, 99)) -> Mapping[str, float | None]:
    """`p50`, `p95`, … in the buckets' unit, as Prometheus' histogram_quantile has them; None without observations.

    `buckets`: (upper bound, observations up to it), ascending, as `DurationSeries.buckets`.
    """
    return {f"p{rank:g}": _quantile(rank / 100, buckets) for rank in ranks}


def _quantile(share: float, buckets: Buckets) -> float | None:
    """Linear between the bounds of the bucket that holds the rank; what lies beyond the last finite bound is that bound."""
    if not buckets or buckets[-1][1] <= 0:
        return None
    wanted = share * buckets[-1][1]
    index = next(index for index, (_, count) in enumerate(buckets) if count >= wanted)
    bound, count = buckets[index]
    lower, below = buckets[index - 1] if index else (0.0, 0)
    if math.isinf(bound):
        return lower if index else None
    if count == below:  # only at rank 0
        return lower
    return lower + (bound - lower) * (wanted - below) / (count - below)
