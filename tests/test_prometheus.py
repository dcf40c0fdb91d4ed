from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubectl_egress.cluster import Cluster, ConnectionOptions, connect
from kubectl_egress.cluster.prometheus import Prometheus
from kubectl_egress.errors import EgressError, ForbiddenError, UnreachableError, UsageError
from kubectl_egress.graph import remembered
from kubectl_egress.model import Host, Ref
from kubectl_egress.prometheus import History, disagreements, evidence, histories, parsed, queries
from kubectl_egress.prometheus.queries import article
from tests.fake_api import Answer, FakeApi, fake_api, listing, status

HOST = Host("httpbin.org")
CURL = Ref("Deployment", "shop", "curl", "apps/v1")
NOW = 1_000_000.0


def series(
    value: float, name: str = HOST.name, service: str = HOST.name, **labels: str
) -> tuple[dict[str, str], float]:
    own = {"source_workload": "curl", "source_workload_namespace": "shop"}
    return {**own, "destination_service_name": name, "destination_service": service, **labels}, value


def one(**answers: Any) -> History:
    [found] = histories([(HOST, CURL)], answers, 300.0, NOW)
    return found


# ---- queries --------------------------------------------------------------------------------------------------------


def test_the_articles_queries_word_for_word() -> None:
    requests, closed = article("test-ext-svc")
    assert requests == (
        'sum(rate(istio_requests_total{reporter="source",source_workload_namespace="test-ext-svc"}[1m])) by '
        "(source_workload, destination_service_name)"
    )
    assert closed == requests.replace("istio_requests_total", "istio_tcp_connections_closed_total")


def test_nothing_breaks_out_of_a_label() -> None:
    text = queries('a"b\\c\n', 90)["requests"]
    assert 'source_workload_namespace="a\\"b\\\\c\\n"}[90s]' in text
    assert "source_workload_namespace=" not in queries("", 90)["requests"]


# ---- answers --------------------------------------------------------------------------------------------------------


def test_no_series_is_no_history() -> None:
    found = one()
    assert (found.requests, found.error_share, found.counted, found.age, found.elsewhere) == (
        0,
        None,
        None,
        None,
        False,
    )


def test_a_history_is_of_its_own_workload_and_host() -> None:
    found = one(
        requests=[
            series(95.4, response_code="200", response_flags="-"),
            series(4.6, response_code="503", response_flags="UF"),
            series(7, response_code="200", response_flags="-", source_workload="other"),
            series(9, name="api.example.com", service="api.example.com", response_code="200"),
        ],
        leaks=[series(0.4, name="PassthroughCluster")],
        tcp=[series(3)],
        p95=[series(12.5)],
        p50=[series(math.nan)],
        counted=[series(50), series(51)],
        sampled=[series(NOW - 30)],
        anywhere=[({"destination_service_name": HOST.name}, 2.0)],
    )
    assert found.by_code == {"200": 95, "503": 5}
    assert found.error_share == 0.05
    assert (found.failed, found.in_clear, found.connections) == (5, 1, 3)
    assert (found.latency["p95"], found.latency["p50"]) == (12.5, None)
    assert (found.counted, found.age, found.elsewhere) == (101, 30.0, True)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("<html>", "no Prometheus"),
        ({"status": "ok"}, "no Prometheus"),
        ({"status": "error", "error": "parse error"}, "refuses the query: parse error"),
        ({"status": "success", "data": {"resultType": "matrix"}}, "with a matrix"),
    ],
)
def test_answers_that_are_none(document: Any, message: str) -> None:
    with pytest.raises(EgressError, match=message):
        parsed(document)


def test_flows_are_remembered_under_names_and_without() -> None:
    answers = {
        "requests": [series(30, response_code="200")],
        "tcp": [series(8, name="PassthroughCluster", service="unknown"), series(2, name="BlackHoleCluster")],
        "blocked": [series(3, name="BlackHoleCluster", service="x.example.com")],
    }
    named, nameless = remembered([CURL], [HOST], answers, 10.0)
    assert (named.host, named.requests, named.by_code) == (HOST, 30, {"200": 30})
    assert (nameless.host, nameless.connections, nameless.blocked) == (None, 8, 5)


# ---- disagreement ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "counted", "word"),
    [
        (History(CURL, HOST, 300, counted=100, age=10), 100, ""),
        (History(CURL, HOST, 300, counted=60, age=10), 100, ""),
        (History(CURL, HOST, 300), 0, ""),
        (History(CURL, HOST, 300), None, ""),
        (History(CURL, HOST, 300), 100, "not scraped"),
        (History(CURL, HOST, 300, elsewhere=True), 100, "relabelled"),
        (History(CURL, HOST, 300, counted=100, age=600), 100, "stale"),
        (History(CURL, HOST, 300, counted=10, age=10), 100, "behind"),
    ],
)
def test_where_prometheus_and_the_proxies_disagree(history: History, counted: int | None, word: str) -> None:
    said = disagreements(history, counted)
    assert [text.partition(":")[0] for text in said] == ([word] if word else [])


