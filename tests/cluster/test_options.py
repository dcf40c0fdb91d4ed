"""Flags of `migrate` on a real control plane: what its admission takes, and what its proxies make of it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from kubectl_egress.mesh import object_name
from kubectl_egress.model import Body, Host
from kubectl_egress.policies import guard_policy
from tests.scene import HOST, Scene, until

pytestmark = pytest.mark.cluster


def test_flags_are_taken_and_a_name_alone_changes_no_caller(scene: Scene) -> None:
    recorder = scene.deploy()
    recorder.healthy()
    before = scene.state()

    run = scene.egress("migrate", HOST, "--mode", "named", "-y")
    assert run.status == 0, run
    [item] = [one for one in scene.egress("inspect", "-o", "json").document()["items"] if one["host"] == HOST]
    assert item["visibility"] == "named"
    recorder.healthy()
    scene.undo()
    assert scene.state() == before

    checked = scene.egress("migrate", HOST, "--http2", "--dry-run=server", "-y")
    assert checked.status == 0, checked
    run = scene.egress("migrate", HOST, "--retries", "2", "--route-timeout", "5s", "--hold", "-y")
    assert run.status == 0, run
    until(lambda: scene.counters().total(HOST) > 3, "the host is called")
    route = scene.get("VirtualService", object_name(Host(HOST)))["spec"]["http"][0]
    assert (route["retries"]["attempts"], route["timeout"]) == (2, "5s")
    recorder.healthy()
    scene.undo()
    assert scene.state() == before
    assert scene.counters().in_clear == 0


@pytest.mark.any_istio
def test_a_guard_is_as_it_was_written_knows_the_service_network_and_goes_again(scene: Scene) -> None:
    recorder = scene.deploy()
    recorder.healthy()
    before = scene.state()

    def guards() -> list[Body]:
        return list(scene.cluster.list("networking.k8s.io/v1", "networkpolicies", scene.namespace))

    run = scene.egress("migrate", HOST, "--guard", "-y")
    assert run.status == 0, run
    (guard,) = guards()
    (cidr,) = (one["spec"]["cidrs"][0] for one in scene.cluster.list("networking.k8s.io/v1", "servicecidrs", None))
    wanted = guard_policy(guard["metadata"]["name"], scene.namespace, {"matchLabels": {"app": "caller"}}, [cidr])
    assert guard["spec"] == wanted["spec"]
    assert scene.egress("list", "--exit-code").status == 0, "nothing has drifted"
    again = scene.egress("migrate", HOST, "--guard", "-y")
    assert again.status == 0, again
    assert again.out.startswith(f"{HOST}: nothing to do.\n"), again
    recorder.healthy()
    scene.undo()
    assert guards() == []
    assert scene.state() == before

    opening = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}
    head = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    scene.create({**head, "metadata": {"name": "open", "namespace": scene.namespace}, "spec": opening})
    refused = scene.egress("migrate", HOST, "--guard", "-y")
    assert refused.status == 3, refused
    assert "NetworkPolicy open lets its pods reach port 80 of everywhere" in refused.out
    assert scene.state() == before
    assert scene.counters().in_clear == 0


def test_another_port_is_led_to_and_the_server_hears_what_it_heard_before(scene: Scene) -> None:
    admin = f"{HOST}:8443"
    scene.lab.world([HOST], ports=[8443])
    callers = {name: scene.deploy(name, f"https://{admin}/headers?{name}") for name in ("moving", "staying")}

    def heard(name: str) -> dict[str, Any]:
        callers[name].healthy()
        return next(one for one in reversed(scene.lab.requests()) if one["path"].endswith(f"?{name}"))

    before, was = scene.state(), {name: heard(name) for name in callers}
    run = scene.egress("migrate", admin, "--workload", "deploy/moving", "-y")
    assert run.status == 0, run
    assert "http://httpbin.org/headers?moving" in str(scene.get("Deployment", "moving")["spec"])
    for name, request in was.items():
        now = heard(name)
        assert (now["host"], now["sni"], now["port"], now["tls"]) == (admin, HOST, 8443, True), name
        added = {key.lower() for key, _ in now["headers"]} - {key.lower() for key, _ in request["headers"]}
        # What no route can remove: of newer Envoys, and where tracing is on, as it is in 1.18.
        may = {"x-envoy-original-host", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled"}
        assert added - may == ({"x-forwarded-proto", "x-request-id"} if name == "moving" else set())
        assert name == "moving" or not added
    verdicts = scene.egress("verify", admin, "-o", "json").document()["items"]
    assert {one["workload"]["name"]: one["verdict"] for one in verdicts} == {"moving": "verified", "staying": "silent"}
    items = scene.egress("inspect", "-o", "json").document()["items"]
    assert {one["workload"]["name"]: one["visibility"] for one in items} == {"moving": "full", "staying": "named"}
    assert scene.egress("list", "--exit-code").status == 0, "nothing has drifted"
    undone = scene.egress("undo", admin, "-y")
    assert undone.status == 0, undone
    assert scene.state() == before
    # Istio 1.18 has no native sidecars: a pod's first requests are refused there, whatever they call.
    for recorder in callers.values() if os.environ.get("ISTIO") != "1.18" else ():
        recorder.settled()
        assert [request for request in recorder.requests() if not request.served] == []
    assert scene.counters().in_clear == 0
