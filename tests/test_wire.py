from __future__ import annotations

import json
from typing import Any

import pytest

from kubectl_egress.model import (
    Endpoint,
    Host,
    LoggedConnection,
    ProxySnapshot,
    Ref,
    RequestSeries,
    TcpSeries,
    Upstream,
)
from kubectl_egress.proxy.access_log import read
from kubectl_egress.proxy.wire import (
    Destination,
    KnownBy,
    has_nameless,
    is_public,
    matched,
    named,
    nameless,
    unknown,
)

PASS = "PassthroughCluster"
ADDRESS = "203.0.113.7"
POD, OTHER = Ref("Pod", "shop", "a-1"), Ref("Pod", "shop", "a-2")
A, B = Host("a.example.com"), Host("b.example.com")


def line(
    cluster: str = PASS, sni: str = "a.example.com", local: str = f"{ADDRESS}:443", upstream: str = f"{ADDRESS}:443"
) -> str:
    """A connection as Istio's default text format has it (telemetry_logging.go)."""
    return (
        f'[2026-11-25T06:00:00.000Z] "- - -" 0 - - - "-" 517 3021 120 - "-" "-" "-" "-" "{upstream}" {cluster} '
        f"10.244.0.7:51000 {local} 10.244.0.7:50998 {sni} -"
    )


def snapshot(pod: Ref = POD, **more: Any) -> ProxySnapshot:
    fields: dict[str, Any] = {"upstreams": (), "virtual_hosts": (), "requests": (), "durations": (), "tcp": ()}
    return ProxySnapshot(pod, 0.0, **{**fields, **more})


def passed(*endpoints: tuple[str, int, int]) -> Upstream:
    return Upstream(PASS, None, endpoints=tuple(Endpoint(a, p, connections=n) for a, p, n in endpoints))


# ---- access logs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-25T06:00:00.000000Z\tinfo\tEnvoy proxy is ready",
        line(sni="-"),
        line(cluster="outbound|443||a.example.com"),
        line(sni="invalid:_"),
        line(sni="203.0.113.7".replace(".", "-")),
        '[2026-11-25T06:00:00.000Z] "GET / HTTP/1.1" 200 PassthroughCluster',
        "{no json PassthroughCluster",
        '["PassthroughCluster"]',
        json.dumps({"upstream_cluster": PASS, "requested_server_name": None}),
    ],
)  # fmt: skip
def test_lines_that_tell_no_server_name(text: str) -> None:
    assert read(text) == ()


CONNECTION = LoggedConnection(PASS, ADDRESS, 443, "a.example.com")
FIELDS = {
    "upstream_cluster": PASS,
    "requested_server_name": "A.example.com",
    "downstream_local_address": f"{ADDRESS}:443",
    "upstream_host": f"{ADDRESS}:443",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (line(), CONNECTION),
        (line(cluster=f"{PASS};"), CONNECTION),
        (line(local="-"), CONNECTION),
        (json.dumps(FIELDS), CONNECTION),
        (line().replace('"-" 517', '"TLS_error:|a b|:c" 517'), CONNECTION),
        (line().replace("- - - \"-\"", "via_upstream - \"-\""), CONNECTION),
        (line(local="[2001:db8::7]:443"), LoggedConnection(PASS, "2001:db8::7", 443, "a.example.com")),
        (
            line(cluster="BlackHoleCluster", upstream="-"),
            LoggedConnection("BlackHoleCluster", ADDRESS, 443, "a.example.com"),
        ),
    ],
)  # fmt: skip
def test_lines_that_tell_one(text: str, expected: LoggedConnection) -> None:
    assert read(f"noise\n{text}\nnoise\n") == (expected,)


# ---- destinations ---------------------------------------------------------------------------------------------------


def test_addresses_of_several_proxies_are_one_destination() -> None:
    found = nameless(
        [snapshot(upstreams=(passed((ADDRESS, 443, 3)),)), snapshot(OTHER, upstreams=(passed((ADDRESS, 443, 4)),))]
    )
    assert found == (Destination(Host(ADDRESS), KnownBy.NOTHING, PASS, (ADDRESS,), 7, pods=(POD, OTHER)),)


