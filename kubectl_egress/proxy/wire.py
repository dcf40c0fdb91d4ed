"""What the sidecars of a workload saw on the wire, by destination, and which of it the spec knows."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kubectl_egress.model import Host, Proxy, ProxySnapshot, Ref, Upstream
from kubectl_egress.proxy.access_log import NAMELESS
from kubectl_egress.proxy.routing import CLEAR_PORT

_PASSTHROUGH = ("PassthroughCluster", "AllowAnyDynamicDNSCluster")
_BLACK_HOLE = "BlackHoleCluster"

# Private, shared, loopback and link-local (RFC 1918, 6598, 1122, 3927, 4193, 4291): pods, nodes, the metadata server.
_INSIDE = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
         "fc00::/7", "fe80::/10", "::1/128"),
    )
)  # fmt: skip


class KnownBy(StrEnum):
    """How it is known which host a destination is."""

    CLUSTER = "cluster"
    """The proxy has a cluster of that name."""
    SERVER_NAME = "server name"
    """The SNI in the access log."""
    AUTHORITY = "authority"
    """The Host header of a plain request, which the metrics have."""
    ADDRESS = "address"
    """A host of the spec has that address, as resolved by this machine."""
    NOTHING = ""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the pods of a workload went, and how often, since their sidecars started."""

    host: Host
    """By name if it is known, else by address."""
    known_by: KnownBy
    cluster: str
    addresses: tuple[str, ...] = ()
    connections: int = 0
    requests: int = 0
    errors: int = 0
    pods: tuple[Ref, ...] = ()

    @property
    def blocked(self) -> bool:
        """Whether it went nowhere: REGISTRY_ONLY."""
        return self.cluster == _BLACK_HOLE


def nameless(proxies: Iterable[Proxy]) -> tuple[Destination, ...]:
    """What went through PassthroughCluster and its like: by SNI where the log has it, by Host header, else by address."""
    found = [
        one for proxy in proxies if isinstance(proxy, ProxySnapshot) for one in (*_by_address(proxy), *_requests(proxy))
    ]
    return _together(found)


def has_nameless(proxy: ProxySnapshot) -> bool:
    """Whether it has sent anything, or was kept from sending, to hosts without a name."""
    services = [*(one.service_name for one in proxy.tcp), *(one.service_name for one in proxy.requests)]
    return not NAMELESS.isdisjoint(services) or any(
        upstream.name in _PASSTHROUGH and upstream.endpoints for upstream in proxy.upstreams
    )


def named(proxies: Iterable[Proxy], names: Collection[str]) -> tuple[Destination, ...]:
    """What went through clusters of these hosts."""
    read = (proxy for proxy in proxies if isinstance(proxy, ProxySnapshot))
    return _together(
        _of_cluster(proxy, upstream)
        for proxy in read
        for upstream in proxy.upstreams
        if upstream.direction == "outbound" and upstream.host in names and upstream.endpoints
    )


def matched(
    destinations: Iterable[Destination], hosts: Iterable[Host], resolved: Mapping[str, frozenset[str]]
) -> Iterator[tuple[Host, Destination]]:
    """Each destination that is one of the hosts, by name or by address; one address may be that of several."""
    called = tuple(hosts)
    for one in destinations:
        for host in called:
            if one.host.name == host.name and one.host.port in _ports(host):
                yield host, one
            elif _has_address(host, one, resolved):
                yield host, replace(one, known_by=KnownBy.ADDRESS)


def _has_address(host: Host, one: Destination, resolved: Mapping[str, frozenset[str]]) -> bool:
    nameless_there = one.known_by is KnownBy.NOTHING and one.host.port in _ports(host)
    return nameless_there and one.host.name in resolved.get(host.name, ())


