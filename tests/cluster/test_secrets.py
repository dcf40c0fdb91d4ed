"""`--include-secrets` on a real control plane: what its storage keeps of a copy, its authorizer permits, and its kubelets read."""

from __future__ import annotations

import json

import pytest

from kubectl_egress import secret_values
from tests import build
from tests.cluster.test_permissions import MIGRATOR, READER, binding, role_of, rules, user
from tests.scenarios.test_secrets import CANARY, URL, everything, hidden, listed, said, template
from tests.scene import HOST, Scene, written

pytestmark = pytest.mark.cluster


def test_secrets_are_copied_and_left_and_who_may_not_read_them_is_told(scene: Scene) -> None:
    scene.create(build.secret("single", {"url": URL, "password": CANARY}, scene.namespace, immutable=True))
    scene.create(build.secret("files", {"app.properties": f"api.url={URL}\n"}, scene.namespace))
    caller = scene.deploy("caller", **template())
    caller.healthy()
    before = everything(scene)
    made = [
        role_of("without-secrets", (rule for rule in (*rules(READER), *rules(MIGRATOR)) if rule[1] != "secrets")),
        binding("without-secrets", user("blind")),
    ]
    for body in made:
        scene.create(body)
    try:
        found = json.loads(said(scene.egress("inspect", "--include-secrets", "-o", "json", "--as", "blind")).out)
        (denied,) = [one for one in found["findings"] if one["code"] == "no-permission"]
        assert denied["message"].startswith("may not get secrets")
        assert "no-permission" not in str(said(scene.egress("inspect", "-o", "json", "--as", "blind")).out)
        for where in ("client", "server"):
            said(scene.egress("migrate", HOST, "--include-secrets", "-y", f"--dry-run={where}"))
        assert everything(scene) == before

        said(scene.migrate("--include-secrets", "-v", "9"))
        caller.healthy()
        copies = [body for body in listed(scene) if ("Secret", body["metadata"]["name"]) not in before]
        assert sorted(str(secret_values.readable(body)["data"]) for body in copies) == sorted(
            str(secret_values.readable(body)["data"]).replace("https", "http")
            for key, body in before.items()
            if key[0] == "Secret"
        )
        assert {body["type"] for body in copies} == {"Opaque"}
        for (kind, name), body in everything(scene).items():
            hidden(name, body["metadata"], "" if kind == "Secret" else body)
        said(scene.egress("verify", "--window", "5s"))
        said(scene.egress("list", "--exit-code"))
        refused = said(scene.egress("undo", HOST, "-y", "--as", "blind"), 1)
        assert "the migration has copied Secrets, which may not be read" in refused.err
        # whoever renews the original is told of the copy
        original = scene.delete("Secret", "files")
        scene.create(
            {**written(original), "type": "Opaque", "data": build.secret("x", {"app.properties": "y"})["data"]}
        )
        drifted = said(scene.egress("list", "--exit-code"), 3)
        assert "data.app.properties changed since it was copied" in drifted.out + drifted.err
        scene.delete("Secret", "files")
        scene.create({**written(original), "type": "Opaque"})

        said(scene.undo())
        assert everything(scene) == before
    finally:
        for body in made:
            ref = build.ref(body)
            scene.cluster.delete(ref, uid=scene.cluster.get(ref)["metadata"]["uid"])
    assert scene.counters().in_clear == 0
