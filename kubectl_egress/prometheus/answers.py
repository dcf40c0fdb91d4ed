"""Answers of Prometheus' HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/) read into histories."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubectl_egress.errors import EgressError
from kubectl_egress.model import Host, Ref
from kubectl_egress.proxy.routing import concerns

Labels = Mapping[str, str]
Samples = Sequence[tuple[Labels, float]]

CLEAR = ("PassthroughCluster", "AllowAnyDynamicDNSCluster")
BLACK_HOLE = "BlackHoleCluster"


@dataclass(frozen=True, slots=True)
class History:
    """What Prometheus knows of the calls of one workload to one host, over a span of time."""

    workload: Ref
    host: Host
    seconds: float
    by_code: Mapping[str, int] = field(default_factory=dict)
    """Requests by response code; PromQL's `increase` is an estimate, here rounded."""
    failed: int = 0
    """Those with a response flag."""
    in_clear: int = 0
    connections: int = 0
    """TCP connections under the host's name: what a caller that encrypts itself has opened."""
    latency: Mapping[str, float | None] = field(default_factory=dict)
    """`p50`, `p95`, `p99` in ms."""
    counted: int | None = None
    """What the counters of all its proxies come to, as they were last scraped; None: there is no series."""
    age: float | None = None
    """Seconds since that."""
    elsewhere: bool = False
    """Whether Prometheus has series of the host at all, under whatever labels."""

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(self.by_code.values())

    @property
    def error_share(self) -> float | None:
        """4xx, 5xx and unanswered, of all; None without a request."""
        errors = sum(count for code, count in self.by_code.items() if code[:1] not in ("1", "2", "3"))
        return errors / self.requests if self.requests else None


def parsed(document: Any) -> Samples:
    """The samples of an instant vector; EgressError with Prometheus' own words where it refuses."""
    data = _data(document)
    if data.get("resultType") != "vector":
        raise EgressError(f"Prometheus answers with a {data.get('resultType')}, where a vector was asked for")
    return [(one["metric"], float(one["value"][1])) for one in data.get("result") or ()]


def scalar(document: Any) -> float:
    """The one number of an answer; EgressError as in `parsed`."""
    data = _data(document)
    if data.get("resultType") != "scalar":
        raise EgressError("what answers is no Prometheus", "check the address: it is that of Prometheus' HTTP API")
    return float(data["result"][1])


def _data(document: Any) -> Mapping[str, Any]:
    if not isinstance(document, Mapping) or document.get("status") not in ("success", "error"):
        raise EgressError("what answers is no Prometheus", "check the address: it is that of Prometheus' HTTP API")
    if document["status"] == "error":
        raise EgressError(f"Prometheus refuses the query: {document.get('error', '')}", "see its version and its log")
    return document.get("data") or {}


def histories(
    pairs: Iterable[tuple[Host, Ref]], answers: Mapping[str, Samples], seconds: float, now: float
) -> tuple[History, ...]:
    """One for each pair, from the answers to `queries` by name; `now`: Prometheus' own time, in seconds of Unix."""
    return tuple(_history(host, workload, answers, seconds, now) for host, workload in pairs)


def _history(host: Host, workload: Ref, answers: Mapping[str, Samples], seconds: float, now: float) -> History:
    def own(name: str) -> list[tuple[Labels, float]]:
        return [(labels, value) for labels, value in answers.get(name, ()) if _of(labels, host, workload)]

    requests = [one for one in own("requests") if one[0].get("destination_service_name") not in (*CLEAR, BLACK_HOLE)]
    counted = [
        value for labels, value in own("counted") if labels.get("destination_service_name") not in (*CLEAR, BLACK_HOLE)
    ]
    sampled = [value for _, value in own("sampled")]
    return History(
        workload=workload,
        host=host,
        seconds=seconds,
        by_code=_by_code(requests),
        failed=_whole(value for labels, value in requests if labels.get("response_flags", "-") not in ("-", "")),
        in_clear=_whole(value for _, value in own("leaks")),
        connections=_whole(value for _, value in own("tcp")),
        latency={name: _quantile(own(name)) for name in ("p50", "p95", "p99")},
        counted=round(sum(counted)) if counted else None,
        age=max(0.0, now - max(sampled)) if sampled else None,
        elsewhere=any(
            concerns(host, labels.get("destination_service_name", "")) for labels, _ in answers.get("anywhere", ())
        ),
    )


def _of(labels: Labels, host: Host, workload: Ref) -> bool:
    named = concerns(host, labels.get("destination_service_name", "")) or concerns(
        host, labels.get("destination_service", "")
    )
    return (
        named
        and labels.get("source_workload") == workload.name
        and labels.get("source_workload_namespace") == workload.namespace
    )


def _by_code(samples: Samples) -> Mapping[str, int]:
    counted: dict[str, float] = {}
    for labels, value in samples:
        code = labels.get("response_code", "")
        counted[code] = counted.get(code, 0.0) + value
    return {code: round(value) for code, value in sorted(counted.items()) if round(value)}


def _whole(values: Iterable[float]) -> int:
    return math.ceil(sum(values) - 1e-9)  # a leak of a fraction is a leak


def _quantile(samples: Samples) -> float | None:
    """The slowest of them, where there are several; NaN is Prometheus' word for none."""
    return max((value for _, value in samples if math.isfinite(value)), default=None)
