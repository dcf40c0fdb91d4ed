"""How much the mesh sees of the calls of a workload, as its proxies are configured and have counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubectl_egress.model import CallSite, Host, Proxy, ProxySnapshot, Upstream, Visibility
from kubectl_egress.proxy.routing import by_name, route_of

_BLACK_HOLE = "BlackHoleCluster"
_PASSTHROUGH = ("PassthroughCluster", "AllowAnyDynamicDNSCluster")

# Least sight last: pods and call sites of one workload may differ, and the promise is about all of them.
_LEAST_LAST = (Visibility.FULL, Visibility.NAMED, Visibility.OPAQUE, Visibility.BLOCKED)


@dataclass(frozen=True, slots=True)
class Nameless:
    """What the proxies sent to, or kept from, hosts that the mesh does not know, since they started."""

    connections: int = 0
    """TCP connections through PassthroughCluster."""
    requests: int = 0
    """Plain HTTP requests through it."""
    blocked: int = 0
    """Requests and connections that BlackHoleCluster took."""
    addresses: tuple[str, ...] = ()
    """`address:port` of where to; Envoy forgets an address some seconds after its last connection."""


def visibility(host: Host, proxies: Sequence[Proxy], sites: Sequence[CallSite]) -> Visibility:
    """What the mesh knows of the calls to a host; of several proxies and call sites, the one of which it knows least.

    Without call sites, of a call to `https://HOST`. `unknown` where no proxy could be read.
    """
    # A call in plain HTTP may be of another port than the server's.
    plain = {0 if site.url.encrypted else site.host.port for site in sites} or {0}
    seen = [
        _plain(host, proxy, port) if port else _encrypted(host, proxy)
        for proxy in proxies
        if isinstance(proxy, ProxySnapshot)
        for port in plain
    ]
    return max(seen, key=_LEAST_LAST.index, default=Visibility.UNKNOWN)


def _encrypted(host: Host, proxy: ProxySnapshot) -> Visibility:
    """A call that the application encrypts: its SNI picks a cluster of the port, if there is one."""
    if any(_names(upstream, host) for upstream in proxy.upstreams):
        return Visibility.NAMED
    return Visibility.BLOCKED if _blocks(proxy) else Visibility.OPAQUE


def _plain(host: Host, proxy: ProxySnapshot, port: int) -> Visibility:
    """A call in plain HTTP: its Host header picks a virtual host, and that a cluster."""
    route = route_of(host, proxy, port)
    if route is None:
        return Visibility.BLOCKED if _blocks(proxy) else Visibility.OPAQUE
    known = by_name(proxy)
    found = [known.get(name) for name in route.clusters]
    if not found or _BLACK_HOLE in route.clusters:
        return Visibility.BLOCKED
    if any(upstream is None or upstream.name in _PASSTHROUGH for upstream in found):
        return Visibility.OPAQUE
    encrypts = all(upstream is not None and upstream.tls is not None for upstream in found)
    return Visibility.FULL if encrypts else Visibility.NAMED


def _names(upstream: Upstream, host: Host) -> bool:
    covers = upstream.host == host.name or (upstream.host.startswith("*.") and host.name.endswith(upstream.host[1:]))
    return upstream.direction == "outbound" and upstream.port == host.port and covers


def _blocks(proxy: ProxySnapshot) -> bool:
    """REGISTRY_ONLY: the listener's last resort is the black hole, and any route table's `*` is answered by the proxy."""
    if proxy.catch_all:
        return proxy.catch_all == _BLACK_HOLE
    return any("*" in found.domains and not found.clusters for found in proxy.virtual_hosts)


def passthrough(proxies: Sequence[Proxy]) -> Nameless:
    """The counters of PassthroughCluster and BlackHoleCluster, over all proxies that could be read."""
    read = [proxy for proxy in proxies if isinstance(proxy, ProxySnapshot)]
    addresses = {
        f"[{one.address}]:{one.port}" if ":" in one.address else f"{one.address}:{one.port}"
        for proxy in read
        for upstream in proxy.upstreams
        if upstream.name in _PASSTHROUGH
        for one in upstream.endpoints
    }
    return Nameless(
        connections=sum(map(_connections, read)),
        requests=sum(one.count for proxy in read for one in proxy.requests if one.service_name in _PASSTHROUGH),
        blocked=sum(one.count for proxy in read for one in proxy.requests if one.service_name == _BLACK_HOLE)
        + sum(one.opened for proxy in read for one in proxy.tcp if one.service_name == _BLACK_HOLE),
        addresses=tuple(sorted(addresses)),
    )


def _connections(proxy: ProxySnapshot) -> int:
    """As Istio counts them; where its metrics are off, as far as Envoy still knows the addresses."""
    counted = sum(one.opened for one in proxy.tcp if one.service_name in _PASSTHROUGH)
    upstreams = (upstream for upstream in proxy.upstreams if upstream.name in _PASSTHROUGH)
    return counted or sum(one.connections for upstream in upstreams for one in upstream.endpoints)
