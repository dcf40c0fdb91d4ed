"""How much the mesh sees: proxies of literals, and the ones that were recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kubectl_egress.model import (
    CallSite,
    Endpoint,
    Host,
    Proxy,
    ProxySnapshot,
    ProxyUnread,
    Ref,
    RequestSeries,
    TcpSeries,
    TlsSettings,
    Upstream,
    Url,
    VirtualHost,
)
from kubectl_egress.proxy import admin_paths, snapshot
from kubectl_egress.visibility import Nameless, passthrough, visibility

RECORDED = Path(__file__).parent / "fixtures" / "proxy"
HOST = Host("httpbin.org")
POD = Ref("Pod", "shop", "curl-1")
WORKLOAD = Ref("Deployment", "shop", "curl")
TLS = TlsSettings("httpbin.org", ("httpbin.org",), "file-root:system")
SUBSET = "outbound|80|kubectl-egress|httpbin.org"
NAMED = Upstream("outbound|443||httpbin.org", None)
PLAIN = Upstream("outbound|80||httpbin.org", None)
ALLOW_ANY = VirtualHost("80", ("*",), ("PassthroughCluster",))
BLOCK_ALL = VirtualHost("80", ("*",), ())
UNREAD = ProxyUnread(POD, "not permitted")


def site(scheme: str) -> CallSite:
    text = f"{scheme}://httpbin.org/get"
    host = HOST if scheme in ("https", "wss") else Host("httpbin.org", 80)
    return CallSite(WORKLOAD, WORKLOAD, ("spec",), Url(0, len(text), text, scheme, host))


def proxy(*upstreams: Upstream, routes: Sequence[VirtualHost] = (ALLOW_ANY,), catch_all: str = "") -> ProxySnapshot:
    passing = Upstream("PassthroughCluster", None)
    return ProxySnapshot(POD, 0, (*upstreams, passing), tuple(routes), (), (), (), catch_all=catch_all)


def routed(cluster: str) -> Sequence[VirtualHost]:
    return VirtualHost("80", ("httpbin.org",), (cluster,)), ALLOW_ANY


FULL = proxy(Upstream(SUBSET, TLS), NAMED, routes=routed(SUBSET))


@pytest.mark.parametrize(
    ("schemes", "proxies", "seen"),
    [
        # Nothing to read, or nothing configured.
        ([], [], "unknown"),
        (["https"], [UNREAD], "unknown"),
        ([], [proxy()], "opaque"),
        (["https"], [proxy()], "opaque"),
        (["http"], [proxy()], "opaque"),
        (["http"], [proxy(routes=[])], "opaque"),
        (["https"], [proxy(NAMED)], "named"),
        (["https"], [proxy(Upstream("outbound|443||*.org", None))], "named"),
        (["https"], [proxy(Upstream("outbound|443||api.httpbin.org", None))], "opaque"),
        (["https"], [proxy(Upstream("outbound|8443||httpbin.org", None))], "opaque"),
        # The proxy is ready, but the application still encrypts.
        (["https"], [FULL], "named"),
        (["http"], [FULL], "full"),
        (["ws"], [FULL], "full"),
        (["http", "https"], [FULL], "named"),
        # A route without TLS behind it: by name, in clear.
        (["http"], [proxy(PLAIN, routes=routed(PLAIN.name))], "named"),
        (["http"], [proxy(routes=routed("outbound|80|gone|httpbin.org"))], "opaque"),
        (["https"], [proxy(catch_all="BlackHoleCluster")], "blocked"),
        (["https"], [proxy(routes=[BLOCK_ALL])], "blocked"),
        (["http"], [proxy(routes=[BLOCK_ALL])], "blocked"),
        (["http"], [proxy(routes=[], catch_all="BlackHoleCluster")], "blocked"),
        (["https"], [proxy(routes=[BLOCK_ALL], catch_all="PassthroughCluster")], "opaque"),
        (["https"], [proxy(NAMED, catch_all="BlackHoleCluster")], "named"),
        # Of several proxies, the one that sees least; those that could not be read do not count.
        (["http"], [FULL, UNREAD], "full"),
        (["http"], [FULL, proxy()], "opaque"),
    ],
)
def test_visibility(schemes: list[str], proxies: list[Proxy], seen: str) -> None:
    assert str(visibility(HOST, proxies, [site(scheme) for scheme in schemes])) == seen


def test_nothing_passed_through() -> None:
    assert passthrough([]) == passthrough([UNREAD, proxy()]) == Nameless()


def test_counters_of_all_proxies() -> None:
    busy = replace(
        proxy(),
        tcp=(TcpSeries("unknown", "PassthroughCluster", 3, 1), TcpSeries("unknown", "BlackHoleCluster", 2, 2)),
        requests=(
            RequestSeries("a.org", "PassthroughCluster", "200", "-", 4),
            RequestSeries("b.org", "BlackHoleCluster", "502", "-", 5),
            RequestSeries("c.org", "c.org", "200", "-", 6),
        ),
    )
    assert passthrough([busy, busy, UNREAD]) == Nameless(connections=6, requests=8, blocked=14)


def test_addresses_count_where_metrics_are_off() -> None:
    endpoints = (Endpoint("203.0.113.9", 443, connections=2), Endpoint("2001:db8::1", 443, connections=1))
    quiet = ProxySnapshot(POD, 0, (Upstream("PassthroughCluster", None, "", endpoints),), (), (), (), ())
    assert passthrough([quiet]) == Nameless(3, addresses=("203.0.113.9:443", "[2001:db8::1]:443"))


def recorded() -> ProxySnapshot:
    files = {
        "/stats": "stats-leaking.txt",
        "/clusters": "clusters-leaking.json",
        "dynamic_active_clusters": "active_clusters.json",
        "dynamic_route_configs": "route_configs.json",
        "dynamic_listeners": "listeners.json",
    }
    paths = admin_paths(None)
    return snapshot(
        POD, {p: (RECORDED / name).read_text() for p in paths for part, name in files.items() if part in p}, 0
    )


@pytest.mark.parametrize(
    ("name", "scheme", "seen"),
    [
        ("httpbin.org", "https", "named"),
        ("httpbin.org", "http", "full"),
        ("api.example.com", "http", "full"),
        ("api.example.com", "https", "opaque"),
        ("plain.example.com", "http", "named"),
        ("blocked.example.com", "http", "blocked"),
        ("unknown.example.com", "http", "opaque"),
    ],
)
def test_recorded_visibility(name: str, scheme: str, seen: str) -> None:
    assert str(visibility(Host(name), [recorded()], [site(scheme)])) == seen


def test_recorded_counters() -> None:
    found = passthrough([recorded()])
    assert (found.connections, found.requests, found.blocked) == (1, 3, 0)
    assert found.addresses == ("192.0.2.1:80", "203.0.113.10:443", "203.0.113.10:80", "203.0.113.20:80")
