"""A host at another port than 443: there and back while workloads call, with one that stays on https all along."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from kubectl_egress.lab.client import start_lab
from tests.scene import HOST, Recorder, Request, Scene, calling_script, until

pytestmark = pytest.mark.lab

ADMIN = f"{HOST}:8443"
ADDED = {"x-forwarded-proto", "x-request-id", "x-envoy-original-host"}
"""What the sidecar adds, and cannot help: mesh.virtual_service says why."""
BOTH = calling_script(f"https://{ADMIN}/status/200?both", f"https://{HOST}/status/200?web")


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with start_lab(ports=(8443,)) as lab, Scene(lab) as made:
        yield made


@pytest.fixture(scope="module")
def callers(scene: Scene) -> dict[str, Recorder]:
    """`admin` is migrated; `both` calls the host at 443 too; `staying` is left on https, and sees the entry nevertheless."""
    return {
        "admin": scene.deploy("admin", f"https://{ADMIN}/status/200?admin"),
        "both": scene.deploy("both", command=["sh", "-c", BOTH]),
        "staying": scene.deploy("staying", f"https://{ADMIN}/status/200?staying"),
    }


def arrived(scene: Scene, query: str) -> dict[str, Any]:
    """The next request with a query, as the server got it."""
    start = time.time()
    [*_, last] = until(
        lambda: [one for one in scene.lab.requests() if one["time"] > start and one["path"].endswith(query)],
        f"a request with {query}",
    )
    return dict(last)


def headers(request: dict[str, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in request["headers"]}


def failures(recorder: Recorder) -> list[Request]:
    recorder.settled()
    return [request for request in recorder.requests() if not request.served]


def migrated(scene: Scene) -> list[str]:
    return sorted(
        name for (kind, name), body in scene.state().items() if kind == "Deployment" and ":8443" not in str(body)
    )


def test_there_and_back(scene: Scene, callers: dict[str, Recorder]) -> None:
    before = scene.state()
    sent = {query: arrived(scene, query) for query in ("?admin", "?both", "?web", "?staying")}
    assert {query: one["host"] for query, one in sent.items()} == {
        "?admin": ADMIN,
        "?both": ADMIN,
        "?web": HOST,
        "?staying": ADMIN,
    }
    run = scene.egress("migrate", ADMIN, "-y", "--workload", "deploy/admin", "--workload", "deploy/both")
    assert run.status == 0, run
    assert migrated(scene) == ["admin", "both"]
    assert "https://httpbin.org/status/200?web" in str(scene.get("Deployment", "both"))
    for query, was in sent.items():
        now = arrived(scene, query)
        assert (now["host"], now["sni"], now["port"], now["tls"]) == (was["host"], HOST, was["port"], True), query
        added = headers(now).keys() - headers(was).keys()
        assert added == (ADDED if query in ("?admin", "?both") else set())
        assert headers(was).items() <= headers(now).items()
        assert headers(now).get("x-envoy-original-host", HOST) == HOST

    verdicts = scene.egress("verify", ADMIN, "-o", "json").document()["items"]
    assert {(one["host"], one["port"], one["workload"]["name"], one["verdict"]) for one in verdicts} == {
        (HOST, 8443, "admin", "verified"),
        (HOST, 8443, "both", "verified"),
        (HOST, 8443, "staying", "silent"),
    }
    seen = {
        (one["workload"]["name"], one["port"]): one["visibility"]
        for one in scene.egress("inspect", "-o", "json").document()["items"]
    }
    assert seen == {("admin", 8443): "full", ("both", 8443): "full", ("both", 443): "named", ("staying", 8443): "named"}
    listed = scene.egress("list", "-o", "json", "--exit-code")
    assert (listed.status, [(one["port"], one["drift"]) for one in listed.document()["items"]]) == (0, [(8443, [])])
    assert scene.egress("migrate", ADMIN, "--workload", "deploy/admin", "--exit-code").status == 0

    refused = scene.egress("migrate", HOST, "-y")
    assert (refused.status, refused.out) == (1, "")
    assert refused.err.startswith(f"error: {ADMIN} is migrated in namespace {scene.namespace}"), refused
    page = scene.egress("report", ADMIN, "-o", "markdown").out
    assert f"https://{ADMIN}" in page
    assert f"http://{ADMIN}" not in page

    undone = scene.egress("undo", ADMIN, "-y")
    assert undone.status == 0, undone
    assert scene.state() == before
    assert arrived(scene, "?admin")["host"] == ADMIN
    assert {name: failures(recorder) for name, recorder in callers.items()} == {name: [] for name in callers}
    assert scene.counters().in_clear == 0


def test_nothing_leaves_in_clear_where_the_mesh_forgets_the_host(scene: Scene, callers: dict[str, Recorder]) -> None:
    run = scene.egress("migrate", ADMIN, "-y", "--workload", "deploy/admin")
    assert run.status == 0, run
    scene.delete("ServiceEntry", scene.mesh_object("ServiceEntry"))
    until(lambda: not any(request.served for request in callers["admin"].next(2)), "nobody answers")
    assert scene.counters().in_clear == 0
    assert scene.egress("undo", ADMIN, "-y").status == 0
    callers["admin"].healthy()
    assert scene.counters().in_clear == 0
