"""URLs in Secrets: migrated by copies, and no value of them in anything that the tool says or writes elsewhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from kubectl_egress import secret_values
from kubectl_egress.model import Body
from tests import build
from tests.scene import HOST, NATIVE, Run, Scene, calling_script, until, written

pytestmark = pytest.mark.lab

CANARY = "canary7f3a"
URL = f"https://{HOST}/status/200?token={CANARY}"
# Nothing that the shell starts is ended by what tells the pod to go.
SCRIPT = calling_script(
    '"$SINGLE"', '"$file"', first="file=$(trap '' TERM; sed -n 's/^api.url=//p' /config/app.properties)"
)


def template() -> dict[str, Any]:
    single = {"name": "SINGLE", "valueFrom": {"secretKeyRef": {"name": "single", "key": "url"}}}
    mounts = [{"name": "config", "mountPath": "/config"}]
    container = build.container("caller", env=[single], command=["sh", "-c", SCRIPT], volumeMounts=mounts)
    return {
        "containers": [container],
        "volumes": [{"name": "config", "secret": {"secretName": "files"}}],
        "annotations": NATIVE,
    }


def everything(scene: Scene) -> dict[tuple[str, str], Any]:
    """The scene's state, and its Secrets."""
    secrets = {("Secret", body["metadata"]["name"]): written(body) for body in listed(scene)}
    return {**scene.state(), **secrets}


def listed(scene: Scene) -> list[Body]:
    return list(scene.cluster.list("v1", "secrets", scene.namespace))


def hidden(*texts: object) -> None:
    """AssertionError where the canary, or its base64, stands in a text."""
    shifted = [base64.b64encode(b"x" * shift + CANARY.encode()).decode()[4:-4] for shift in range(3)]
    for text in texts:
        assert not [one for one in (CANARY, *shifted) if one in str(text)]


def said(run: Run, status: int = 0) -> Run:
    assert run.status == status, run
    hidden(run.out, run.err)
    return run


@pytest.fixture
def caller_with_secrets(shared_scene: Scene) -> Iterator[tuple[Scene, Any]]:
    scene = shared_scene
    for name, data in (
        ("single", {"url": URL, "password": CANARY}),
        ("files", {"app.properties": f"password={CANARY}\napi.url={URL}\n"}),
    ):
        scene.create(build.secret(name, data, scene.namespace))
    caller = scene.deploy("caller", **template())
    caller.healthy()
    yield scene, caller
    caller.settled()
    assert [request for request in caller.requests() if not request.served] == []
    assert scene.counters().in_clear == 0
    assert not scene.counters().clear_bytes


def test_secrets_as_environment_and_as_files(caller_with_secrets: tuple[Scene, Any]) -> None:
    scene, caller = caller_with_secrets
    before = everything(scene)
    rows = json.loads(said(scene.egress("inspect", "-o", "json")).out)["items"]
    assert [row["host"] for row in rows if row["callSites"]] == []
    said(scene.egress("inspect", "--include-secrets", "-o", "wide", "-v", "9"))
    (row,) = json.loads(said(scene.egress("inspect", "--include-secrets", "-o", "json")).out)["items"]
    assert sorted((site["object"]["name"], site["path"], site["url"]) for site in row["callSites"]) == [
        ("files", ".data.app\\.properties", f"https://{HOST}"),
        ("single", ".data.url", f"https://{HOST}"),
    ]
    said(scene.egress("migrate", HOST, "--include-secrets", "-o", "plan"))
    refused = said(scene.egress("migrate", HOST, "--include-secrets", "-o", "yaml"), 2)
    assert "would print the values of Secret" in refused.err
    for where in ("client", "server"):
        said(scene.egress("migrate", HOST, "--include-secrets", "-y", f"--dry-run={where}"))
    assert everything(scene) == before

    said(scene.migrate("--include-secrets", "-v", "9"))
    caller.healthy()
    migrated = everything(scene)
    assert {key: migrated[key] for key in before if key[0] == "Secret"} == {
        key: body for key, body in before.items() if key[0] == "Secret"
    }
    copies = {
        body["metadata"]["name"]: body for body in listed(scene) if ("Secret", body["metadata"]["name"]) not in before
    }
    texts = sorted(str(secret_values.readable(body)["data"]) for body in copies.values())
    assert texts == sorted(
        str(secret_values.readable(body)["data"]).replace("https", "http")
        for key, body in before.items()
        if key[0] == "Secret"
    )
    for (kind, name), body in migrated.items():
        hidden(name, body["metadata"], "" if kind == "Secret" else body)
    said(scene.egress("verify", "--window", "3s"))
    assert "drift" not in said(scene.egress("list", "--exit-code")).err
    said(scene.egress("report", "--window", "0s", "-o", "markdown"))
    assert "nothing to do" in said(scene.egress("migrate", HOST, "-y")).out
    assert everything(scene) == migrated

    said(scene.undo())
    assert everything(scene) == before


def test_what_is_cut_short_goes_on_and_back_without_the_flag(caller_with_secrets: tuple[Scene, Any]) -> None:
    scene, caller = caller_with_secrets
    before = everything(scene)
    with scene.started("migrate", HOST, "--include-secrets", "-y") as going:
        until(lambda: len(listed(scene)) > 2, "a copy is made")
        going.kill()
    said(scene.egress("migrate", HOST, "-y"))
    assert len(listed(scene)) == 4
    caller.healthy()
    said(scene.undo())
    assert everything(scene) == before
