"""Pods of two families and of IPv6 alone: migrated and undone, and what becomes of their requests without a sidecar.

Each caller asks for either family and for each alone, in turn, by its own resolver (glibc). What reaches a host in clear is counted
by the family of the server's address, since a family that the hosts file does not have is asked of DNS.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from kubectl_egress.apply import Conditions, carry_out
from kubectl_egress.cluster.survey import survey
from kubectl_egress.inspection import call_sites
from kubectl_egress.lab.client import Lab, start_lab
from kubectl_egress.lab.families import DUAL_STACK, FAMILIES
from kubectl_egress.model import Action, Host, PatchOperation
from kubectl_egress.plan import MigrationRequest, plan_migration
from tests import build
from tests.scene import NATIVE, Scene, scene_in, until

pytestmark = pytest.mark.lab

BOTH = {FAMILIES: "IPv4,IPv6", DUAL_STACK: "true"}
HALF = {FAMILIES: "IPv4,IPv6"}
"""As Istio is by default: it redirects the family of the first address."""
ALONE = {FAMILIES: "IPv6"}
HOSTS = {"both": "httpbin.org", "alone": "api.example.com", "half": "api.example.org", "open": "open.example.org"}
LOOP = "while true; do for family in '' -4 -6; do curl -s -m 3 $family -o /dev/null {url}; done; sleep .2; done"
TEMPLATE = ("spec", "template")


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    """With a curl that asks the resolver for one family when it is told so: some only choose from what they are given."""
    with start_lab(hosts=tuple(HOSTS.values()), ipv6=True, stand_in_curl=True) as lab:
        yield lab


@pytest.fixture
def scene(shared: Lab) -> Iterator[Scene]:
    shared.reset()
    with scene_in(shared) as found:
        yield found


def deploy(scene: Scene, callers: dict[str, dict[str, str]]) -> None:
    for name, own in callers.items():
        command = ["sh", "-c", LOOP.format(url=f"https://{HOSTS[name]}/status/200")]
        spec: dict[str, Any] = {"terminationGracePeriodSeconds": 0, "annotations": {**NATIVE, **own}}
        scene.create(build.deployment(name, scene.namespace, command=command, **spec))
    for name in callers:
        scene.rolled_out(name)


def arrived(scene: Scene, name: str, *, tls: bool) -> Counter[str]:
    """Requests that reached the caller's host, by the family of the address that they came to."""
    return Counter(
        "IPv6" if ":" in one["address"] else "IPv4"
        for one in scene.lab.requests()
        if one["name"] == HOSTS[name] and one["tls"] is tls
    )


def served(scene: Scene, *names: str) -> None:
    """Wait until hosts are reached over TLS, from now on."""
    scene.lab.reset()
    for name in names:
        until(lambda name=name: arrived(scene, name, tls=True).total() > 3, f"{name} is served")  # type: ignore[misc]


def migrate(scene: Scene, *names: str, options: Sequence[str] = ()) -> str:
    run = scene.egress("migrate", *[HOSTS[name] for name in names], "-y", "--window", "5s", *options)
    assert run.status == 0, run
    return run.out + run.err


def aliases(scene: Scene, name: str) -> list[str]:
    """The addresses in the pod template."""
    return [one["ip"] for one in scene.get("Deployment", name)["spec"]["template"]["spec"].get("hostAliases") or ()]


def fails(scene: Scene, *names: str) -> dict[str, str]:
    """What `verify` says of each caller in its column FAILS."""
    head, *lines = scene.egress("verify", *[HOSTS[name] for name in names], "--window", "5s").out.splitlines()
    at = head.index("FAILS")
    return {name: line[at:].split()[0] for name in names for line in lines if line.startswith(f"deployment/{name} ")}


def leaks(scene: Scene, name: str, *families: str) -> None:
    """Wait until that has left in clear, over each of these families."""
    until(lambda: set(families) <= set(arrived(scene, name, tls=False)), f"{name} leaks over {families}")


