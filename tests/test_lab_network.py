"""The pods' network: which rules a redirect becomes, and what annotations say about it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from kubectl_egress.lab.families import DUAL_STACK
from kubectl_egress.lab.network import GATEWAY, IPV4, IPV6, Redirect, hardware_address, in_ipv6, rules
from kubectl_egress.lab.pods.sandbox import redirect_of

PREFIX = "traffic.sidecar.istio.io/"


def words(rule: list[dict[str, Any]]) -> list[str]:
    """A rule in short: the name of each expression, with the data that it compares or loads."""
    found = []
    for expression in rule:
        attributes = dict(expression["attrs"])
        data = dict(attributes["NFTA_EXPR_DATA"]["attrs"])
        value = data.get("NFTA_CMP_DATA", {}).get("attrs", [("", b"")])[0][1]
        found.append(attributes["NFTA_EXPR_NAME"] + (f" {value.hex()}" if value else ""))
    return found


def test_the_default_exempts_the_proxy_and_loopback_and_redirects_the_rest() -> None:
    own, loopback, rest = (words(rule) for rule in rules(Redirect()))
    assert own == ["meta", "cmp 39050000", "immediate"]
    assert loopback == ["payload", "bitwise", "cmp 7f000000", "immediate"]
    assert rest == ["meta", "cmp 06", "immediate", "redir"]


def test_without_a_second_uid_the_mark_is_compared() -> None:
    by_uid, by_mark = rules(Redirect())[0], rules(Redirect(by_mark=True))[0]
    assert words(by_uid) == words(by_mark)
    keys = [dict(dict(rule[0]["attrs"])["NFTA_EXPR_DATA"]["attrs"])["NFTA_META_KEY"] for rule in (by_uid, by_mark)]
    assert keys == [10, 3]


def test_excluded_ports_come_before_everything_and_ranges_before_the_redirect() -> None:
    found = [words(rule) for rule in rules(Redirect(exclude_ports=(80,), exclude_ranges=("192.0.2.0/24",)))]
    assert found[0] == ["meta", "cmp 06", "payload", "cmp 0050", "immediate"]
    assert "cmp c0000200" in found[3]
    assert found[-1][-1] == "redir"


def test_no_range_means_that_only_included_ports_are_redirected() -> None:
    redirecting = [
        words(rule) for rule in rules(Redirect(include_ports=(443,), include_ranges=())) if "redir" in words(rule)
    ]
    assert redirecting == [["meta", "cmp 06", "payload", "cmp 01bb", "immediate", "redir"]]


def test_ipv6_has_the_same_rules_with_its_own_loopback_and_its_own_ranges() -> None:
    ranges = Redirect(exclude_ranges=("10.0.0.0/8", "fd00::/8"), include_ranges=("192.0.2.0/24", "100::/64"))
    found = [words(rule) for rule in rules(ranges, IPV6)]
    compared = [word.partition(" ")[2] for rule in found for word in rule if len(word) == len("cmp ") + 32]
    assert compared == ["0" * 31 + "1", "fd" + "0" * 30, "01" + "0" * 30]
    assert [rule[-1] for rule in found] == ["immediate", "immediate", "immediate", "redir"]
    assert len(rules(ranges)) == 4


def test_a_mac_is_local_and_says_the_address_in_either_family() -> None:
    assert hardware_address("10.244.0.11") == "02:42:0a:f4:00:0b"
    assert hardware_address(in_ipv6("10.244.0.11")) == "02:42:0a:f4:00:0b"


def pod(annotations: dict[str, str], *, sidecar: bool = True, native: bool = False) -> dict[str, Any]:
    proxy = {"name": "istio-proxy"}
    spec: dict[str, Any] = {"containers": [{"name": "app"}, *([proxy] if sidecar and not native else [])]}
    if native:
        spec["initContainers"] = [{**proxy, "restartPolicy": "Always"}]
    return {"metadata": {"name": "a", "namespace": "b", "annotations": annotations}, "spec": spec}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pod({}, sidecar=False), None),
        (pod({"sidecar.istio.io/interceptionMode": "NONE"}), None),
        (pod({}), Redirect()),
        (pod({}, native=True), Redirect()),
        (pod({PREFIX + "excludeOutboundPorts": "80, 8080"}), Redirect(exclude_ports=(80, 8080))),
        (pod({PREFIX + "includeOutboundPorts": "443"}), Redirect(include_ports=(443,))),
        (pod({PREFIX + "excludeOutboundIPRanges": "192.0.2.0/24"}), Redirect(exclude_ranges=("192.0.2.0/24",))),
        (pod({PREFIX + "includeOutboundIPRanges": ""}), Redirect(include_ranges=())),
    ],
)
def test_redirect_of_a_pod(given: dict[str, Any], expected: Redirect | None) -> None:
    assert redirect_of(given, by_mark=False) == expected


TWO = ("10.244.0.11", "fd00:10:244::af4:b")


@pytest.mark.parametrize(
    ("annotations", "addresses", "families"),
    [
        ({}, TWO[:1], (IPV4,)),
        ({}, TWO[1:], (IPV6,)),
        ({}, TWO, (IPV4,)),  # Istio looks at the first address, unless it is told of two families
        ({DUAL_STACK: "true"}, TWO, (IPV4, IPV6)),
    ],
)
def test_which_families_are_redirected(
    annotations: dict[str, str], addresses: tuple[str, ...], families: tuple[int, ...]
) -> None:
    found = redirect_of(pod(annotations), addresses, by_mark=False)
    assert found is not None
    assert found.families == families


IN_A_NAMESPACE = """
import os
from kubectl_egress.lab import kernel, network
from pyroute2 import IPRoute

kernel.unshare(kernel.CLONE_NEWNET | (kernel.CLONE_NEWUSER if os.geteuid() else 0))
network.set_up_world()
with IPRoute() as route:
    (bridge,) = route.link_lookup(ifname=network.BRIDGE)
    def address():
        return route.get_links(bridge)[0].get_attr("IFLA_ADDRESS")
    seen = [address()]
    route.link("add", ifname="low", kind="veth", peer={"ifname": "other"}, address="02:00:00:00:00:01")
    (port,) = route.link_lookup(ifname="low")
    route.link("set", index=port, master=bridge, state="up")
    seen.append(address())
    route.link("del", index=port)
    seen.append(address())
print(*seen)
"""


def test_the_gateway_keeps_its_mac_when_pods_come_and_go() -> None:
    ended = subprocess.run([sys.executable, "-c", IN_A_NAMESPACE], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == [hardware_address(str(GATEWAY))] * 3
