"""URLs in ConfigMaps: migrated by copies, so that pods of the old template never read `http://`."""

from __future__ import annotations

from typing import Any

import pytest

from tests import build
from tests.scene import HOST, NATIVE, Scene

pytestmark = pytest.mark.lab

URL = f"https://{HOST}/status/200"
# Each request reads all three sources anew: a file of a volume would change under a running pod.
SCRIPT = """\
trap 'going=1' TERM
while [ -z "$going" ]; do
  for url in "$SINGLE" "$BULK" "$(sed -n 's/^api.url=//p' /config/app.properties)"; do
    said=$(trap '' TERM; curl -s -m 5 -o /dev/null -w '%{http_code}' "$url"); echo "request $said $?"
  done
  sleep .1
done
echo end
trap '' TERM
sleep .4
"""


def template() -> dict[str, Any]:
    env = [
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


def test_three_ways_to_read_a_config_map(scene: Scene) -> None:
    originals = [
        build.config_map("single", {"url": URL, "unrelated": "kept"}, scene.namespace),
        build.config_map("bulk", {"BULK": URL}, scene.namespace, immutable=True),
        build.config_map("files", {"app.properties": f"# settings\napi.url={URL}\nname=x\n"}, scene.namespace),
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
    wanted = [{key: text.replace("https", "http") for key, text in body["data"].items()} for body in originals]
    assert contents == sorted(map(str, wanted))
    spec = str(migrated["Deployment", "caller"]["spec"])
    assert all(f"'name': '{name}'" in spec for name in copies if not name.startswith("kubectl-egress."))

    scene.undo()
    assert scene.state() == before
    caller.settled()
    assert [request for request in caller.requests() if not request.served] == []
    assert scene.counters().in_clear == 0
    assert not scene.counters().clear_bytes
