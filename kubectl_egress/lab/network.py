"""The lab's network by netlink: one bridge in the world's namespace, one veth per pod, and Istio's redirect."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]
from pyroute2.nftables.expressions import genex, verdict  # type: ignore[import-untyped]
from pyroute2.nftables.main import NFTables  # type: ignore[import-untyped]

BRIDGE = "world"
POD_NETWORK = ipaddress.ip_network("10.244.0.0/16")
GATEWAY = ipaddress.ip_address("10.244.0.1")
POD_NETWORK_V6 = ipaddress.IPv6Network("fd00:10:244::/64")
OUTSIDE_V6 = ipaddress.IPv6Network("2001:db8::/64")
"""The outside world's addresses of that family: a documentation prefix (RFC 3849)."""
PROXY_UID = 1337
PROXY_MARK = 1337
OUTBOUND_PORT = 15001
TABLE = "istio"

# linux/netfilter/nf_tables.h
NFT_RETURN = -5
META_MARK, META_SKUID, META_L4PROTO = 3, 10, 16
NetworkError = NetlinkError
"""What the kernel says against a change."""
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
IPV4, IPV6 = 2, 10
DSTNAT_PRIORITY = -100
Expression = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Redirect:
    """What of a pod's outbound TCP goes to the sidecar; the fields are Istio's annotations, the defaults Istio's."""

    exclude_ports: tuple[int, ...] = ()
    include_ports: tuple[int, ...] = ()
    exclude_ranges: tuple[str, ...] = ()
    include_ranges: tuple[str, ...] = ("*",)
    families: tuple[int, ...] = (IPV4,)
    by_mark: bool = False
    """Tell the proxy's own sockets by SO_MARK, where there is no second UID to tell them by."""


def in_ipv6(address: str, network: ipaddress.IPv6Network = POD_NETWORK_V6) -> str:
    """The address that ends in an IPv4 one."""
    return str(network[int(ipaddress.IPv4Address(address))])


GATEWAY_V6 = in_ipv6(str(GATEWAY))


def hardware_address(address: str) -> str:
    """A MAC made from the IP, so that no neighbour's ARP entry is stale when an address is used again."""
    octets = ipaddress.ip_address(address).packed[-4:]
    return ":".join(f"{octet:02x}" for octet in (0x02, 0x42, *octets))


# Whoever calls an address that nobody has is told so at once, and every time, and need not wait for a timeout.
ANSWER_UNREACHABLE = {"/proc/sys/net/ipv4/ip_forward": "1", "/proc/sys/net/ipv4/icmp_ratelimit": "0"}
UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
ANSWER_UNREACHABLE_V6 = {"/proc/sys/net/ipv6/conf/all/forwarding": "1", "/proc/sys/net/ipv6/icmp/ratelimit": "0"}
AT_ONCE = 0x02
"""linux/if_addr.h, IFA_F_NODAD: an address of IPv6 that is used without asking whether somebody else has it."""


def set_up_world(*, ipv6: bool = False) -> None:
    """In the calling thread's network namespace: loopback, the bridge that pods are plugged into, no way further."""
    with IPRoute() as route:
        route.link("set", index=1, state="up")
        route.link("add", ifname=BRIDGE, kind="bridge")
        (bridge,) = route.link_lookup(ifname=BRIDGE)
        # An address of its own: otherwise the bridge takes one of its ports', and another one when that pod goes, and
        # the pods that are left send to a neighbour that is no more.
        route.link("set", index=bridge, address=hardware_address(str(GATEWAY)), state="up")
        route.addr("add", index=bridge, address=str(GATEWAY), prefixlen=POD_NETWORK.prefixlen)
        route.route("add", dst="0.0.0.0/0", type="unreachable")
        if ipv6:
            route.addr("add", index=bridge, address=GATEWAY_V6, prefixlen=POD_NETWORK_V6.prefixlen, flags=AT_ONCE)
            route.route("add", family=socket.AF_INET6, dst="::/0", type="unreachable")
    for path, value in {**ANSWER_UNREACHABLE, **(ANSWER_UNREACHABLE_V6 if ipv6 else {})}.items():
        # Read-only inside some containers: then such calls time out.
        with contextlib.suppress(OSError):
            Path(path).write_text(value)


def add_world_address(address: str) -> None:
    """In the world's namespace: one more server's address."""
    with IPRoute() as route:
        (bridge,) = route.link_lookup(ifname=BRIDGE)
        if ":" in address:
            route.addr("add", index=bridge, address=address, prefixlen=128, flags=AT_ONCE)
        else:
            route.addr("add", index=bridge, address=address, prefixlen=32)


def plug_in(name: str, address: str, pod_net: int) -> None:
    """In the world's namespace: a veth, one end on the bridge, the other as `eth0` in the namespace `pod_net`."""
    with IPRoute() as route:
        (bridge,) = route.link_lookup(ifname=BRIDGE)
        peer = {"ifname": "eth0", "net_ns_fd": pod_net, "address": hardware_address(address)}
        route.link("add", ifname=name, kind="veth", peer=peer)
        (port,) = route.link_lookup(ifname=name)
        route.link("set", index=port, master=bridge, state="up")


