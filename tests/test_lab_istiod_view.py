from __future__ import annotations

from typing import Any

import pytest

from kubectl_egress.lab.istiod import EmbeddedIstiod
from kubectl_egress.lab.parts import ProxyConfiguration
from tests.lab_istiod import (
    HOST,
    NAMESPACE,
    SECURE,
    SUBSET,
    WEB,
    clusters,
    curl_pod,
    entry,
    listeners,
    mesh_object,
    rule,
    sidecar,
    virtual_hosts,
    virtual_service,
)

PORT_80 = f"outbound|80||{HOST}"
PORT_443 = f"outbound|443||{HOST}"
OTHER = "api.example.com"


def configured(*objects: dict[str, Any]) -> ProxyConfiguration:
    return EmbeddedIstiod().configuration(curl_pod(), objects)


def addresses(configuration: ProxyConfiguration, name: str) -> list[str]:
    assignment = clusters(configuration)[name]["load_assignment"]
    found = [point["endpoint"]["address"]["socket_address"] for point in assignment["endpoints"][0]["lb_endpoints"]]
    return [f"{address['address']}:{address['port_value']}" for address in found]


def test_nothing_configured() -> None:
    configuration = configured()
    assert set(clusters(configuration)) == {"PassthroughCluster", "BlackHoleCluster"}
    assert set(listeners(configuration)) == {"virtualOutbound"}
    assert configuration.routes == ()


VISIBLE: list[tuple[str, list[dict[str, Any]], bool]] = [
    ("in the own namespace", [entry()], True),
    ("in another", [entry(namespace="other")], True),
    ("private to another", [entry(namespace="other", exportTo=["."])], False),
    ("private to the own", [entry(exportTo=["."])], True),
    ("exported here", [entry(namespace="other", exportTo=[NAMESPACE])], True),
    ("exported elsewhere", [entry(exportTo=["other"])], False),
    ("imported by name", [entry(namespace="other"), sidecar(f"other/{HOST}")], True),
    ("imported with everything", [entry(namespace="other"), sidecar("*/*")], True),
    ("imported by wildcard", [entry(namespace="other"), sidecar("*/*.org")], True),
    ("only the own namespace imported", [entry(namespace="other"), sidecar("./*")], False),
    ("the own namespace imported", [entry(), sidecar("./*")], True),
    ("nothing imported", [entry(), sidecar("~/*")], False),
    ("another host imported", [entry(), sidecar(f"./{OTHER}")], False),
    ("a Sidecar for other pods", [entry(), sidecar("~/*", workloadSelector={"labels": {"app": "shop"}})], True),
    ("a Sidecar for this pod", [entry(), sidecar("~/*", workloadSelector={"labels": {"app": "curl"}})], False),
    ("the root namespace's Sidecar", [entry(), sidecar("~/*", namespace="istio-system")], False),
    ("the own before the root's", [entry(), sidecar("./*"), sidecar("~/*", namespace="istio-system")], True),
    ("another namespace's Sidecar", [entry(), sidecar("~/*", namespace="other")], True),
]


@pytest.mark.parametrize(("objects", "visible"), [row[1:] for row in VISIBLE], ids=[row[0] for row in VISIBLE])
def test_what_a_proxy_sees(objects: list[dict[str, Any]], visible: bool) -> None:
    configuration = configured(*objects)
    assert (PORT_80 in clusters(configuration)) is visible
    assert ("0.0.0.0_80" in listeners(configuration)) is visible
    assert ("0.0.0.0_443" in listeners(configuration)) is visible
    assert (f"{HOST}:80" in virtual_hosts(configuration)) is visible


def test_the_own_namespaces_entry_wins_and_the_others_ports_are_lost() -> None:
    older = entry("old", namespace="other", age=5, ports=[SECURE])
    assert set(clusters(configured(older, entry(ports=[WEB])))) == {PORT_80, "PassthroughCluster", "BlackHoleCluster"}


def test_doubles_of_one_namespace_are_merged_by_port() -> None:
    found = configured(entry("old", age=5, ports=[SECURE]), entry(ports=[WEB]))
    assert {PORT_80, PORT_443} <= set(clusters(found))


@pytest.mark.parametrize(
    "unlike", [{"exportTo": ["."]}, {"resolution": "STATIC", "endpoints": [{"address": "10.0.0.1"}]}]
)
def test_unlike_doubles_are_not(unlike: dict[str, Any]) -> None:
    assert PORT_80 not in clusters(configured(entry("old", age=5, ports=[SECURE]), entry(ports=[WEB], **unlike)))


