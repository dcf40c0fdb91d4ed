"""What became of the requests to a host in the window: sent over TLS, answered, failed, or out in clear."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kubectl_egress.model import Endpoint, Host, ProxySnapshot, RequestSeries, Upstream
from kubectl_egress.proxy.routing import CLEAR_PORT, by_name, route_of
from kubectl_egress.verify.configured import Expected, shown
from kubectl_egress.verify.window import (
    Buckets,
    buckets_between,
    buckets_of,
    emptied,
    endpoints_between,
    requests_between,
    restarted,
)

# Response flags (envoyproxy.io, access log command operators). With these alone, no byte of the request left the proxy;
# URX only says that it was not tried again.
_UNSENT = frozenset(
    {"UH", "UF", "UO", "NR", "NC", "DF", "NFCF", "RFCF", "RL", "RLSE", "UAEX", "FI", "OM", "DO", "UDO", "URX"}
)
# With these, Envoy answered in the server's place, or the connection to it broke. Not DC and DPE, the application's own.
PROXY_MADE = _UNSENT | {"DT", "UT", "LR", "UR", "UC", "UPE", "UMSDR", "IH", "SI", "DR"}

MEANINGS = {
    "DF": "its name does not resolve",
    "NC": "the proxy has no cluster for it",
    "NR": "the proxy has no route for it",
    "UC": "the server broke the connection off",
    "UF": "no connection: the server's certificate was refused, or nobody answers there",
    "UH": "the proxy has no address of it",
    "UO": "a circuit breaker is open",
    "UR": "the server reset the request",
    "UT": "the server took too long",
}
"""Of the flags that somebody meets, what they say of a host whose TLS the sidecar originates."""

_BLACK_HOLE = "BlackHoleCluster"
_PASSTHROUGH = ("PassthroughCluster", "AllowAnyDynamicDNSCluster")


@dataclass(frozen=True, slots=True)
class Traffic:
    """The requests to one host in one window, through one proxy."""

    seconds: float
    restarted: bool
    sent: tuple[Endpoint, ...]
    """The endpoints of the clusters that originate TLS, with what their counters grew by."""
    underway: bool
    """Whether requests had been sent before the window, which may have ended in it, or addresses came and went."""
    answered: tuple[RequestSeries, ...]
    """What the server answered, whatever the code."""
    failed: tuple[RequestSeries, ...]
    """What the proxy answered itself, or what broke on the way."""
    abandoned: tuple[RequestSeries, ...]
    """What the application gave up before an answer."""
    leaked: tuple[RequestSeries, ...]
    """What no cluster of the host took, and left."""
    leaks: tuple[str, ...]
    """Everything that went out in clear, in words."""
    possible_leaks: tuple[str, ...]
    """What may have, for all that the proxy knows."""
    since_start_count: int
    """Requests under the host's name since the proxy or its metrics began; 0: it exports no `istio_requests_total` of it."""
    buckets: Buckets
    since_start: bool
    """Whether `buckets` are those since the proxy started, since there are none of the window yet."""

    @property
    def requests(self) -> tuple[RequestSeries, ...]:
        """All of them."""
        return (*self.answered, *self.failed, *self.abandoned, *self.leaked)

    @property
    def seen(self) -> int:
        """Requests that `istio_requests_total` counted under the host."""
        return total((*self.answered, *self.failed, *self.abandoned))

    @property
    def used(self) -> int:
        """Requests that were sent over TLS."""
        return sum(endpoint.requests for endpoint in self.sent)

    @property
    def connect_failures(self) -> int:
        """TLS connections that were not made."""
        return sum(endpoint.connect_failures for endpoint in self.sent)