def configure_pod(*addresses: str) -> None:
    """In the pod's namespace, with `eth0` in it: loopback, its addresses, default routes."""
    with IPRoute() as route:
        route.link("set", index=1, state="up")
        (eth0,) = route.link_lookup(ifname="eth0")
        for address in addresses:
            if ":" in address:
                route.addr("add", index=eth0, address=address, prefixlen=POD_NETWORK_V6.prefixlen, flags=AT_ONCE)
            else:
                route.addr("add", index=eth0, address=address, prefixlen=POD_NETWORK.prefixlen)
        route.link("set", index=eth0, state="up")
        for address in addresses:
            if ":" in address:
                route.route("add", family=socket.AF_INET6, dst="::/0", gateway=GATEWAY_V6)
            else:
                route.route("add", gateway=str(GATEWAY))
    # As containerd and CRI-O do (enable_unprivileged_ports): whoever runs in the pod may listen on port 80. Read-only inside
    # some containers: then root alone may.
    with contextlib.suppress(OSError):
        UNPRIVILEGED.write_text("0")


# ---- the redirect ---------------------------------------------------------------------------------------------------


def _load(register_from: str, **fields: Any) -> dict[str, Any]:
    return dict(genex(register_from, {"dreg": 1, **fields}))


def _equal(data: bytes) -> dict[str, Any]:
    return dict(genex("cmp", {"sreg": 1, "op": 0, "data": {"attrs": [("NFTA_DATA_VALUE", data)]}}))


def _meta(key: int, data: bytes) -> Expression:
    return [_load("meta", key=key), _equal(data)]


def _tcp() -> Expression:
    return _meta(META_L4PROTO, bytes([socket.IPPROTO_TCP]))


def _to_port(port: int) -> Expression:
    return [*_tcp(), _load("payload", base=TRANSPORT_HEADER, offset=2, len=2), _equal(struct.pack("!H", port))]


# Where a packet says whereto: offset and length in its header, by family (RFC 791, RFC 8200).
_DESTINATION = {IPV4: (16, 4), IPV6: (24, 16)}
_LOOPBACK = {IPV4: "127.0.0.0/8", IPV6: "::1/128"}


def _to_range(cidr: str) -> Expression:
    network = ipaddress.ip_network(cidr, strict=False)
    offset, length = _DESTINATION[_family(cidr)]
    mask = {"attrs": [("NFTA_DATA_VALUE", network.netmask.packed)]}
    zero = {"attrs": [("NFTA_DATA_VALUE", bytes(length))]}
    return [
        _load("payload", base=NETWORK_HEADER, offset=offset, len=length),
        genex("bitwise", {"sreg": 1, "dreg": 1, "len": length, "mask": mask, "xor": zero}),
        _equal(network.network_address.packed),
    ]


def _family(address: str) -> int:
    return IPV6 if ":" in address else IPV4


def _back() -> Expression:
    return list(verdict(NFT_RETURN))


def _redirect() -> Expression:
    port = {"attrs": [("NFTA_DATA_VALUE", struct.pack("!H", OUTBOUND_PORT))]}
    return [genex("immediate", {"dreg": 1, "data": port}), genex("redir", {"reg_proto_min": 1})]


def rules(redirect: Redirect, family: int = IPV4) -> list[Expression]:
    """The rules of a family's output chain, in the order of Istio's own ISTIO_OUTPUT (tools/istio-iptables/pkg/capture)."""
    own = (
        _meta(META_MARK, struct.pack("=I", PROXY_MARK))
        if redirect.by_mark
        else _meta(META_SKUID, struct.pack("=I", PROXY_UID))
    )
    return [
        *([*_to_port(port), *_back()] for port in redirect.exclude_ports),
        [*own, *_back()],
        [*_to_range(_LOOPBACK[family]), *_back()],
        *([*_to_range(cidr), *_back()] for cidr in redirect.exclude_ranges if _family(cidr) == family),
        *([*_to_port(port), *_redirect()] for port in redirect.include_ports),
        *(
            [*(() if cidr == "*" else _to_range(cidr)), *_tcp(), *_redirect()]
            for cidr in redirect.include_ranges
            if cidr == "*" or _family(cidr) == family
        ),
    ]


def add_redirect(redirect: Redirect) -> None:
    """In the pod's namespace: send its outbound TCP to the sidecar."""
    chain = {"name": "output", "hook": "output", "type": "nat", "policy": 1, "priority": DSTNAT_PRIORITY}
    for family in redirect.families:
        with NFTables(nfgen_family=family) as tables:
            tables.begin()
            tables.table("add", name=TABLE)
            tables.chain("add", table=TABLE, **chain)
            for expressions in rules(redirect, family):
                tables.rule("add", table=TABLE, chain="output", expressions=(expressions,))
            tables.commit()


def remove_redirect() -> None:
    """In the pod's namespace: let its connections go where they are addressed to; nothing if they do already."""
    for family in (IPV4, IPV6):
        with NFTables(nfgen_family=family) as tables:
            try:
                tables.table("del", name=TABLE)
            except NetlinkError as error:
                # The second: a kernel without IPv6.
                if error.code not in (errno.ENOENT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
                    raise
