"""Whether a proxy originates TLS for a host as it should: route, cluster, SNI, SAN, CA and addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_egress.model import Endpoint, Host, ProxySnapshot, TlsSettings, Upstream, VirtualHost
from kubectl_egress.proxy.routing import CLEAR_PORT, by_name, route_of

# Where host aliases lead: never routed (RFC 5737, RFC 6666).
_NOWHERE = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("100::/64"))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a proxy has to hold for a host."""

    sni: str
    """Empty for a wildcard host: the proxy takes it from the request (`auto_sni`)."""
    subject_alt_names: tuple[str, ...]
    """The names of which the server's certificate must hold one; a proxy that accepts any other name is not configured."""
    authorities: tuple[str, ...] = ()
    """The accepted names of the CA (`file-root:system`); empty: whichever, so long as there is one."""
    aliases: tuple[str, ...] = ()
    """The addresses of the host's aliases in the pod template, besides those that are never routed."""
    subset: str | None = None
    """The subset to which the route must lead; None: whichever."""
    takers: tuple[str, ...] = ()
    """Other hosts, whose entries take every connection to the aliases on port 80: none of these is the host's own."""

    @classmethod
    def of(
        cls, host: Host, aliases: tuple[str, ...] = (), subset: str | None = None, takers: tuple[str, ...] = ()
    ) -> Expected:
        """What a host needs if nobody says otherwise: its own name in SNI and certificate, and a CA."""
        name = "" if host.wildcard else host.name
        return cls(name, (host.name,), aliases=aliases, subset=subset, takers=takers)

    def nowhere(self, address: str) -> bool:
        """Whether the address is an alias, which no server has."""
        if address in self.aliases:
            return True
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in _NOWHERE)


def configured(
    host: Host, snapshot: ProxySnapshot, expected: Expected | None = None
) -> tuple[bool, Mapping[str, Any], str]:
    """Whether `http://HOST` leaves this proxy over TLS, with SNI, SAN and CA checked, to resolved addresses of the host.

    Gives the evidence (`route`, `clusters`), and the first thing that is wrong, in words for a user; '' if nothing is.
    """
    wanted = expected or Expected.of(host)
    route = route_of(host, snapshot)
    if route is None:
        missing = f"route table {CLEAR_PORT} has no virtual host for {host.name}"
        return False, {"route": None, "clusters": []}, missing
    known = by_name(snapshot)
    clusters = [known[name] for name in route.clusters if name in known]
    reason = next(_wrong(host, route, known, wanted), "")
    return not reason, {"route": _route(route), "clusters": [_cluster(cluster) for cluster in clusters]}, reason


def _wrong(host: Host, route: VirtualHost, known: Mapping[str, Upstream], wanted: Expected) -> Iterator[str]:
    """Everything that keeps the route from being what it should be, what explains most first."""
    if not route.clusters:
        yield f"the proxy answers requests to {host.name} itself: route table {route.route_table} sends them nowhere"
    for name in route.clusters:
        upstream = known.get(name)
        if upstream is None:
            yield (
                f"the route leads to cluster {name}, which the proxy does not have"
                if name
                else "the route's cluster depends on the request"
            )
        elif not upstream.direction:
            yield f"no virtual host takes {host.name}, so {name} does"
        else:
            yield from _wrong_cluster(host, upstream, wanted)


def _wrong_cluster(host: Host, upstream: Upstream, wanted: Expected) -> Iterator[str]:
    if upstream.tls is None:
        yield f"cluster {upstream.name} does not originate TLS"
        return
    yield from (f"cluster {upstream.name} {problem}" for problem in _wrong_tls(upstream.tls, wanted))
    if wanted.subset is not None and upstream.subset != wanted.subset:
        yield f"the route leads to cluster {upstream.name}, not to subset {wanted.subset}"
    if not upstream.endpoints:
        yield f"cluster {upstream.name} has no address yet"
    for endpoint in upstream.endpoints:
        if wanted.nowhere(endpoint.address):
            yield f"cluster {upstream.name} resolves {host.name} to its alias {endpoint.address}"
        elif endpoint.port != host.port:
            yield f"cluster {upstream.name} calls port {endpoint.port}, not {host.port}"


def _wrong_tls(tls: TlsSettings, wanted: Expected) -> Iterator[str]:
    if tls.sni != wanted.sni and not (tls.auto_sni and not tls.sni):
        yield f"sends {f'the SNI {tls.sni}' if tls.sni else 'no SNI'}"
    others = [name for name in tls.subject_alt_names if name not in wanted.subject_alt_names]
    if others:
        yield f"accepts a certificate for {', '.join(others)}"
    if not tls.subject_alt_names and not tls.auto_san:
        yield "accepts a certificate for any name"
    if not tls.ca:
        yield "accepts a certificate of any CA"
    elif wanted.authorities and tls.ca not in wanted.authorities:
        yield f"trusts the CA {tls.ca}"


def _route(route: VirtualHost) -> Mapping[str, Any]:
    return {
        "table": route.route_table,
        "domains": list(route.domains),
        "clusters": list(route.clusters),
        "configSource": route.config_source,
    }


def _cluster(upstream: Upstream) -> Mapping[str, Any]:
    tls = upstream.tls
    return {
        "name": upstream.name,
        "configSource": upstream.config_source,
        "tls": tls
        and {
            "sni": tls.sni,
            "subjectAltNames": list(tls.subject_alt_names),
            "ca": tls.ca,
            "autoSni": tls.auto_sni,
            "autoSan": tls.auto_san,
        },
        "configuredAddresses": list(upstream.configured_addresses),
        "endpoints": [shown(endpoint) for endpoint in upstream.endpoints],
    }


def shown(endpoint: Endpoint) -> str:
    """`address:port`, an IPv6 address in brackets."""
    return f"[{endpoint.address}]:{endpoint.port}" if ":" in endpoint.address else f"{endpoint.address}:{endpoint.port}"
