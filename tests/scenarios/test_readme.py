"""README's first screen, typed in a lab: its commands print what stands below them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.scene import HOST, Scene, until
from tests.terminal import masked

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]


def first_screen() -> list[tuple[list[str], list[str]]]:
    """Each command with the lines below it; `…` stands for lines that are left out."""
    found = re.search(r"^```console\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    commands = [part.splitlines() for part in re.split(r"^\$ ", found[1], flags=re.MULTILINE) if part]
    return [(shlex.split(lines[0]), [line for line in lines[1:] if line.strip("…")]) for lines in commands]


def test_the_first_screen_is_what_one_gets(scene: Scene) -> None:
    scene.create(YAML(typ="safe").load(ROOT / "examples" / "curl.yaml"))
    scene.rolled_out("curl")
    until(lambda: scene.counters().total(HOST) > 0, "the workload calls")
    screen = first_screen()
    assert [command[2] for command, _ in screen] == ["inspect", "migrate", "verify"]
    for command, shown in screen:
        assert command[:2] == ["kubectl", "egress"]
        run = scene.egress(*command[2:], *(["-y"] if command[2] == "migrate" else []))
        assert run.status == 0, run
        assert {masked(line) for line in shown} <= {masked(line) for line in (run.out + run.err).splitlines()}
    assert scene.counters().in_clear == 0
