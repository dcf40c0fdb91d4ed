"""At the prompt and in the middle: no, nothing, Ctrl-C, and somebody who edits what the plan was made for."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kubectl_egress.lab.client import Lab
from kubectl_egress.model import PatchOperation
from tests import build
from tests.fault_proxy import Fault, FaultProxy
from tests.scene import HOST, NATIVE, Scene
from tests.terminal import END_OF_FILE, ENTER, INTERRUPT, PROMPT, typed
from tests.test_bad_input_cluster import call
from tests.warm import start_lab

pytestmark = pytest.mark.lab

MIGRATE = ("migrate", HOST)
QUESTION = "create 4 objects, patch 1 object, roll out 1 workload? [y/N] "
LATE = 8.0


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with start_lab() as lab:
        yield lab


_number = itertools.count(1)


@pytest.fixture
def scene(shared: Lab) -> Iterator[Scene]:
    with Scene(shared, f"terminal-{next(_number)}") as found:
        call(found)
        yield found
        found.lab.set_configuration_delay(0)
        found.delete("Deployment", "caller")


@pytest.mark.parametrize("answer", ["n\n", ENTER, "yes please\n", END_OF_FILE])
def test_anything_but_yes_changes_nothing(answer: str, scene: Scene) -> None:
    before = scene.versions()
    run = typed(scene, *MIGRATE, answers=[(PROMPT, answer)])
    assert run.status == 1
    assert f"{HOST} in namespace {scene.namespace}: {QUESTION}" in run.out
    assert run.out.endswith("\nNothing was changed.\n")
    assert scene.versions() == before


def test_ctrl_c_at_the_prompt(scene: Scene) -> None:
    before = scene.versions()
    run = typed(scene, *MIGRATE, answers=[(PROMPT, INTERRUPT)])
    assert run.status == 130
    assert run.out.endswith("\nInterrupted: nothing was changed.\n")
    assert scene.versions() == before


def test_ctrl_c_while_a_silent_sidecar_is_asked_again(scene: Scene, tmp_path: Path) -> None:
    before = scene.versions()
    with FaultProxy(scene.lab.kubeconfig, tmp_path) as between:
        scene.kubeconfig = between.kubeconfig
        between.rule(scene.namespace, lambda asked: Fault() if asked.subresource in ("portforward", "exec") else None)
        run = typed(scene, *MIGRATE, answers=[("waiting for the sidecar of pod", INTERRUPT)])
    assert run.status == 130
    assert run.out.endswith("\nInterrupted: nothing was changed.\n")
    assert scene.versions() == before


def interrupted(scene: Scene, pattern: str) -> str:
    run = typed(scene, *MIGRATE, answers=[(PROMPT, "y\n"), (pattern, INTERRUPT)])
    assert run.status == 130, run
    assert "Traceback" not in run.out
    return run.out


def undo(scene: Scene) -> None:
    run = scene.egress("undo", HOST, "-y")
    assert run.status == 0, run


def migrate_on(scene: Scene) -> None:
    """Go on instead, and then back."""
    run = scene.egress("migrate", HOST, "-y")
    assert run.status == 0, run
    # of the objects that the run before has made
    assert "(1 proxy originates TLS; 1 istiod knows the objects)" in run.err
    undo(scene)


@pytest.mark.parametrize("then", [undo, migrate_on])
@pytest.mark.parametrize("late", [LATE, 0])
def test_ctrl_c_in_a_wait_says_what_was_done_and_the_ways_on_and_back(
    late: float, then: Callable[[Scene], None], scene: Scene
) -> None:
    before = scene.state()
    scene.lab.set_configuration_delay(late)
    shown = interrupted(scene, "waiting for 1 of 1 proxies" if late else "caller patched")
    steps = 4 if late else 8
    where = f"{HOST} -n {scene.namespace}"
    assert shown.endswith(
        f"Interrupted after {steps} of 11 steps. What was done stays as it is.\n"
        f"  go on:    kubectl egress migrate {where}\n"
        f"  go back:  kubectl egress undo {where}\n"
    )
    scene.lab.set_configuration_delay(0)
    then(scene)
    assert scene.state() == before
    assert scene.counters().in_clear == 0


def test_the_ways_on_and_back_lead_to_the_same_cluster(scene: Scene) -> None:
    run = typed(scene, *MIGRATE, "--context", "lab", answers=[(PROMPT, "y\n"), ("caller patched", INTERRUPT)])
    assert f"  go back:  kubectl egress undo {HOST} -n {scene.namespace} --context lab\n" in run.out
    undo(scene)


def test_what_somebody_changes_while_the_prompt_waits_is_not_overwritten(scene: Scene) -> None:
    def edited() -> str:
        steps = ("spec", "template", "spec", "containers", 0, "env")
        scene.patch("Deployment", "caller", PatchOperation("add", steps, [{"name": "NEW", "value": "setting"}]))
        scene.rolled_out("caller")
        return "y\n"

    run = typed(scene, *MIGRATE, answers=[(PROMPT, edited)])
    assert run.status == 1
    assert run.out.endswith(
        "error: deployment/caller was changed by somebody else since the plan was made\n"
        "  everything is as it was before; run the same command again: it plans anew\n"
    )
    [container] = scene.get("Deployment", "caller")["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "NEW", "value": "setting"}]
    assert f"https://{HOST}" in container["command"][-1]
    assert set(scene.objects()) == {("Deployment", "caller")}
    assert scene.egress("migrate", HOST, "-y").status == 0


def test_ctrl_c_in_an_undo_says_the_way_on(scene: Scene) -> None:
    before = scene.state()
    scene.migrate()
    versions = scene.versions()
    run = typed(scene, "undo", HOST, answers=[(PROMPT, INTERRUPT)])
    assert run.status == 130
    assert run.out.endswith("\nInterrupted: nothing was changed.\n")
    assert scene.versions() == versions
    run = typed(scene, "undo", HOST, answers=[(PROMPT, "y\n"), ("caller patched", INTERRUPT)])
    assert run.status == 130
    assert run.out.endswith(
        "Interrupted after 2 of 10 steps. What was done stays as it is.\n"
        f"  go on:    kubectl egress undo {HOST} -n {scene.namespace}\n"
    )
    undo(scene)
    assert scene.state() == before


def test_ctrl_c_while_another_run_may_be_at_work(scene: Scene) -> None:
    scene.migrate()
    lease = {"run": "0badcafe", "by": "joe@laptop", "since": "2026-01-01T00:00:00+00:00", "renewed": ""}
    steps = ("data", "lease.json")
    scene.patch("ConfigMap", f"kubectl-egress.{HOST}", PatchOperation("add", steps, json.dumps(lease)))
    before = scene.versions()
    run = typed(scene, "undo", HOST, answers=[("run 0badcafe of joe@laptop is at work, or dead", INTERRUPT)])
    assert run.status == 130
    assert run.out.endswith("\nInterrupted: nothing was changed.\n")
    assert scene.versions() == before
    run = scene.egress("undo", HOST, "-y")
    assert run.status == 0, run
    assert "run 0badcafe of joe@laptop is dead (silent for 8 s): its work is taken over" in run.err


def test_ctrl_c_while_the_proxies_are_watched_and_while_old_pods_take_their_time(scene: Scene) -> None:
    """A caller that calls once, and then does not end when it is told to."""
    host = "api.example.com"
    script = f"trap '' TERM; curl -s -m 3 -o /dev/null https://{host}/status/200; while true; do sleep 1; done"
    template = {"command": ["sh", "-c", script], "terminationGracePeriodSeconds": 6, "annotations": NATIVE}
    scene.create(build.deployment("slow", scene.namespace, **template))
    scene.rolled_out("slow")
    where = f"{host} -n {scene.namespace}"
    waits = [(PROMPT, "y\n"), ("slow rolled out(?s:.*)watching the proxies", INTERRUPT)]
    run = typed(scene, "migrate", host, "--window", "30s", answers=waits)
    assert run.status == 130
    assert run.out.endswith(
        "Interrupted after 9 of 11 steps. What was done stays as it is.\n"
        f"  go on:    kubectl egress migrate {where}\n  go back:  kubectl egress undo {where}\n"
    )
    run = typed(scene, "undo", host, answers=[(PROMPT, "y\n"), ("waiting for 1 old pod", INTERRUPT)])
    assert run.status == 130
    assert run.out.endswith(
        f"Interrupted after 3 of 10 steps. What was done stays as it is.\n  go on:    kubectl egress undo {where}\n"
    )
    assert scene.egress("undo", host, "-y").status == 0
    assert scene.counters().in_clear == 0
    scene.delete("Deployment", "slow")