def traffic(host: Host, before: ProxySnapshot, after: ProxySnapshot, expected: Expected) -> Traffic:
    """Compare two snapshots of one proxy; after a restart, everything since it."""
    anew = restarted(before, after)
    start = emptied(before) if anew else before
    series = requests_between(host, start, after)
    clear = _clear(after)
    leaked = [one for one in series if one.service_name in clear and _left(one, expected)]
    rest = [one for one in series if one not in leaked]
    failed = [one for one in rest if one.service_name in (_BLACK_HOLE, *clear) or flags_of(one) & PROXY_MADE]
    abandoned = [one for one in rest if one not in failed and one.code in ("0", "")]
    sent = tuple(one for upstream in _encrypting(host, after) for one in _difference(upstream, start))
    in_window = buckets_between(host, start, after)
    return Traffic(
        seconds=after.taken_at - before.taken_at,
        restarted=anew,
        sent=sent,
        underway=any(one.requests for one in _endpoints(host, start)) or _moved(host, start, after),
        answered=tuple(one for one in rest if one not in failed and one not in abandoned),
        failed=tuple(failed),
        abandoned=tuple(abandoned),
        leaked=tuple(leaked),
        leaks=(
            *_named_leaks(leaked),
            *_address_leaks(host, start, after, expected),
            *_cluster_leaks(host, start, after),
            *_taken_leaks(host, start, after, expected),
        ),
        possible_leaks=tuple(_possible_leaks(host, start, after, expected)),
        # Istio rotates its metrics: what was exported before the window is not off.
        since_start_count=_exported(host, after) or _exported(host, start),
        buckets=in_window or buckets_of(host, after),
        since_start=not in_window and bool(buckets_of(host, after)),
    )


def _exported(host: Host, snapshot: ProxySnapshot) -> int:
    series = requests_between(host, emptied(snapshot), snapshot)
    return total(one for one in series if one.service_name not in (_BLACK_HOLE, *_PASSTHROUGH))


def total(series: Iterable[RequestSeries]) -> int:
    """How many requests."""
    return sum(one.count for one in series)


def flags_of(one: RequestSeries) -> frozenset[str]:
    """The response flags of a series, `-` for none left out."""
    return frozenset(one.flags.split(",")) - {"-", ""}


def _clear(snapshot: ProxySnapshot) -> frozenset[str]:
    """Istio's clusters for unknown hosts, as far as they send what they get as it is."""
    known = by_name(snapshot)
    return frozenset(name for name in _PASSTHROUGH if name not in known or known[name].tls is None)


def _left(one: RequestSeries, expected: Expected) -> bool:
    """Whether a request that no service entry took may have left in clear.

    With an alias it waits for a connection that nobody accepts, until Envoy (UF) or the application (DC, code 0) gives up.
    """
    waiting = bool(expected.aliases) and one.code in ("0", "") and flags_of(one) == {"DC"}
    return not (waiting or (flags_of(one) and flags_of(one) <= _UNSENT))


def _routed(host: Host, snapshot: ProxySnapshot) -> tuple[str, ...]:
    route = route_of(host, snapshot)
    return route.clusters if route else ()


def _taking(host: Host, snapshot: ProxySnapshot) -> list[Upstream]:
    """The clusters that may take `http://HOST`: those of the port that it calls, and those to which its route leads."""
    routed = _routed(host, snapshot)
    return [
        one
        for one in snapshot.upstreams
        if one.direction == "outbound" and (one.name in routed or (one.host == host.name and one.port == CLEAR_PORT))
    ]


def _encrypting(host: Host, snapshot: ProxySnapshot) -> list[Upstream]:
    return [one for one in _taking(host, snapshot) if one.tls is not None]


def _endpoints(host: Host, snapshot: ProxySnapshot) -> list[Endpoint]:
    return [one for upstream in _encrypting(host, snapshot) for one in upstream.endpoints]


def _moved(host: Host, before: ProxySnapshot, after: ProxySnapshot) -> bool:
    """Whether DNS took an address away, and its counters with it."""
    return bool({one.address for one in _endpoints(host, before)} - {one.address for one in _endpoints(host, after)})