def test_the_evidence_says_it_in_one_line() -> None:
    history = History(CURL, HOST, 300, {"200": 95, "503": 5}, latency={"p95": 12.0})
    said = evidence(history, (), "http://prometheus:9090")
    assert said["summary"] == "100 requests in 300 s; 200×95, 503×5; 5.0% errors; p95 12ms"
    assert json.dumps(said)


# ---- asking ---------------------------------------------------------------------------------------------------------


VECTOR = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"a": "b"}, "value": [1, "2"]}]}}
SCALAR = {"status": "success", "data": {"resultType": "scalar", "result": [1, "1000"]}}
PROXY = "/api/v1/namespaces/istio-system/services/prometheus:9090/proxy/api/v1/query"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path) as running:
        yield running


@pytest.fixture
def cluster(api: FakeApi, tmp_path: Path) -> Iterator[Cluster]:
    found = connect(ConnectionOptions(kubeconfig=str(tmp_path / "config")))
    yield found
    found.close()


def service(name: str, namespace: str = "istio-system", port: int = 9090) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"ports": [{"port": port}]}}


def test_it_is_found_and_reached_through_the_api_server(api: FakeApi, cluster: Cluster) -> None:
    api.on("GET", "/api/v1/services", listing("Service", "v1", [service("prometheus")]))
    api.on("GET", PROXY, Answer(SCALAR))
    prometheus = Prometheus(cluster, "auto")
    assert prometheus.name == "istio-system/prometheus:9090"
    assert prometheus.ask({}) == ({}, 1000.0)
    [asked] = api.asked("GET", PROXY)
    assert asked.query == {"query": "time()"}
    assert asked.headers["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(
    ("services", "message"),
    [
        ([], "no Prometheus was found"),
        ([service("prometheus", port=1234)], "no Prometheus was found"),
        (
            [service("a"), service("b", "monitoring", 80)],
            "several Prometheus were found in the cluster: istio-system/a:9090",
        ),
    ],
)
def test_none_or_several_are_no_guess(
    services: list[dict[str, Any]], message: str, api: FakeApi, cluster: Cluster
) -> None:
    api.on("GET", "/api/v1/services", listing("Service", "v1", services))
    with pytest.raises(EgressError, match=message) as raised:
        Prometheus(cluster, "auto")
    assert "--prometheus NAMESPACE/SERVICE:PORT" in raised.value.remedy


def test_what_the_operator_makes_beside_it_is_the_same(api: FakeApi, cluster: Cluster) -> None:
    stack, operated = service("stack-prometheus", "monitoring"), service("prometheus-operated", "monitoring")
    answers = [listing("Service", "v1", items) for items in ([], [], [stack], [operated])]
    api.on("GET", "/api/v1/services", *answers)
    assert Prometheus(cluster, "auto").name == "monitoring/stack-prometheus:9090"
    asked = [request.query["labelSelector"] for request in api.asked("GET", "/api/v1/services")]
    assert asked[-1] == "operated-prometheus=true"
    api.on("GET", "/api/v1/services", *(listing("Service", "v1", items) for items in ([], [], [], [operated])))
    assert Prometheus(cluster, "auto").name == "monitoring/prometheus-operated:9090"


def test_refusals_say_what_it_takes(api: FakeApi, cluster: Cluster) -> None:
    api.on("GET", "/api/v1/services", status(403, "services is forbidden", "Forbidden"))
    with pytest.raises(EgressError, match="cannot be looked for"):
        Prometheus(cluster, "auto")
    api.on("GET", PROXY, status(403, "services/proxy is forbidden", "Forbidden"))
    with pytest.raises(ForbiddenError) as refused:
        Prometheus(cluster, "istio-system/prometheus").ask({})
    assert "get on services/proxy" in refused.value.remedy
    api.on("GET", PROXY, status(503, "no endpoints available", "ServiceUnavailable"))
    with pytest.raises(UnreachableError, match="no endpoints available"):
        Prometheus(cluster, "istio-system/prometheus").ask({})


@pytest.mark.parametrize("where", ["prometheus", "a/b/c", "a/b:c", "ftp://x", "http://", "/x"])
def test_what_is_no_address(where: str, cluster: Cluster) -> None:
    with pytest.raises(UsageError):
        Prometheus(cluster, where)


def test_nobody_answers_and_no_password_is_shown(cluster: Cluster) -> None:
    prometheus = Prometheus(cluster, "http://bob:hunter2@127.0.0.1:9")
    with pytest.raises(UnreachableError) as raised:
        prometheus.ask({})
    assert "hunter2" not in str(raised.value) + prometheus.name


def test_an_answer_of_another_shape_is_said(api: FakeApi, cluster: Cluster) -> None:
    api.on("GET", PROXY, Answer(VECTOR))
    with pytest.raises(EgressError, match="no Prometheus"):
        Prometheus(cluster, "istio-system/prometheus").ask({})
