from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kubectl_egress.cluster import Cluster, ConnectionOptions, connect
from kubectl_egress.cluster.proxies import get_pod_port, has_proxy, is_running, read_proxies, read_snapshots
from kubectl_egress.cluster.tunnels import run_command
from kubectl_egress.errors import ForbiddenError, NotFoundError, UnreachableError
from kubectl_egress.model import Endpoint, Host, ProxySnapshot, ProxyUnread, Ref, RequestSeries
from tests import build
from tests.fake_api import FakeApi, fake_api, status
from tests.lab_api import running_lab

A, B = Ref("Pod", "shop", "a"), Ref("Pod", "shop", "b")
LONG = "ü" * 100_000
PATHS = ("/stats/prometheus?filter=a|(b)", "/config_dump", "/clusters")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path) as running:
        yield running


@pytest.fixture
def cluster(api: FakeApi, tmp_path: Path) -> Iterator[Cluster]:
    options = ConnectionOptions(kubeconfig=str(tmp_path / "config"), as_user="ann", as_groups=("x", "y"))
    connected = connect(options)
    yield connected
    connected.close()


def pod(ref: Ref) -> dict[str, Any]:
    return {"metadata": {"name": ref.name, "namespace": ref.namespace}}


def admin(path: str) -> tuple[int, str]:
    if path == "/config_dump":
        return 404, "dynamic_listeners not found in config dump"
    return 200, LONG if path == "/clusters" else f"you asked for {path}"


def by_agent(name: str, command: Sequence[str]) -> tuple[str, str]:
    assert command[:3] == ["pilot-agent", "request", "GET"]
    if command[3] == "config_dump":
        return "", "Error: received unsuccessful status code 404: dynamic_listeners not found in config dump"
    return admin(f"/{command[3]}")[1], ""


EXPECTED = {
    "/stats/prometheus?filter=a|(b)": "you asked for /stats/prometheus?filter=a|(b)",
    "/config_dump": "dynamic_listeners not found in config dump",
    "/clusters": LONG,
}


def test_no_pods_are_no_requests(api: FakeApi, cluster: Cluster) -> None:
    assert read_proxies(cluster, [], PATHS) == {}
    assert api.requests == []


def test_all_paths_are_read_over_one_forward_as_who_asks(api: FakeApi, cluster: Cluster) -> None:
    api.ports[("a", 15000)] = admin
    assert read_proxies(cluster, [pod(A)], PATHS) == {A: EXPECTED}
    (request,) = api.requests
    assert (request.path, request.query) == ("/api/v1/namespaces/shop/pods/a/portforward", {"ports": "15000"})
    assert (request.headers["authorization"], request.headers["impersonate-user"]) == ("Bearer s3cret", "ann")
    assert request.groups == ("x", "y")
    assert api.at_once == len(PATHS), "a far API server costs one round trip, and not one for each path"


@pytest.mark.parametrize("word", ["bye", "gone"])
def test_a_pod_that_closes_between_answers_is_connected_again(api: FakeApi, cluster: Cluster, word: str) -> None:
    api.ports[("a", 15000)] = lambda path: (200, word)
    assert read_proxies(cluster, [pod(A)], PATHS) == {A: dict.fromkeys(PATHS, word)}
    assert [request.path.rpartition("/")[2] for request in api.requests] == ["portforward"] * 3


@pytest.mark.parametrize("why", ["forbidden", "nobody listens", "admin fails"])
def test_where_port_forward_fails_the_agent_is_asked(api: FakeApi, cluster: Cluster, why: str) -> None:
    if why == "forbidden":
        api.refused["portforward"] = status(403, "pods is forbidden")
    if why == "admin fails":
        api.ports[("a", 15000)] = lambda path: (500, "broken")
    api.commands = by_agent
    read = read_proxies(cluster, [pod(A)], PATHS)[A]
    assert read == {**EXPECTED, "/config_dump": "not found in config dump"}
    command = api.asked("GET", "/api/v1/namespaces/shop/pods/a/exec")[0]
    assert (command.query["container"], command.headers["impersonate-user"]) == ("istio-proxy", "ann")


def test_a_pod_that_cannot_be_read_costs_only_its_own_entry(api: FakeApi, cluster: Cluster) -> None:
    api.ports[("a", 15000)] = admin
    api.commands = lambda name, command: ("", "no such file")
    read = read_proxies(cluster, [pod(A), pod(B)], PATHS)
    assert read[A] == EXPECTED
    assert read[B] == ProxyUnread(
        B, "port-forward: error forwarding port: connection refused; exec: pilot-agent: no such file"
    )


