"""An undo of everything at once, from another machine, where much has been changed since: field by field, and what is left is said."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from kubectl_egress.model import PatchOperation, Steps
from tests import build
from tests.scene import HOST, NATIVE, Scene

pytestmark = pytest.mark.lab

OTHER = "api.example.com"
LOOP = "while true; do for url in $FIRST $SECOND; do curl -s -m 3 -o /dev/null $url; done; sleep .3; done"
CONTAINER: Steps = ("spec", "template", "spec", "containers", 0)


def deploy(scene: Scene, name: str, env: dict[str, str]) -> None:
    template = {"command": ["sh", "-c", LOOP], "terminationGracePeriodSeconds": 0, "annotations": NATIVE, "env": env}
    scene.create(build.deployment(name, scene.namespace, **template))
    scene.rolled_out(name)


def test_everything_is_put_back_that_can_be_and_nothing_else_is_touched(scene: Scene, tmp_path: Path) -> None:
    both = {"FIRST": f"https://{HOST}/status/200", "SECOND": f"https://{OTHER}/status/200", "LEVEL": "info"}
    deploy(scene, "both", both)
    deploy(scene, "one", {"FIRST": both["FIRST"]})
    deploy(scene, "bystander", {"FIRST": "https://mail.example.net/status/200"})
    scene.create(build.config_map("bystander", {"url": f"https://{HOST}/unused"}, scene.namespace))
    before = scene.state()
    generation = scene.get("Deployment", "both")["metadata"]["generation"]
    run = scene.egress("migrate", HOST, OTHER, "-y", "--window", "5s")
    assert run.status == 0, run
    assert scene.get("Deployment", "both")["metadata"]["generation"] == generation + 1, "one rollout for two hosts"

    # Somebody edits the migrated template, deletes the other caller and an object of ours, and makes one of ours their own.
    env: list[dict[str, Any]] = copy.deepcopy(scene.get("Deployment", "both"))["spec"]["template"]["spec"][
        "containers"
    ][0]["env"]
    changed = {"LEVEL": "debug", "FIRST": f"http://{HOST}/status/204", "NEW": "setting"}
    env = [{"name": "NEW", "value": ""}, *env]
    env = [{**one, "value": changed.get(one["name"], one["value"])} for one in env]
    scene.patch("Deployment", "both", PatchOperation("replace", (*CONTAINER, "env"), env))
    scene.patch("Deployment", "both", PatchOperation("replace", ("spec", "replicas"), 2))
    scene.rolled_out("both")
    scene.delete("Deployment", "one")
    scene.delete("ServiceEntry", f"egress-{HOST}")
    label: Steps = ("metadata", "labels", "app.kubernetes.io/managed-by")
    scene.patch("VirtualService", f"egress-{OTHER}", PatchOperation("replace", label, "platform"))
    theirs = scene.state()["VirtualService", f"egress-{OTHER}"]
    versions = scene.versions()

    run = scene.elsewhere(tmp_path, "undo", "--all", "-y")
    assert run.status == 0, run
    said = f"VirtualService egress-{OTHER} no longer carries our label and was left alone"
    assert said in run.out + run.err
    assert run.err.endswith(f"{OTHER} {HOST}: undone, but for what somebody else has changed since (see above).\n"), (
        run.err
    )

    expected = copy.deepcopy(dict(before))
    del expected["Deployment", "one"]
    expected["VirtualService", f"egress-{OTHER}"] = theirs
    both_now = expected["Deployment", "both"]["spec"]
    both_now["replicas"] = 2
    wanted = {**both, "LEVEL": "debug", "FIRST": f"https://{HOST}/status/204"}
    both_now["template"]["spec"]["containers"][0]["env"] = [
        {"name": "NEW", "value": "setting"},
        *({"name": name, "value": value} for name, value in wanted.items()),
    ]
    assert scene.state() == expected
    untouched = [("Deployment", "bystander"), ("ConfigMap", "bystander"), ("VirtualService", f"egress-{OTHER}")]
    for key in untouched:
        assert scene.versions()[key] == versions[key]
    assert scene.counters().in_clear == 0
    assert not scene.counters().clear_bytes
    again = scene.elsewhere(tmp_path, "undo", "--all", "-y")
    assert again.status == 1
    assert f"nothing is migrated in namespace {scene.namespace}" in again.err
