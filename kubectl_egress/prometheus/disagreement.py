"""Where Prometheus and the proxies disagree: not scraped, relabelled, stale, or behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_egress.prometheus.answers import History

STALE = 120.0
"""Seconds: two of Prometheus' scrapes at its default interval of one minute."""


def disagreements(history: History, proxies_counted: int | None) -> tuple[str, ...]:
    """In words for a user. `proxies_counted`: requests to the host since the proxies started; None: nobody could ask."""
    if history.age is not None and history.age > STALE:
        return (
            f"stale: Prometheus last scraped these proxies {history.age:.0f} s ago; look at its targets, and at its load",
        )
    if not proxies_counted:
        return ()
    if history.counted is None:
        if history.elsewhere:
            return (
                f"relabelled: the proxies have counted {proxies_counted} requests, and Prometheus has series of "
                f"{history.host} but none with source_workload {history.workload.name}; look at its relabelling and at "
                "Telemetry's tagOverrides",
            )
        return (
            f"not scraped: the proxies have counted {proxies_counted} requests, and Prometheus has none of them; it has to "
            "scrape port 15020 (or 15090), path /stats/prometheus, of these pods",
        )
    if history.counted * 2 < proxies_counted:
        return (
            f"behind: the proxies have counted {proxies_counted} requests, and Prometheus has {history.counted}: some of "
            "these pods are not scraped, or were not until lately",
        )
    return ()


def evidence(history: History, disagreeing: Sequence[str], source: str) -> Mapping[str, Any]:
    """The history as a verdict carries it; `source`: which Prometheus."""
    share = history.error_share
    p95 = history.latency.get("p95")
    parts = [f"{history.requests} requests in {history.seconds:.0f} s"]
    parts += [", ".join(f"{code}×{count}" for code, count in history.by_code.items())] if history.by_code else []
    parts += [f"{100 * share:.1f}% errors"] if share is not None else []
    parts += [f"p95 {p95:.0f}ms"] if p95 is not None else []
    parts += [f"{history.in_clear} in clear"] if history.in_clear else []
    parts += [f"{history.connections} encrypted by the application"] if history.connections else []
    return {
        "source": source,
        "seconds": history.seconds,
        "summary": "; ".join(parts),
        "requests": {"total": history.requests, "byCode": dict(history.by_code)},
        "failed": history.failed,
        "errorShare": share,
        "latencyMs": dict(history.latency),
        "inClear": history.in_clear,
        "connections": history.connections,
        "counted": history.counted,
        "sampleAgeSeconds": None if history.age is None else round(history.age, 1),
        "disagreements": list(disagreeing),
    }
