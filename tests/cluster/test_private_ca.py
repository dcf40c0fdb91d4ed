"""`migrate --ca` and `--client-secret`: files that only the sidecars of the callers have, on a real injector and agent."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from kubectl_egress.cluster.tunnels import run_command
from kubectl_egress.lab.client import Lab
from kubectl_egress.model import PatchOperation
from tests import build
from tests.cluster.client import RealLab
from tests.scene import HOST, Scene, calling_script, until

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


# ---- a server that wants a certificate --------------------------------------------------------------------------------

# Of the application's own: in a Secret that it alone mounts, and by a file of options, where the tool cannot see it.
OPTIONS = "cert = /own/tls.crt\nkey = /own/tls.key\n"


def ask(lab: Lab, clients: trustme.CA) -> None:
    """Have the host want a certificate of every client, and end the connections that there are."""
    lab.set_certificate(HOST, "good", clients=clients.cert_pem.bytes().decode())


@pytest.fixture
def clients(cluster: RealLab) -> Iterator[trustme.CA]:
    """The CA of which the host wants every client to show a certificate."""
    authority = trustme.CA()
    ask(cluster, authority)
    yield authority
    cluster.set_certificate(HOST, "good")


def certificate(clients: trustme.CA, name: str) -> dict[str, str]:
    """What a Secret holds of a client."""
    leaf = clients.issue_cert(f"{name}.example.com", common_name=name)
    chain = "".join(pem.bytes().decode() for pem in leaf.cert_chain_pems)
    return {"tls.crt": chain, "tls.key": leaf.private_key_pem.bytes().decode()}


def secret(scene: Scene, name: str, data: dict[str, str], kind: str = "kubernetes.io/tls") -> None:
    metadata = {"name": name, "namespace": scene.namespace}
    scene.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "stringData": data})


def shown(scene: Scene) -> set[str]:
    """Whose certificates the server has seen of late, of requests that it answered."""
    scene.lab.reset()
    until(lambda: len(scene.lab.requests()) > 2, "the host is called")
    return {one["client"] for one in scene.lab.requests() if one["name"] == HOST}


def test_the_sidecar_shows_the_client_certificate_that_was_named_and_without_one_is_refused(
    scene: Scene, clients: trustme.CA
) -> None:
    secret(scene, "own", {**certificate(clients, "application"), "options": OPTIONS}, "Opaque")
    command = ["sh", "-c", calling_script(f"-K /own/options https://{HOST}/status/200")]
    container = build.container("caller", command=command, volumeMounts=[{"name": "own", "mountPath": "/own"}])
    volumes = [{"name": "own", "secret": {"secretName": "own"}}]
    recorder = scene.deploy(containers=[container], volumes=volumes)
    recorder.healthy()
    assert shown(scene) == {"application"}
    before = scene.state()

    # Nobody has said that a certificate is wanted: the server refuses the sidecar, and that is seen and undone.
    run = scene.egress("migrate", HOST, "-y")
    assert run.status == 3, run
    assert "failing" in run.out + run.err, run
    assert "as it was before" in run.err, run
    assert scene.state() == before
    assert shown(scene) == {"application"}

    # A Secret that the sidecar cannot read: no URL changes.
    arguments = ("migrate", HOST, "--client-secret", "shop", "-y", "--timeout", "40s")
    run = scene.egress(*arguments)
    assert run.status == 1, run
    assert f"the sidecar cannot read {DIRECTORY}/tls.crt" in run.err, run
    assert scene.state() == before

    # A certificate of somebody whom the server does not know.
    secret(scene, "shop", certificate(trustme.CA(), "stranger"))
    run = scene.egress(*arguments)
    assert run.status == 3, run
    assert scene.state() == before

    def give(data: dict[str, str]) -> None:
        values = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        scene.patch("Secret", "shop", PatchOperation("replace", ("data",), values))

    give(certificate(clients, "shop"))
    run = scene.egress(*arguments)
    assert run.status == 0, run
    recorder.healthy()
    assert shown(scene) == {"shop"}

    # Renewed in place: no rollout, no other command.
    pod = scene.pod("caller")
    give(certificate(clients, "renewed"))

    def shown_anew() -> set[str]:
        # Connections that are there go on with the old one.
        ask(scene.lab, clients)
        return shown(scene)

    until(lambda: shown_anew() == {"renewed"}, "the sidecar shows the new certificate", patience=90)
    assert scene.pod("caller") == pod
    recorder.healthy()

    scene.undo()
    assert scene.state() == before
    assert shown(scene) == {"application"}
    assert scene.counters().in_clear == 0
