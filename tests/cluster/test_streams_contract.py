"""Port-forward, exec and logs of a pod with a sidecar, on the embedded API server and through the real one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from kubectl_egress.cluster.proxies import ADMIN_PORT, CONTAINER, get_pod_port, read_proxies
from kubectl_egress.cluster.tunnels import run_command
from kubectl_egress.errors import ApiError, UnreachableError
from kubectl_egress.lab.client import Lab
from kubectl_egress.model import ProxyUnread, Ref
from tests.cluster.scenes import scene_of
from tests.scene import Scene, until

pytestmark = [pytest.mark.cluster, pytest.mark.any_istio, pytest.mark.anywhere]

TIMEOUT = 10.0
NOBODY_LISTENS = 9


@dataclass(frozen=True, slots=True)
class Stage:
    """A running pod with a sidecar."""

    scene: Scene
    pod: Ref


@pytest.fixture(scope="module", params=["embedded", "real"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    lab: Lab = request.getfixturevalue("embedded" if request.param == "embedded" else "cluster")
    with scene_of(lab) as scene:
        scene.deploy("talker", command=["sh", "-c", "echo first; echo last; exec sleep 3600"])
        yield Stage(scene, scene.ref("Pod", scene.pod("talker")))


def run(stage: Stage, *command: str, container: str = "talker") -> str:
    """What a command writes in a container."""
    return run_command(stage.scene.cluster.transport, stage.pod, container, command, TIMEOUT)


def test_a_port_of_the_pod(stage: Stage) -> None:
    assert get_pod_port(stage.scene.cluster, stage.pod, ADMIN_PORT, "/ready") == "LIVE\n"


def test_much_through_one_port_and_twenty_at_a_time(stage: Stage) -> None:
    pods = stage.scene.pods("talker") * 20
    paths = ("/config_dump", "/stats/prometheus", "/clusters?format=json")
    [texts] = read_proxies(stage.scene.cluster, pods, paths).values()
    assert not isinstance(texts, ProxyUnread)
    assert len(texts["/config_dump"]) > 20_000


def test_a_port_on_which_nobody_listens(stage: Stage) -> None:
    with pytest.raises(UnreachableError, match=f"error forwarding port {NOBODY_LISTENS} to pod"):
        get_pod_port(stage.scene.cluster, stage.pod, NOBODY_LISTENS, "/")


def test_a_command_and_what_it_writes(stage: Stage) -> None:
    assert run(stage, "sh", "-c", "echo out; echo err >&2") == "out\n"
    assert run(stage, "pilot-agent", "request", "GET", "ready", container=CONTAINER) == "LIVE\n\n"


def test_a_command_that_fails(stage: Stage) -> None:
    with pytest.raises(UnreachableError, match="sh: oh no"):
        run(stage, "sh", "-c", "echo oh no >&2; exit 3")
    with pytest.raises(UnreachableError, match=r"exit (status|code) 3"):
        run(stage, "sh", "-c", "exit 3")


def test_a_command_that_is_not_there(stage: Stage) -> None:
    with pytest.raises(UnreachableError, match="no-such-program"):
        run(stage, "no-such-program")


def test_a_page_that_the_sidecar_does_not_have_is_an_answer(stage: Stage) -> None:
    assert "invalid path" in run(stage, "pilot-agent", "request", "GET", "no-such-page", container=CONTAINER)
    with pytest.raises(UnreachableError, match="received unsuccessful status code 405"):
        run(stage, "pilot-agent", "request", "GET", "quitquitquit", container=CONTAINER)


def test_a_container_that_is_not_there(stage: Stage) -> None:
    with pytest.raises(ApiError, match="container nobody is not valid for pod"):
        run(stage, "true", container="nobody")


def test_the_log(stage: Stage) -> None:
    path = f"/api/v1/namespaces/{stage.pod.namespace}/pods/{stage.pod.name}/log"

    def lines(**query: str) -> list[bytes]:
        with stage.scene.cluster.transport.lines(path, {"container": "talker", **query}, TIMEOUT) as found:
            return [line.strip() for line in found]

    until(lambda: lines() == [b"first", b"last"], "the whole log")
    assert lines(tailLines="1") == [b"last"]
