"""What is wrong with a ServiceEntry, or not modelled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from kubectl_egress.lab.istiod.objects import HTTP_PROTOCOLS, TLS_PROTOCOLS, is_ip
from kubectl_egress.lab.istiod.syntax import LABEL, host_name, port_number
from kubectl_egress.lab.parts import Body

_PROTOCOLS = HTTP_PROTOCOLS | TLS_PROTOCOLS | {"TCP"}
_OTHER_PROTOCOLS = frozenset({"MONGO", "REDIS", "MYSQL", "UDP", "GRPC-WEB", "HTTP_PROXY"})
_RESOLUTIONS = frozenset({"NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN"})


def service_entry(spec: Body) -> Iterator[str]:
    """One sentence for each thing."""
    for host in spec["hosts"]:
        yield from host_name(host, "hosts")
    if spec.get("location", "MESH_EXTERNAL") != "MESH_EXTERNAL":
        yield f"the lab's istiod does not model the location {spec['location']}"
    resolution = spec.get("resolution", "NONE")
    if resolution not in _RESOLUTIONS:
        yield f"the lab's istiod does not model the resolution {resolution}"
    ports = spec.get("ports") or ()
    if not ports:
        yield "the lab's istiod does not model a service entry without ports"
    yield from _ports(ports)
    yield from _endpoints(spec, resolution)
    yield from _addresses(spec.get("addresses") or ())
    yield from _plain_tcp(spec, resolution)


def _ports(ports: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for port in ports:
        name, protocol = port["name"], port.get("protocol", "TCP")
        if not LABEL.match(name):
            yield f"invalid port name: {name!r}"
        if str(protocol).upper() in _OTHER_PROTOCOLS:
            yield f"the lab's istiod does not model the protocol {protocol}"
        elif str(protocol).upper() not in _PROTOCOLS:
            yield f"unsupported protocol: {protocol}"


def _endpoints(spec: Body, resolution: str) -> Iterator[str]:
    endpoints: Sequence[Mapping[str, Any]] = spec.get("endpoints") or ()
    if resolution == "STATIC" and not endpoints:
        yield "the lab's istiod does not model resolution STATIC without endpoints"
    if resolution == "DNS_ROUND_ROBIN" and len(endpoints) > 1:
        yield "there must only be 0 or 1 endpoint for resolution mode DNS_ROUND_ROBIN"
    if resolution.startswith("DNS") and not endpoints and any("*" in str(host) for host in spec.get("hosts") or ()):
        yield f"hosts must be FQDN if no endpoints are provided for resolution mode {resolution}"
    names = {port.get("name") for port in spec.get("ports") or ()}
    for endpoint in endpoints:
        yield from _endpoint_address(endpoint.get("address"), resolution)
        for name, number in (endpoint.get("ports") or {}).items():
            if name not in names:
                yield f"endpoint port {name} is not defined by the service entry"
            yield from port_number(number, "endpoints.ports")


def _endpoint_address(address: Any, resolution: str) -> Iterator[str]:
    text = str(address or "")
    named = all(LABEL.match(label) for label in text.removesuffix(".").split("."))
    if resolution == "STATIC" and not is_ip(text):
        yield f"endpoint address {text!r} is not an IP address"
    elif not is_ip(text) and not named:
        yield f"endpoint address {text!r} is not a valid FQDN or an IP address"


def _addresses(addresses: Sequence[Any]) -> Iterator[str]:
    for address in addresses:
        try:
            network = ip_network(str(address), strict=False)
        except ValueError:
            yield f"invalid address {address!r}"
            continue
        if "/" in str(address) and network.num_addresses >= 1:
            yield f"the lab's istiod does not model CIDR addresses ({address})"


def _plain_tcp(spec: Body, resolution: str) -> Iterator[str]:
    plain = [port for port in spec.get("ports") or () if str(port.get("protocol", "TCP")).upper() == "TCP"]
    if not plain:
        return
    if len(spec.get("hosts") or ()) > 1 and resolution != "NONE":
        yield "multiple hosts provided with non-HTTP, non-TLS ports"
    if not spec.get("addresses"):
        yield "the lab's istiod does not model TCP ports without addresses (they take every connection to the port)"