def test_who_may_do_neither_is_told_so(api: FakeApi, cluster: Cluster) -> None:
    api.refused = {way: status(403, f'User "ann" cannot create {way}') for way in ("portforward", "exec")}
    read = read_proxies(cluster, [pod(A)], PATHS)[A]
    assert read == ProxyUnread(
        A, 'neither port-forward nor exec is permitted: User "ann" cannot create portforward', forbidden=True
    )


def test_a_proxy_that_is_silent_is_given_up_in_time(api: FakeApi, cluster: Cluster) -> None:
    def slow(path: str) -> tuple[int, str]:
        time.sleep(1.0)
        return 200, ""

    api.ports[("a", 15000)] = slow
    api.refused["exec"] = status(404, "gone")
    started = time.monotonic()
    read = read_proxies(cluster, [pod(A)], PATHS, timeout=0.3)[A]
    assert isinstance(read, ProxyUnread)
    assert "did not answer in time" in read.reason
    assert time.monotonic() - started < 3


def test_what_is_no_answer_of_a_proxy_is_unread(api: FakeApi, cluster: Cluster) -> None:
    api.ports[("a", 15000)] = lambda path: (200, "hello")
    read = read_snapshots(cluster, [pod(A)], None)[A]
    assert isinstance(read, ProxyUnread)
    assert "not its format" in read.reason


def test_one_port_of_one_pod(api: FakeApi, cluster: Cluster) -> None:
    api.ports[("istiod", 15014)] = lambda path: (200, "[]") if path == "/debug/configz" else (401, "who are you?")
    istiod = Ref("Pod", "istio-system", "istiod")
    assert get_pod_port(cluster, istiod, 15014, "/debug/configz") == "[]"
    with pytest.raises(UnreachableError, match="GET /debug/else on port 15014 answered 401: who are you"):
        get_pod_port(cluster, istiod, 15014, "/debug/else")
    with pytest.raises(UnreachableError, match="port-forward: error forwarding port: connection refused"):
        get_pod_port(cluster, istiod, 15015, "/")


@pytest.mark.parametrize(("code", "error"), [(403, ForbiddenError), (404, NotFoundError)])
def test_a_refused_handshake_is_the_api_server_s_refusal(
    api: FakeApi, cluster: Cluster, code: int, error: type[Exception]
) -> None:
    api.refused["portforward"] = status(code, 'pods "a" says no')
    with pytest.raises(error, match='pods "a" says no'):
        get_pod_port(cluster, A, 15014, "/")


@pytest.mark.parametrize(
    ("spec", "state", "phase", "sidecar", "running"),
    [
        ({"containers": [{"name": "app"}]}, {}, "Running", False, False),
        ({"containers": [{"name": "istio-proxy"}]}, {"waiting": {}}, "Pending", True, False),
        ({"containers": [{"name": "istio-proxy"}]}, {"running": {}}, "Running", True, True),
        ({"containers": [{"name": "istio-proxy"}]}, {"terminated": {}}, "Running", True, False),
        ({"initContainers": [{"name": "istio-proxy"}]}, {"running": {}}, "Running", True, True),
    ],
)
def test_which_sidecars_can_be_asked(
    spec: dict[str, Any], state: dict[str, Any], phase: str, sidecar: bool, running: bool
) -> None:
    role = "initContainerStatuses" if "initContainers" in spec else "containerStatuses"
    body = {"spec": spec, "status": {"phase": phase, role: [{"name": "istio-proxy", "state": state}]}}
    assert (has_proxy(body), is_running(body)) == (sidecar, running)


# ---- on the lab's API -----------------------------------------------------------------------------------------------


def test_commands_and_ports_of_the_lab_s_api(tmp_path: Path) -> None:
    with running_lab(tmp_path) as lab:
        cluster = connect(ConnectionOptions(kubeconfig=str(lab.kubeconfig())))
        cluster.create(build.pod("a-1", "default", template=build.pod_template("a")))
        ref = Ref("Pod", "default", "a-1")
        deadline = time.monotonic() + 10
        while cluster.get(ref).get("status", {}).get("phase") != "Running" and time.monotonic() < deadline:
            time.sleep(0.05)
        transport = cluster.transport
        long = ("sh", "-c", "seq 1 20000")
        assert run_command(transport, ref, "a", long, 10) == "".join(f"{number}\n" for number in range(1, 20001))
        with pytest.raises(UnreachableError, match="sh: went wrong"):
            run_command(transport, ref, "a", ("sh", "-c", "echo went wrong >&2; exit 3"), 10)
        with pytest.raises(UnreachableError, match="port 8080 did not answer GET /x"):
            get_pod_port(cluster, ref, 8080, "/x")
        with pytest.raises(UnreachableError, match="connection refused"):
            get_pod_port(cluster, ref, 9, "/x")
        with pytest.raises(NotFoundError, match='pods "b" not found'):
            get_pod_port(cluster, Ref("Pod", "default", "b"), 8080, "/x")
        reader = connect(ConnectionOptions(kubeconfig=str(lab.kubeconfig("reader-token"))))
        read = read_proxies(reader, [cluster.get(ref)], ("/clusters",))[ref]
        assert isinstance(read, ProxyUnread)
        assert "neither port-forward nor exec is permitted" in read.reason
        cluster.close()
        reader.close()


