"""The workflows: what they pin, how long they may take, and that they try what the README promises."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.cluster.build import ISTIO, KUBERNETES

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
LONGEST = 90
"""Minutes."""
SINCE = re.compile(r"Kubernetes (1\.\d+) and Istio (1\.\d+) or later")
TARGET = re.compile(r"\bmake ([a-z-]+)")
PINNED = re.compile(r"[\w.-]+/[\w./-]+@(?:[0-9a-f]{40}|v\d+)")


def read(path: Path) -> Mapping[str, Any]:
    # YAML 1.2, to which `on` is a word.
    found: Mapping[str, Any] = YAML(typ="safe").load(path)
    return found


def steps(path: Path) -> Iterator[Mapping[str, Any]]:
    for job in read(path)["jobs"].values():
        # Another workflow's job has none of its own.
        yield from job.get("steps", ())


def pairs() -> list[Mapping[str, str]]:
    """The clusters of cluster.yaml."""
    found: list[Mapping[str, str]] = read(ROOT / ".github/workflows/cluster.yaml")["jobs"]["kind"]["strategy"][
        "matrix"
    ]["include"]
    return found


def minor(version: str) -> str:
    return ".".join(version.removeprefix("v").split(".")[:2])


def systems(job: Mapping[str, Any]) -> list[str]:
    """What a job runs on: one system, or those of its matrix."""
    one: str = job["runs-on"]
    named = re.fullmatch(r"\$\{\{ matrix\.(\w+) \}\}", one)
    return [row[named[1]] for row in job["strategy"]["matrix"]["include"]] if named else [one]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_one(path: Path) -> None:
    workflow = read(path)
    assert {"name", "on", "permissions", "jobs"} <= workflow.keys()
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        if "uses" in job:
            assert job["uses"].removeprefix("./") in {str(one.relative_to(ROOT)) for one in WORKFLOWS}, name
            continue
        assert all(system.startswith(("ubuntu-", "macos-")) for system in systems(job)), name
        assert job["timeout-minutes"] <= LONGEST, name
    for step in steps(path):
        assert ("uses" in step) != ("run" in step), step
        assert PINNED.fullmatch(step.get("uses", "actions/none@v1")), step


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_it_makes_there_is(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {found for step in steps(path) for found in TARGET.findall(step.get("run", ""))}
    assert asked <= targets


def test_the_oldest_pair_is_what_the_readme_promises() -> None:
    found = SINCE.search((ROOT / "README.md").read_text())
    assert found is not None, "the README says since when"
    oldest = pairs()[0]
    assert (minor(oldest["node"]), minor(oldest["istio"])) == found.groups()


def test_every_istio_of_the_slow_tier_is_tried_on_a_cluster_that_is_not_ours() -> None:
    assert sorted(minor(pair["istio"]) for pair in pairs()) == sorted(ISTIO)
    assert all(re.fullmatch(r"v[\d.]+@sha256:[0-9a-f]{64}", pair["node"]) for pair in pairs())


def test_ci_may_take_longer_than_it_begins_something() -> None:
    last = re.search(r"^last_start=(\d+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert last is not None
    limit = read(ROOT / ".github/workflows/ci.yaml")["jobs"]["test"]["timeout-minutes"]
    assert int(last[1]) + 15 <= limit <= LONGEST


def test_the_kubernetes_that_ci_leaves_out_has_a_job() -> None:
    commands = " ".join(step.get("run", "") for step in steps(ROOT / ".github/workflows/cluster.yaml"))
    first, *others = KUBERNETES
    assert f"KUBERNETES={first}" not in commands
    assert all(f"KUBERNETES={other}" in commands for other in others)


def test_a_release_runs_no_action_that_can_change_and_signs_without_a_secret() -> None:
    path = ROOT / ".github/workflows/release.yaml"
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", one)] == []
    assert "secrets." not in path.read_text()
    # Whoever may write or sign gets what the build has made, and builds nothing.
    for job in read(path)["jobs"].values():
        if job.get("permissions"):
            assert not any(
                "make " in step.get("run", "") or "checkout" in step.get("uses", "") for step in job["steps"]
            )