def test_a_pod_with_ipv6_is_closed_over_both_families(scene: Scene) -> None:
    """Migrated, without a redirect, without a sidecar, undone. `open`, without the alias, shows that the test can fail."""
    callers = {"both": BOTH, "alone": ALONE, "half": HALF, "open": BOTH}
    closed = [name for name in callers if name != "open"]
    deploy(scene, callers)
    before = {name: scene.get("Deployment", name)["spec"]["template"] for name in callers}
    migrate(scene, "open", options=["--fail-open"])
    said = [line for line in migrate(scene, *closed).splitlines() if "port-not-captured" in line]
    assert [line.split()[:3] for line in said] == [["warn", "port-not-captured", "deployment/half:"]]
    for name in closed:
        assert [ipaddress.ip_address(one).version for one in aliases(scene, name)] == [4, 6]
    assert fails(scene, *callers) == dict.fromkeys(closed, "closed") | {"open": "open"}
    served(scene, *callers)
    assert set(arrived(scene, "alone", tls=True)) == {"IPv6"}

    for name in callers:
        scene.lab.remove_redirect(scene.pod(name), scene.namespace)
    scene.lab.reset()
    leaks(scene, "open", "IPv4", "IPv6")
    assert [arrived(scene, name, tls=False) for name in closed] == [{}] * len(closed)

    label = (*TEMPLATE, "metadata", "labels", "sidecar.istio.io/inject")
    for name in callers:
        scene.patch("Deployment", name, PatchOperation("add", label, "false"))
    for name in callers:
        scene.rolled_out(name)
    scene.lab.reset()
    leaks(scene, "open", "IPv4", "IPv6")
    assert [arrived(scene, name, tls=False) for name in closed] == [{}] * len(closed)

    for name in callers:
        scene.patch("Deployment", name, PatchOperation("remove", label))
    for name in callers:
        scene.rolled_out(name)
    run = scene.egress("undo", *[HOSTS[name] for name in callers], "-y")
    assert run.status == 0, run
    served(scene, *callers)
    for name in callers:
        assert scene.get("Deployment", name)["spec"]["template"]["spec"] == before[name]["spec"]
        assert arrived(scene, name, tls=False) == {}


def test_an_alias_of_one_family_leaks_over_the_other(scene: Scene) -> None:
    """As it is where pods have got IPv6 since, or a manifest was migrated without --ipv6: said, and mended by migrating again."""
    deploy(scene, {"both": BOTH})
    migrate(scene, "both")
    [number] = [at for at, one in enumerate(aliases(scene, "both")) if ":" in one]
    scene.patch("Deployment", "both", PatchOperation("remove", (*TEMPLATE, "spec", "hostAliases", number)))
    scene.rolled_out("both")
    assert fails(scene, "both") == {"both": "open"}
    assert "alias-lost" in scene.egress("list").out
    scene.lab.remove_redirect(scene.pod("both"), scene.namespace)
    scene.lab.reset()
    leaks(scene, "both", "IPv6")
    assert set(arrived(scene, "both", tls=False)) == {"IPv6"}
    migrate(scene, "both")
    assert fails(scene, "both") == {"both": "closed"}
    served(scene, "both")
    assert arrived(scene, "both", tls=False) == {}


def test_without_an_alias_a_family_that_is_not_redirected_leaks_past_a_healthy_sidecar(scene: Scene) -> None:
    deploy(scene, {"half": HALF})
    run = scene.egress("migrate", HOSTS["half"], "-y", "--fail-open")
    assert run.status == 3, run
    assert "port-not-captured" in run.out + run.err
    seen = survey(scene.cluster)
    plan = plan_migration(seen, call_sites(seen), (), MigrationRequest((Host(HOSTS["half"]),), fail_open=True))
    steps = tuple(one for one in plan.steps if one.action is not Action.VERIFY)
    carry_out(replace(plan, steps=steps), scene.cluster, Conditions(timeout=60.0, window=1.0), lambda _: None)
    scene.lab.reset()
    leaks(scene, "half", "IPv6")
    assert set(arrived(scene, "half", tls=False)) == {"IPv6"}
    assert set(arrived(scene, "half", tls=True)) == {"IPv4"}