def unknown(
    destinations: Iterable[Destination], hosts: Iterable[Host], resolved: Mapping[str, frozenset[str]]
) -> tuple[Destination, ...]:
    """The destinations that are none of the hosts.

    An address counts only if it is a public one, and if every host that is called on that port did resolve: else it may
    be one of those.
    """
    called = tuple(hosts)
    all_of_them = tuple(destinations)
    known = {replace(one, known_by=KnownBy.NOTHING) for _, one in matched(all_of_them, called, resolved)}
    dark = {port for host in called if host.name not in resolved for port in _ports(host)}
    names = {host.name for host in called}
    return tuple(
        one
        for one in all_of_them
        if replace(one, known_by=KnownBy.NOTHING) not in known
        and one.host.name not in names
        and (one.known_by is not KnownBy.NOTHING or (is_public(one.host.name) and one.host.port not in dark))
    )


def _ports(host: Host) -> tuple[int, ...]:
    """`http://HOST` and `https://HOST` are one host to whoever migrates it."""
    return (80, 443) if host.port in (80, 443) else (host.port,)


def is_public(address: str) -> bool:
    """Whether it is an address that is not of a network's own."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not any(parsed in network for network in _INSIDE)


def _by_address(proxy: ProxySnapshot) -> Iterator[Destination]:
    told = Counter((one.server_name, one.port, one.cluster) for one in proxy.logged)
    addresses: dict[tuple[str, int, str], set[str]] = {}
    for one in proxy.logged:
        addresses.setdefault((one.server_name, one.port, one.cluster), set()).add(one.address)
    for key, count in told.items():
        name, port, cluster = key
        where = tuple(sorted(addresses[key]))
        yield Destination(Host(name, port), KnownBy.SERVER_NAME, cluster, where, count, pods=(proxy.pod,))
    with_name = {(one.address, one.port) for one in proxy.logged}
    for upstream in proxy.upstreams:
        for endpoint in upstream.endpoints if upstream.name in _PASSTHROUGH else ():
            if (endpoint.address, endpoint.port) not in with_name:
                yield Destination(
                    Host(endpoint.address, endpoint.port),
                    KnownBy.NOTHING,
                    upstream.name,
                    (endpoint.address,),
                    endpoint.connections,
                    pods=(proxy.pod,),
                )


def _requests(proxy: ProxySnapshot) -> Iterator[Destination]:
    """Plain HTTP: Istio writes the Host header for the service, with a port if it had one."""
    for series in proxy.requests:
        name, _, port = series.service.lower().rpartition(":")
        host = Host(
            (name if port.isdecimal() else series.service.lower()).rstrip("."), int(port) if port.isdecimal() else 80
        )
        if series.service_name in NAMELESS and "." in host.name and not is_address(host.name):
            yield Destination(host, KnownBy.AUTHORITY, series.service_name, (), 0, series.count, pods=(proxy.pod,))


def is_address(name: str) -> bool:
    """Whether it is an IP address and no name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _server_port(upstream: Upstream) -> int:
    """The port that a cluster calls, where it makes TLS of plain HTTP; else its own."""
    originates = upstream.tls is not None and upstream.port == CLEAR_PORT and upstream.endpoints
    return upstream.endpoints[0].port if originates else upstream.port


def _of_cluster(proxy: ProxySnapshot, upstream: Upstream) -> Destination:
    return Destination(
        Host(upstream.host, _server_port(upstream)),
        KnownBy.CLUSTER,
        upstream.name,
        tuple(sorted({endpoint.address for endpoint in upstream.endpoints})),
        sum(endpoint.connections for endpoint in upstream.endpoints),
        sum(endpoint.requests for endpoint in upstream.endpoints),
        sum(endpoint.errors for endpoint in upstream.endpoints),
        (proxy.pod,),
    )


def _together(destinations: Iterable[Destination]) -> tuple[Destination, ...]:
    """The same destination of several proxies as one."""
    groups: dict[tuple[Host, KnownBy, str], list[Destination]] = {}
    for one in destinations:
        groups.setdefault((one.host, one.known_by, one.cluster), []).append(one)
    return tuple(_sum(group) for _, group in sorted(groups.items()))


def _sum(group: Sequence[Destination]) -> Destination:
    return replace(
        group[0],
        addresses=tuple(sorted({address for one in group for address in one.addresses})),
        connections=sum(one.connections for one in group),
        requests=sum(one.requests for one in group),
        errors=sum(one.errors for one in group),
        pods=tuple(dict.fromkeys(pod for one in group for pod in one.pods)),
    )
