"""What `list` and `report` say of a migration, and that the commands in a report lead back when somebody types them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from kubectl_egress.lab.client import Lab
from kubectl_egress.model import PatchOperation
from tests import build
from tests.scene import HOST, NATIVE, Scene, calling_script
from tests.warm import start_lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl on PATH"),
]

URL = f"https://{HOST}/status/200"


@pytest.fixture(scope="module")
def house() -> Iterator[Lab]:
    with start_lab() as found:
        yield found


def mapped() -> dict[str, Any]:
    """A caller that reads its URL from a ConfigMap."""
    env = [{"name": "URL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "url"}}}]
    command = ["sh", "-c", calling_script('"$URL"')]
    return {"containers": [build.container("mapped", env=env, command=command)], "annotations": NATIVE}


def by_hand(scene: Scene) -> list[str]:
    """Type what the report says, one command after the other; the commands."""
    report = scene.egress("report", "-o", "json", "--no-verify")
    assert report.status == 0, report
    lines = [step["line"] for step in report.document()["byHand"]]
    assert all(lines), report.document()["byHand"]
    environment = {**os.environ, "KUBECONFIG": str(scene.lab.kubeconfig)}
    for line in lines:
        done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return lines


def drifted(scene: Scene) -> set[tuple[str, str]]:
    document = scene.egress("list", "-o", "json").document()
    return {(one["code"], one["object"]["name"]) for item in document["items"] for one in item["drift"]}


def test_by_hand_leads_back_through_revisions_and_without_them(house: Lab) -> None:
    with Scene(house, "by-hand") as scene:
        scene.create(build.config_map("settings", {"url": URL, "other": "kept"}, scene.namespace))
        direct = scene.deploy("direct")
        other = scene.deploy("mapped", **mapped())
        direct.healthy()
        other.healthy()
        before = scene.state()
        scene.lab.reset()
        for round_, verb in enumerate(("rollout undo", "edit")):
            scene.migrate()
            assert drifted(scene) == set()
            if round_:
                # The revisions of before have not this annotation, so that none of them leads back.
                scene.restart("direct")
                scene.restart("mapped")
                restarted = {name: scene.get("Deployment", name) for name in ("direct", "mapped")}
            lines = by_hand(scene)
            assert any(f"kubectl {verb} deployment.apps/direct" in line for line in lines), lines
            kinds = [line.split("/")[0].rpartition(" ")[2] for line in lines if line.startswith("kubectl delete")]
            assert [kind.partition(".")[0] for kind in kinds[:3]] == [
                "serviceentry",
                "virtualservice",
                "destinationrule",
            ]
            after = scene.state()
            if round_:
                for name, body in restarted.items():
                    stamp = body["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"]
                    annotations = after["Deployment", name]["spec"]["template"]["metadata"]["annotations"]
                    assert annotations.pop("kubectl.kubernetes.io/restartedAt") == stamp
            assert after == before
            direct.healthy()
            other.healthy()
        counters = scene.counters()
        assert counters.in_clear == 0, counters
        assert counters.total(HOST) > 0
        assert scene.egress("list").out == ""


def test_list_says_what_has_drifted(house: Lab) -> None:
    with Scene(house, "drifting") as scene:
        scene.create(build.config_map("settings", {"url": URL}, scene.namespace))
        scene.deploy("direct")
        scene.deploy("mapped", **mapped())
        nothing = scene.egress("list")
        assert (nothing.status, nothing.out) == (0, "")
        assert "Nothing is migrated in namespace drifting." in nothing.err
        scene.migrate()
        table = scene.egress("list", "--exit-code")
        assert table.status == 0, table
        assert "deployment/direct,deployment/mapped" in table.out
        assert drifted(scene) == set()

        name = scene.mesh_object("DestinationRule")
        scene.patch("ConfigMap", "settings", PatchOperation("replace", ("data", "url"), "https://other.example.com"))
        scene.patch("DestinationRule", name, PatchOperation("replace", ("spec", "exportTo"), ["*"]))
        scene.delete("VirtualService", name)
        aliases = ("spec", "template", "spec", "hostAliases")
        scene.patch("Deployment", "direct", PatchOperation("remove", aliases))
        scene.rolled_out("direct")
        found = drifted(scene)
        assert {("original-changed", "settings"), ("object-changed", name), ("object-gone", name)} <= found
        assert ("alias-lost", "direct") in found
        assert any(code == "rule-missing" for code, _ in found), found
        again = scene.egress("list", "--exit-code", "-o", "wide")
        assert again.status == 3
        assert "→ " in again.out
        assert "without its sidecar, requests would leave in clear" in again.out
        everywhere = scene.egress("list", "-A")
        assert everywhere.out.startswith("NAMESPACE   HOST")


def test_a_report_has_evidence_and_no_value_of_a_workload(house: Lab) -> None:
    with Scene(house, "ticket") as scene:
        secret = "tok-4711"
        caller = scene.deploy("direct", env={"TOKEN": secret, "HOOK": f"https://{HOST}/hook/{secret}"})
        caller.healthy()
        scene.migrate()
        for form, sign in (("markdown", "# TLS origination"), ("html", "<!DOCTYPE html>"), ("yaml", "apiVersion")):
            run = scene.egress("report", HOST, "-o", form)
            assert run.status == 0, run
            assert run.out.startswith(sign)
            assert secret not in run.out + run.err
            assert "verified" in run.out
            assert "kubectl delete configmap/" in run.out
            assert f"kubectl egress undo {HOST} -n ticket" in run.out
        missing = scene.egress("report", "nobody.example.com")
        assert missing.status == 1
        assert "not migrated" in missing.err
