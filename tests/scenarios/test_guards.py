"""`--guard` where packets meet it: a caller whose own resolver passes the alias by, with its sidecar and without."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from kubectl_egress.cluster.tunnels import run_command
from kubectl_egress.lab.client import Lab
from kubectl_egress.model import PatchOperation
from tests import build
from tests.scene import NATIVE, Scene, until

pytestmark = pytest.mark.lab

HOSTS = {"guarded": "httpbin.org", "open": "api.example.com"}
LOOP = "while true; do curl -s -m 2 -o /dev/null --connect-to ::{}: https://{}/status/200; sleep .2; done"


def deploy(scene: Scene, name: str, address: str) -> None:
    """It calls its host at an address of its own knowledge, on either port: as a client with a resolver of its own does."""
    command = ["sh", "-c", LOOP.format(address, HOSTS[name])]
    template: dict[str, Any] = {"annotations": NATIVE, "terminationGracePeriodSeconds": 0}
    scene.create(build.deployment(name, scene.namespace, command=command, **template))
    scene.rolled_out(name)


def serve_inside(scene: Scene) -> str:
    """The address of a pod that serves clear HTTP on port 80."""
    python = os.path.realpath(sys.executable)
    command = [python, "-I", "-m", "http.server", "80", "--directory", "/tmp"]
    scene.create(
        build.deployment("inside", scene.namespace, command=command, labels={"sidecar.istio.io/inject": "false"})
    )
    scene.rolled_out("inside")
    (pod,) = scene.pods("inside")
    return str(pod["status"]["podIP"])


def code(scene: Scene, name: str, *arguments: str) -> str:
    """What a caller gets for a request of another kind."""
    asked = ["curl", "-s", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}", *arguments]
    pod = scene.ref("Pod", scene.pod(name))
    return run_command(scene.cluster.transport, pod, name, ["sh", "-c", '"$@" || true', "sh", *asked], 20.0)


def in_clear(scene: Scene, name: str) -> int:
    return sum(scene.counters().clear_requests.get(HOSTS[name], {}).values())


def clear_requests(scene: Scene, name: str) -> list[dict[str, Any]]:
    return [one for one in scene.lab.requests() if one["name"] == HOSTS[name] and not one["tls"]]


def served(scene: Scene) -> None:
    scene.lab.reset()
    for host in HOSTS.values():
        until(lambda host=host: scene.counters().total(host) > 0, f"{host} is served")  # type: ignore[misc]


def inject(scene: Scene, value: str) -> None:
    """Whether the namespace's next pods get a sidecar."""
    label = ("metadata", "labels", "istio-injection")
    scene.cluster.patch(scene.ref("Namespace", scene.namespace), [PatchOperation("replace", label, value)])
    for name in HOSTS:
        scene.restart(name)


def test_a_guard_drops_what_would_leave_in_clear_and_nothing_else(shared: Lab, shared_scene: Scene) -> None:
    scene, addresses = shared_scene, shared.world([])
    for name, host in HOSTS.items():
        deploy(scene, name, addresses[host])
    inside = serve_inside(scene)
    secure = ("--resolve", f"httpbin.org:443:{addresses['httpbin.org']}", "https://httpbin.org/status/200")

    refused = scene.egress("migrate", HOSTS["guarded"], "-y")
    assert refused.status == 3, refused
    assert "fails-open" in refused.out + refused.err
    for name, how in (("guarded", "--guard"), ("open", "--fail-open")):
        run = scene.egress("migrate", HOSTS[name], how, "-y", "--window", "3s")
        assert run.status == 0, run
    (item,) = scene.egress("verify", HOSTS["guarded"], "--window", "3s", "-o", "json").document()["items"]
    assert (item["verdict"], item["failsClosed"]) == ("verified", False)

    # With its sidecar everything is as without a guard: what the sidecar sends goes to port 443, or stays inside.
    served(scene)
    for name in HOSTS:
        until(lambda name=name: code(scene, name, f"http://{inside}/") == "200", f"{name} calls inside")  # type: ignore[misc]
        assert code(scene, name, *secure) == "200", name
    assert [in_clear(scene, name) for name in HOSTS] == [0, 0]

    # Without: the same template, the same URL, the same address.
    inject(scene, "disabled")
    until(lambda: in_clear(scene, "open") > 2, "open leaks", patience=60)
    clear = ("--resolve", f"httpbin.org:80:{addresses['httpbin.org']}", "http://httpbin.org/")
    assert code(scene, "guarded", *clear) == "000"
    assert code(scene, "guarded", f"http://{inside}/") == "200"
    assert code(scene, "guarded", *secure) == "200"
    assert clear_requests(scene, "guarded") == []

    # It was the guard that kept it in: a pod that runs is let go, and held again.
    (guard,) = scene.cluster.list("networking.k8s.io/v1", "networkpolicies", scene.namespace)
    scene.delete("NetworkPolicy", guard["metadata"]["name"])
    until(lambda: in_clear(scene, "guarded") > 2, "guarded leaks without its guard", patience=60)
    scene.put_back(guard)
    until(lambda: code(scene, "guarded", *clear) == "000", "the guard holds again")
    scene.lab.reset()
    until(lambda: in_clear(scene, "open") > 10, "open goes on")
    assert in_clear(scene, "guarded") <= 1, "one may have been under way"

    inject(scene, "enabled")
    served(scene)
    assert [in_clear(scene, name) for name in HOSTS] == [0, 0]
    run = scene.egress("undo", *HOSTS.values(), "-y")
    assert run.status == 0, run
