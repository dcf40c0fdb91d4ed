"""What a pod's NetworkPolicies let it reach: rules, peers and selectors resolved to protocols, ports and networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubectl_egress.lab.api.selectors import selector_test
from kubectl_egress.lab.parts import Body, LabRefusal

LAST_PORT = 65535
ANY = ""
"""Every protocol, and every network."""


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """Connections that one peer and one port of one rule let through."""

    protocol: str = ANY
    """TCP, UDP or SCTP."""
    first: int = 0
    last: int = LAST_PORT
    network: str = ANY
    """CIDR."""
    excepted: tuple[str, ...] = ()


def egress_of(
    pod: Body, policies: Sequence[Body], pods: Sequence[Body], namespaces: Sequence[Body]
) -> tuple[Permission, ...] | None:
    """All that the pod may reach; None where no policy is about its egress, and it may reach everything.

    Raises LabRefusal for a port by name, which is another number at each peer.
    """
    home = pod["metadata"]["namespace"]
    labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
    mine = [
        one
        for one in policies
        if one["metadata"]["namespace"] == home
        and _restricts(one["spec"])
        and selector_test(one["spec"].get("podSelector") or {})(labels)
    ]
    if not mine:
        return None
    found = {
        permission
        for policy in mine
        for rule in policy["spec"].get("egress") or ()
        for permission in _of_rule(rule, home, pods, namespaces)
    }
    return tuple(sorted(found))


def _restricts(spec: Body) -> bool:
    """As the API server fills policyTypes in: without them, a policy is about egress where it has rules of it."""
    return "Egress" in (spec.get("policyTypes") or (["Egress"] if spec.get("egress") else []))


def _of_rule(rule: Body, home: str, pods: Sequence[Body], namespaces: Sequence[Body]) -> Iterator[Permission]:
    peers = rule.get("to") or ()
    blocks = [block for peer in peers for block in _blocks(peer, home, pods, namespaces)] if peers else [(ANY, ())]
    for protocol, first, last in _ports(rule.get("ports") or ()):
        for network, excepted in blocks:
            yield Permission(protocol, first, last, network, excepted)


def _ports(ports: Sequence[Body]) -> Iterator[tuple[str, int, int]]:
    for one in ports:
        port: Any = one.get("port")
        if isinstance(port, str):
            raise LabRefusal(f"the lab enforces no NetworkPolicy with the name of a port ({port})")
        protocol = one.get("protocol") or "TCP"
        yield (protocol, 0, LAST_PORT) if port is None else (protocol, port, one.get("endPort") or port)
    if not ports:
        yield ANY, 0, LAST_PORT


def _blocks(
    peer: Body, home: str, pods: Sequence[Body], namespaces: Sequence[Body]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """An ipBlock as it is; selectors as the addresses of the pods that they select now."""
    if "ipBlock" in peer:
        yield peer["ipBlock"]["cidr"], tuple(peer["ipBlock"].get("except") or ())
        return
    wanted = selector_test(peer.get("podSelector") or {})
    homes = {home}
    if "namespaceSelector" in peer:
        chosen = selector_test(peer["namespaceSelector"] or {})
        homes = {one["metadata"]["name"] for one in namespaces if chosen(one["metadata"].get("labels") or {})}
    for pod in pods:
        if pod["metadata"]["namespace"] in homes and wanted(pod["metadata"].get("labels") or {}):
            for address in _addresses(pod):
                yield str(ipaddress.ip_network(address)), ()


def _addresses(pod: Body) -> list[str]:
    status = pod.get("status") or {}
    listed = [one["ip"] for one in status.get("podIPs") or () if one.get("ip")]
    return listed or [status["podIP"]] if listed or status.get("podIP") else []
