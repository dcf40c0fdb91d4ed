"""The lab's NetworkPolicies: what they come to, and that the kernel sends what they permit and drops the rest."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress.lab import filtering, kernel
from kubectl_egress.lab.parts import LabRefusal
from kubectl_egress.lab.pods.policies import ANY, Permission, egress_of
from kubectl_egress.model import Body
from kubectl_egress.policies import guard_policy
from tests import build
from tests.network_policies import permits

LABELS = {"app": "shop"}
GUARD = guard_policy("guard", build.NAMESPACE, {"matchLabels": LABELS}, ["10.96.0.0/12"])


def policy(*egress: Body, namespace: str = build.NAMESPACE, **spec: Any) -> Body:
    whole = {"podSelector": {}, "policyTypes": ["Egress"], "egress": list(egress), **spec}
    return {"kind": "NetworkPolicy", "metadata": build.metadata("one", namespace), "spec": whole}


def pod(name: str, address: str, namespace: str = build.NAMESPACE, **labels: str) -> Body:
    return {"metadata": build.metadata(name, namespace, labels=labels), "status": {"podIP": address}}


def namespace(name: str, **labels: str) -> Body:
    return {"metadata": {"name": name, "labels": labels}}


SHOP = pod("shop", "10.244.0.10", app="shop")
PODS = (SHOP, pod("db", "10.244.0.11", app="db"), pod("far", "10.244.0.12", "far", app="db"), pod("new", "", app="db"))
NAMESPACES = (namespace(build.NAMESPACE, team="a"), namespace("far", team="b"))


def blocks_of(*peers: Body) -> list[str]:
    found = egress_of(SHOP, [policy({"to": list(peers)})], PODS, NAMESPACES)
    return [one.network for one in found or ()]


@pytest.mark.parametrize(
    ("peers", "networks"),
    [
        ([], [ANY]),
        ([{"podSelector": {}}], ["10.244.0.10/32", "10.244.0.11/32"]),
        ([{"podSelector": {"matchLabels": {"app": "db"}}}], ["10.244.0.11/32"]),
        ([{"namespaceSelector": {}}], ["10.244.0.10/32", "10.244.0.11/32", "10.244.0.12/32"]),
        ([{"namespaceSelector": {"matchLabels": {"team": "b"}}}], ["10.244.0.12/32"]),
        (
            [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "db"}}}],
            ["10.244.0.11/32", "10.244.0.12/32"],
        ),
        (
            [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}}],
            ["10.244.0.10/32"],
        ),
        ([{"podSelector": {"matchLabels": {"app": "nobody"}}}], []),
        ([{"ipBlock": {"cidr": "fd00::/8"}}], ["fd00::/8"]),
    ],
)
def test_whom_a_peer_means(peers: list[Body], networks: list[str]) -> None:
    assert blocks_of(*peers) == networks


def test_whom_a_policy_selects() -> None:
    def restricted(*policies: Body) -> bool:
        return egress_of(SHOP, policies, PODS, NAMESPACES) is not None

    assert not restricted()
    assert not restricted(policy(namespace="far"), policy(podSelector={"matchLabels": {"app": "db"}}))
    assert not restricted(policy(policyTypes=["Ingress"]))
    assert restricted(policy())
    assert restricted(policy({}, policyTypes=[]))
    assert egress_of(SHOP, [policy(), policy({"ports": [{"port": 53, "protocol": "UDP"}]})], PODS, NAMESPACES) == (
        Permission("UDP", 53, 53),
    ), "policies add up"


def test_a_port_by_name_is_refused() -> None:
    with pytest.raises(LabRefusal, match="name of a port"):
        egress_of(SHOP, [policy({"ports": [{"port": "http"}]})], PODS, NAMESPACES)


NETWORKS = ("0.0.0.0/0", "10.0.0.0/8", "10.96.0.0/12", "203.0.113.0/24", "203.0.113.9/32", "::/0", "2001:db8::/32")
ADDRESSES = ("203.0.113.9", "203.0.113.10", "10.96.0.10", "10.1.2.3", "198.51.100.1", "2001:db8::1", "2001:db9::1")
PORTS = (1, 53, 79, 80, 81, 443, 65535)


def inner(cidr: str) -> list[str]:
    network: Any = ipaddress.ip_network(cidr)
    return [
        one
        for one in NETWORKS
        if one != cidr and ":" in one == ":" in cidr and ipaddress.ip_network(one).subnet_of(network)
    ]


@st.composite
def rules(draw: st.DrawFn) -> Body:
    rule: dict[str, Any] = {}
    if draw(st.booleans()):
        first = draw(st.sampled_from(PORTS))
        more = {"endPort": draw(st.sampled_from([one for one in PORTS if one >= first]))} if draw(st.booleans()) else {}
        port = {"protocol": draw(st.sampled_from(["TCP", "UDP"]))}
        rule["ports"] = [port | ({"port": first} | more if draw(st.booleans()) else {})]
    if draw(st.booleans()):
        cidr = draw(st.sampled_from(NETWORKS))
        excepted = draw(st.lists(st.sampled_from(inner(cidr)), max_size=1)) if inner(cidr) else []
        rule["to"] = [{"ipBlock": {"cidr": cidr, "except": excepted}}]
    return rule


def lets(permission: Permission, address: str, port: int, protocol: str) -> bool:
    at = ipaddress.ip_address(address)
    return (
        permission.protocol in (ANY, protocol)
        and permission.first <= port <= permission.last
        and (permission.network == ANY or at in ipaddress.ip_network(permission.network))
        and not any(at in ipaddress.ip_network(one) for one in permission.excepted)
    )


@given(
    st.lists(rules(), max_size=3), st.sampled_from(ADDRESSES), st.sampled_from(PORTS), st.sampled_from(["TCP", "UDP"])
)
def test_it_means_what_the_api_says(egress: list[Body], address: str, port: int, protocol: str) -> None:
    found = egress_of(SHOP, [policy(*egress)], PODS, NAMESPACES) or ()
    expected = permits([policy(*egress)], LABELS, address, port, protocol)
    assert any(lets(one, address, port, protocol) for one in found) is expected


# ---- packets --------------------------------------------------------------------------------------------------------

GATEWAYS = ("10.0.0.3", "fd00::3")
MAC = "02:00:00:00:00:03"
KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
NUMBERS = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP}


def cable() -> socket.socket:
    """In a network namespace of its own: everything outside is behind a cable; its other end, from which frames are read."""
    from pyroute2 import IPRoute  # type: ignore[import-untyped]  # with the extra `lab` alone

    kernel.unshare(kernel.CLONE_NEWNET)
    with IPRoute() as route:
        route.link("set", index=1, state="up")
        route.link("add", ifname="near", kind="veth", peer="far")
        near, far = (route.link_lookup(ifname=name)[0] for name in ("near", "far"))
        route.link("set", index=far, state="up")
        route.link("set", index=near, state="up")
        route.addr("add", index=near, address="10.0.0.2", prefixlen=24)
        # IFA_F_NODAD: usable at once
        route.addr("add", index=near, address="fd00::2", prefixlen=64, flags=0x02)
        for gateway, everywhere in zip(GATEWAYS, ("0.0.0.0/0", "::/0"), strict=True):
            family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
            # NUD_PERMANENT: nobody has to be asked
            route.neigh("add", dst=gateway, lladdr=MAC, ifindex=near, state=0x80, family=family)
            route.route("add", dst=everywhere, gateway=gateway, family=family)
    frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    frames.bind(("far", 0))
    return frames


def destination(frame: bytes) -> tuple[str, int, int] | None:
    """Address, port and protocol of a frame's packet, as far as the packets of this test go."""
    kind = struct.unpack("!H", frame[12:14])[0]
    if kind == 0x0800:
        return str(ipaddress.ip_address(frame[30:34])), struct.unpack("!H", frame[36:38])[0], frame[23]
    if kind == 0x86DD:
        return str(ipaddress.ip_address(frame[38:54])), struct.unpack("!H", frame[56:58])[0], frame[20]
    return None


