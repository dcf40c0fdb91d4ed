"""Pods of two families and of IPv6 alone, in a mesh of a real istiod with ISTIO_DUAL_STACK."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator

import pytest

from kubectl_egress.lab.families import DUAL_STACK, FAMILIES
from tests.cluster.build import BuildError
from tests.cluster.client import RealLab, start_cluster
from tests.cluster.scenes import scene_of
from tests.scene import Scene, until

pytestmark = pytest.mark.cluster

HOSTS = {"both": "httpbin.org", "alone": "api.example.com"}
TWO = {
    FAMILIES: "IPv4,IPv6",
    DUAL_STACK: "true",
    "proxy.istio.io/config": '{"proxyMetadata": {"ISTIO_DUAL_STACK": "true"}}',
}
KINDS = {"both": TWO, "alone": {FAMILIES: "IPv6"}}


@pytest.fixture(scope="module")
def cluster() -> Iterator[RealLab]:
    """One with IPv6, which the others have not."""
    try:
        found = start_cluster(hosts=tuple(HOSTS.values()), ipv6=True, stand_in_curl=True)
    except BuildError as error:
        pytest.skip(str(error))
    with found:
        yield found


@pytest.fixture
def scene(cluster: RealLab) -> Iterator[Scene]:
    with scene_of(cluster) as found:
        yield found


def arrived(scene: Scene, name: str, *, tls: bool) -> Counter[int]:
    """Requests that reached the caller's host, by the version of the address that they came to."""
    return Counter(
        ipaddress.ip_address(one["address"]).version
        for one in scene.lab.requests()
        if one["name"] == HOSTS[name] and one["tls"] is tls
    )


def served(scene: Scene) -> None:
    scene.lab.reset()
    for name in HOSTS:
        until(lambda name=name: arrived(scene, name, tls=True).total() > 3, f"{name} is served")  # type: ignore[misc]


def test_a_migration_its_loss_of_the_redirect_and_its_undo(scene: Scene) -> None:
    """Each caller asks for IPv6 alone, which its alias has to answer for."""
    callers = {
        name: scene.deploy(name, f"-6 https://{HOSTS[name]}/status/200", annotations=own) for name, own in KINDS.items()
    }
    for name, caller in callers.items():
        run = scene.egress("migrate", HOSTS[name], "-y", "--window", "10s")
        assert run.status == 0, run
        template = scene.get("Deployment", name)["spec"]["template"]["spec"]
        assert [ipaddress.ip_address(one["ip"]).version for one in template["hostAliases"]] == [4, 6]
        caller.healthy()
    served(scene)
    assert set(arrived(scene, "alone", tls=True)) == {6}
    for name, caller in callers.items():
        scene.lab.remove_redirect(scene.pod(name), scene.namespace)
        assert not any(request.served for request in caller.next(3)[1:])
    run = scene.egress("undo", *HOSTS.values(), "-y")
    assert run.status == 0, run
    for caller in callers.values():
        caller.healthy()
    assert [arrived(scene, name, tls=False) for name in KINDS] == [{}, {}]
