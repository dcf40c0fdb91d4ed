"""The article's round trip in a mesh that lets nothing out but what it knows: outboundTrafficPolicy REGISTRY_ONLY."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ruamel.yaml import YAML

from kubectl_egress.manifests import dump
from kubectl_egress.model import PatchOperation, Ref
from tests.cluster.client import RealLab
from tests.cluster.scenes import scene_of
from tests.cluster.test_article import example, verified, visibility
from tests.scene import HOST, Scene

pytestmark = pytest.mark.cluster

MESH = Ref("ConfigMap", "istio-system", "istio", "v1")
SETTINGS = ("data", "mesh")


@pytest.fixture
def closed(cluster: RealLab) -> Iterator[Scene]:
    """A namespace in a mesh whose policy is this, until the test has ended; istiod reads its ConfigMap as it changes."""
    cluster.reset()
    with scene_of(cluster) as scene:
        before = scene.cluster.get(MESH)["data"]["mesh"]
        settings = YAML(typ="safe").load(before)
        settings["outboundTrafficPolicy"] = {"mode": "REGISTRY_ONLY"}
        scene.cluster.patch(MESH, [PatchOperation("replace", SETTINGS, dump([settings]))])
        try:
            yield scene
        finally:
            scene.cluster.patch(MESH, [PatchOperation("replace", SETTINGS, before)])


def test_from_blocked_and_from_named_and_back(closed: Scene) -> None:
    scene = closed
    example(scene, "curl.yaml")
    scene.rolled_out("curl")
    visibility(scene, "blocked")
    scene.lab.reset()
    before = scene.state()
    scene.migrate()
    verified(scene)
    visibility(scene, "full")
    assert scene.counters().total(HOST) > 0
    scene.undo()
    assert scene.state() == before
    visibility(scene, "blocked")

    example(scene, "serviceentry-demo2.yaml")
    visibility(scene, "named")
    before = scene.state()
    scene.migrate()
    verified(scene)
    scene.undo()
    assert scene.state() == before
    visibility(scene, "named")
    counters = scene.counters()
    assert counters.in_clear == 0, counters
    assert not counters.clear_bytes, counters
