"""Killed before and after each of its writes, and then once on and once back: nothing in clear, and nothing lost.

A run is a process of its own; its requests pass a proxy that knows them, and that kills it (SIGKILL) at the one that is asked
for. States of a namespace: as its owner made it, and migrated. Every point of a migration begins at the one, every point of an
undo at the other, and from each both ways lead: so a namespace goes from one state to the other all the time.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kubectl_egress.lab.client import Lab
from tests import build
from tests.fault_proxy import Asked, Fault, FaultProxy
from tests.scene import HOST, NATIVE, Run, Scene
from tests.warm import WarmProcess, start_lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

CALLER = "caller"
WAIT = ""
SIDE_BY_SIDE = 4
WRITES = {
    "migrate": (
        "POST configmaps",
        "POST destinationrules",
        "POST virtualservices",
        "POST serviceentries",
        WAIT,
        "PATCH virtualservices",
        WAIT,
        "POST configmaps",
        "PATCH deployments",
        WAIT,
        "PATCH configmaps",
        WAIT,
    ),
    "undo": (
        "PATCH configmaps",
        "PATCH deployments",
        WAIT,
        "PATCH virtualservices",
        WAIT,
        "DELETE serviceentries",
        "DELETE virtualservices",
        "DELETE destinationrules",
        "DELETE configmaps",
        "DELETE configmaps",
        WAIT,
    ),
}
"""What each verb writes, in its order, and where it waits or ends."""
OF_THE_RUN = ("run", "by", "started", "baseline")
PATIENCE = 180.0
URL = f"https://{HOST}/status/200"
# Both ways at once: a URL of the template, and one of a ConfigMap, of which the migration makes a copy.
SCRIPT = f"while true; do curl -s -m 5 -o /dev/null {URL}; curl -s -m 5 -o /dev/null $API; sleep 1; done"


class Killed:
    """A namespace whose runs can be killed at a write."""

    def __init__(self, lab: Lab, proxy: FaultProxy, number: int) -> None:
        self.scene = Scene(lab, f"kill-{number}")
        self.scene.kubeconfig = proxy.kubeconfig
        self.proxy = proxy
        name = self.scene.namespace
        self.scene.create(build.config_map("settings", {"API": URL, "other": "kept"}, name))
        env = [{"configMapRef": {"name": "settings"}}]
        container = build.container(CALLER, command=["sh", "-c", SCRIPT], envFrom=env)
        spec = {"containers": [container], "annotations": NATIVE, "terminationGracePeriodSeconds": 0}
        self.scene.create(build.deployment(CALLER, name, **spec))
        self.scene.rolled_out(CALLER)

    def state(self) -> str:
        """Every object as people write it; of a journal, all but what tells one run from another."""
        found = {f"{kind} {name}": body for (kind, name), body in self.scene.state().items()}
        for body in found.values():
            if "journal.json" in body.get("data", {}):
                journal = json.loads(body["data"]["journal.json"])
                body["data"]["journal.json"] = {**journal, **dict.fromkeys(OF_THE_RUN)}
        return json.dumps(found, indent=1, sort_keys=True).replace(self.scene.namespace, "NAMESPACE")

    def run(self, verb: str, point: int | None = None, passed_on: bool = False) -> tuple[Run, list[Asked]]:
        """`migrate` or `undo`, killed at its write number `point` (from 0), before or after it is done; its writes."""
        writes: list[Asked] = []
        process: list[WarmProcess] = []

        def rule(asked: Asked) -> Fault | None:
            if not asked.writes:
                return None
            writes.append(asked)
            if len(writes) - 1 != point:
                return None
            return Fault(passed_on=passed_on, act=lambda: os.kill(process[0].pid, signal.SIGKILL))

        self.proxy.rule(self.scene.namespace, rule)
        window = ["--window", "5s"] if verb == "migrate" else []
        with self.scene.started(verb, HOST, "-y", *window) as started:
            process.append(started)
            return started.ended(PATIENCE), writes

    def reaches(self, verb: str, end: str, *, undone: bool = False) -> None:
        """Run to the end, and find the objects as they have to be then; `undone`: there is nothing to undo."""
        run, _ = self.run(verb)
        assert run.status == int(undone), run
        assert ("is not migrated" in run.err) is undone
        assert self.state() == end


def points(verb: str) -> Iterator[tuple[int, bool]]:
    """Before each write; and after it where something is waited for: else that is the same as before the next."""
    number = 0
    for written in WRITES[verb]:
        if written == WAIT:
            yield number - 1, True
        else:
            yield number, False
            number += 1


@pytest.fixture(scope="module")
def namespaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Killed]]:
    with start_lab() as lab, FaultProxy(lab.kubeconfig, tmp_path_factory.mktemp("proxy")) as proxy:
        yield [Killed(lab, proxy, number) for number in range(SIDE_BY_SIDE)]


def test_killed_at_every_write(namespaces: list[Killed]) -> None:
    ends = {"undo": namespaces[0].state()}
    for verb, expected in WRITES.items():
        run, writes = namespaces[0].run(verb)
        assert run.status == 0, run
        assert [f"{asked.method} {asked.plural}" for asked in writes] == [one for one in expected if one != WAIT]
        assert namespaces[0].state() == ends.setdefault(verb, namespaces[0].state())
    left: dict[tuple[str, str], queue.SimpleQueue[tuple[int, bool]]] = {}
    for verb, then in itertools.product(WRITES, WRITES):
        left[verb, then] = queue.SimpleQueue()
        for point in points(verb):
            left[verb, then].put(point)

    def next_of(verb: str) -> tuple[int, bool, str] | None:
        for then in WRITES:
            with contextlib.suppress(queue.Empty):
                return *left[verb, then].get_nowait(), then
        return None

    def work(killed: Killed) -> int:
        """Points that begin where the last one ended, until none is left."""
        done, verb, other = 0, "migrate", "undo"
        while any(not one.empty() for one in left.values()):
            found = next_of(verb)
            if found is None:
                killed.reaches(verb, ends[verb])
                verb, other = other, verb
                continue
            point, passed_on, then = found
            run, writes = killed.run(verb, point, passed_on)
            assert run.status == -signal.SIGKILL, (found, run)
            untouched = verb == "migrate" and point == 0 and not passed_on
            whole = verb == "undo" and passed_on and len(writes) == sum(map(bool, WRITES["undo"]))
            killed.reaches(then, ends[then], undone=then == "undo" and (untouched or whole))
            done += 1
            if then == verb:
                verb, other = other, verb
        return done

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        done = sum(pool.map(work, namespaces))
    assert done == 2 * sum(len(list(points(verb))) for verb in WRITES) == 46
    for killed in namespaces:
        counters = killed.scene.counters()
        assert counters.in_clear == 0, counters
        assert not counters.clear_bytes, counters
        assert counters.total(HOST) > 0
