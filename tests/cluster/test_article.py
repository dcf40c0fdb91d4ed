"""The article end to end on a real control plane: its Deployment unchanged, three demos, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.cluster.client import RealLab
from tests.scene import HOST, Run, Scene, until

pytestmark = pytest.mark.cluster

EXAMPLES = Path(__file__).parents[2] / "examples"
INJECTED = "sidecar.istio.io/status"


def example(scene: Scene, name: str) -> None:
    """Create an object of the article."""
    body = YAML(typ="safe").load(EXAMPLES / name)
    scene.create({**body, "metadata": {**body["metadata"], "namespace": scene.namespace}})


def item(scene: Scene) -> Any:
    """What `inspect` says of the host."""
    run = scene.egress("inspect", "deploy/curl", "-o", "json")
    assert run.status == 0, run
    [found] = [one for one in run.document()["items"] if one["host"] == HOST]
    return found


def visibility(scene: Scene, wanted: str) -> None:
    """Wait until `inspect` says so."""
    until(lambda: item(scene)["visibility"] == wanted, f"the host is {wanted}")


def verified(scene: Scene) -> Run:
    """`verify`, which has to prove it."""
    run = scene.egress("verify", "-o", "json")
    assert run.status == 0, run
    [proof] = run.document()["items"]
    assert (proof["host"], proof["verdict"], proof["failsClosed"]) == (HOST, "verified", True)
    return run


@pytest.mark.anywhere
def test_demos_one_to_three_and_back(scene: Scene, cluster: RealLab) -> None:
    example(scene, "curl.yaml")
    scene.rolled_out("curl")
    [pod] = scene.pods("curl")
    assert INJECTED in pod["metadata"]["annotations"], "the real webhook injects"
    if cluster.counts:
        until(lambda: scene.counters().total(HOST) > 3, "the server is called")

    visibility(scene, "opaque")
    example(scene, "serviceentry-demo2.yaml")
    visibility(scene, "named")
    before = scene.state()

    scene.migrate()
    assert f"http://{HOST}" in str(scene.get("Deployment", "curl")["spec"])
    verified(scene)
    visibility(scene, "full")
    versions = scene.versions()
    again = scene.egress("migrate", HOST, "-y")
    assert again.status == 0, again
    assert scene.versions() == versions, "the second time changes nothing"

    scene.undo()
    assert scene.state() == before
    visibility(scene, "named")
    if cluster.counts:
        counters = scene.counters()
        assert counters.in_clear == 0, counters
        assert not counters.clear_bytes, counters


def test_without_the_redirect_nothing_is_in_clear(scene: Scene, cluster: RealLab) -> None:
    caller = scene.deploy("caller")
    scene.migrate("--workload", "deploy/caller")
    caller.healthy()
    cluster.remove_redirect(scene.pod("caller"), scene.namespace)
    assert not any(request.served for request in caller.next(5))
    cluster.restore_redirect(scene.pod("caller"), scene.namespace)
    caller.healthy()
    assert scene.counters().in_clear == 0
