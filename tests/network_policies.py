"""What a set of NetworkPolicies permits, read from the API's definition and from nothing of ours, nor of the lab's."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_egress.model import Body


def permits(
    policies: Sequence[Body],
    labels: Mapping[str, str],
    address: str,
    port: int,
    protocol: str = "TCP",
    *,
    pod: bool = False,
) -> bool:
    """Whether a pod with `labels` may connect to `address`, which is a pod's of any namespace or not.

    A pod that no egress policy selects may do all; one that some select may do what one of these permits.
    """
    mine = [one["spec"] for one in policies if "Egress" in one["spec"]["policyTypes"] and _selects(one, labels)]
    return not mine or any(
        _on_port(rule, port, protocol) and _to(rule, address, pod) for spec in mine for rule in spec.get("egress") or ()
    )


def _selects(policy: Body, labels: Mapping[str, str]) -> bool:
    selector = policy["spec"]["podSelector"]
    assert set(selector) <= {"matchLabels"}, "no test has more"
    return {*selector.get("matchLabels", {}).items()} <= {*labels.items()}


def _on_port(rule: Body, port: int, protocol: str) -> bool:
    ports: list[Any] = rule.get("ports") or [{"protocol": protocol}]
    return any(
        one.get("protocol", "TCP") == protocol
        and ("port" not in one or one["port"] <= port <= one.get("endPort", one["port"]))
        for one in ports
    )


def _to(rule: Body, address: str, pod: bool) -> bool:
    return not rule.get("to") or any(_is_peer(peer, ipaddress.ip_address(address), pod) for peer in rule["to"])


def _is_peer(peer: Body, address: ipaddress.IPv4Address | ipaddress.IPv6Address, pod: bool) -> bool:
    if "ipBlock" not in peer:
        assert peer == {"namespaceSelector": {}}, "no test has more"
        return pod
    block = peer["ipBlock"]
    excepted = any(address in ipaddress.ip_network(one) for one in block.get("except", ()))
    return address in ipaddress.ip_network(block["cidr"]) and not excepted
