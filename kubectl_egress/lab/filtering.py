"""What a pod may send, by nftables in its own namespace, where its packets leave it: behind the redirect to the sidecar.

As with the networks of real clusters, which stand at the other end of the pod's cable, what goes to the sidecar is not
looked at, and what the sidecar sends is. Packets of connections that somebody else began pass.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from pyroute2.nftables.expressions import genex, verdict  # type: ignore[import-untyped]
from pyroute2.nftables.main import NFTables  # type: ignore[import-untyped]

from kubectl_egress.lab.network import NETWORK_HEADER, TRANSPORT_HEADER, Expression
from kubectl_egress.lab.pods.policies import ANY, LAST_PORT, Permission

TABLES = ("policies", "policies-too")
"""One after the other."""
CHAIN = "out"
PROTOCOLS = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP, "SCTP": 132}
# linux/netfilter/nf_tables.h, linux/netfilter.h
BOTH_FAMILIES = 1
META_OIF, META_NFPROTO, META_L4PROTO = 5, 15, 16
CT_STATE = 0
ESTABLISHED_OR_RELATED = 0b110
EQUAL, UNEQUAL, AT_MOST, AT_LEAST = 0, 1, 3, 5
DROP, ACCEPT = 0, 1
LOOPBACK = 1


def _load(register_from: str, **fields: Any) -> Any:
    return genex(register_from, {"dreg": 1, **fields})


def _data(value: bytes) -> Any:
    return {"attrs": [("NFTA_DATA_VALUE", value)]}


def _compare(operator: int, value: bytes) -> Any:
    return genex("cmp", {"sreg": 1, "op": operator, "data": _data(value)})


def _masked(mask: bytes) -> Any:
    return genex(
        "bitwise", {"sreg": 1, "dreg": 1, "len": len(mask), "mask": _data(mask), "xor": _data(bytes(len(mask)))}
    )


def _within(cidr: str, operator: int = EQUAL) -> Expression:
    """The destination is in the network, or (UNEQUAL) is not; the family has been looked at."""
    network = ipaddress.ip_network(cidr, strict=False)
    offset, length = (16, 4) if network.version == 4 else (24, 16)
    return [
        _load("payload", base=NETWORK_HEADER, offset=offset, len=length),
        _masked(network.netmask.packed),
        _compare(operator, network.network_address.packed),
    ]


def _matches(permission: Permission) -> Expression:
    found: Expression = []
    if permission.protocol != ANY:
        found += [_load("meta", key=META_L4PROTO), _compare(EQUAL, bytes([PROTOCOLS[permission.protocol]]))]
    if (permission.first, permission.last) != (0, LAST_PORT):
        found.append(_load("payload", base=TRANSPORT_HEADER, offset=2, len=2))
        found.append(_compare(AT_LEAST, struct.pack("!H", permission.first)))
        found.append(_compare(AT_MOST, struct.pack("!H", permission.last)))
    if permission.network != ANY:
        family = socket.AF_INET if ipaddress.ip_network(permission.network).version == 4 else socket.AF_INET6
        found += [_load("meta", key=META_NFPROTO), _compare(EQUAL, bytes([family]))]
        found += _within(permission.network)
        for cidr in permission.excepted:
            found += _within(cidr, UNEQUAL)
    return found


def filter_rules(permissions: Sequence[Permission]) -> Iterator[Expression]:
    """The rules of the chain, in their order; what none of them lets through is dropped, if it is any of the protocols."""
    established = _masked(struct.pack("=I", ESTABLISHED_OR_RELATED))
    yield [_load("meta", key=META_OIF), _compare(EQUAL, struct.pack("=I", LOOPBACK)), *verdict(ACCEPT)]
    yield [_load("ct", key=CT_STATE), established, _compare(UNEQUAL, bytes(4)), *verdict(ACCEPT)]
    for permission in permissions:
        yield [*_matches(permission), *verdict(ACCEPT)]
    for number in PROTOCOLS.values():
        yield [_load("meta", key=META_L4PROTO), _compare(EQUAL, bytes([number])), *verdict(DROP)]


def restrict(permissions: Sequence[Permission] | None) -> None:
    """In the pod's namespace: let it send this and nothing else, or everything (None).

    Each command is a transaction of its own: so new rules stand whole beside the old ones before those go, and at no moment
    does a packet pass that neither permit.
    """
    with NFTables(nfgen_family=BOTH_FAMILIES) as tables:
        known = {table.get_attr("NFTA_TABLE_NAME") for table in tables.get_tables()}
        old = [name for name in TABLES if name in known]
        if permissions is not None:
            if len(old) == len(TABLES):
                tables.table("del", name=old.pop())
            (new,) = set(TABLES) - set(old[:1]) if old else TABLES[:1]
            tables.table("add", name=new)
            tables.chain("add", table=new, name=CHAIN, hook="postrouting", type="filter", policy=ACCEPT, priority=0)
            for expressions in filter_rules(permissions):
                tables.rule("add", table=new, chain=CHAIN, expressions=(expressions,))
        for name in old:
            tables.table("del", name=name)
