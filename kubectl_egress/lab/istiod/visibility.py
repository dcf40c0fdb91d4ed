"""What one proxy sees: services and virtual services after exportTo, Sidecar, and the rules for doubles.

Source: istio/istio `pilot/pkg/model/sidecar.go` (selectServices, appendSidecarServices, canMergeServices).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from kubectl_egress.lab.families import IPV4, addresses_of, taken
from kubectl_egress.lab.istiod.objects import (
    PRIVATE,
    PUBLIC,
    Routing,
    Rule,
    Scope,
    Service,
    Target,
    routings,
    rules,
    scopes,
    services,
)
from kubectl_egress.lab.istiod.rules import effective_rule, matches
from kubectl_egress.lab.parts import Body


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the configuration of one proxy is made of."""

    namespace: str
    root: str
    services: tuple[Service, ...]
    """One for each host and entry, oldest first: what listeners and routes are made of."""
    clusters: tuple[Service, ...]
    """One for each host, doubles merged: what clusters are made of."""
    targets: tuple[tuple[tuple[str, str], Target], ...]
    """By (host, namespace): the endpoints of all entries of that host there, seen or not."""
    routings: tuple[Routing, ...]
    rules: tuple[Rule, ...]
    allow_any: bool
    families: tuple[str, ...] = (IPV4,)
    """Which the proxy takes."""

    def rule(self, service: Service) -> Rule | None:
        """The DestinationRule in effect for a service."""
        return effective_rule(self.rules, service.host, service.namespace, self.namespace, self.root)


def view(pod: Body, objects: Sequence[Body], *, root: str, outbound_mode: str) -> View:
    """What the proxy of a pod sees of the objects; `outbound_mode` is the mesh's."""
    namespace = pod["metadata"].get("namespace", "default")
    scope = _scope_of(scopes(objects), pod, namespace, root)
    patterns = _patterns(scope, namespace)
    everything = services(objects)
    routed = tuple(
        routing
        for routing in _ordered(routings(objects), namespace)
        if any(_imported(patterns, routing.origin.namespace, host) for host in routing.hosts)
    )
    exported = [service for service in everything if _exported(service.export_to, service.namespace, namespace)]
    selected = _one_namespace(
        [service for service in exported if _imported(patterns, service.namespace, service.host)], namespace
    )
    mode = (scope.outbound_mode if scope else "") or outbound_mode
    return View(
        namespace=namespace,
        root=root,
        services=selected,
        clusters=_with_destinations(merged_services(selected), routed, exported, namespace),
        targets=tuple(
            ((service.host, service.namespace), target) for service in everything for target in service.targets
        ),
        routings=routed,
        rules=rules(objects),
        allow_any=mode != "REGISTRY_ONLY",
        families=taken(pod, addresses_of(pod)),
    )


def _exported(export_to: frozenset[str], owner: str, namespace: str) -> bool:
    if not export_to or PUBLIC in export_to or namespace in export_to:
        return True
    return PRIVATE in export_to and owner == namespace


def _scope_of(candidates: Sequence[Scope], pod: Body, namespace: str, root: str) -> Scope | None:
    """One that selects the pod before one of its namespace, before one of the root namespace."""
    labels = pod["metadata"].get("labels") or {}
    own = [scope for scope in candidates if scope.origin.namespace == namespace]
    selecting = [scope for scope in own if scope.selector and scope.selector.items() <= labels.items()]
    common = [scope for scope in own if not scope.selector]
    fallback = [scope for scope in candidates if scope.origin.namespace == root and not scope.selector]
    return next(iter((*selecting, *common, *fallback)), None)


def _patterns(scope: Scope | None, namespace: str) -> tuple[tuple[str, str], ...] | None:
    if scope is None or not scope.hosts:
        return None
    pairs = (host.lower().split("/", 1) for host in scope.hosts)
    return tuple((namespace if owner == "." else owner, host) for owner, host in pairs)


def _imported(patterns: Iterable[tuple[str, str]] | None, owner: str, host: str) -> bool:
    if patterns is None:
        return True
    return any(at in ("*", owner) and matches(pattern, host) for at, pattern in patterns)


def _ordered(candidates: Sequence[Routing], namespace: str) -> tuple[Routing, ...]:
    """Those that are private to the namespace before those exported to it, before public ones."""
    private = [
        found
        for found in candidates
        if found.origin.namespace == namespace
        and found.export_to & {PRIVATE, namespace}
        and PUBLIC not in found.export_to
    ]
    given = [
        found
        for found in candidates
        if found.origin.namespace != namespace and namespace in found.export_to and PUBLIC not in found.export_to
    ]
    public = [found for found in candidates if not found.export_to or PUBLIC in found.export_to]
    return (*private, *given, *public)


def _one_namespace(found: Sequence[Service], namespace: str) -> tuple[Service, ...]:
    """Of a host that several namespaces define, the proxy's own namespace wins, else the oldest entry's."""
    winner: dict[str, str] = {}
    for service in found:
        if service.host not in winner or service.namespace == namespace:
            winner[service.host] = service.namespace
    return tuple(service for service in found if winner[service.host] == service.namespace)


def merged_services(found: Iterable[Service]) -> tuple[Service, ...]:
    """One service for each host: the oldest, with the ports that fitting younger ones add."""
    by_host: dict[str, Service] = {}
    for service in found:
        first = by_host.setdefault(service.host, service)
        if first is not service and _fits(first, service):
            added = tuple(port for port in service.ports if first.port(port.number) is None)
            by_host[service.host] = replace(first, ports=first.ports + added)
    return tuple(by_host.values())


def _fits(first: Service, second: Service) -> bool:
    return (first.namespace, first.resolution, first.labels, first.export_to) == (
        second.namespace,
        second.resolution,
        second.labels,
        second.export_to,
    )


def _with_destinations(
    merged: tuple[Service, ...], routed: Sequence[Routing], exported: Sequence[Service], namespace: str
) -> tuple[Service, ...]:
    """A route's destination is imported with it, also where no egress host of the Sidecar names it."""
    known = {service.host for service in merged}
    wanted = {
        route["destination"]["host"].lower()
        for routing in routed
        for http in routing.http
        for route in http.get("route", ())
    }
    missing = [service for service in exported if service.host in wanted - known]
    # Which namespace: the proxy's own, else the first by name.
    ordered = sorted(missing, key=lambda service: (service.namespace != namespace, service.namespace, service.origin))
    first = {service.host: service.namespace for service in reversed(ordered)}
    return merged + merged_services(service for service in ordered if first[service.host] == service.namespace)