def test_of_one_port_twice_the_older_holds_but_endpoints_of_both_count() -> None:
    old = entry("old", age=5, ports=[SECURE])
    found = configured(old, entry(endpoints=[{"address": f"{HOST}."}]))
    assert addresses(found, PORT_443) == [f"{HOST}:443", f"{HOST}.:443"]
    assert addresses(found, PORT_80) == [f"{HOST}.:443"]


def test_endpoints_belong_to_a_port_by_its_name() -> None:
    old = entry("old", age=5, ports=[SECURE | {"name": "tls"}])
    assert addresses(configured(old, entry(endpoints=[{"address": "10.0.0.1"}])), PORT_443) == [f"{HOST}:443"]


def test_https_is_told_apart_by_sni_and_the_rest_passes() -> None:
    listener = listeners(configured(entry(), entry("b", hosts=[OTHER])))["0.0.0.0_443"]
    assert listener["bind_to_port"] is False
    names = [chain["filter_chain_match"]["server_names"] for chain in listener["filter_chains"]]
    assert sorted(names) == [[OTHER], [HOST]]
    assert listener["listener_filters"][0]["name"] == "envoy.filters.listener.tls_inspector"
    assert listener["default_filter_chain"]["filters"][0]["typed_config"]["cluster"] == "PassthroughCluster"


def test_an_address_moves_https_to_it_and_becomes_a_domain_of_http() -> None:
    found = configured(entry(addresses=["192.0.2.1", "100::1"]))
    assert set(listeners(found)) == {"virtualOutbound", "0.0.0.0_80", "192.0.2.1_443", "100::1_443"}
    chain = listeners(found)["192.0.2.1_443"]["filter_chains"][0]
    assert "filter_chain_match" not in chain
    assert chain["filters"][0]["typed_config"]["cluster"] == PORT_443
    assert virtual_hosts(found)[f"{HOST}:80"]["domains"] == [HOST, f"{HOST}.", "192.0.2.1", "[100::1]"]


def test_who_claims_an_address_gets_what_goes_there() -> None:
    tcp = {"number": 80, "name": "tcp", "protocol": "TCP"}
    found = configured(entry(), entry("b", hosts=[OTHER], ports=[tcp], addresses=["192.0.2.1"]))
    listener = listeners(found)["192.0.2.1_80"]
    assert listener["filter_chains"][0]["filters"][0]["typed_config"]["cluster"] == f"outbound|80||{OTHER}"


CONFLICTS = [("the older is HTTP", "HTTP", "HTTPS"), ("the older is HTTPS", "HTTPS", "HTTP")]


@pytest.mark.parametrize(("older", "newer"), [row[1:] for row in CONFLICTS], ids=[row[0] for row in CONFLICTS])
def test_of_two_kinds_on_one_port_the_older_has_the_listener(older: str, newer: str) -> None:
    port = {"number": 443, "name": "p"}
    objects = [
        entry("a", age=5, ports=[port | {"protocol": older}]),
        entry("b", hosts=[OTHER], ports=[port | {"protocol": newer}]),
    ]
    listener = listeners(configured(*objects))["0.0.0.0_443"]
    kind = listener["filter_chains"][0]["filters"][0]["name"].rpartition(".")[2]
    assert kind == {"HTTP": "http_connection_manager", "HTTPS": "tcp_proxy"}[older]


def test_a_route_alone_makes_no_listener_but_joins_one_that_is_there() -> None:
    assert "0.0.0.0_80" not in listeners(configured(virtual_service()))
    host = virtual_hosts(configured(virtual_service(), entry("b", hosts=[OTHER])))[f"{HOST}:80"]
    assert host["domains"] == [HOST]
    assert host["routes"][0]["route"]["cluster"] == f"outbound|80|{SUBSET}|{HOST}"


