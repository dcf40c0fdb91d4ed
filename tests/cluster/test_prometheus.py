"""A Prometheus that runs as a pod, scrapes the sidecars' own ports and is reached through the real API server's proxy."""

from __future__ import annotations

import contextlib
import json

import pytest

from kubectl_egress.errors import ApiError
from kubectl_egress.model import PatchOperation
from tests import build
from tests.scene import HOST, Scene, until
from tests.scraping import PROMETHEUS

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.any_istio,
    pytest.mark.skipif(PROMETHEUS is None, reason="there is no prometheus on PATH (Debian: prometheus)"),
]

NAME = "prometheus"
PORT = 9090
LABELS = {"app.kubernetes.io/name": NAME}
SIDECARS = {"path": "/stats/prometheus", "port": 15090}
"""Where every sidecar has its metrics, with or without a merge by pilot-agent."""
# The embedded node's containers see the machine's programs.
COMMAND = ["prometheus", "--config.file=/config/prometheus.json", "--storage.tsdb.path=/tmp/series"]


def install(scene: Scene, caller: str) -> None:
    """What Istio's add-on consists of, as far as it matters here: configuration, Deployment and Service."""
    [address] = [pod["status"]["podIP"] for pod in scene.pods(caller) if "deletionTimestamp" not in pod["metadata"]]
    job = {
        "job_name": "sidecars",
        "metrics_path": SIDECARS["path"],
        "static_configs": [{"targets": [f"{address}:{SIDECARS['port']}"]}],
    }
    settings = json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]})
    head = build.metadata(NAME, scene.namespace)
    scene.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": head, "data": {"prometheus.json": settings}})
    container = build.container(
        NAME,
        command=COMMAND,
        volumeMounts=[{"name": "config", "mountPath": "/config"}],
        ports=[{"containerPort": PORT}],
    )
    scene.create(
        build.deployment(
            NAME,
            scene.namespace,
            containers=[container],
            labels={**LABELS, "sidecar.istio.io/inject": "false"},
            volumes=[{"name": "config", "configMap": {"name": NAME}}],
        )
    )
    spec = {"selector": LABELS, "ports": [{"name": "http-web", "port": PORT}]}
    scene.create({"apiVersion": "v1", "kind": "Service", "metadata": {**head, "labels": LABELS}, "spec": spec})
    scene.rolled_out(NAME)


def test_it_is_found_and_asked_through_the_api_server(scene: Scene) -> None:
    caller = scene.deploy("caller")
    scene.migrate()
    caller.healthy()
    install(scene, "caller")
    path = f"/api/v1/namespaces/{scene.namespace}/services/{NAME}:{PORT}/proxy/api/v1/query"
    query = f'sum(increase(istio_requests_total{{destination_service_name="{HOST}"}}[1m]))'

    def scraped() -> bool:
        with contextlib.suppress(ApiError):
            result = scene.cluster.transport.json("GET", path, {"query": query})["data"]["result"]
            return bool(result) and float(result[0]["value"][1]) > 5
        return False

    until(scraped, f"{query} > 5", 60)
    run = scene.egress("verify", "--prometheus", "auto", "--since", "1m", "-o", "json")
    assert run.status == 0, run
    [item] = run.document()["items"]
    told = item["prometheus"]
    assert told["source"] == f"{scene.namespace}/{NAME}:{PORT}"
    assert told["requests"]["total"] > 0
    assert set(told["requests"]["byCode"]) == {"200"}
    assert (told["inClear"], told["disagreements"]) == (0, [])
    drawn = scene.egress("graph", "--prometheus", f"{scene.namespace}/{NAME}", "--since", "1m", "-o", "json").document()
    [edge] = [edge for edge in drawn["edges"] if edge["host"] == HOST]
    assert (edge["visibility"], edge["unit"], edge["errorShare"]) == ("full", "requests", 0.0)

    scene.patch("Deployment", NAME, PatchOperation("replace", ("spec", "replicas"), 0))
    until(lambda: not scene.pods(NAME), "Prometheus is gone")
    gone = scene.egress("verify", "--prometheus", "auto")
    assert gone.status == 1, gone
    assert f"Prometheus {scene.namespace}/{NAME}:{PORT} does not answer through the API server: " in gone.err
    assert f"kubectl get endpoints -n {scene.namespace}" in gone.err
    assert scene.counters().in_clear == 0
