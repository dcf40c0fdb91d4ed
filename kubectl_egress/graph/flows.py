"""What the proxies of a workload carried to a host between two looks, in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kubectl_egress.model import Host, Proxy, ProxySnapshot, Ref, RequestSeries, TcpSeries
from kubectl_egress.verify import percentiles
from kubectl_egress.verify.window import Buckets, buckets_between, buckets_of, emptied, requests_between, restarted

PASSTHROUGH = ("PassthroughCluster", "AllowAnyDynamicDNSCluster")
BLACK_HOLE = "BlackHoleCluster"


@dataclass(frozen=True, slots=True)
class Flow:
    """What one workload sent to one host in a span of time."""

    workload: Ref
    host: Host | None
    """None: hosts without a name."""
    seconds: float
    requests: int = 0
    """HTTP requests that the mesh saw."""
    by_code: Mapping[str, int] = field(default_factory=dict)
    connections: int = 0
    """TCP connections of which it saw no more."""
    blocked: int = 0
    """Requests and connections that the mesh kept from leaving."""
    in_clear: int = 0
    """Plain requests of the host that no entry took, and that left as they were."""
    p95: float | None = None
    """ms; None: nobody could see."""


def flows(workload: Ref, hosts: Sequence[Host], before: Sequence[Proxy], after: Sequence[Proxy]) -> tuple[Flow, ...]:
    """The flows of one workload through its proxies, to `hosts` and to those without a name; only what there was.

    A proxy that restarted in between counts from its start.
    """
    old = {one.pod: one for one in before if isinstance(one, ProxySnapshot)}
    pairs = [(_start(old[new.pod], new), new) for new in after if isinstance(new, ProxySnapshot) and new.pod in old]
    seconds = max((new.taken_at - old[new.pod].taken_at for _, new in pairs), default=0.0)
    found = [_to_host(workload, host, pairs, seconds) for host in hosts]
    nameless = _nameless(workload, pairs, seconds)
    return tuple(flow for flow in (*found, nameless) if _any(flow))


def _start(before: ProxySnapshot, after: ProxySnapshot) -> ProxySnapshot:
    return emptied(before) if restarted(before, after) else before


def _any(flow: Flow) -> bool:
    return bool(flow.requests or flow.connections or flow.blocked or flow.in_clear)


def _to_host(workload: Ref, host: Host, pairs: Sequence[tuple[ProxySnapshot, ProxySnapshot]], seconds: float) -> Flow:
    series = [one for before, after in pairs for one in requests_between(host, before, after)]
    own = [one for one in series if one.service_name not in (*PASSTHROUGH, BLACK_HOLE)]
    return Flow(
        workload=workload,
        host=host,
        seconds=seconds,
        requests=_total(own),
        by_code=_by_code(own),
        connections=sum(count for before, after in pairs for count in _opened(before, after, (host.name,))),
        blocked=_total(one for one in series if one.service_name == BLACK_HOLE),
        in_clear=_total(one for one in series if one.service_name in PASSTHROUGH),
        p95=percentiles(_latency(host, pairs))["p95"] if own else None,
    )


def _nameless(workload: Ref, pairs: Sequence[tuple[ProxySnapshot, ProxySnapshot]], seconds: float) -> Flow:
    return Flow(
        workload=workload,
        host=None,
        seconds=seconds,
        connections=sum(count for before, after in pairs for count in _opened(before, after, PASSTHROUGH)),
        blocked=sum(count for before, after in pairs for count in _opened(before, after, (BLACK_HOLE,))),
    )


def _latency(host: Host, pairs: Sequence[tuple[ProxySnapshot, ProxySnapshot]]) -> Buckets:
    """Of the window; where Envoy has not merged its histograms since, of all the time."""
    found = [buckets_between(host, before, after) for before, after in pairs]
    found = [one for one in found if one] or [one for _, after in pairs if (one := buckets_of(host, after))]
    counted: dict[float, int] = {}
    for bound, count in (item for buckets in found for item in buckets):
        counted[bound] = counted.get(bound, 0) + count
    return tuple(sorted(counted.items()))


def _opened(before: ProxySnapshot, after: ProxySnapshot, names: Sequence[str]) -> Iterator[int]:
    old: Mapping[tuple[str, str], TcpSeries] = {(one.service, one.service_name): one for one in before.tcp}
    for one in after.tcp:
        if one.service_name in names:
            known = old.get((one.service, one.service_name))
            grown = one.opened - (known.opened if known and known.opened <= one.opened else 0)
            yield grown


def _total(series: Iterable[RequestSeries]) -> int:
    return sum(one.count for one in series)


def _by_code(series: Iterable[RequestSeries]) -> Mapping[str, int]:
    counted: dict[str, int] = {}
    for one in series:
        counted[one.code] = counted.get(one.code, 0) + one.count
    return dict(sorted(counted.items()))


def names_seen(proxies: Iterable[Proxy]) -> frozenset[str]:
    """Every destination's name that the proxies have counted, external or not."""
    read = [proxy for proxy in proxies if isinstance(proxy, ProxySnapshot)]
    return frozenset(
        name
        for proxy in read
        for name in (*(one.service_name for one in proxy.requests), *(one.service_name for one in proxy.tcp))
        if name not in (*PASSTHROUGH, BLACK_HOLE)
    )