def test_the_route_of_a_migration() -> None:
    (route,) = virtual_hosts(configured(entry(), rule(), virtual_service()))[f"{HOST}:80"]["routes"]
    assert route["route"] == {"cluster": f"outbound|80|{SUBSET}|{HOST}", "timeout": "0s", "max_grpc_timeout": "0s"}
    assert route["request_headers_to_remove"] == ["x-envoy-attempt-count"]
    assert route["request_headers_to_add"] == [
        {"header": {"key": "x-forwarded-proto", "value": "https"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    ]


def test_without_a_route_requests_are_tried_again_as_istio_does() -> None:
    (route,) = virtual_hosts(configured(entry()))[f"{HOST}:80"]["routes"]
    assert route["route"]["cluster"] == PORT_80
    assert route["route"]["retry_policy"]["num_retries"] == 2
    assert "503" not in route["route"]["retry_policy"]["retry_on"]


def to(host: str, **more: Any) -> dict[str, Any]:
    return {"route": [{"destination": {"host": host}}], **more}


def cluster_of(configuration: ProxyConfiguration) -> list[str]:
    return [route["route"]["cluster"] for route in virtual_hosts(configuration)[f"{HOST}:80"]["routes"]]


ROUTES: list[tuple[str, list[dict[str, Any]], list[str]]] = [
    ("for another port", [virtual_service(http=[to(OTHER, match=[{"port": 81}])])], [PORT_80]),
    ("for all ports", [virtual_service(http=[to(OTHER)])], [f"outbound|80||{OTHER}"]),
    (
        "by path, then the rest",
        [virtual_service(http=[to(OTHER, match=[{"uri": {"prefix": "/a"}}]), to(HOST), to("never.example")])],
        [f"outbound|80||{OTHER}", PORT_80],
    ),
    ("the older wins", [virtual_service(), virtual_service("old", age=5, http=[to(OTHER)])], [f"outbound|80||{OTHER}"]),
    (
        "but a private one before that",
        [virtual_service(exportTo=["."]), virtual_service("old", age=5, http=[to(OTHER)])],
        [f"outbound|80|{SUBSET}|{HOST}"],
    ),
    (
        "another namespace's private one",
        [virtual_service(namespace="other", exportTo=["."], http=[to(OTHER)])],
        [PORT_80],
    ),
    (
        "another namespace's public one",
        [virtual_service(namespace="other", http=[to(OTHER)])],
        [f"outbound|80||{OTHER}"],
    ),
]


@pytest.mark.parametrize(("objects", "expected"), [row[1:] for row in ROUTES], ids=[row[0] for row in ROUTES])
def test_where_routes_lead(objects: list[dict[str, Any]], expected: list[str]) -> None:
    assert cluster_of(configured(entry(), *objects)) == expected


def test_a_routes_destination_is_imported_with_it() -> None:
    objects = [entry(), entry("b", namespace="other", hosts=[OTHER]), virtual_service(http=[to(OTHER)])]
    assert f"outbound|80||{OTHER}" in clusters(configured(*objects, sidecar("./*")))
    assert f"outbound|80||{OTHER}" not in clusters(configured(*objects[:2], sidecar("./*")))


BLOCKING = [
    ("allowed", sidecar("*/*"), "allow_any", "PassthroughCluster"),
    ("blocked", sidecar("*/*", outboundTrafficPolicy={"mode": "REGISTRY_ONLY"}), "block_all", "BlackHoleCluster"),
    ("a policy without a mode", sidecar("*/*", outboundTrafficPolicy={}), "block_all", "BlackHoleCluster"),
    ("by a Sidecar that imports nothing", mesh_object("Sidecar", "s", {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}), "block_all", "BlackHoleCluster"),
]  # fmt: skip


@pytest.mark.parametrize(("scope", "host", "cluster"), [row[1:] for row in BLOCKING], ids=[row[0] for row in BLOCKING])
def test_what_becomes_of_the_unknown(scope: dict[str, Any], host: str, cluster: str) -> None:
    found = configured(entry(), scope)
    assert list(virtual_hosts(found))[-1] == host
    for listener in (
        listeners(found)["virtualOutbound"]["filter_chains"][-1],
        listeners(found)["0.0.0.0_443"]["default_filter_chain"],
    ):
        assert listener["filters"][0]["typed_config"]["cluster"] == cluster


def test_the_meshs_own_policy_counts_where_no_sidecar_says_otherwise() -> None:
    istiod = EmbeddedIstiod(outbound_mode="REGISTRY_ONLY")
    assert list(virtual_hosts(istiod.configuration(curl_pod(), [entry()])))[-1] == "block_all"


def test_the_table_of_port_80_stands_in_the_file_and_others_in_their_listener() -> None:
    found = configured(entry(ports=[WEB, {"number": 8080, "name": "b", "protocol": "HTTP"}]))
    assert [table["name"] for table in found.routes] == ["80"]
    manager = listeners(found)["0.0.0.0_8080"]["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["route_config"]["virtual_hosts"][0]["name"] == f"{HOST}:8080"
    manager = listeners(found)["0.0.0.0_80"]["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["rds"]["config_source"]["path_config_source"] == {"path": "/etc/istio/proxy/rds.json"}