def leaves(frames: socket.socket, address: str, port: int, protocol: str, patience: float) -> bool:
    """Whether a first packet to there comes out at the other end."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, KINDS[protocol]) as sender:
        sender.setblocking(False)
        with contextlib.suppress(BlockingIOError, PermissionError):
            sender.connect((address, port))
            if protocol == "UDP":
                sender.send(b"x")
        deadline = time.monotonic() + patience
        while select.select([frames], [], [], max(0.0, deadline - time.monotonic()))[0]:
            if destination(frames.recv(2048)) == (address, port, NUMBERS[protocol]):
                return True
    return False


def sent(
    policies: Sequence[Body], asked: Sequence[tuple[str, int, str]], expected: Callable[..., bool]
) -> Iterator[bool]:
    """In a thread with a namespace of its own: whether each was sent. What is expected to be is waited for longer."""
    with cable() as frames:
        filtering.restrict(egress_of(SHOP, policies, PODS, NAMESPACES))
        for address, port, protocol in asked:
            yield leaves(frames, address, port, protocol, 2.0 if expected(address, port, protocol) else 0.02)
        filtering.restrict(None)
        filtering.restrict(None)
        address, port, protocol = asked[0]
        assert leaves(frames, address, port, protocol, 2.0), "nothing is left of it"


@pytest.mark.lab
@pytest.mark.skipif(os.geteuid() != 0, reason="a thread gets a network namespace of its own from root alone")
@pytest.mark.parametrize(
    "policies",
    [
        [],
        [policy()],
        [GUARD],
        [policy({"ports": [{"port": 53, "protocol": "UDP"}]})],
        [policy({"to": [{"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.9/32"]}}]})],
        [
            policy({"ports": [{"port": 79, "endPort": 81}], "to": [{"ipBlock": {"cidr": "2001:db8::/32"}}]}),
            policy({"ports": [{}]}),
        ],
    ],
)
def test_the_kernel_sends_what_is_permitted_and_drops_the_rest(policies: list[Body]) -> None:
    asked = [(address, port, protocol) for address in ADDRESSES for port in (80, 81, 443) for protocol in KINDS]

    def expected(address: str, port: int, protocol: str) -> bool:
        return permits(policies, LABELS, address, port, protocol)

    found = asyncio.run(kernel.in_a_thread(lambda: list(sent(policies, asked, expected))))
    assert dict(zip(asked, found, strict=True)) == {one: expected(*one) for one in asked}


def hammered() -> int:
    """How many packets come out while one set of rules after the other forbids them."""
    leaked, stopping = 0, threading.Event()
    with cable() as frames, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        permissions = itertools.cycle([(Permission("UDP", 81, 90),), (Permission("UDP", 81, 91),)])
        filtering.restrict(next(permissions))
        sender.connect(("203.0.113.9", 80))

        def hammer() -> None:
            while not stopping.wait(0.0002):
                with contextlib.suppress(PermissionError):
                    sender.send(b"x")

        thread = threading.Thread(target=hammer)
        thread.start()
        for _ in range(10):
            filtering.restrict(next(permissions))
            while select.select([frames], [], [], 0)[0]:
                leaked += destination(frames.recv(2048)) == ("203.0.113.9", 80, NUMBERS["UDP"])
        stopping.set()
        thread.join()
    return leaked


@pytest.mark.lab
@pytest.mark.skipif(os.geteuid() != 0, reason="a thread gets a network namespace of its own from root alone")
def test_nothing_passes_while_rules_are_exchanged() -> None:
    """Pods come and go all the time, and each changes what `every pod` means."""
    assert asyncio.run(kernel.in_a_thread(hammered)) == 0
