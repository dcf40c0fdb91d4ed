"""Runs that write nothing: dry runs, documents, and a second migration."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from ruamel.yaml import YAML

from tests.scene import HOST, MESH_KINDS, Scene, until
from tests.warm import start_lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def untouched() -> Iterator[Scene]:
    """A scene with a caller, which no test here changes."""
    with start_lab() as lab, Scene(lab) as scene:
        scene.deploy()
        settle(scene)
        yield scene


def settle(scene: Scene) -> None:
    """Wait until the controllers have said all that they have to say of the objects."""

    def still() -> bool:
        first = scene.versions()
        until(lambda: scene.counters().total(HOST) > 0, "the workload calls")
        return scene.versions() == first

    until(still, "the objects stay as they are")


@pytest.mark.parametrize("where", ["client", "server"])
def test_a_dry_run_changes_nothing(untouched: Scene, where: str) -> None:
    before = untouched.versions()
    run = untouched.egress("migrate", HOST, f"--dry-run={where}")
    assert run.status == 0, run
    assert "create destinationrule" in run.out
    assert "Nothing was changed" in run.err
    assert untouched.versions() == before


def test_without_a_terminal_and_without_y_nothing_is_changed(untouched: Scene) -> None:
    before = untouched.versions()
    run = untouched.egress("migrate", HOST)
    assert run.status == 1
    assert "-y" in run.err
    assert untouched.versions() == before


def test_the_objects_as_documents(untouched: Scene) -> None:
    before = untouched.versions()
    kinds = ["Deployment", *MESH_KINDS]
    as_yaml = untouched.egress("migrate", HOST, "-o", "yaml")
    assert (as_yaml.status, as_yaml.err) == (0, "")
    assert sorted(body["kind"] for body in YAML(typ="safe").load_all(as_yaml.out)) == sorted(kinds)
    as_json = untouched.egress("migrate", HOST, "-o", "json").document()
    assert [body["kind"] for body in as_json["items"]] == [*MESH_KINDS, "Deployment"], "in the order of applying them"
    plan = untouched.egress("migrate", HOST, "-o", "plan").document()
    assert plan["kind"] == "MigratePlan"
    assert [step["order"] for step in plan["steps"]] == list(range(1, len(plan["steps"]) + 1))
    assert "http://httpbin.org" in json.dumps(plan)
    assert untouched.versions() == before


def test_a_second_migration_and_an_undo_for_show_write_nothing(scene: Scene) -> None:
    scene.deploy()
    scene.migrate()
    settle(scene)
    before = scene.versions()
    run = scene.migrate()
    assert "nothing to do" in run.out
    assert scene.versions() == before
    undo = scene.egress("undo", HOST, "--dry-run=server")
    assert undo.status == 0, undo
    assert [line.split("/")[0] for line in undo.err.splitlines() if line.endswith(" deleted")] == [
        "serviceentry.networking.istio.io",
        "virtualservice.networking.istio.io",
        "destinationrule.networking.istio.io",
        "configmap",
    ]
    assert scene.versions() == before


def test_the_second_undo_has_nothing_to_undo(scene: Scene) -> None:
    scene.deploy()
    scene.migrate()
    scene.undo()
    settle(scene)
    before = scene.versions()
    run = scene.egress("undo", HOST, "-y")
    assert run.status == 1
    assert "not migrated" in run.err
    assert scene.versions() == before
