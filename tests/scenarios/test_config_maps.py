"""URLs in ConfigMaps: migrated by copies, so that pods of the old template never read `http://`."""

from __future__ import annotations

from typing import Any

import pytest

from tests import build
from tests.scene import HOST, NATIVE, Scene, calling_script

pytestmark = pytest.mark.lab

URL = f"https://{HOST}/status/200"
# Each request reads all sources anew: a file of a volume would change under a running pod.
SCRIPT = calling_script(
    '"$SINGLE"',
    '"$BULK"',
    '"$(said api.url)"',
    '"$PAY_SCHEME://$PAY_HOST:$PAY_PORT/status/200"',
    '"$(said card.scheme)://$(said card.host):$(said card.port)/status/200"',
    first='said() { sed -n "s/^$1=//p" /config/app.properties; }',
)


def template() -> dict[str, Any]:
    env: list[dict[str, Any]] = [
        {"name": "PAY_HOST", "value": HOST},
        {"name": "PAY_PORT", "value": "443"},
        {"name": "SINGLE", "valueFrom": {"configMapKeyRef": {"name": "single", "key": "url"}}},
    ]
    mounts = [{"name": "config", "mountPath": "/config"}]
    container = build.container(
        "caller",
        env=env,
        command=["sh", "-c", SCRIPT],
        envFrom=[{"configMapRef": {"name": "bulk"}}],
        volumeMounts=mounts,
    )
    return {
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "files"}}],
        "annotations": NATIVE,
    }


SETTINGS = f"# settings\napi.url={URL}\nname=x\ncard.scheme=https\ncard.host={HOST}\ncard.port=443\n"


def test_three_ways_to_read_a_config_map_with_urls_and_with_settings_that_say_a_call_together(scene: Scene) -> None:
    originals = [
        build.config_map("single", {"url": URL, "unrelated": "kept"}, scene.namespace),
        build.config_map("bulk", {"BULK": URL, "PAY_SCHEME": "https"}, scene.namespace, immutable=True),
        build.config_map("files", {"app.properties": SETTINGS}, scene.namespace),
    ]
    for body in originals:
        scene.create(body)
    caller = scene.deploy("caller", **template())
    caller.healthy()
    before = scene.state()

    scene.migrate()
    caller.healthy()
    migrated = scene.state()
    assert {key: migrated[key] for key in before if key[0] == "ConfigMap"} == {
        key: body for key, body in before.items() if key[0] == "ConfigMap"
    }
    copies = {
        name: body for (kind, name), body in migrated.items() if kind == "ConfigMap" and (kind, name) not in before
    }
    contents = sorted(str(body["data"]) for name, body in copies.items() if not name.startswith("kubectl-egress."))
    wanted = [
        {key: text.replace("https", "http").replace("443", "80") for key, text in body["data"].items()}
        for body in originals
    ]
    assert contents == sorted(map(str, wanted))
    spec = str(migrated["Deployment", "caller"]["spec"])
    assert "{'name': 'PAY_PORT', 'value': '80'}" in spec
    assert all(f"'name': '{name}'" in spec for name in copies if not name.startswith("kubectl-egress."))

    scene.undo()
    assert scene.state() == before
    caller.settled()
    assert [request for request in caller.requests() if not request.served] == []
    assert scene.counters().in_clear == 0
    assert not scene.counters().clear_bytes
