"""Flags of `migrate` on a real control plane: what its admission takes, and what its proxies make of it."""

from __future__ import annotations

import pytest

from kubectl_egress.mesh import object_name
from kubectl_egress.model import Host
from tests.scene import HOST, Scene, until

pytestmark = pytest.mark.cluster


def test_flags_are_taken_and_a_name_alone_changes_no_caller(scene: Scene) -> None:
    recorder = scene.deploy()
    recorder.healthy()
    before = scene.state()

    run = scene.egress("migrate", HOST, "--mode", "named", "-y")
    assert run.status == 0, run
    [item] = [one for one in scene.egress("inspect", "-o", "json").document()["items"] if one["host"] == HOST]
    assert item["visibility"] == "named"
    recorder.healthy()
    scene.undo()
    assert scene.state() == before

    checked = scene.egress("migrate", HOST, "--http2", "--dry-run=server", "-y")
    assert checked.status == 0, checked
    run = scene.egress("migrate", HOST, "--retries", "2", "--route-timeout", "5s", "--hold", "-y")
    assert run.status == 0, run
    until(lambda: scene.counters().total(HOST) > 3, "the host is called")
    route = scene.get("VirtualService", object_name(Host(HOST)))["spec"]["http"][0]
    assert (route["retries"]["attempts"], route["timeout"]) == (2, "5s")
    recorder.healthy()
    scene.undo()
    assert scene.state() == before
    assert scene.counters().in_clear == 0