def test_a_logged_name_takes_the_address_s_place() -> None:
    said = snapshot(upstreams=(passed((ADDRESS, 443, 3), ("198.51.100.1", 443, 1)),), logged=(CONNECTION, CONNECTION))
    assert [(one.host.name, one.known_by, one.connections) for one in nameless([said])] == [
        ("198.51.100.1", KnownBy.NOTHING, 1),
        ("a.example.com", KnownBy.SERVER_NAME, 2),
    ]


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("a.example.com", [Host("a.example.com", 80)]),
        ("A.Example.com.", [Host("a.example.com", 80)]),
        ("a.example.com:8080", [Host("a.example.com", 8080)]),
        ("203.0.113.7", []),
        ("localhost", []),
        ("unknown", []),
    ],
)
def test_plain_requests_are_known_by_their_authority(service: str, expected: list[Host]) -> None:
    found = nameless([snapshot(requests=(RequestSeries(service, PASS, "200", "-", 5),))])
    assert [one.host for one in found] == expected
    assert all((one.known_by, one.requests) == (KnownBy.AUTHORITY, 5) for one in found)


def test_clusters_of_named_hosts() -> None:
    used = Upstream(
        "outbound|443||a.example.com", None, endpoints=(Endpoint(ADDRESS, 443, connections=2, requests=9, errors=1),)
    )
    other = Upstream("outbound|443||b.example.com", None, endpoints=(Endpoint(ADDRESS, 443, connections=2),))
    (found,) = named([snapshot(upstreams=(used, other))], {"a.example.com"})
    assert (found.host, found.connections, found.requests, found.errors) == (A, 2, 9, 1)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, False),
        ({"upstreams": (Upstream(PASS, None),)}, False),
        ({"upstreams": (passed((ADDRESS, 443, 1)),)}, True),
        ({"tcp": (TcpSeries("unknown", PASS, 1, 0),)}, True),
        ({"requests": (RequestSeries("a", "BlackHoleCluster", "502", "-", 1),)}, True),
        ({"requests": (RequestSeries("a", "a", "200", "-", 1),)}, False),
    ],
)
def test_whether_there_is_anything_nameless(said: dict[str, Any], expected: bool) -> None:
    assert has_nameless(snapshot(**said)) is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (ADDRESS, True),
        ("8.8.8.8", True),
        ("2001:db8::1", True),
        ("10.96.0.1", False),
        ("172.20.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("fd00::1", False),
        ("fe80::1", False),
        ("a.example.com", False),
    ],
)
def test_addresses_of_a_network_s_own_are_not_outside(address: str, expected: bool) -> None:
    assert is_public(address) is expected


def by_address(address: str = ADDRESS, port: int = 443) -> Destination:
    return Destination(Host(address, port), KnownBy.NOTHING, PASS, (address,), 1)


def by_name(name: str, known_by: KnownBy = KnownBy.SERVER_NAME, port: int = 443) -> Destination:
    return Destination(Host(name, port), known_by, PASS, (), 1)


HERE = {"a.example.com": frozenset({ADDRESS}), "b.example.com": frozenset({ADDRESS, "198.51.100.1"})}


@pytest.mark.parametrize(
    ("destination", "hosts", "expected"),
    [
        (by_address(), [A], [(A, "address")]),
        (by_address(), [A, B], [(A, "address"), (B, "address")]),
        (by_address("198.51.100.1"), [A, B], [(B, "address")]),
        (by_address(port=8443), [A], []),
        (by_address("198.51.100.9"), [A], []),
        (by_name("a.example.com"), [A, B], [(A, "server name")]),
        (by_name("a.example.com", KnownBy.AUTHORITY, 80), [A], [(A, "authority")]),
        (by_name("a.example.com", port=8443), [A], []),
    ],
)
def test_what_is_matched_and_how(destination: Destination, hosts: list[Host], expected: list[Any]) -> None:
    assert [(host, str(one.known_by)) for host, one in matched([destination], hosts, HERE)] == expected


@pytest.mark.parametrize(
    ("destination", "hosts", "resolved", "expected"),
    [
        (by_address(), [], {}, True),
        (by_address(), [A], HERE, False),
        (by_address("198.51.100.9"), [A], HERE, True),
        (by_address("198.51.100.9"), [A], {}, False),  # it may be A's
        (by_address("198.51.100.9", 8443), [A], {}, True),  # A is not called on that port
        (by_address("10.0.0.1"), [], {}, False),
        (by_name("a.example.com"), [A], {}, False),
        (by_name("a.example.com", port=8443), [A], {}, False),
        (by_name("c.example.com"), [A], {}, True),
        (by_name("c.example.com", KnownBy.CLUSTER), [A], {}, True),
    ],
)
def test_what_nothing_in_the_spec_explains(
    destination: Destination, hosts: list[Host], resolved: dict[str, frozenset[str]], expected: bool
) -> None:
    assert unknown([destination], hosts, resolved) == ((destination,) if expected else ())
