"""What is on the wire: a workload that calls more than its spec says, seen by a real Envoy."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from kubectl_egress import cli
from kubectl_egress.cluster import resolving
from kubectl_egress.mesh import API_VERSION
from tests import build
from tests.scene import HOST, Scene, calling_script, until
from tests.warm import start_lab

pytestmark = pytest.mark.lab

# Two hosts that no URL names: one over TLS, one in plain HTTP. Put together at run time, as programs do.
HIDDEN = 'for s in https http; do curl -s -m 5 -o /dev/null $s"://"api"."$NAME; done'
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def calling() -> Iterator[Scene]:
    """A caller whose spec names one host, and which calls api.example.com too."""
    with start_lab() as lab, Scene(lab) as scene:
        scene.deploy("plain")
        script = calling_script(f"https://{HOST}/status/200", first=HIDDEN)
        scene.deploy("more", command=["sh", "-c", script], env={"NAME": "example.com"})
        until(lambda: lab.counters().total("api.example.com") > 3, "the hidden host is called")
        yield scene


@pytest.fixture
def inspected(calling: Scene, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Any:
    """Runs `inspect -o json` in this process, where names resolve as they do in the pods; the items of one workload."""
    addresses = calling.lab.world([])

    def getaddrinfo(name: str, *_: Any, **__: Any) -> list[Any]:
        if name.rstrip(".") not in addresses:
            raise socket.gaierror(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (addresses[name.rstrip(".")], 0))]

    def run(name: str, *flags: str) -> dict[str, Any]:
        monkeypatch.setattr(resolving, "getaddrinfo", getaddrinfo)
        given = ["inspect", f"deploy/{name}", "-n", calling.namespace, "--kubeconfig", str(calling.lab.kubeconfig)]
        try:
            assert cli.main([*given, "-o", "json", *flags]) == 0
        finally:
            monkeypatch.undo()
        return dict(json.loads(capsys.readouterr().out))

    return run


def by_host(document: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    return {(item["host"], item["port"]): item for item in document["items"]}


def test_a_nameless_connection_is_matched_by_address(inspected: Any) -> None:
    (item,) = inspected("plain")["items"]
    (seen,) = item["live"]
    assert (item["host"], seen["knownBy"], seen["cluster"]) == (HOST, "address", "PassthroughCluster")
    assert seen["connections"] > 0
    assert item["findings"] == []


def test_what_no_spec_names_is_a_row_by_address_and_by_authority(calling: Scene, inspected: Any) -> None:
    document = inspected("more")
    address = calling.lab.world([])["api.example.com"]
    rows = by_host(document)
    assert set(rows) >= {(HOST, 443), (address, 443)}
    hidden = rows[address, 443]
    assert (hidden["visibility"], hidden["callSites"]) == ("opaque", [])
    (finding,) = [one for one in hidden["findings"] if one["code"] == "live-only"]
    assert finding["severity"] == "warn"
    assert finding["evidence"][0]["object"]["kind"] == "Deployment"
    assert finding["evidence"][1]["object"]["kind"] == "Pod"
    assert address in {one["host"] for one in document["passthrough"][0]["destinations"]}


def test_where_names_do_not_resolve_here_nothing_is_claimed_of_an_address(calling: Scene) -> None:
    run = calling.egress("inspect", "deploy/more", "-o", "json")
    assert run.status == 0, run
    address = calling.lab.world([])["api.example.com"]
    assert (address, 443) not in by_host(run.document())
    assert run.document()["passthrough"][0]["destinations"]


def test_one_sidecar_of_each_workload(calling: Scene) -> None:
    run = calling.egress("inspect", "-o", "json", "--live=sample=1")
    assert {one["workload"]["name"]: one["proxies"] for one in run.document()["passthrough"]} == {"plain": 1, "more": 1}
    assert calling.egress("inspect", "-o", "json", "--live=off").document()["passthrough"] == []


def test_the_access_log_tells_the_name_once_the_proxy_reads_it(calling: Scene) -> None:
    ports = [{"number": 443, "name": "https", "protocol": "HTTPS"}, {"number": 80, "name": "http", "protocol": "HTTP"}]
    spec = {"hosts": ["api.example.org"], "exportTo": ["."], "resolution": "DNS", "ports": ports}
    metadata = build.metadata("any", calling.namespace)
    calling.create({"apiVersion": API_VERSION, "kind": "ServiceEntry", "metadata": metadata, "spec": spec})
    try:
        rows: dict[tuple[str, int], dict[str, Any]] = {}

        def told() -> bool:
            nonlocal rows
            rows = by_host(calling.egress("inspect", "deploy/more", "-o", "json").document())
            return {("api.example.com", 443), ("api.example.com", 80)} <= set(rows)

        until(told, "the access log and the metrics have the hidden host")
        seen = {row["live"][0]["knownBy"] for key, row in rows.items() if key[0] == "api.example.com"}
        assert seen == {"server name", "authority"}
        assert {one["severity"] for one in rows["api.example.com", 443]["findings"]} == {"block"}
        assert {one["knownBy"] for one in rows[HOST, 443]["live"]} >= {"server name"}
        table = calling.egress("inspect", "deploy/more")
        assert "on the wire" in table.out
        assert "live-only" in table.out
    finally:
        calling.delete("ServiceEntry", "any")
