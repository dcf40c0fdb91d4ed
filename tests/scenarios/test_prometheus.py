"""A real Prometheus scrapes the lab's real Envoys, and `verify` and `graph` ask it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from kubectl_egress.prometheus.queries import article
from tests.scene import HOST, Scene
from tests.scraping import PROMETHEUS, asked, has_counted, prometheus, relay

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(PROMETHEUS is None, reason="there is no prometheus on PATH (Debian: prometheus)"),
]


def test_it_agrees_or_it_is_said_why_not(scene: Scene, tmp_path: Path) -> None:
    caller = scene.deploy("caller")
    caller.healthy()
    scene.migrate()
    caller.healthy()
    (tmp_path / "well").mkdir()
    (tmp_path / "relabelled").mkdir()
    with (
        relay(scene) as port,
        prometheus(tmp_path / "well", port, ["caller"]) as well,
        prometheus(tmp_path / "relabelled", port, ["caller"], source_workload="somebody") as relabelled,
        prometheus(tmp_path, port, []) as unscraped,
    ):
        requests, _ = article(scene.namespace)
        has_counted(well, f'sum(increase(istio_requests_total{{destination_service_name="{HOST}"}}[1m]))', 5)
        # Envoy merges its histograms every 5 s, so that they come later than the counters.
        has_counted(well, "sum(increase(istio_request_duration_milliseconds_count[1m]))", 5)
        has_counted(relabelled, "istio_requests_total", 5)
        [series] = [one for one in asked(well, requests) if one["metric"]["destination_service_name"] == HOST]
        assert series["metric"]["source_workload"] == "caller"

        run = scene.egress("verify", "--prometheus", well, "--since", "2m", "-o", "json")
        assert run.status == 0, run
        [item] = run.document()["items"]
        told = item["prometheus"]
        assert told["disagreements"] == []
        assert told["requests"]["total"] > 0
        assert set(told["requests"]["byCode"]) == {"200"}
        assert told["latencyMs"]["p95"] > 0
        assert told["inClear"] == 0

        for address, word in ((relabelled, "relabelled"), (unscraped, "not scraped")):
            said = scene.egress("verify", "--prometheus", address)
            assert said.status == 0, said
            assert f"disagrees     deployment/caller, {HOST}: {word}:" in said.out

        drawn = scene.egress("graph", "--prometheus", well, "--since", "1m", "-o", "json").document()
        [edge] = [edge for edge in drawn["edges"] if edge["host"] == HOST]
        assert (edge["visibility"], edge["unit"], edge["errorShare"]) == ("full", "requests", 0.0)
        assert drawn["source"] == f"Prometheus {well}"

    waited = scene.egress("verify", "--for=verified", "--timeout", "1m", "-o", "junit")
    assert waited.status == 0, waited
    [case] = Xml.fromstring(waited.out).iter("testcase")
    assert (case.get("name"), case.find("failure")) == (HOST, None)
    never = scene.egress("verify", "--for=silent", "--timeout", "3s", "--window", "1s")
    assert never.status == 3
    assert scene.counters().in_clear == 0
