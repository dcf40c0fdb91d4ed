"""The control: what the article's own rule, `mode: SIMPLE` and nothing else, lets through; ours is in test_scenarios.py."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cluster.client import RealLab
from tests.cluster.scenes import scene_of
from tests.scene import HOST, Recorder

pytestmark = pytest.mark.cluster

RULE = {"host": HOST, "trafficPolicy": {"portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "SIMPLE"}}]}}
ENTRY = {
    "hosts": [HOST],
    "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 443}],
    "resolution": "DNS",
}
BAD = ("wrong-host", "expired", "unknown-ca", "self-signed")


@pytest.fixture(scope="module")
def caller(cluster: RealLab) -> Iterator[Recorder]:
    """A workload that calls http:// behind the article's two objects."""
    with scene_of(cluster) as scene:
        for kind, spec in (("DestinationRule", RULE), ("ServiceEntry", ENTRY)):
            version = scene.cluster.resource_of(kind).api_version
            metadata = {"name": "article", "namespace": scene.namespace}
            scene.create({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
        found = scene.deploy(url=f"http://{HOST}/status/200")
        found.healthy()
        yield found


@pytest.mark.parametrize("certificate", BAD)
def test_the_article_s_rule_checks_nothing_on_its_own_istio(
    caller: Recorder, cluster: RealLab, certificate: str
) -> None:
    # Connections that saw the good one end with it.
    cluster.set_certificate(HOST, certificate)
    try:
        caller.next(2)
        served = {request.served for request in caller.next(4)}
    finally:
        cluster.set_certificate(HOST, "good")
    assert served == {os.environ.get("ISTIO") == "1.18"}
    caller.healthy()