def _difference(upstream: Upstream, before: ProxySnapshot) -> tuple[Endpoint, ...]:
    return endpoints_between(by_name(before).get(upstream.name), upstream)


def _named_leaks(leaked: Iterable[RequestSeries]) -> Iterator[str]:
    counted: dict[str, int] = {}
    for one in leaked:
        counted[one.service_name] = counted.get(one.service_name, 0) + one.count
    for name, count in counted.items():
        yield f"{_requests(count)} in clear through {name}"


def _address_leaks(host: Host, before: ProxySnapshot, after: ProxySnapshot, expected: Expected) -> Iterator[str]:
    """Connections past every cluster to an address of the host, on the port that is not encrypted.

    Another host at the same address looks the same.
    """
    own = {
        one.address
        for snapshot in (before, after)
        for upstream in _own(host, snapshot)
        for one in upstream.endpoints
        if not expected.nowhere(one.address)
    }
    for upstream, one, made in _past_all(before, after, expected):
        if one.address in own:
            yield f"{_connections(made)} to {shown(one)}, an address of {host.name}, through {upstream.name}"


def _possible_leaks(host: Host, before: ProxySnapshot, after: ProxySnapshot, expected: Expected) -> Iterator[str]:
    """The same of a proxy that has no cluster of the host, as where its entry was deleted: whose they are is not known."""
    if not [*_own(host, before), *_own(host, after)]:
        for upstream, one, made in _past_all(before, after, expected):
            yield f"{_connections(made)} to {shown(one)} through {upstream.name} may be to {host.name}, in clear"


def _own(host: Host, snapshot: ProxySnapshot) -> list[Upstream]:
    taking = _taking(host, snapshot)
    return [one for one in snapshot.upstreams if one.host == host.name or one in taking]


def _past_all(
    before: ProxySnapshot, after: ProxySnapshot, expected: Expected
) -> Iterator[tuple[Upstream, Endpoint, int]]:
    """Connections that no entry took, on the port that is not encrypted: cluster, address, and how many were made.

    One that was not made carried nothing.
    """
    for upstream in after.upstreams:
        if upstream.name not in _clear(after):
            continue
        for one in _difference(upstream, before):
            made = max(one.requests, one.connections - one.connect_failures)
            if one.port == CLEAR_PORT and made > 0 and not expected.nowhere(one.address):
                yield upstream, one, made


def _cluster_leaks(host: Host, before: ProxySnapshot, after: ProxySnapshot) -> Iterator[str]:
    """Requests through a cluster of the host that does not originate TLS, counted under the host's own name.

    Of port 80, or where the route leads: others carry what the application itself encrypts.
    """
    old = by_name(before)
    for upstream in _taking(host, after):
        earlier = old.get(upstream.name)
        encrypted = upstream.tls is not None and (earlier is None or earlier.tls is not None)
        if encrypted:
            continue
        count = sum(one.requests for one in endpoints_between(earlier, upstream))
        if count:
            yield f"{_requests(count)} in clear through cluster {upstream.name}"


def _taken_leaks(host: Host, before: ProxySnapshot, after: ProxySnapshot, expected: Expected) -> Iterator[str]:
    """Connections to the alias that another host's entry took: what it is for is not told apart from this host's calls."""
    for upstream in after.upstreams:
        if upstream.host in expected.takers and upstream.port == CLEAR_PORT and upstream.tls is None:
            made = sum(one.connections - one.connect_failures for one in _difference(upstream, before))
            if made > 0:
                yield f"{_connections(made)} in clear through cluster {upstream.name}"


def _requests(count: int) -> str:
    return f"{count} request{'' if count == 1 else 's'}"


def _connections(count: int) -> str:
    return f"{count} connection{'' if count == 1 else 's'}"


def by_code(series: Iterable[RequestSeries]) -> Mapping[str, int]:
    """Requests by response code."""
    counted: dict[str, int] = {}
    for one in series:
        counted[one.code] = counted.get(one.code, 0) + one.count
    return dict(sorted(counted.items()))
