"""Kubernetes and mesh objects as the embedded istiod reads them: bodies in, frozen values out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from kubectl_egress.lab.parts import Body

HTTP_PROTOCOLS = frozenset({"HTTP", "HTTP2", "GRPC"})
TLS_PROTOCOLS = frozenset({"HTTPS", "TLS"})
HTTP2_PROTOCOLS = frozenset({"HTTP2", "GRPC"})

PUBLIC = "*"
PRIVATE = "."


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where a value comes from, and how old that is: istiod orders by time of creation, then by name."""

    created: str
    name: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a service."""

    number: int
    name: str
    protocol: str
    """Upper case: HTTP, HTTPS, TLS, TCP, HTTP2 or GRPC."""
    target: int

    @property
    def http(self) -> bool:
        """Whether requests are told apart by their Host header."""
        return self.protocol in HTTP_PROTOCOLS

    @property
    def tls(self) -> bool:
        """Whether connections are told apart by their SNI."""
        return self.protocol in TLS_PROTOCOLS


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint of one port: where a proxy connects to."""

    port_name: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Service:
    """One host of a ServiceEntry: what istiod makes of an entry before it makes clusters of it."""

    origin: Origin
    host: str
    resolution: str
    ports: tuple[Port, ...]
    addresses: tuple[str, ...]
    targets: tuple[Target, ...]
    export_to: frozenset[str]
    labels: tuple[tuple[str, str], ...]
    subject_alt_names: tuple[str, ...]

    @property
    def namespace(self) -> str:
        """The entry's namespace."""
        return self.origin.namespace

    def port(self, number: int) -> Port | None:
        """The port of that number."""
        return next((port for port in self.ports if port.number == number), None)


@dataclass(frozen=True, slots=True)
class Rule:
    """A DestinationRule, or several that were merged into one (then under the name of the oldest)."""

    origin: Origin
    host: str
    export_to: frozenset[str]
    policy: Body | None
    subsets: tuple[Body, ...]


@dataclass(frozen=True, slots=True)
class Routing:
    """A VirtualService for the mesh gateway."""

    origin: Origin
    hosts: tuple[str, ...]
    export_to: frozenset[str]
    http: tuple[Body, ...]
    tls: tuple[Body, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """A Sidecar: what the proxies that it selects see."""

    origin: Origin
    selector: Mapping[str, str] | None
    """None: every pod of the namespace."""
    hosts: tuple[str, ...]
    """`namespace/host` of all egress listeners; empty: everything."""
    outbound_mode: str
    """ALLOW_ANY, REGISTRY_ONLY, or empty for the mesh's."""


def of_kind(objects: Iterable[Body], kind: str) -> Iterator[Body]:
    """The mesh objects of a kind."""
    return (body for body in objects if body.get("kind") == kind and "istio.io/" in body.get("apiVersion", ""))


def origin(body: Body) -> Origin:
    """Age, name and namespace of an object."""
    metadata = body["metadata"]
    return Origin(metadata.get("creationTimestamp") or "", metadata["name"], metadata.get("namespace", ""))


def is_ip(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def services(objects: Iterable[Body]) -> tuple[Service, ...]:
    """Every host of every ServiceEntry, oldest first."""
    found = [
        _service(body, host) for body in of_kind(objects, "ServiceEntry") for host in body["spec"].get("hosts", ())
    ]
    return tuple(sorted(found, key=lambda service: (service.origin, service.host)))


def rules(objects: Iterable[Body]) -> tuple[Rule, ...]:
    """Every DestinationRule, oldest first, unmerged."""
    return tuple(sorted(map(_rule, of_kind(objects, "DestinationRule")), key=lambda rule: rule.origin))


def routings(objects: Iterable[Body]) -> tuple[Routing, ...]:
    """Every VirtualService, oldest first."""
    return tuple(sorted(map(_routing, of_kind(objects, "VirtualService")), key=lambda routing: routing.origin))


def scopes(objects: Iterable[Body]) -> tuple[Scope, ...]:
    """Every Sidecar, oldest first."""
    return tuple(sorted(map(_scope, of_kind(objects, "Sidecar")), key=lambda scope: scope.origin))


def _export_to(spec: Body) -> frozenset[str]:
    return frozenset(spec.get("exportTo") or ())


def _service(body: Body, host: str) -> Service:
    spec = body["spec"]
    ports = tuple(
        Port(
            port["number"],
            port.get("name", ""),
            port.get("protocol", "TCP").upper(),
            port.get("targetPort") or port["number"],
        )
        for port in spec.get("ports", ())
    )
    return Service(
        origin=origin(body),
        host=host.lower(),
        resolution=spec.get("resolution", "NONE"),
        ports=ports,
        addresses=tuple(spec.get("addresses") or ()),
        targets=tuple(_targets(spec, host.lower(), ports)),
        export_to=_export_to(spec),
        labels=tuple(sorted((body["metadata"].get("labels") or {}).items())),
        subject_alt_names=tuple(spec.get("subjectAltNames") or ()),
    )


def _targets(spec: Body, host: str, ports: Sequence[Port]) -> Iterator[Target]:
    if spec.get("resolution", "NONE") == "NONE":
        return
    endpoints: Sequence[Mapping[str, Any]] = spec.get("endpoints") or ({"address": host},)
    for port in ports:
        for endpoint in endpoints:
            yield Target(port.name, endpoint["address"], (endpoint.get("ports") or {}).get(port.name, port.target))


def _rule(body: Body) -> Rule:
    spec = body["spec"]
    return Rule(
        origin=origin(body),
        host=spec["host"].lower(),
        export_to=_export_to(spec),
        policy=spec.get("trafficPolicy"),
        subsets=tuple(spec.get("subsets") or ()),
    )


def _routing(body: Body) -> Routing:
    spec = body["spec"]
    return Routing(
        origin=origin(body),
        hosts=tuple(host.lower() for host in spec["hosts"]),
        export_to=_export_to(spec),
        http=tuple(spec.get("http") or ()),
        tls=tuple(spec.get("tls") or ()),
    )


def _scope(body: Body) -> Scope:
    spec = body.get("spec") or {}
    selector = (spec.get("workloadSelector") or {}).get("labels")
    return Scope(
        origin=origin(body),
        selector=selector or None,
        hosts=tuple(host for listener in spec.get("egress") or () for host in listener["hosts"]),
        # The enumeration's zero is REGISTRY_ONLY: a policy without a mode blocks.
        outbound_mode=spec["outboundTrafficPolicy"].get("mode", "REGISTRY_ONLY")
        if spec.get("outboundTrafficPolicy") is not None
        else "",
    )
