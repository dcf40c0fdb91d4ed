"""The lab's own scenarios once more, on a real control plane."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from kubectl_egress.model import Body
from tests import build
from tests.cluster.client import RealLab
from tests.scenarios import test_failing_migrations as failing
from tests.scenarios import test_round_trips as round_trips
from tests.scene import HOST, NATIVE, Scene

pytestmark = pytest.mark.cluster

ROUNDS = 3


@pytest.mark.skipif(os.environ.get("ISTIO") == "1.18", reason="Istio 1.18 has no native sidecars")
def test_round_trips_lose_no_request_and_send_none_in_clear(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_trips, "ROUNDS", ROUNDS)
    round_trips.test_ten_round_trips_lose_no_request_and_send_none_in_clear(scene)


def test_an_ordinary_sidecar_loses_what_a_plain_restart_loses(scene: Scene) -> None:
    round_trips.test_an_ordinary_sidecar_loses_what_a_plain_restart_loses(scene)


@pytest.mark.parametrize("certificate", ["wrong-host", "expired", "unknown-ca", "self-signed"])
def test_a_server_that_shows_a_bad_certificate(scene: Scene, cluster: RealLab, certificate: str) -> None:
    try:
        failing.test_a_server_that_shows_a_bad_certificate(scene, certificate)
    finally:
        cluster.set_certificate(HOST, "good")


@pytest.mark.any_istio
@pytest.mark.parametrize("change", [failing.own_setting, failing.other_annotation, failing.object_of_the_same_name])
def test_somebody_changes_something_between_plan_and_patch(scene: Scene, change: Callable[[Scene], None]) -> None:
    failing.test_somebody_changes_something_between_plan_and_patch(scene, change)


@pytest.mark.any_istio
def test_somebody_who_only_scales_is_no_reason_to_stop(scene: Scene) -> None:
    failing.test_somebody_who_only_scales_is_no_reason_to_stop(scene)


@pytest.mark.any_istio
def test_pods_that_cannot_live_with_http(scene: Scene) -> None:
    failing.test_pods_that_cannot_live_with_http(scene)


@pytest.mark.skipif(os.environ.get("ISTIO") == "1.18", reason="Istio 1.18 has no native sidecars")
def test_an_init_container_calls_through_a_native_sidecar(scene: Scene) -> None:
    caller = scene.deploy("caller", initContainers=[first()])
    caller.healthy()
    before = scene.state()
    scene.migrate()
    [called] = scene.get("Deployment", "caller")["spec"]["template"]["spec"]["initContainers"]
    assert f"http://{HOST}/anything/first" in called["command"][-1]
    assert arrivals(scene) == [True, True]
    scene.undo()
    assert scene.state() == before
    assert arrivals(scene) == [True, True, True]
    assert scene.counters().in_clear == 0


def test_an_init_container_before_an_ordinary_sidecar_is_in_the_way(scene: Scene) -> None:
    annotations = {"sidecar.istio.io/nativeSidecar": "false"}
    scene.deploy("caller", annotations=annotations, initContainers=[first()]).healthy()
    before = scene.state()
    run = scene.egress("migrate", HOST, "-y")
    assert run.status == 3, run
    assert "init-before-sidecar stands in the way" in run.err
    assert scene.state() == before
    assert arrivals(scene) == [True], (
        "istio-init comes after it: nothing is redirected yet, and http:// would not be either"
    )
    assert scene.counters().in_clear == 0


def first() -> Body:
    """An init container that calls the host once, whatever comes of it."""
    return build.container("first", command=["sh", "-c", f"curl -s -m 3 https://{HOST}/anything/first || true"])


def arrivals(scene: Scene) -> list[bool]:
    """Whether each call of an init container came over TLS."""
    return [request["tls"] for request in scene.lab.requests() if request["path"] == "/anything/first"]


# Opens TLS connections one after the other, names no URL, and says how each ended; four at a time meet a moment of 10 ms.
CONNECTING = """
import socket, ssl, threading, time
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
def connect():
    while True:
        try:
            with socket.create_connection((%(host)r, 443), 5) as plain, context.wrap_socket(plain, server_hostname=%(host)r):
                print("connected", flush=True)
        except OSError as error:
            print("lost", type(error).__name__, flush=True)
        time.sleep(.01)
for _ in range(3):
    threading.Thread(target=connect, daemon=True).start()
connect()
"""


def test_nobody_loses_a_tls_connection_while_the_entry_comes_and_goes(scene: Scene) -> None:
    """Somebody else of the namespace; with an entry that simply comes and goes, 9 rounds of 12 lost some on Istio 1.31."""
    command = ["python3", "-u", "-c", CONNECTING % {"host": HOST}]
    scene.create(build.deployment("bystander", scene.namespace, annotations=NATIVE, command=command))
    scene.rolled_out("bystander")
    scene.deploy("caller")
    for _ in range(ROUNDS):
        scene.migrate()
        scene.undo()
    path = f"/api/v1/namespaces/{scene.namespace}/pods/{scene.pod('bystander')}/log"
    said = scene.cluster.transport.text(path, {"container": "bystander"}).split("\n")
    # An ordinary sidecar of Istio 1.18 starts after its application.
    begun = said[said.index("connected") :]
    assert begun.count("connected") > 100
    assert [line for line in begun if line.startswith("lost")] == []
