"""What Envoy's admin interface says, read: texts recorded from Envoy 1.40, and the shapes of other Istio versions."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress.errors import EgressError
from kubectl_egress.model import (
    DurationSeries,
    Host,
    ProxySnapshot,
    Ref,
    RequestSeries,
    TcpSeries,
    TlsSettings,
    Upstream,
    VirtualHost,
)
from kubectl_egress.proxy import admin_paths, count_series, snapshot
from kubectl_egress.proxy.exposition import read
from kubectl_egress.proxy.routing import concerns, route_of, virtual_host
from kubectl_egress.proxy.tls import tls_settings

RECORDED = Path(__file__).parent / "fixtures" / "proxy"
POD = Ref("Pod", "shop", "curl-1")
MODULE = "type.googleapis.com/envoy.extensions.transport_sockets"


def recorded(when: str, **others: str) -> ProxySnapshot:
    """The recorded answers to the paths that are asked; `others` by the file that they stand in for."""
    files = {
        "/stats": f"stats-{when}.txt",
        "/clusters": f"clusters-{when}.json",
        "dynamic_active_clusters": "active_clusters.json",
        "dynamic_route_configs": "route_configs.json",
        "dynamic_listeners": "listeners.json",
    }
    texts = {
        path: others.get(name, (RECORDED / name).read_text())
        for path in admin_paths(None)
        for part, name in files.items()
        if part in path
    }
    return snapshot(POD, texts, 10.0)


def nothing(hosts: list[str]) -> dict[str, str]:
    """What a proxy without configuration and without traffic answers."""
    return {path: "" if path.startswith("/stats") else "{}" for path in admin_paths(hosts)}


def named(proxy: ProxySnapshot, name: str) -> Upstream:
    return next(upstream for upstream in proxy.upstreams if upstream.name == name)


# ---- which paths -------------------------------------------------------------------------------------------------


def test_every_path_is_asked_once_and_needs_no_quoting() -> None:
    for paths in (admin_paths(None), admin_paths([]), admin_paths(["httpbin.org", "*.example.com:8443"])):
        assert len(paths) == len(set(paths))
        assert not set("".join(paths)) & set(" %+\\#\"<>'")


def test_only_what_is_asked_for_is_wanted() -> None:
    paths = admin_paths(["httpbin.org"])
    assert "/config_dump?resource=dynamic_active_clusters&name_regex=.*(Cluster|httpbin[.]org)" in paths
    assert "/config_dump?resource=dynamic_route_configs&name_regex=(80)" in paths
    assert not any("listeners" in path for path in paths)
    assert all("httpbin.org" in path for path in paths if path.startswith(("/stats", "/clusters")))


def test_another_port_has_another_route_table() -> None:
    paths = admin_paths(["a.org:8443", "b.org", "c.org:443"])
    assert "/config_dump?resource=dynamic_route_configs&name_regex=(80|8443)" in paths


def test_very_many_hosts_are_not_named_one_by_one() -> None:
    paths = admin_paths([f"host-{number}.example.com:8443" for number in range(500)])
    assert len(paths) == 4
    assert sum(map(len, paths)) < 1500
    assert any(path.endswith("name_regex=(80|8443)") for path in paths)
    assert any("duration" in path for path in paths)


def test_the_same_host_is_asked_once() -> None:
    paths = admin_paths(["a.org", "a.org", "a.org:8443"])
    assert [path.partition("name_regex=")[2] for path in paths if "active_clusters" in path] == [".*(Cluster|a[.]org)"]


def test_latencies_are_not_read_for_everything() -> None:
    assert "duration" not in "".join(admin_paths(None))
    assert "duration" not in "".join(admin_paths(["httpbin.org"], overview=True))
    assert "duration" in "".join(admin_paths(["httpbin.org"]))


def test_an_overview_of_hosts_has_the_listeners_last_resort_too() -> None:
    for hosts in (["httpbin.org"], [], [f"host-{number}.example.com" for number in range(500)], None):
        assert any("listeners" in path for path in admin_paths(hosts, overview=True))
    assert any("httpbin.org" in path for path in admin_paths(["httpbin.org"], overview=True))


@given(st.lists(st.from_regex(r"[a-z0-9]{1,63}(\.[a-z0-9]{1,63}){1,3}", fullmatch=True), max_size=30))
def test_no_pattern_is_larger_than_envoy_allows(hosts: list[str]) -> None:
    patterns = [path.partition("name_regex=")[2] for path in admin_paths(hosts) if "active_clusters" in path]
    # Measured: one instruction for each character, [.] included, and some six for `.*` and what is around.
    assert all(len(pattern.replace("[.]", ".")) + 2 * pattern.count("|") < 94 for pattern in patterns)
    asked = [ending for pattern in patterns for ending in pattern[3:-1].replace("[.]", ".").split("|")]
    assert all(any(host.endswith(ending) for ending in asked) for host in hosts)


# ---- clusters ----------------------------------------------------------------------------------------------------


def test_nothing_is_there() -> None:
    texts = nothing(["httpbin.org"])
    empty = snapshot(POD, texts, 3.0)
    assert empty == ProxySnapshot(POD, 3.0, (), (), (), (), ())


def test_envoy_says_404_where_there_is_none() -> None:
    texts = nothing(["a.org"])
    absent = {path: "dynamic_route_configs not found in config dump" for path in texts if "route_configs" in path}
    assert snapshot(POD, texts | absent, 3.0).virtual_hosts == ()


def test_an_originating_cluster() -> None:
    upstream = named(recorded("after"), "outbound|80|kubectl-egress|httpbin.org")
    assert upstream.tls == TlsSettings("httpbin.org", ("httpbin.org",), "file-root:system")
    assert upstream.config_source == "/apis/networking.istio.io/v1/namespaces/shop/destination-rule/httpbin-org"
    assert upstream.configured_addresses == ("httpbin.org.:443",)
    (endpoint,) = upstream.endpoints
    assert (endpoint.address, endpoint.port, endpoint.hostname) == ("203.0.113.10", 443, "httpbin.org.")
    assert (endpoint.requests, endpoint.successes, endpoint.errors, endpoint.connections) == (7, 6, 1, 1)


def test_counters_of_zero_are_left_out_by_envoy() -> None:
    (endpoint,) = named(recorded("before"), "outbound|80|kubectl-egress|httpbin.org").endpoints
    assert (endpoint.requests, endpoint.connect_failures) == (0, 0)


def test_a_refused_certificate_is_a_failed_connection() -> None:
    (endpoint,) = named(recorded("after"), "outbound|80||wrong.example.com").endpoints
    assert (endpoint.connections, endpoint.connect_failures, endpoint.requests) == (1, 1, 0)


def test_clusters_that_send_what_they_get() -> None:
    proxy = recorded("leaking")
    for name in ("outbound|443||httpbin.org", "outbound|80||plain.example.com", "PassthroughCluster"):
        assert named(proxy, name).tls is None
    addresses = {f"{one.address}:{one.port}" for one in named(proxy, "PassthroughCluster").endpoints}
    assert addresses == {"203.0.113.10:443", "203.0.113.10:80", "203.0.113.20:80", "192.0.2.1:80"}


def test_hbone_puts_the_socket_among_matches_and_modern_rules_take_the_names_from_the_request() -> None:
    expected = TlsSettings("", (), "file-root:system", auto_sni=True, auto_san=True)
    assert named(recorded("after"), "outbound|80||api.example.com").tls == expected


def test_dumps_of_several_batches_are_one() -> None:
    hosts = ["httpbin.org", *(f"host-number-{number}.example.com" for number in range(6))]
    paths = [path for path in admin_paths(hosts) if "active_clusters" in path]
    texts = nothing(hosts)
    dump = {number: {"configs": [{"cluster": {"name": f"outbound|80||{number}"}}]} for number in range(len(paths))}
    answers = {path: json.dumps(dump[number]) for number, path in enumerate(paths)}
    assert len(paths) > 1
    assert len(snapshot(POD, texts | answers, 0).upstreams) == len(paths)


def context(**common: object) -> dict[str, object]:
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": f"{MODULE}.tls.v3.UpstreamTlsContext", "sni": "a.org", "common_tls_context": common},
    }


RAW = {"name": "raw", "typed_config": {"@type": f"{MODULE}.raw_buffer.v3.RawBuffer"}}
TYPED = {"match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "a.org"}}]}
FILE = {"trusted_ca": {"filename": "/etc/ssl/ca.pem"}}
SDS = {"validation_context_sds_secret_config": {"name": "file-root:system"}}


@pytest.mark.parametrize(
    ("cluster", "tls"),
    [
        ({}, None),
        ({"transport_socket": RAW}, None),
        # A match that every endpoint fits comes before the cluster's own socket.
        ({"transport_socket": context(), "transport_socket_matches": [{"match": {}, "transport_socket": RAW}]}, None),
        (
            {
                "transport_socket_matches": [
                    {"name": "tlsMode-istio", "match": {"tlsMode": "istio"}, "transport_socket": context()}
                ]
            },
            None,
        ),
        # Istio 1.18 to 1.20 with `mode: SIMPLE` alone: nothing is checked.
        ({"transport_socket": context(validation_context={})}, TlsSettings("a.org")),
        (
            {"transport_socket": context(validation_context=FILE | TYPED)},
            TlsSettings("a.org", ("a.org",), "/etc/ssl/ca.pem"),
        ),
        (
            {"transport_socket": context(combined_validation_context={"default_validation_context": TYPED} | SDS)},
            TlsSettings("a.org", ("a.org",), "file-root:system"),
        ),
        (
            {"transport_socket": context(validation_context={**FILE, "trust_chain_verification": "ACCEPT_UNTRUSTED"})},
            TlsSettings("a.org"),
        ),
        (
            {"transport_socket": context(validation_context={"match_subject_alt_names": [{"suffix": ".org"}]})},
            TlsSettings("a.org", ("suffix:.org",)),
        ),
        ({"transport_socket": context(**SDS)}, TlsSettings("a.org", (), "file-root:system")),
        (
            {"transport_socket": context(validation_context={"system_root_certs": {}})},
            TlsSettings("a.org", (), "system_root_certs"),
        ),
        (
            {
                "transport_socket": {
                    "name": "proxy",
                    "typed_config": {"@type": f"{MODULE}.proxy_protocol.v3.X", "transport_socket": context()},
                }
            },
            TlsSettings("a.org"),
        ),
    ],
)
def test_transport_sockets(cluster: dict[str, object], tls: TlsSettings | None) -> None:
    assert tls_settings(cluster) == tls


# ---- routes and listeners ------------------------------------------------------------------------------------------


def test_routes() -> None:
    proxy = recorded("after")
    assert route_of(Host("httpbin.org"), proxy) == VirtualHost(
        "80",
        ("httpbin.org",),
        ("outbound|80|kubectl-egress|httpbin.org",),
        "/apis/networking.istio.io/v1/namespaces/shop/virtual-service/httpbin-org",
    )
    anything = route_of(Host("unknown.org"), proxy)
    assert anything is not None
    assert anything.clusters == ("PassthroughCluster",)
    blocked = route_of(Host("blocked.example.com"), proxy)
    assert blocked is not None
    assert blocked.clusters == ()
    assert route_of(Host("httpbin.org", 8443), proxy) == route_of(Host("httpbin.org"), proxy)
    assert route_of(Host("httpbin.org"), proxy, 8443) is None


def test_weighted_and_late_clusters_of_a_route() -> None:
    routes = [
        {
            "route": {
                "weighted_clusters": {
                    "clusters": [{"name": "a", "weight": 1}, {"name": "b", "weight": 0}, {"name": "c", "weight": 9}]
                }
            }
        },
        {"route": {"cluster_header": "x-cluster"}},
        {"redirect": {}},
    ]
    table = {"configs": [{"route_config": {"name": "80", "virtual_hosts": [{"domains": ["*"], "routes": routes}]}}]}
    assert recorded("after", **{"route_configs.json": json.dumps(table)}).virtual_hosts[0].clusters == ("a", "c", "")


@pytest.mark.parametrize(
    ("authority", "domain"),
    [
        ("a.b.org", "a.b.org"),
        ("A.B.org", "a.b.org"),
        ("c.b.org", "*.b.org"),
        ("x.a.b.org", "*.a.b.org"),
        ("b.org", "*"),  # a wildcard stands for something
        ("www.net", "www.*"),
        ("www.b.org", "*.b.org"),  # suffixes come before prefixes
        ("other", "*"),
    ],
)
def test_the_most_specific_domain_takes_the_request(authority: str, domain: str) -> None:
    domains = ["*", "www.*", "*.b.org", "*.a.b.org", "a.b.org"]
    found = virtual_host([VirtualHost("80", (one,), ()) for one in domains], [authority])
    assert found is not None
    assert found.domains == (domain,)


def test_no_domain_takes_the_request() -> None:
    assert virtual_host([VirtualHost("80", ("a.org",), ())], ["b.org"]) is None


@pytest.mark.parametrize(
    ("service", "meant"),
    [
        ("unknown", False),
        ("httpbin.org.evil.com", False),
        ("api.httpbin.org", False),
        ("httpbin.org", True),
        ("Httpbin.ORG.:80", True),
    ],
)
def test_labels_that_mean_a_host(service: str, meant: bool) -> None:
    assert concerns(Host("httpbin.org"), service) is meant


def test_labels_that_mean_a_wildcard() -> None:
    assert concerns(Host("*.a.org"), "*.a.org")
    assert concerns(Host("*.a.org"), "x.a.org:80")
    assert not concerns(Host("*.a.org"), "a.org")


def test_the_last_resort_of_the_listeners() -> None:
    assert recorded("after").catch_all == "PassthroughCluster"
    text = (RECORDED / "listeners.json").read_text().replace("PassthroughCluster", "BlackHoleCluster")
    assert recorded("after", **{"listeners.json": text}).catch_all == "BlackHoleCluster"


# ---- statistics ------------------------------------------------------------------------------------------------------

ARTICLE = (
    'istio_requests_total{reporter="source",source_workload="curl",source_canonical_service="curl",'
    'destination_workload="unknown",destination_service="httpbin.org",destination_service_name="httpbin.org",'
    'destination_service_namespace="%s",request_protocol="http",response_code="200",grpc_response_status="",'
    'response_flags="-",connection_security_policy="unknown"} 54\n'
)


def test_recorded_statistics() -> None:
    proxy = recorded("leaking")
    httpbin = [one for one in proxy.requests if concerns(Host("httpbin.org"), one.service)]
    assert httpbin == [
        RequestSeries("Httpbin.org.:80", "PassthroughCluster", "503", "UF", 1),
        RequestSeries("httpbin.org", "PassthroughCluster", "200", "-", 1),
        RequestSeries("httpbin.org", "httpbin.org", "200", "-", 5),
        RequestSeries("httpbin.org", "httpbin.org", "404", "-", 1),
        RequestSeries("httpbin.org", "httpbin.org", "500", "-", 1),
    ]
    assert proxy.tcp == (TcpSeries("unknown", "PassthroughCluster", 1, 1),)
    (durations,) = proxy.durations
    assert durations.buckets[0] == (0.5, 5)
    assert durations.buckets[-1] == (math.inf, 6)
    assert proxy.uptime == 5


@pytest.mark.parametrize("namespace", ["unknown", "shop"])
def test_the_articles_line_of_any_version(namespace: str) -> None:
    assert read(ARTICLE % namespace).requests == (RequestSeries("httpbin.org", "httpbin.org", "200", "-", 54),)


def test_series_are_summed_over_the_labels_that_do_not_matter() -> None:
    text = "".join(ARTICLE % namespace for namespace in ("unknown", "shop"))
    assert read(text).requests == (RequestSeries("httpbin.org", "httpbin.org", "200", "-", 108),)
    assert count_series("# TYPE istio_requests_total counter\n" + text) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# TYPE istio_requests_total counter\n",
        (ARTICLE % "unknown").replace('"source"', '"destination"'),
        (ARTICLE % "unknown").replace("istio_requests_total", "istio_requests_total_other"),
        (ARTICLE % "unknown").replace("istio_requests_total", "envoy_wasmcustom_istio_requests_total"),
        'envoy_cluster_upstream_cx_total{cluster_name="outbound|80||httpbin.org;"} 3\n',
    ],
)
def test_what_is_no_request_of_this_proxy(text: str) -> None:
    assert read(text).requests == ()


def test_labels_with_escapes() -> None:
    line = r'istio_requests_total{reporter="source",destination_service="a\"} 1,b\\n\n",response_code="200"} 2'
    assert read(line).requests == (RequestSeries('a"} 1,b\\n\n', "", "200", "", 2),)


def test_what_the_process_says() -> None:
    text = 'istio_build{component="proxy",tag="1.18.0"} 1\nenvoy_server_uptime{} 312\n'
    assert (read(text).version, read(text).uptime) == ("1.18.0", 312)


def test_latencies_of_passthrough_are_not_the_hosts() -> None:
    line = 'istio_request_duration_milliseconds_bucket{reporter="source",destination_service="a.org",destination_service_name="%s",le="%s"} 3\n'
    text = line % ("a.org", "0.5") + line % ("a.org", "+Inf") + line % ("PassthroughCluster", "0.5")
    assert read(text).durations == (DurationSeries("a.org", ((0.5, 3), (math.inf, 3))),)


def test_server_info_is_read_where_it_was_asked() -> None:
    texts = nothing([])
    info = (RECORDED / "server_info.json").read_text()
    said = snapshot(POD, {**texts, "/server_info": info}, 0)
    assert said.version.split("/")[1] == "1.40.0"
    assert said.uptime == 1


def test_five_megabytes_are_read_in_a_moment() -> None:
    text = "".join((ARTICLE % "unknown").replace("httpbin.org", f"host{number}.org") for number in range(14000))
    assert len(text) > 5_000_000
    begun = time.process_time()
    assert len(read(text).requests) == 14000
    assert time.process_time() - begun < 2.0  # 0.2 s on a slow machine; a parser that is ten times slower shows


# ---- what is not Envoy's ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["/clusters", "active_clusters", "route_configs", "/stats"])
@pytest.mark.parametrize("text", ["<html>no</html>", "upstream connect error or disconnect/reset before headers"])
def test_a_text_that_is_something_else(part: str, text: str) -> None:
    texts = nothing(["a.org"])
    texts |= {path: text for path in texts if part in path}
    with pytest.raises(EgressError, match="pod shop/curl-1 answered") as raised:
        snapshot(POD, texts, 0)
    assert "pilot-agent request GET" in raised.value.remedy


def test_a_path_that_was_not_asked() -> None:
    with pytest.raises(EgressError, match="was not asked for /stats"):
        snapshot(POD, {}, 0)
