"""Which virtual host of a route table takes a request, as Envoy decides it, and which labels mean a host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kubectl_egress.model import Host, ProxySnapshot, Upstream, VirtualHost

CLEAR_PORT = 80
"""The port that the application calls once its URL says `http://`, whichever the server's own is."""


def route_of(host: Host, snapshot: ProxySnapshot, port: int = CLEAR_PORT) -> VirtualHost | None:
    """The virtual host that takes `http://HOST`, from the route table that Istio names for the port; None: no listener or no match."""
    table = [found for found in snapshot.virtual_hosts if found.route_table == str(port)]
    return virtual_host(table, (host.name, f"{host.name}:{port}"))


def virtual_host(table: Sequence[VirtualHost], authorities: Iterable[str]) -> VirtualHost | None:
    """The virtual host for the first of the authorities that one takes.

    Envoy searches exact domains, then `*.suffix`, then `prefix.*`, the longest first, then `*`
    (config.route.v3.VirtualHost.domains). Istio lists a host with and without its port, or has Envoy ignore the port.
    """
    domains = {domain.lower(): found for found in table for domain in found.domains}
    names = [name.lower() for name in authorities]
    exact = next((domains[name] for name in names if name in domains), None)
    if exact is not None:
        return exact
    patterns = sorted((domain for domain in domains if "*" in domain and domain != "*"), key=len, reverse=True)
    suffixes = [domain for domain in patterns if domain.startswith("*")]
    prefixes = [domain for domain in patterns if domain.endswith("*") and not domain.startswith("*")]
    for domain in [*suffixes, *prefixes]:
        if any(_fits(domain, name) for name in names):
            return domains[domain]
    return domains.get("*")


def _fits(domain: str, name: str) -> bool:
    """A wildcard stands for at least one character."""
    fits = name.endswith(domain[1:]) if domain.startswith("*") else name.startswith(domain[:-1])
    return fits and len(name) >= len(domain)


def by_name(snapshot: ProxySnapshot) -> Mapping[str, Upstream]:
    """The clusters by their names."""
    return {upstream.name: upstream for upstream in snapshot.upstreams}


def concerns(host: Host, service: str) -> bool:
    """Whether a `destination_service` means the host.

    Without a service entry Istio writes the Host header as it came: with a port, in capitals, with a final dot.
    """
    name = service.lower()
    before, _, port = name.rpartition(":")
    name = (before if port.isdecimal() else name).rstrip(".")
    return name == host.name or (host.wildcard and name.endswith(host.name[1:]))
