"""What is wrong with a VirtualService or a Sidecar, or not modelled."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from kubectl_egress.lab.istiod.syntax import DURATION, HEADER, LABEL, SUBSET, host_name, port_number
from kubectl_egress.lab.parts import Body


def virtual_service(spec: Body) -> Iterator[str]:
    """One sentence for each thing in a VirtualService."""
    hosts = spec.get("hosts") or ()
    if not hosts:
        yield "virtual service must have at least one host"
    for host in hosts:
        if str(host).startswith("*"):
            yield f"the lab's istiod does not model wildcard hosts in a VirtualService ({host})"
        else:
            yield from host_name(host, "hosts")
    if len(hosts) != len({str(host).lower() for host in hosts}):
        yield "duplicate hosts in virtual service"
    if (spec.get("gateways") or ["mesh"]) != ["mesh"]:
        yield "the lab's istiod does not model gateways other than mesh"
    if not (spec.get("http") or spec.get("tls")):
        yield "http, tcp or tls must be provided in virtual service"
    for route in spec.get("http") or ():
        yield from _http_route(route)
    for route in spec.get("tls") or ():
        yield from _tls_route(route, [str(host).lower() for host in hosts])


def _tls_route(route: Body, hosts: Sequence[str]) -> Iterator[str]:
    yield from _targets(route, "TLS route must have a route")
    if not route.get("match"):
        yield "TLS match must have at least one SNI host"
    for match in route.get("match") or ():
        if match.get("port") is not None:
            yield from port_number(match["port"], "match.port")
        if not match.get("sniHosts"):
            yield "TLS match must have at least one SNI host"
        for name in match.get("sniHosts") or ():
            if str(name).lower() not in hosts:
                yield f"the lab's istiod does not model SNI host {name!r}, which is not a host of the virtual service"
        if len(match.get("destinationSubnets") or ("",)) != 1:
            yield "the lab's istiod does not model several destination subnets"
        for subnet in match.get("destinationSubnets") or ():
            try:
                ipaddress.ip_network(subnet)
            except ValueError:
                yield f"{subnet} is not a valid CIDR block"


def _http_route(route: Body) -> Iterator[str]:
    yield from _targets(route, "HTTP route must have a route, a redirect or a direct response")
    for match in route.get("match") or ():
        if match.get("port") is not None:
            yield from port_number(match["port"], "match.port")
        if len(match.get("uri") or {"": ""}) != 1 or "" in (match.get("uri") or {}).values():
            yield "match.uri must have one of exact and prefix, not empty"
    attempts = (route.get("retries") or {}).get("attempts", 0)
    if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 0:
        yield "attempts cannot be negative"
    if "timeout" in route and not DURATION.match(str(route["timeout"])):
        yield f"the lab's istiod does not model the duration {route['timeout']} (use seconds: 5s)"
    if route.get("rewrite") is not None and not route["rewrite"].get("authority"):
        yield "rewrite must specify at least one of URI, authority"
    yield from _header_names((route.get("headers") or {}).get("request") or {})


def _targets(route: Body, without: str) -> Iterator[str]:
    """`without`: what is said of a route that leads nowhere."""
    targets = route.get("route") or ()
    if not targets:
        yield without
    if len(targets) > 1:
        yield "the lab's istiod does not model several destinations of one route"
    for target in targets:
        yield from _destination(target)


def _destination(target: Body) -> Iterator[str]:
    destination = target.get("destination") or {}
    if not destination.get("host"):
        yield "destination must have a host"
    else:
        yield from host_name(destination["host"], "destination.host")
        if str(destination["host"]).startswith("*"):
            yield f"invalid destination host {destination['host']!r}"
    if destination.get("subset") and not SUBSET.match(str(destination["subset"])):
        yield f"invalid subset name: {destination['subset']!r}"
    if destination.get("port") is not None:
        yield from port_number(destination["port"].get("number"), "destination.port")
    if target.get("weight") not in (None, 0, 100):
        yield "the lab's istiod does not model the weight of a single destination"


def _header_names(request: Body) -> Iterator[str]:
    names = [*(request.get("set") or {}), *(request.get("add") or {}), *(request.get("remove") or ())]
    for name in names:
        if not HEADER.match(str(name)):
            yield f"header name {name!r} is not a valid header name"
        elif name.lower() == "host":
            yield "the lab's istiod does not model headers that change Host (use rewrite.authority)"


def sidecar(spec: Body) -> Iterator[str]:
    """One sentence for each thing in a Sidecar."""
    selector = spec.get("workloadSelector")
    if selector is not None and not selector.get("labels"):
        yield "the lab's istiod does not model a workloadSelector without labels"
    for listener in spec.get("egress") or ():
        if not listener.get("hosts"):
            yield "sidecar: egress listener must contain at least one host"
        for host in listener.get("hosts") or ():
            yield from _egress_host(str(host))
    if len(spec.get("egress") or ()) > 1:
        yield "sidecar: egress listeners without a port must be one"
    if spec.get("egress") == [] or (not spec.get("egress") and not spec.get("outboundTrafficPolicy")):
        yield "sidecar: missing egress"
    mode = (spec.get("outboundTrafficPolicy") or {"mode": "ALLOW_ANY"}).get("mode", "REGISTRY_ONLY")
    if mode not in ("ALLOW_ANY", "REGISTRY_ONLY"):
        yield f"the lab's istiod does not model the outbound traffic policy {mode}"


def _egress_host(host: str) -> Iterator[str]:
    namespace, slash, name = host.partition("/")
    if not slash or not name:
        yield f"sidecar: host must be of form namespace/dnsName, not {host!r}"
        return
    if namespace not in (".", "*", "~") and not LABEL.match(namespace):
        yield f"sidecar: invalid namespace in {host!r}"
    if name != "*":
        yield from host_name(name, "egress.hosts")
