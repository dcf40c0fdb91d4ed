"""NetworkPolicies: which pods one selects, whether it lets port 80 out of the cluster, and the guard that does not."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kubectl_egress.model import MANAGED_BY, MANAGED_BY_LABEL, Body, Document

API_VERSION = "networking.k8s.io/v1"
CLEAR_PORT = 80
LAST_PORT = 65535
LINK_LOCAL = ("169.254.0.0/16", "fe80::/10")
"""Routed nowhere (RFC 3927, RFC 4291); clouds answer for their metadata there, on port 80."""

# Policies only allow, and whatever none allows is denied: so everything is named, but TCP port 80.
_ALL_BUT_CLEAR = (
    {"protocol": "TCP", "port": 1, "endPort": CLEAR_PORT - 1},
    {"protocol": "TCP", "port": CLEAR_PORT + 1, "endPort": LAST_PORT},
    {"protocol": "UDP", "port": 1, "endPort": LAST_PORT},
    {"protocol": "SCTP", "port": 1, "endPort": LAST_PORT},
)


def guard_policy(name: str, namespace: str, selector: Body, networks: Sequence[str]) -> Body:
    """The policy under which pods reach TCP port 80 of pods, of `networks` and of link-local addresses alone.

    Everything else stays open to them. `selector`: the pods, as a label selector. Port ranges (`endPort`) are stable
    since Kubernetes 1.25.
    """
    inside = [{"ipBlock": {"cidr": network}} for network in (*networks, *LINK_LOCAL)]
    clear = {"protocol": "TCP", "port": CLEAR_PORT}
    return {
        "apiVersion": API_VERSION,
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": {MANAGED_BY_LABEL: MANAGED_BY}},
        "spec": {
            "podSelector": dict(selector),
            "policyTypes": ["Egress"],
            "egress": [
                {"ports": [dict(port) for port in _ALL_BUT_CLEAR]},
                {"ports": [clear], "to": [{"namespaceSelector": {}}, *inside]},
            ],
        },
    }


def restricting(policies: Iterable[Document], namespace: str, labels: Mapping[str, str]) -> tuple[Document, ...]:
    """The policies under which pods with these labels reach only what one of them lets them reach."""
    return tuple(
        one
        for one in policies
        if one.ref.namespace == namespace
        and _restricts(one.body.get("spec") or {})
        and matches((one.body.get("spec") or {}).get("podSelector") or {}, labels)
    )


def _restricts(spec: Body) -> bool:
    """Without policyTypes, a policy is about egress if it has rules of it."""
    return "Egress" in (spec.get("policyTypes") or ()) or bool(not spec.get("policyTypes") and spec.get("egress"))


def matches(selector: Body, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects what has these labels; an empty one selects everything."""
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items()) and all(
        _holds(one, labels) for one in selector.get("matchExpressions") or ()
    )


def _holds(expression: Body, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    return {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[expression["operator"]]


def way_out(policy: Body, networks: Sequence[str]) -> str:
    """Where beyond pods, `networks` and link-local addresses the policy lets TCP port 80 go; empty if nowhere."""
    return next(_ways_out(policy.get("spec") or {}, networks), "")


def _ways_out(spec: Body, networks: Sequence[str]) -> Iterator[str]:
    inside = [ipaddress.ip_network(one) for one in (*networks, *LINK_LOCAL)]
    for rule in spec.get("egress") or ():
        if not _has_clear_port(rule.get("ports") or ()):
            continue
        if not rule.get("to"):
            yield "everywhere"
        for peer in rule.get("to") or ():
            cidr = str((peer.get("ipBlock") or {}).get("cidr", ""))
            if cidr and not _within(cidr, inside):
                yield cidr


def _has_clear_port(ports: Sequence[Body]) -> bool:
    """Names of ports are those of pods; no address outside has one."""
    return not ports or any(_covers(port) for port in ports if port.get("protocol", "TCP") == "TCP")


def _covers(port: Body) -> bool:
    first: Any = port.get("port")
    if first is None:
        return True
    return isinstance(first, int) and first <= CLEAR_PORT <= int(port.get("endPort") or first)


def _within(cidr: str, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    network = ipaddress.ip_network(cidr, strict=False)
    return any(
        network.version == one.version and network.subnet_of(one)  # type: ignore[arg-type]  # of one version
        for one in networks
    )
