"""Which mesh objects are in effect for a host and a namespace, when there are several: Istio's own rules, read once."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from kubectl_egress.mesh.adoption import export_of
from kubectl_egress.mesh.objects import CLEAR_PORT
from kubectl_egress.model import Body, Document

RAW = ("", "TCP", "MONGO", "MYSQL", "REDIS", "UDP")
"""Protocols that match by address alone."""
GROUP = "networking.istio.io/"
MESH_GATEWAY = "mesh"  # the name under which a VirtualService means the sidecars; also the default


def covers(pattern: str, name: str) -> bool:
    """Whether a host of a mesh object (`httpbin.org`, `*.org`, `*`) stands for a name, whatever the case."""
    pattern, name = pattern.lower(), name.lower()
    if pattern == name or pattern == "*":
        return True
    return pattern.startswith("*") and name.endswith(pattern[1:]) and len(name) >= len(pattern)


def exported_to(document: Document, namespace: str) -> bool:
    """Whether a namespace may see the object: `exportTo` with `.`, `*`, `~` and names of namespaces."""
    own = document.ref.namespace == namespace
    return any(scope == "*" or (scope == "." and own) or scope == namespace for scope in export_of(document.body))


def by_age(document: Document) -> tuple[str, str, str]:
    """Istio's order of objects that want the same: the oldest first, then by name."""
    created = str((document.body.get("metadata") or {}).get("creationTimestamp") or "9999")  # not created yet: youngest
    return created, document.ref.name, document.ref.namespace


def of_kind(kind: str, documents: Iterable[Document]) -> list[Document]:
    """The mesh objects of a kind, the oldest first; objects of another API group that share the name are none."""
    return sorted(
        (
            document
            for document in documents
            if document.ref.kind == kind and str(document.body.get("apiVersion", "")).startswith(GROUP)
        ),
        key=by_age,
    )


def entries_for(host: str, documents: Iterable[Document], namespace: str) -> tuple[Document, ...]:
    """The ServiceEntries that a namespace sees and that stand for a host, the one that wins first.

    An entry that names the host before a wildcard; the namespace's own before those of others; the oldest first
    (pilot/pkg/model/sidecar.go: "pick the one in the configNamespace").
    """
    found = [
        (-_specificity(_hosts(document.body), host), document.ref.namespace != namespace, number, document)
        for number, document in enumerate(of_kind("ServiceEntry", documents))
        if exported_to(document, namespace) and any(covers(pattern, host) for pattern in _hosts(document.body))
    ]
    return tuple(document for *_, document in sorted(found, key=lambda one: one[:3]))


def entries_claiming(address: str, documents: Iterable[Document], namespace: str) -> tuple[Document, ...]:
    """The ServiceEntries that a namespace sees and that take every connection to an address and port 80, whatever its host."""
    return tuple(
        document
        for document in of_kind("ServiceEntry", documents)
        if exported_to(document, namespace)
        and any(_within(address, network) for network in _spec(document.body).get("addresses") or ())
        and any(_raw(port) and port.get("number") == CLEAR_PORT for port in _spec(document.body).get("ports") or ())
    )


def _within(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False  # refused by Istio's validation


def _raw(port: Body) -> bool:
    return str(port.get("protocol", "")).upper() in RAW


def routes_for(host: str, documents: Iterable[Document], namespace: str) -> tuple[Document, ...]:
    """The VirtualServices that a namespace's sidecars may use for a host, the one that wins first.

    Those bound to gateways alone are none. A host without a dot is short for a service of the VirtualService's own
    namespace, and never stands for an external host.
    """
    found = [
        (-_specificity(_hosts(document.body), host), document.ref.namespace != namespace, number, document)
        for number, document in enumerate(of_kind("VirtualService", documents))
        if exported_to(document, namespace)
        and MESH_GATEWAY in (_spec(document.body).get("gateways") or (MESH_GATEWAY,))
        and any(covers(pattern, host) for pattern in _hosts(document.body))
    ]
    return tuple(document for *_, document in sorted(found, key=lambda one: one[:3]))


@dataclass(frozen=True, slots=True)
class EffectiveRule:
    """The DestinationRules that hold for a host: `top` gives the policy, all of `merged` their subsets."""

    top: Document
    merged: tuple[Document, ...]

    def subset(self, name: str) -> Document | None:
        """The rule whose subset of that name holds: the oldest that has one."""
        return next((document for document in self.merged if name in _subsets(document.body)), None)


def effective_rule(
    host: str, documents: Iterable[Document], *, namespace: str, service_namespace: str, root_namespace: str
) -> EffectiveRule | None:
    """The rule in effect for calls from a namespace to a host whose entry is in another (or the same) namespace.

    Looked for in the caller's namespace, then the entry's, then the root namespace; a rule elsewhere is never applied.
    In each, the most specific host wins, and any match ends the search: a broad wildcard nearby hides an exact rule
    further away. Rules of the same host and namespace are merged by subsets, the oldest policy holds
    (pilot/pkg/model/push_context.go, destination_rule.go).
    """
    rules = of_kind("DestinationRule", documents)
    for place in dict.fromkeys((namespace, service_namespace, root_namespace)):
        visible = [
            rule
            for rule in rules
            if rule.ref.namespace == place
            and (place == namespace or exported_to(rule, namespace))
            and covers(_rule_host(rule.body), host)
        ]
        if visible:
            best = max(visible, key=lambda rule: _specificity([_rule_host(rule.body)], host))
            merged = tuple(rule for rule in visible if _rule_host(rule.body) == _rule_host(best.body))
            return EffectiveRule(merged[0], merged)
    return None


def stands_apart(younger: Body, older: Body) -> bool:
    """Whether istiod, after 1.18, keeps the younger of two rules of a host apart, and then applies it in the older's place.

    They are merged where `exportTo` is the same, or the younger's holds the older's and that is not empty
    (pilot/pkg/model/destination_rule.go, mergeDestinationRule; run on 1.18.7, 1.24.2 and 1.31).
    """
    new, old = (frozenset(_spec(body).get("exportTo") or ()) for body in (younger, older))
    return new != old and not (old and new >= old)


def _specificity(patterns: Iterable[str], host: str) -> int:
    """How closely the best of the patterns describes a host: an exact name most, then the longest wildcard."""
    matching = [pattern for pattern in patterns if covers(pattern, host)]
    return max((len(pattern) + (0 if pattern.startswith("*") else 1000) for pattern in matching), default=0)


def _spec(body: Body) -> Body:
    return body.get("spec") or {}


def _hosts(body: Body) -> list[str]:
    return [str(host) for host in _spec(body).get("hosts") or ()]


def _rule_host(body: Body) -> str:
    return str(_spec(body).get("host", "")).lower()


def _subsets(body: Body) -> set[str]:
    return {str(subset.get("name")) for subset in _spec(body).get("subsets") or ()}
