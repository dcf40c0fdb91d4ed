"""Migrating and undoing while the workloads call: nothing in clear, nothing lost.

How failures are counted. The caller `steady` has a native sidecar and ends gracefully: its proxy is there before its first
request and after its last, and no request is cut by the end of its pod; so whatever fails, fails because of the migration,
and none may. The caller `eager` has an ordinary sidecar: its first requests come before the proxy listens, and are
refused, with any change of its template (that is what holdApplicationUntilProxyStarts is for). A plain restart shows that
first; with a migration, too, only those may fail. The article's own caller runs beside them, and counts for what is in clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import dropwhile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.scene import HOST, Recorder, Request, Scene

pytestmark = pytest.mark.lab

ROUNDS = 10
ARTICLE = Path(__file__).parents[2] / "examples" / "curl.yaml"
REFUSED = 7
"""curl: nobody listens."""
ORDINARY = {"sidecar.istio.io/nativeSidecar": "false"}


@pytest.fixture
def scene(shared_scene: Scene) -> Scene:
    return shared_scene


def failures(pods: Sequence[Sequence[Request]]) -> list[Request]:
    return [request for requests in pods for request in requests if not request.served]


def failures_after_start(pods: Sequence[Sequence[Request]]) -> list[Request]:
    """Without those before a pod's proxy listens: refused, and before the pod's first success."""
    started = [dropwhile(lambda request: request.exit_status == REFUSED, requests) for requests in pods]
    return [request for requests in started for request in requests if not request.served]


def assert_nothing_in_clear(scene: Scene) -> None:
    counters = scene.counters()
    assert counters.in_clear == 0, counters
    assert not counters.clear_bytes, counters
    assert counters.total(HOST) > 0, "the callers did call"


def test_ten_round_trips_lose_no_request_and_send_none_in_clear(scene: Scene) -> None:
    article = YAML(typ="safe").load(ARTICLE)
    article["metadata"]["namespace"] = scene.namespace
    scene.create(article)
    scene.rolled_out("curl")
    steady = scene.deploy("steady")
    before = scene.state()
    for _ in range(ROUNDS):
        scene.migrate()
        assert "http://httpbin.org" in str(scene.get("Deployment", "steady")["spec"])
        scene.undo()
        assert scene.state() == before
    steady.settled()
    assert failures(steady.pods()) == []
    assert len(steady.pods()) == 2 * ROUNDS + 1
    assert min(map(len, steady.pods()[:-1])) > 2, "each pod was in time to call"
    assert_nothing_in_clear(scene)


def test_a_proxy_that_hears_of_everything_five_seconds_late(scene: Scene) -> None:
    steady = scene.deploy("steady")
    before = scene.state()
    scene.lab.set_configuration_delay(5.0)
    for _ in range(2):
        scene.migrate()
        scene.undo()
    steady.settled()
    assert failures(steady.pods()) == []
    assert_nothing_in_clear(scene)
    assert scene.state() == before


def test_an_ordinary_sidecar_loses_what_a_plain_restart_loses(scene: Scene) -> None:
    eager: Recorder = scene.deploy("eager", annotations=ORDINARY)
    for _ in range(2):
        scene.restart("eager")
    eager.settled()
    baseline = eager.pods()
    assert {request.exit_status for request in failures(baseline)} <= {REFUSED}
    assert failures_after_start(baseline) == []
    scene.migrate()
    scene.undo()
    eager.settled()
    assert failures_after_start(eager.pods()) == []
    assert_nothing_in_clear(scene)
