"""How the calls to a host went before it was migrated, so that "no worse than before" is a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubectl_egress.model import Endpoint, Host, ProxySnapshot
from kubectl_egress.proxy.routing import concerns
from kubectl_egress.verify.latency import percentiles
from kubectl_egress.verify.traffic import PROXY_MADE, flags_of, total
from kubectl_egress.verify.window import buckets_of

ENOUGH = 20
"""Below so many calls a share is chance: then none may fail."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """How the calls went before."""

    failed_share: float = 0.0
    """Requests (or connections) that failed on the way, of all."""
    error_share: float | None = None
    """4xx and 5xx of the server, of all answers; None: not known, since the application encrypted."""
    measured: Mapping[str, Any] | None = None
    """What the journal keeps, as `measure` gives it."""

    @classmethod
    def of(cls, measured: Mapping[str, Any] | None) -> Baseline:
        """As a journal has it; None, or too few calls: nothing may fail."""
        if not measured or measured.get("count", 0) < ENOUGH:
            return cls(measured=measured or None)
        return cls(measured.get("failedShare") or 0.0, measured.get("errorShare"), measured)


def measure(host: Host, proxies: Sequence[ProxySnapshot], *, alone: bool) -> Mapping[str, Any]:
    """What the proxies counted of a host since they started: `unit`, `count`, `seconds`, `failed`, `failedShare`, `errorShare`, `latencyMs`.

    `seconds`: since the oldest of them started. `unit` is `requests` where the mesh saw them, `connections` where it saw bytes, '' where it did not know the host.
    `alone`: whether the proxies call no other external host, so that connections without a name were for this one.
    """
    seconds = round(max((proxy.uptime for proxy in proxies), default=0.0)) or None
    series = [one for proxy in proxies for one in proxy.requests if concerns(host, one.service_name)]
    if requests := total(series):
        failed = total([one for one in series if flags_of(one) & PROXY_MADE])
        errors = total([one for one in series if one.code[:1] in ("4", "5") and not flags_of(one) & PROXY_MADE])
        found = [buckets for proxy in proxies if (buckets := buckets_of(host, proxy))]
        latency = dict(percentiles(found[0])) if len(found) == 1 else None
        return _measured("requests", requests, seconds, failed, errors, latency)
    ends = list(_connections(host, proxies, alone))
    tried = sum(one.connections for one in ends)
    if not tried:
        return _measured("", 0, seconds, 0, None, None)
    return _measured("connections", tried, seconds, sum(one.connect_failures for one in ends), None, None)


def _measured(
    unit: str,
    count: int,
    seconds: int | None,
    failed: int,
    errors: int | None,
    latency: Mapping[str, float | None] | None,
) -> Mapping[str, Any]:
    answered = count - failed
    return {
        "unit": unit,
        "count": count,
        "seconds": seconds,
        "failed": failed,
        "failedShare": failed / count if count else None,
        "errorShare": None if errors is None else errors / answered if answered else 0.0,
        "latencyMs": latency,
    }


def _connections(host: Host, proxies: Sequence[ProxySnapshot], alone: bool) -> list[Endpoint]:
    upstreams = [upstream for proxy in proxies for upstream in proxy.upstreams]
    named = [
        one
        for upstream in upstreams
        if upstream.host == host.name and upstream.port == host.port
        for one in upstream.endpoints
    ]
    if any(one.connections for one in named) or not alone:
        return named
    return [
        one
        for upstream in upstreams
        if upstream.name == "PassthroughCluster"
        for one in upstream.endpoints
        if one.port == host.port
    ]
