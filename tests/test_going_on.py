"""The commands by which an interrupted migration goes on, and back: the same flags, and what is taken back."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

import pytest
import typer

from kubectl_egress import cli
from kubectl_egress.cli.calls import Calls
from kubectl_egress.cli.doing import Narration
from kubectl_egress.cli.migrate import Choice
from kubectl_egress.cli.options import Connection
from tests.test_plan import HTTPBIN, World, curl, migration

GIVEN: tuple[tuple[type, dict[str, Any], str], ...] = (
    (Choice, {}, ""),
    (Choice, {"workload": ["deploy/a", "sts/b"]}, " --workload deploy/a --workload sts/b"),
    (Choice, {"selector": "app in (a, b)"}, " -l 'app in (a, b)'"),
    (Choice, {"fail_open": True, "ignore": ["own-trust"]}, " --ignore own-trust --fail-open"),
    (Choice, {"path": ["X:spec.y"], "force": ["h=.p"]}, " --path X:spec.y --force h=.p"),
    (Choice, {"include_secrets": True}, " --include-secrets"),
    (Calls, {}, ""),
    (Calls, {"mode": "named"}, " --mode named"),
    (Calls, {"retries": 0, "route_timeout": "15s", "http2": True}, " --retries 0 --route-timeout 15s --http2"),
    (Calls, {"ca": "my ca.pem", "client_secret": "mine"}, " --ca 'my ca.pem' --client-secret mine"),
    (Calls, {"guard": True, "guard_cidr": ["10.0.0.0/8"]}, " --guard-cidr 10.0.0.0/8 --guard"),
    (Calls, {"alias": "bin", "hold": True}, " --alias bin --hold"),
)


@pytest.mark.parametrize(("kind", "given", "text"), GIVEN)
def test_flags_are_said_again(kind: type, given: dict[str, Any], text: str) -> None:
    assert kind(**given).again() == text


def test_no_flag_is_forgotten() -> None:
    """What narrows or widens a migration; not how it is done (`--timeout`), which files, nor `--all`, for which the hosts stand."""
    said = {name for _, given, _ in GIVEN for name in given}
    fields = {field.name for kind in (Choice, Calls) for field in dataclasses.fields(kind)}
    assert fields - said == {"namespace", "every", "ipv6"}
    command: Any = typer.main.get_command(cli.app)
    known = {flag for option in command.commands["migrate"].params for flag in option.opts}
    typed = [word for _, _, text in GIVEN for word in shlex.split(text) if word.startswith("-")]
    assert set(typed) <= known


def test_the_ways_on_and_back() -> None:
    world = World(curl())
    first = migration(world, HTTPBIN)
    narration = Narration(first, Connection(), asked=" --workload deploy/curl")
    where = f"httpbin.org -n {first.namespace}"
    assert narration.go_on() == f"kubectl egress migrate {where} --workload deploy/curl"
    assert narration.go_back() == f"kubectl egress undo {where}"
    assert str(narration.interrupted(KeyboardInterrupt(), dry_run=False)).endswith(f"kubectl egress undo {where}")
    world.do(first.steps)
    again = Narration(migration(world, HTTPBIN, origination={"retries": 1}), Connection())
    said = str(again.interrupted(KeyboardInterrupt(), dry_run=False))
    assert said.endswith(f"  go back:  kubectl egress undo {where} (all of its callers)")