# ---- a sidecar that has counted a great deal ----------------------------------------------------------------------------

SERIES = (
    'istio_{metric}{{reporter="source",source_workload="shop",source_principal="spiffe://cluster.local/ns/shop/sa/shop",'
    'destination_service="{host}",destination_service_name="{name}",request_protocol="http",response_code="200",'
    'response_flags="-",connection_security_policy="unknown"{le}}} 7\n'
)
BOUNDS = (0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, "+Inf")
INSIDE = [f"service-{number}.shop.svc.cluster.local" for number in range(1050)]


@functools.cache
def statistics() -> tuple[str, ...]:
    """20 MB: each metric of each host as one text, of 1050 services inside and one host outside."""
    texts = []
    for host in (*INSIDE, "httpbin.org"):
        name = "PassthroughCluster" if host == "httpbin.org" else host.partition(".")[0]
        texts.append(SERIES.format(metric="requests_total", host=host, name=name, le=""))
        for metric in ("request_duration_milliseconds", "request_bytes", "response_bytes"):
            buckets = (f',le="{bound}"' for bound in BOUNDS)
            texts.append(
                "".join(SERIES.format(metric=f"{metric}_bucket", host=host, name=name, le=le) for le in buckets)
            )
    assert sum(map(len, texts)) > 20_000_000
    return tuple(texts)


class Crowded:
    """The admin port of a sidecar that has all that, filtered as Envoy filters."""

    def __init__(self) -> None:
        self.sent = 0

    def __call__(self, path: str) -> tuple[int, str]:
        url = urlsplit(path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        text = self._text(url.path, query)
        self.sent += len(text)
        return (200, text) if text else (404, "not found in config dump")

    def _text(self, path: str, query: dict[str, str]) -> str:
        wanted = re.compile(query.get("filter", ""))
        if path == "/stats/prometheus":
            # As of a histogram's first line: Envoy's filter sees the metric with its labels, and no bound of a bucket.
            return "".join(text for text in statistics() if wanted.search(text, 0, text.index("\n")))
        names = [*(f"outbound|80||{host}" for host in INSIDE), "PassthroughCluster"]
        if path == "/clusters":
            return json.dumps({"cluster_statuses": [_status(name) for name in names if wanted.search(name)]})
        if query.get("resource") == "dynamic_active_clusters":
            pattern = re.compile(query["name_regex"])
            found = [{"cluster": {"name": name}} for name in names if pattern.fullmatch(name)]
            return json.dumps({"configs": found})
        return ""


def _status(name: str) -> dict[str, Any]:
    counters = [{"name": "cx_total", "value": "7"}]
    address = {"socket_address": {"address": "203.0.113.9", "port_value": 443}}
    return {"name": name, "host_statuses": [{"address": address, "stats": counters}]}


@pytest.mark.parametrize(
    ("hosts", "overview", "bytes_at_most"),
    [([Host("httpbin.org")], False, 10_000), ([Host("httpbin.org")], True, 10_000), (None, True, 1_000_000)],
    ids=["verify", "inspect", "everything"],
)
def test_of_twenty_megabytes_of_statistics_only_what_is_wanted_is_read(
    api: FakeApi, cluster: Cluster, hosts: list[Host] | None, overview: bool, bytes_at_most: int
) -> None:
    api.ports[("a", 15000)] = crowded = Crowded()
    said = read_snapshots(cluster, [pod(A)], hosts, overview=overview)[A]
    assert isinstance(said, ProxySnapshot)
    assert RequestSeries("httpbin.org", "PassthroughCluster", "200", "-", 7) in said.requests
    passed = [one.endpoints for one in said.upstreams if one.name == "PassthroughCluster"]
    assert passed == [(Endpoint("203.0.113.9", 443, connections=7),)]
    assert bool(said.durations) is False, "the host is known by no name of its own yet"
    assert crowded.sent < bytes_at_most
