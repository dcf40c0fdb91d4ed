"""How the calls of a workload go beside how they went before the migration, in numbers and over how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubectl_egress.model import Verdict
from kubectl_egress.report.latency import latency_of, milliseconds


@dataclass(frozen=True, slots=True)
class Calls:
    """So many, in so long, and how they went; None: nobody could see it."""

    count: int
    unit: str
    """`requests`, `connections`; '' where nothing was seen."""
    seconds: float | None
    failed: float | None
    """Share that failed on the way."""
    errors: float | None
    """4xx and 5xx of the server, of its answers."""
    p95: float | None
    """ms."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`before`: of all callers of the host, since their proxies had started. `now`: of the workload, in the window."""

    before: Calls
    now: Calls


def comparison(verdict: Verdict) -> Comparison | None:
    """Of all pods together; None where the migration's journal has nothing of before."""
    told = [pod.evidence for pod in verdict.pods if "before" in pod.evidence]
    if not told:
        return None
    before = told[0]["before"]
    calls = Calls(
        before.get("count", 0),
        before.get("unit", ""),
        before.get("seconds"),
        before.get("failedShare"),
        before.get("errorShare"),
        (before.get("latencyMs") or {}).get("p95"),
    )
    return Comparison(calls, _now(verdict, told))


def _now(verdict: Verdict, told: Sequence[Mapping[str, Any]]) -> Calls:
    parts = [one["now"] for one in told]
    count, failed = sum(one["count"] for one in parts), sum(one["failed"] for one in parts)
    answered = count - failed
    errors = sum((one["errorShare"] or 0.0) * (one["count"] - one["failed"]) for one in parts)
    return Calls(
        count,
        "requests",
        max(one["window"]["seconds"] for one in told),
        failed / count if count else None,
        errors / answered if answered else None,
        latency_of(verdict)["p95"],
    )


def calls_text(calls: Calls) -> str:
    """`100 connections in 2m`; `unknown` where nothing was seen."""
    if not calls.unit:
        return "unknown"
    return f"{calls.count} {calls.unit}" + (f" in {span(calls.seconds)}" if calls.seconds else "")


def span(seconds: float) -> str:
    """`7s`, `12m`, `3h`, `2d`: the largest whole unit of which there are at least two."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s" if seconds >= 1 else f"{seconds:.1f}s"


def share(value: float | None) -> str:
    """`2.5%`, or `unknown`."""
    return "unknown" if value is None else f"{100 * value:.1f}%"


def comparison_lines(compared: Comparison) -> tuple[str, str]:
    """Now and before, each as one line."""
    return f"now     {_line(compared.now)}", f"before  {_line(compared.before)}"


def _line(calls: Calls) -> str:
    if not calls.unit:
        return "unknown: the proxies had no name for it"
    if not calls.count:
        return calls_text(calls)
    seen = [f"{share(calls.failed)} failed on the way"]
    if calls.unit == "connections":
        seen.append("answers and latency nobody could see")
    seen += [f"{share(calls.errors)} errors of the server"] if calls.errors is not None else []
    seen += [f"p95 {milliseconds(calls.p95)}"] if calls.p95 is not None else []
    return f"{calls_text(calls)}: {', '.join(seen)}"
