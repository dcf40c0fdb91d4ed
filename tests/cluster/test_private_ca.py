"""`migrate --ca` and `--client-secret`: files that only the sidecars of the callers have, on a real injector and agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trustme

from kubectl_egress.cluster.tunnels import run_command
from tests.scene import HOST, Scene

pytestmark = pytest.mark.cluster

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
URL = f"--cacert {BUNDLE} https://{HOST}/status/200"
DIRECTORY = f"/etc/kubectl-egress/{HOST}"


def authority(scene: Scene) -> str:
    """The CA of the outside world, as a user has it in a file."""
    pod = scene.ref("Pod", scene.pod("caller"))
    return run_command(scene.cluster.transport, pod, "caller", ["cat", BUNDLE], 20.0)


def tls_of(scene: Scene) -> list[Any]:
    """What `verify` read of the clusters to which the caller's requests go."""
    run = scene.egress("verify", HOST, "-o", "json")
    assert run.status == 0, run
    (item,) = json.loads(run.out)["items"]
    return [one["tls"]["ca"] for pod in item["pods"] for one in pod["evidence"]["configured"]["clusters"]]


def config_maps(scene: Scene) -> list[str]:
    found = scene.cluster.list("v1", "configmaps", scene.namespace, metadata_only=True)
    return [one["metadata"]["name"] for one in found if one["metadata"]["name"].startswith(("egress", "kubectl"))]


def test_the_sidecars_check_by_the_ca_that_was_named_and_nobody_else_has_to(scene: Scene, tmp_path: Path) -> None:
    recorder = scene.deploy(url=URL)
    recorder.healthy()
    before = scene.state()
    refused = scene.egress("migrate", HOST, "-y")
    assert refused.status == 3, refused
    assert "own-trust" in refused.err

    file = tmp_path / "ca.crt"
    file.write_text(authority(scene))
    run = scene.egress("migrate", HOST, "--ca", str(file), "-y")
    assert run.status == 0, run
    recorder.healthy()
    assert set(tls_of(scene)) == {f"file-root:{DIRECTORY}/ca.crt"}
    again = scene.egress("migrate", HOST, "-y")
    assert again.status == 0, again
    assert again.out.startswith(f"{HOST}: nothing to do.\n"), again

    # Pods that do not have the file start all the same, and call as they did.
    other = scene.deploy("other")
    other.healthy()
    assert scene.counters().in_clear == 0

    scene.undo()
    state = scene.state()
    assert {key: value for key, value in state.items() if key[1] != "other"} == before
    assert config_maps(scene) == []
    assert scene.counters().in_clear == 0


def test_a_ca_that_does_not_vouch_for_the_server_and_a_certificate_that_is_not_there(
    scene: Scene, tmp_path: Path
) -> None:
    recorder = scene.deploy(url=URL)
    recorder.healthy()
    before = scene.state()
    file = tmp_path / "ca.crt"
    file.write_bytes(trustme.CA().cert_pem.bytes())
    run = scene.egress("migrate", HOST, "--ca", str(file), "-y")
    assert run.status == 3, run
    assert "undone" in run.err or "as it was before" in run.err, run
    assert scene.state() == before

    arguments = ("migrate", HOST, "--ca", str(file), "--client-secret", "missing", "-y", "--timeout", "40s")
    file.write_text(authority(scene))
    run = scene.egress(*arguments)
    assert run.status == 1, run
    assert scene.state() == before
    recorder.healthy()
    assert scene.counters().in_clear == 0

    leaf = trustme.CA().issue_cert("client.example.com")
    data = {"tls.crt": leaf.cert_chain_pems[0].bytes().decode(), "tls.key": leaf.private_key_pem.bytes().decode()}
    metadata = {"name": "missing", "namespace": scene.namespace}
    scene.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "stringData": data}
    )
    run = scene.egress(*arguments)
    assert run.status == 0, run
    recorder.healthy()
    rule = scene.get("DestinationRule", f"egress-{HOST}")
    assert rule["spec"]["trafficPolicy"]["portLevelSettings"][0]["tls"]["mode"] == "MUTUAL"
    scene.undo()
    assert scene.state() == before
    assert scene.counters().in_clear == 0
