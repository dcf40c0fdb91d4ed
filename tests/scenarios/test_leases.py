"""A run that stands still for too long, as on a laptop that sleeps: another one takes over, and the first writes nothing more.

The second run is on another machine, as far as one machine can show it: another kubeconfig, another home, another way to the API
server. The first one's lease is in no file but the journal.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubectl_egress.lab.client import Lab
from tests import build
from tests.fault_proxy import Asked, Fault, FaultProxy
from tests.scene import HOST, NATIVE, Scene
from tests.side_by_side import side_by_side
from tests.warm import WarmProcess, start_lab

pytestmark = pytest.mark.lab

CALLER = "caller"
LOOP = f"while true; do curl -s -m 3 -o /dev/null https://{HOST}/status/200; sleep .3; done"
NUMBERS = itertools.count()
TAKEN_OVER = (
    r"error: (?:run \w{8} of \S+@\S+|another run) has taken over kubectl-egress\.httpbin\.org: "
    r"this run was not heard of for too long\n"
    r"  the other run goes on with it; look with kubectl egress verify\n\Z"
)


@dataclass(frozen=True)
class Sleep:
    """Which run falls asleep at which of its requests, whether that is done, and which run comes second."""

    verb: str
    at: Callable[[Asked], bool]
    done: bool
    second: str


def write(method: str, plural: str) -> Callable[[Asked], bool]:
    return lambda asked: asked.writes and (asked.method, asked.plural) == (method, plural)


def deletes_journal(asked: Asked) -> bool:
    return asked.method == "DELETE" and asked.name == f"kubectl-egress.{HOST}"


SLEEPS = {
    # Its next write would be the same once more, since no answer came.
    "before an entry": Sleep("migrate", write("POST", "serviceentries"), False, "undo"),
    "before the workload": Sleep("migrate", write("PATCH", "deployments"), False, "undo"),
    # Its next write would be the next one, or the undo of a verification that can but fail.
    "after an entry": Sleep("migrate", write("POST", "serviceentries"), True, "undo"),
    "after the workload": Sleep("migrate", write("PATCH", "deployments"), True, "undo"),
    "after the workload, and it is finished": Sleep("migrate", write("PATCH", "deployments"), True, "migrate"),
    "an undo before a delete": Sleep("undo", write("DELETE", "serviceentries"), False, "migrate"),
    "an undo before it ends": Sleep("undo", deletes_journal, False, "migrate"),
    "an undo after the workload": Sleep("undo", write("PATCH", "deployments"), True, "migrate"),
}


@pytest.fixture(scope="module")
def lab_and_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, FaultProxy]]:
    with start_lab() as lab, FaultProxy(lab.kubeconfig, tmp_path_factory.mktemp("proxy")) as proxy:
        yield lab, proxy


@contextmanager
def asleep(scene: Scene, proxy: FaultProxy, sleep: Sleep) -> Iterator[WarmProcess]:
    """The first run, which stands still when the block begins."""
    process: list[WarmProcess] = []
    reached = threading.Event()

    def stop() -> None:
        os.kill(process[0].pid, signal.SIGSTOP)
        reached.set()

    def rule(asked: Asked) -> Fault | None:
        if reached.is_set() or not sleep.at(asked):
            return None
        return Fault(act=stop, unharmed=sleep.done)

    proxy.rule(scene.namespace, rule)
    scene.kubeconfig = proxy.kubeconfig
    with scene.started(sleep.verb, HOST, "-y") as started:
        process.append(started)
        assert reached.wait(90), started.communicate(10)
        yield started


def test_who_wakes_up_too_late_writes_nothing_more(
    lab_and_proxy: tuple[Lab, FaultProxy], tmp_path: Path, subtests: pytest.Subtests
) -> None:
    lab, proxy = lab_and_proxy

    def one(sleep: Sleep) -> None:
        number = next(NUMBERS)
        with Scene(lab, f"lease-{number}") as scene:
            template = {"command": ["sh", "-c", LOOP], "terminationGracePeriodSeconds": 0, "annotations": NATIVE}
            scene.create(build.deployment(CALLER, scene.namespace, **template))
            scene.rolled_out(CALLER)
            before = scene.state()
            if sleep.verb == "undo":
                scene.migrate()
            with asleep(scene, proxy, sleep) as first:
                home = tmp_path / str(number)
                home.mkdir()
                run = scene.elsewhere(home, sleep.second, HOST, "-y")
                assert run.status == 0, run
                assert re.search(r"kubectl-egress\.httpbin\.org: run \w{8} of .* is dead \(silent for 8 s\)", run.err)
                after, versions = scene.state(), scene.versions()
                os.kill(first.pid, signal.SIGCONT)
                woken = first.ended(90)
            assert woken.status == 1, woken
            assert re.search(TAKEN_OVER, woken.err), woken
            assert scene.state() == after
            if sleep.second == "undo":
                assert after == before
            else:
                assert scene.versions().keys() == versions.keys()
                assert "lease.json" not in str(scene.objects())
                assert "http://httpbin.org" in str(scene.get("Deployment", CALLER)["spec"])
                assert scene.egress("verify", HOST).status == 0
            scene.delete("Deployment", CALLER)

    side_by_side(subtests, SLEEPS.items(), one)
    assert lab.counters().in_clear == 0
    assert not lab.counters().clear_bytes
