"""`verify` while things happen: on a terminal, with pods that restart, with a server that fails, for pipelines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from kubectl_egress.apply import observe
from kubectl_egress.model import Host, Judgement, Verdict
from tests import build
from tests.scene import HOST, NATIVE, Recorder, Run, Scene, until
from tests.terminal import INTERRUPT, typed
from tests.warm import start_lab

pytestmark = pytest.mark.lab

CALLER, IDLE = "caller", "idle"
TABLE = r"deployment/caller[^\n]+verified[^\n]+\r\n"


@pytest.fixture(scope="module")
def calling() -> Iterator[tuple[Scene, Recorder]]:
    """A caller with an ordinary sidecar container, and one that has nothing to say with a native sidecar."""
    with start_lab() as lab, Scene(lab) as scene:
        caller = scene.deploy(CALLER, annotations={"sidecar.istio.io/nativeSidecar": "false"})
        quiet = ["sh", "-c", f"API=https://{HOST}/ ; sleep 1000000"]
        scene.create(
            build.deployment(IDLE, scene.namespace, annotations=NATIVE, command=quiet, terminationGracePeriodSeconds=1)
        )
        scene.rolled_out(IDLE)
        scene.migrate()
        caller.healthy()
        yield scene, caller
        assert scene.counters().in_clear == 0


def items(run: Run) -> dict[str, dict[str, Any]]:
    return {item["workload"]["name"]: item for item in run.document()["items"]}


def while_watching(scene: Scene, act: Callable[[], None], window: float) -> dict[str, Verdict]:
    """The verdicts of a window after whose first look something happens; the idle one keeps it open."""
    happened: list[str] = []

    def say(text: str) -> None:
        if not happened:
            happened.append(text)
            act()

    pairs = [(Host(HOST), scene.ref("Deployment", name)) for name in (CALLER, IDLE)]
    found = observe(scene.cluster, pairs, window, say)
    assert happened
    return {verdict.workload.name: verdict for verdict in found}


def test_each_pod_has_evidence_with_either_kind_of_sidecar(calling: tuple[Scene, Recorder]) -> None:
    scene, _ = calling
    run = scene.egress("verify", "--window", "3s", "-o", "json")
    assert run.status == 3
    found = items(run)
    assert {name: item["verdict"] for name, item in found.items()} == {CALLER: "verified", IDLE: "silent"}
    containers = scene.get("Deployment", IDLE)["spec"]["template"]["spec"]["containers"]
    assert len(containers) == 1
    for item in found.values():
        assert item["failsClosed"] is True
        [pod] = item["pods"]
        assert pod["evidence"]["configured"]["ok"] is True
        [cluster] = pod["evidence"]["configured"]["clusters"]
        assert cluster["tls"]["sni"] == HOST


def test_a_pod_that_is_replaced_in_the_window_is_judged_by_the_new_one(calling: tuple[Scene, Recorder]) -> None:
    scene, caller = calling
    before = scene.pod(CALLER)

    def replaced() -> None:
        scene.restart(CALLER)
        caller.healthy()

    found = while_watching(scene, replaced, 25)[CALLER]
    assert found.judgement is Judgement.VERIFIED, found
    [pod] = found.pods
    assert pod.pod.name == scene.pod(CALLER) != before
    assert found.by_code.keys() == {"200"}


def test_a_sidecar_that_restarts_in_the_window_counts_from_zero(calling: tuple[Scene, Recorder]) -> None:
    scene, caller = calling
    before = scene.pod(CALLER)

    def killed() -> None:
        time.sleep(6)  # until Envoy has said how old it is
        scene.lab.kill_proxy(before, scene.namespace, stay_dead=False)
        caller.healthy()

    found = while_watching(scene, killed, 25)[CALLER]
    assert found.judgement in (Judgement.VERIFIED, Judgement.FAILING), found  # what was under way has failed
    [pod] = found.pods
    assert pod.pod.name == before
    assert pod.evidence["window"]["restarted"] is True, found
    assert pod.reason.endswith("(since the proxy restarted)")


def test_watch_redraws_and_ends_with_ctrl_c(calling: tuple[Scene, Recorder]) -> None:
    scene, _ = calling
    run = typed(
        scene,
        "verify",
        "--watch",
        "--window",
        "1s",
        answers=[(rf"{TABLE}[\s\S]*{TABLE}[\s\S]*Ctrl-C ends it", INTERRUPT)],
        patience=90,
    )
    assert run.status == 130
    assert run.out.count("\x1b[H\x1b[2J") >= 2
    assert "\x1b[3J" not in run.out, "what has scrolled away is the user's"
    assert run.out.endswith("Interrupted.\n")
    assert "Traceback" not in run.out


def test_waiting_ends_as_soon_as_it_is_so_or_when_the_time_is_up(calling: tuple[Scene, Recorder]) -> None:
    scene, _ = calling
    started = time.monotonic()
    late = scene.egress("verify", "--for=verified", "--window", "1s", "--timeout", "4s", "-o", "junit")
    assert late.status == 3
    assert time.monotonic() - started < 60
    cases = {case.get("classname"): case for case in Xml.fromstring(late.out).iter("testcase")}
    failure = cases[f"{scene.namespace}.deployment/{IDLE}"].find("failure")
    assert failure is not None
    assert failure.get("type") == "silent"
    assert cases[f"{scene.namespace}.deployment/{CALLER}"].find("failure") is None
    unknown = scene.egress("verify", "--for=verifed")
    assert unknown.status == 2
    assert "is no verdict" in unknown.err


def test_a_server_that_fails_is_failing_with_a_comparison_and_then_verified_again(
    calling: tuple[Scene, Recorder],
) -> None:
    scene, caller = calling
    scene.lab.set_certificate(HOST, "expired")
    try:
        until(lambda: not caller.next(1)[-1].served, "calls fail")
        run = scene.egress("verify", "--window", "4s", "-o", "json")
        assert run.status == 3
        found = items(run)[CALLER]
        assert found["verdict"] == "failing"
        [pod] = found["pods"]
        assert pod["evidence"]["served"]["failed"] > 0
        assert pod["evidence"]["before"]["failedShare"] == 0
        assert "seconds" in pod["evidence"]["before"], "None where the proxies were too young to say"
        assert pod["evidence"]["now"]["failedShare"] > 0
        wide = scene.egress("verify", "--window", "4s", "-o", "wide").out
        assert "              now     " in wide
        assert "              before  " in wide
        # A pipeline that waits while somebody renews the certificate.
        renew = threading.Timer(3.0, lambda: scene.lab.set_certificate(HOST, "good"))
        renew.start()
        scene.delete("Deployment", IDLE)
        waited = scene.egress("verify", HOST, "--for=verified", "--timeout", "60s", "--window", "2s")
        renew.join(30)
        assert waited.status == 0, waited
    finally:
        scene.lab.set_certificate(HOST, "good")
