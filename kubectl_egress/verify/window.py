"""What happened between two snapshots of one proxy: counters as differences."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from kubectl_egress.model import Endpoint, Host, ProxySnapshot, RequestSeries, Upstream
from kubectl_egress.proxy.routing import concerns

LAG = 6.0
"""Seconds by which Envoy's own uptime may be late: it is set when statistics are flushed, every 5 s."""

Buckets = tuple[tuple[float, int], ...]


def restarted(before: ProxySnapshot, after: ProxySnapshot) -> bool:
    """Whether the proxy started anew in between, which its uptime tells where it is known.

    Of a young proxy it may be larger than before and still too small for the time that has passed.
    """
    if after.uptime < before.uptime:
        return True
    passed = after.taken_at - before.taken_at
    return 0 < after.uptime <= passed and after.uptime + LAG < before.uptime + passed


def emptied(snapshot: ProxySnapshot) -> ProxySnapshot:
    """The snapshot of a proxy that has counted nothing yet."""
    upstreams = tuple(dataclasses.replace(upstream, endpoints=()) for upstream in snapshot.upstreams)
    return dataclasses.replace(snapshot, upstreams=upstreams, requests=(), durations=(), tcp=())


def requests_between(host: Host, before: ProxySnapshot, after: ProxySnapshot) -> tuple[RequestSeries, ...]:
    """The series of the host that grew, with what they grew by."""
    old = {(one.service, one.service_name, one.code, one.flags): one.count for one in before.requests}
    grown = (
        dataclasses.replace(
            one, count=_grown(old.get((one.service, one.service_name, one.code, one.flags), 0), one.count)
        )
        for one in after.requests
        if concerns(host, one.service) or concerns(host, one.service_name)
    )
    return tuple(one for one in grown if one.count)


def endpoints_between(before: Upstream | None, after: Upstream) -> tuple[Endpoint, ...]:
    """The cluster's endpoints with what their counters grew by; one that is new counts from zero."""
    old = {(one.address, one.port): one for one in before.endpoints} if before else {}
    return tuple(_endpoint(old.get((one.address, one.port)), one) for one in after.endpoints)


def _endpoint(old: Endpoint | None, new: Endpoint) -> Endpoint:
    if old is None:
        return new
    return dataclasses.replace(
        new,
        connections=_grown(old.connections, new.connections),
        connect_failures=_grown(old.connect_failures, new.connect_failures),
        requests=_grown(old.requests, new.requests),
        successes=_grown(old.successes, new.successes),
        errors=_grown(old.errors, new.errors),
    )


def buckets_of(host: Host, snapshot: ProxySnapshot) -> Buckets:
    """The latencies of the host since the proxy started: cumulative, () without a request."""
    return _added(series.buckets for series in snapshot.durations if concerns(host, series.service))


def buckets_between(host: Host, before: ProxySnapshot, after: ProxySnapshot) -> Buckets:
    """The latencies of the host in the window; () where Envoy has not merged its histograms since (every 5 s)."""
    old, new = dict(buckets_of(host, before)), buckets_of(host, after)
    if new and new[-1][1] < old.get(new[-1][0], 0):
        return new
    grown = tuple((bound, count - old.get(bound, 0)) for bound, count in new)
    return grown if grown and grown[-1][1] else ()


def _added(histograms: Iterable[Buckets]) -> Buckets:
    total: dict[float, int] = {}
    for histogram in histograms:
        for bound, count in histogram:
            total[bound] = total.get(bound, 0) + count
    found = tuple(sorted(total.items()))
    return found if found and found[-1][1] else ()


def _grown(old: int, new: int) -> int:
    """A counter that shrank was made anew: a series that was evicted, an endpoint that came back, a restart."""
    return new - old if new >= old else new
