"""What is wrong with a NetworkPolicy (k8s.io/kubernetes pkg/apis/networking/validation), or not enforced by the lab's network."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_egress.lab.api.status import Cause, invalid_value

Body = Mapping[str, Any]


def network_policy(body: Body) -> Iterator[Cause]:
    """One cause for each thing."""
    spec = body["spec"]
    if "Ingress" in spec["policyTypes"]:
        yield _forbidden("spec.policyTypes", "the lab enforces no policy on ingress; say policyTypes: [Egress]")
    for number, rule in enumerate(spec.get("egress") or []):
        path = f"spec.egress[{number}]"
        for index, port in enumerate(rule.get("ports") or []):
            yield from _policy_port(port, f"{path}.ports[{index}]")
        for index, peer in enumerate(rule.get("to") or []):
            yield from _policy_peer(peer, f"{path}.to[{index}]")


def _policy_port(port: Body, path: str) -> Iterator[Cause]:
    number, end = port.get("port"), port.get("endPort")
    if isinstance(number, str):
        yield _forbidden(f"{path}.port", "the lab enforces no policy on ports by name")
    elif number is not None and not 0 < number < 65536:
        yield invalid_value(f"{path}.port", number, "must be between 1 and 65535, inclusive")
    elif end is not None and (number is None or end < number or end > 65535):
        yield invalid_value(f"{path}.endPort", end, "must be greater than or equal to `port`")


def _policy_peer(peer: Body, path: str) -> Iterator[Cause]:
    if not any(peer.get(key) is not None for key in ("podSelector", "namespaceSelector", "ipBlock")):
        yield Cause(path, "FieldValueRequired", "Required value: must specify a peer")
    if (block := peer.get("ipBlock")) is None:
        return
    if len(peer) > 1:
        yield _forbidden(path, "may not specify both ipBlock and another peer")
    try:
        network = ipaddress.ip_network(block.get("cidr") or "", strict=False)
        inside = [ipaddress.ip_network(one, strict=False) for one in block.get("except") or []]
    except ValueError as error:
        yield invalid_value(f"{path}.ipBlock", block.get("cidr"), str(error))
        return
    for index, one in enumerate(inside):
        if one.version != network.version or not one.subnet_of(network) or one == network:  # type: ignore[arg-type]
            field = f"{path}.ipBlock.except[{index}]"
            yield invalid_value(field, str(one), "must be a strict subset of `cidr`")


def _forbidden(field: str, why: str) -> Cause:
    return Cause(field, "FieldValueForbidden", f"Forbidden: {why}")
