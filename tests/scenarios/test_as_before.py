"""What server and application notice of a migration: the requests as they arrive, and what flags ask of the sidecar."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from kubectl_egress.cluster.proxies import read_proxies
from kubectl_egress.mesh import object_name
from kubectl_egress.model import Host
from tests.scene import HOST, Scene, until
from tests.warm import start_lab

pytestmark = pytest.mark.lab
# One round: a GET with headers of the application's own, a POST that fails, a slow request, another port over TLS.
SCRIPT = f"""\
trap 'exit 0' TERM
while true; do
  curl -s -m 5 -o /dev/null -H 'x-own: 1' -H 'traceparent: 00-1-2-01' https://{HOST}/get?round
  curl -s -m 5 -o /dev/null -d x=1 https://{HOST}/status/503?round
  said=$(curl -s -m 5 -o /dev/null -w '%{{http_code}}' https://{HOST}/delay/1?round); echo "request $said $?"
  curl -s -m 5 -o /dev/null https://{HOST}:8443/get?port
  sleep .2
done
"""
ADDED = {"x-forwarded-proto", "x-request-id"}
"""What the sidecar adds, and cannot help: the design says why."""


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with start_lab(ports=(8443,)) as lab, Scene(lab) as made:
        made.deploy(command=["sh", "-c", SCRIPT])
        yield made


def arrived(scene: Scene, path: str, count: int = 3) -> list[dict[str, Any]]:
    """The next requests for a path, as the server got them."""
    start = time.time()

    def found() -> list[dict[str, Any]]:
        requests = [one for one in scene.lab.requests() if one["time"] > start and one["path"].startswith(path)]
        return requests if len(requests) >= count else []

    return until(found, f"requests for {path}")


def header_names(request: dict[str, Any]) -> set[str]:
    return {name.lower() for name, _ in request["headers"]}


def posts_for_each_round(scene: Scene) -> float:
    """POSTs that arrived for each GET of the same rounds."""
    rounds = arrived(scene, "/get?round", 6)
    span = [rounds[0]["time"], rounds[-1]["time"]]
    posts = [
        one for one in scene.lab.requests() if one["path"].startswith("/status/503") and span[0] < one["time"] < span[1]
    ]
    return len(posts) / (len(rounds) - 1)


def test_the_server_receives_what_it_received_before(scene: Scene) -> None:
    before = arrived(scene, "/get?round")[-1]
    assert posts_for_each_round(scene) == 1
    assert scene.egress("migrate", HOST, "-y", "--window", "5s").status == 0
    after = arrived(scene, "/get?round")[-1]
    assert after["tls"]
    assert header_names(after) - header_names(before) == ADDED
    assert header_names(before) <= header_names(after)
    values = {name.lower(): value for name, value in after["headers"]}
    known = {name.lower(): value for name, value in before["headers"]}
    assert {name: values[name] for name in known} == known
    assert values["x-forwarded-proto"] == "https"
    assert (after["host"], after["sni"]) == (before["host"], before["sni"]) == (HOST, HOST)


def test_a_request_that_fails_is_sent_once(scene: Scene) -> None:
    assert posts_for_each_round(scene) == 1


def test_another_port_over_tls_goes_on_past_the_alias(scene: Scene) -> None:
    found = arrived(scene, "/get?port")[-1]
    assert (found["port"], found["tls"], found["sni"]) == (8443, True, HOST)
    assert scene.counters().in_clear == 0


def test_flags_change_the_route_of_a_migrated_host_and_nothing_else(scene: Scene) -> None:
    # The slow request takes a second: a route that cuts it off would be put back.
    asked = ("migrate", HOST, "-y", "--retries", "2", "--route-timeout", "4500ms", "--window", "5s")
    run = scene.egress(*asked, "-o", "plan")
    assert [step["action"] for step in run.document()["steps"] if step["object"]] == ["update", "update", "update"], run
    run = scene.egress(*asked)
    assert run.status == 0, run
    route = scene.get("VirtualService", object_name(Host(HOST)))["spec"]["http"][0]
    assert route["retries"] == {"attempts": 2, "retryOn": "connect-failure,refused-stream"}
    assert route["timeout"] == "4.5s"
    assert scene.egress("migrate", HOST, "--exit-code").status == 0, "without flags, what was asked for stays"
    assert posts_for_each_round(scene) == 1, "a request that the server has read is not sent again"


def test_hold_and_http2_are_written_and_taken_back(scene: Scene) -> None:
    before = scene.get("Deployment", "caller")["spec"]["template"]["metadata"]["annotations"]
    scene.undo()
    assert scene.get("Deployment", "caller")["spec"]["template"]["metadata"]["annotations"] == before
    # The server speaks HTTP/1.1 alone: the plan is shown, the configuration is Envoy's own word.
    run = scene.egress("migrate", HOST, "--http2", "--hold", "-o", "json")
    made = {one["kind"]: one for one in run.document()["items"]}
    template = made["Deployment"]["spec"]["template"]
    assert template["metadata"]["annotations"]["proxy.istio.io/config"] == "holdApplicationUntilProxyStarts: true\n"
    rule = made["DestinationRule"]
    scene.create(rule)
    scene.create({**made["ServiceEntry"]})
    pod = next(pod for pod in scene.pods("caller") if "deletionTimestamp" not in pod["metadata"])
    path = "/config_dump?resource=dynamic_active_clusters&name_regex=.*httpbin.*"

    def speaks_http2() -> bool:
        (texts,) = read_proxies(scene.cluster, [pod], [path]).values()
        assert isinstance(texts, dict)
        return "http2_protocol_options" in texts[path] and '"h2"' in texts[path]

    until(speaks_http2, "the cluster speaks HTTP/2")
    scene.delete("ServiceEntry", object_name(Host(HOST)))
    scene.delete("DestinationRule", object_name(Host(HOST)))
    assert scene.counters().in_clear == 0


def test_a_name_alone_changes_no_caller(scene: Scene) -> None:
    before = scene.state()
    run = scene.egress("migrate", HOST, "--mode", "named", "-y")
    assert run.status == 0, run
    assert "known by name" in run.err
    added = set(scene.state()) - set(before)
    assert Counter(kind for kind, _ in added) == {"ServiceEntry": 1, "ConfigMap": 1}
    (item,) = [
        one
        for one in scene.egress("inspect", "-o", "json").document()["items"]
        if (one["host"], one["port"]) == (HOST, 443)
    ]
    assert item["visibility"] == "named"
    assert arrived(scene, "/get?round")[-1]["tls"]
    assert scene.egress("migrate", HOST, "--mode", "named", "--exit-code").status == 0
    scene.undo()
    assert scene.state() == before
