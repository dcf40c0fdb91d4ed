"""`migrate --alias`: a short name for a host, on a control plane that knows Services."""

from __future__ import annotations

import time

import pytest

from kubectl_egress.model import PatchOperation
from tests.scene import HOST, Scene, calling_script, until

pytestmark = pytest.mark.cluster

NAME = "partner"


def test_a_short_name_reaches_the_host_over_tls_and_nothing_without_a_sidecar(scene: Scene) -> None:
    full = f"{NAME}.{scene.namespace}.svc.cluster.local"
    recorder = scene.deploy(url=f"http://{full}/status/200")
    before = scene.state()
    run = scene.egress("migrate", HOST, "--alias", NAME, "-y")
    assert run.status == 0, run
    service = scene.get("Service", NAME)
    scene.lab.resolve(full, service["spec"]["clusterIP"])
    try:
        recorder.healthy()
        found = scene.lab.requests()[-1]
        assert (found["host"], found["sni"], found["tls"]) == (HOST, HOST, True)
        headers = {name.lower(): value for name, value in found["headers"]}
        assert headers["x-forwarded-proto"] == "https"

        # By every name that the cluster has for it, as its Host header says.
        command = ("spec", "template", "spec", "containers", 0, "command", 2)
        for name in (NAME, f"{NAME}.{scene.namespace}"):
            script = calling_script(f"-H 'Host: {name}' http://{full}/status/200")
            scene.patch("Deployment", "caller", PatchOperation("replace", command, script))
            scene.rolled_out("caller")
            recorder.healthy()
            assert scene.lab.requests()[-1]["host"] == HOST

        assert scene.egress("migrate", HOST, "--exit-code").status == 0
        verified = scene.egress("verify", HOST, "-o", "json")
        assert verified.status == 0, verified

        # The route gone, then the redirect: no server, and nothing in clear.
        route = scene.delete("VirtualService", f"egress-{NAME}")
        until(lambda: any(not one.served for one in recorder.next(1)), "without the route it fails")
        scene.put_back(route)
        recorder.healthy()
        scene.lab.remove_redirect(scene.pod("caller"), scene.namespace)
        time.sleep(1)
        assert not any(one.served for one in recorder.next(1, 60))
        scene.lab.restore_redirect(scene.pod("caller"), scene.namespace)
        recorder.healthy()
        assert scene.counters().in_clear == 0

        scene.undo()
        after = scene.state()
        assert {key: value for key, value in after.items() if key[0] != "Deployment"} == {
            key: value for key, value in before.items() if key[0] != "Deployment"
        }
        assert not list(scene.cluster.list("v1", "services", scene.namespace))
        assert scene.counters().in_clear == 0
    finally:
        scene.lab.resolve(full, "")
