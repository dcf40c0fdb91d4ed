"""What two snapshots prove: a proxy of literals that is in order, and one thing changed in each row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress.model import (
    DurationSeries,
    Endpoint,
    Host,
    Judgement,
    PodVerdict,
    Proxy,
    ProxySnapshot,
    ProxyUnread,
    Ref,
    RequestSeries,
    TlsSettings,
    Upstream,
    VirtualHost,
)
from kubectl_egress.proxy import admin_paths, snapshot
from kubectl_egress.verify import Baseline, Expected, configured, decided, judge, judge_pod, percentiles
from kubectl_egress.verify.window import restarted

RECORDED = Path(__file__).parent / "fixtures" / "proxy"
HOST = Host("httpbin.org")
POD = Ref("Pod", "shop", "curl-1")
WORKLOAD = Ref("Deployment", "shop", "curl")
EXPECTED = Expected.of(HOST, aliases=("192.0.2.7",))
TLS = TlsSettings("httpbin.org", ("httpbin.org",), "file-root:system")
SUBSET = "outbound|80|kubectl-egress|httpbin.org"
PLAIN = "outbound|80||httpbin.org"


def endpoint(requests: int = 0, address: str = "203.0.113.10", port: int = 443, failures: int = 0) -> Endpoint:
    return Endpoint(address, port, "", requests + failures, failures, requests, requests, 0)


def upstream(name: str = SUBSET, tls: TlsSettings | None = TLS, *endpoints: Endpoint) -> Upstream:
    return Upstream(name, tls, "", endpoints or (endpoint(),))


def series(
    count: int, code: str = "200", flags: str = "-", name: str = "httpbin.org", of: str = "httpbin.org"
) -> RequestSeries:
    return RequestSeries(of, name, code, flags, count)


def proxy(*requests: RequestSeries, sent: int = 0, at: float = 0, **others: object) -> ProxySnapshot:
    """A proxy that originates TLS for httpbin.org, has sent it `sent` requests and counted `requests`."""
    whole = ProxySnapshot(
        pod=POD,
        taken_at=at,
        upstreams=(upstream(SUBSET, TLS, endpoint(sent)), Upstream("PassthroughCluster", None)),
        virtual_hosts=(
            VirtualHost("80", ("httpbin.org",), (SUBSET,), "virtual-service/httpbin-org"),
            VirtualHost("80", ("*",), ("PassthroughCluster",)),
        ),
        requests=requests,
        durations=(),
        tcp=(),
        uptime=100 + at,
    )
    return replace(whole, **others)  # type: ignore[arg-type]


def with_clusters(
    *upstreams: Upstream, route: tuple[str, ...] = (SUBSET,), requests: tuple[RequestSeries, ...] = ()
) -> ProxySnapshot:
    return proxy(*requests, upstreams=upstreams, virtual_hosts=(VirtualHost("80", ("httpbin.org",), route),))


def judged(before: Proxy, after: Proxy, baseline: Baseline | None = None) -> PodVerdict:
    return judge_pod(HOST, before, after, EXPECTED, baseline)


# ---- configured ------------------------------------------------------------------------------------------------------


def test_configured() -> None:
    ok, evidence, reason = configured(HOST, proxy(), replace(EXPECTED, subset="kubectl-egress"))
    assert (ok, reason) == (True, "")
    assert evidence["route"]["configSource"] == "virtual-service/httpbin-org"
    (cluster,) = evidence["clusters"]
    assert cluster["tls"]["ca"] == "file-root:system"
    assert cluster["endpoints"] == ["203.0.113.10:443"]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (proxy(virtual_hosts=()), "route table 80 has no virtual host for httpbin.org"),
        (proxy(virtual_hosts=(VirtualHost("8080", ("*",), (SUBSET,)),)), "route table 80 has no virtual host"),
        (proxy(virtual_hosts=(VirtualHost("80", ("*",), ("PassthroughCluster",)),)), "so PassthroughCluster does"),
        (proxy(virtual_hosts=(VirtualHost("80", ("*",), ()),)), "answers requests to httpbin.org itself"),
        (with_clusters(upstream(PLAIN)), f"cluster {SUBSET}, which the proxy does not have"),
        (with_clusters(upstream(), route=(SUBSET, "")), "depends on the request"),
        (with_clusters(upstream(), upstream(PLAIN, None), route=(SUBSET, PLAIN)), f"{PLAIN} does not originate TLS"),
        (with_clusters(upstream(SUBSET, replace(TLS, sni=""))), "sends no SNI"),
        (with_clusters(upstream(SUBSET, replace(TLS, sni="other.org"))), "sends the SNI other.org"),
        (with_clusters(upstream(SUBSET, replace(TLS, subject_alt_names=()))), "a certificate for any name"),
        (
            with_clusters(upstream(SUBSET, replace(TLS, subject_alt_names=("httpbin.org", "other.org")))),
            "a certificate for other.org",
        ),
        (with_clusters(upstream(SUBSET, replace(TLS, ca=""))), "a certificate of any CA"),
        (with_clusters(Upstream(SUBSET, TLS)), "has no address yet"),
        (with_clusters(upstream(SUBSET, TLS, endpoint(address="192.0.2.7"))), "to its alias 192.0.2.7"),
        (with_clusters(upstream(SUBSET, TLS, endpoint(address="100::1"))), "to its alias 100::1"),
        (with_clusters(upstream(SUBSET, TLS, endpoint(), endpoint(port=80))), "calls port 80, not 443"),
    ],
)
def test_what_is_not_configured(found: ProxySnapshot, reason: str) -> None:
    ok, _, said = configured(HOST, found)
    assert not ok
    assert reason in said


def test_names_taken_from_the_request_are_as_good() -> None:
    tls = TlsSettings("", (), "file-root:system", auto_sni=True, auto_san=True)
    assert configured(HOST, with_clusters(upstream(SUBSET, tls)))[0]


def test_a_fixed_sni_without_names_checks_no_host() -> None:
    tls = TlsSettings("httpbin.org", (), "file-root:system", auto_sni=True)
    assert "any name" in configured(HOST, with_clusters(upstream(SUBSET, tls)))[2]


def test_migrations_wait_for_their_own_subset() -> None:
    found = with_clusters(upstream(PLAIN), route=(PLAIN,))
    assert configured(HOST, found, EXPECTED)[0]
    assert "not to subset kubectl-egress" in configured(HOST, found, replace(EXPECTED, subset="kubectl-egress"))[2]


def test_the_accepted_authorities() -> None:
    assert configured(HOST, proxy(), replace(EXPECTED, authorities=("file-root:system",)))[0]
    assert "trusts the CA" in configured(HOST, proxy(), replace(EXPECTED, authorities=("file-root:/own.pem",)))[2]


def test_port_80_leads_to_the_host_s_own_port() -> None:
    host = Host("httpbin.org", 8443)
    assert configured(host, with_clusters(upstream(SUBSET, TLS, endpoint(port=8443))))[0]
    assert configured(host, proxy())[2].endswith("calls port 443, not 8443")
    assert configured(HOST, with_clusters(upstream(SUBSET, TLS, endpoint(port=8443))))[2].endswith("port 8443, not 443")


# ---- verdicts --------------------------------------------------------------------------------------------------------

OLD = (series(9), series(4, "503", "UF"), series(3, name="PassthroughCluster"))

VERDICTS = {
    # Nothing happened: nothing is proven, whatever was counted before.
    "nothing at all": (proxy(), proxy(), "silent", "no request in 15 s"),
    "old counters": (proxy(*OLD, sent=9), proxy(*OLD, sent=9), "silent", "no request"),
    "another host": (proxy(), proxy(series(5, of="other.org", name="other.org")), "silent", "no request"),
    "another host in clear": (proxy(), proxy(series(5, of="other.org", name="PassthroughCluster")), "silent", ""),
    "https from the application": (
        with_clusters(upstream(), upstream("outbound|443||httpbin.org", None)),
        with_clusters(upstream(), upstream("outbound|443||httpbin.org", None, endpoint(5))),
        "silent",
        "",
    ),
    "verified": (proxy(sent=2), proxy(series(5), sent=7), "verified", "200×5 over TLS"),
    "after old failures": (proxy(*OLD, sent=9), proxy(series(10), *OLD[1:], sent=10), "verified", "200×1"),
    "codes of the server": (proxy(), proxy(series(5), series(2, "500"), sent=7), "verified", "200×5, 500×2"),
    "errors of the server alone": (proxy(), proxy(series(2, "404"), sent=2), "verified", "404×2"),
    "the application left": (proxy(), proxy(series(5), series(1, "0", "DC"), sent=6), "verified", "200×5"),
    "begun, not ended": (proxy(series(1), sent=1), proxy(series(1), sent=2), "silent", "none answered yet"),
    "ended, begun before": (proxy(sent=1), proxy(series(1), sent=1), "silent", "no request begun"),
    "all given up": (proxy(), proxy(series(2, "0", "DC"), sent=2), "silent", "gave up on 2"),
    "rotated away": (proxy(series(50), sent=50), proxy(sent=53), "silent", "none answered yet"),
    "rotated and begun anew": (proxy(series(50), sent=50), proxy(series(3), sent=53), "verified", "200×3 over TLS"),
    "metrics are off": (proxy(), proxy(sent=4), "unknown", "metrics are off"),
    "certificate refused": (
        proxy(),
        proxy(series(3, "503", "UF")),
        "failing",
        "3 of 3 failed: 503 UF×3 (UF: no connection: the server's certificate was refused, or nobody answers there)",
    ),
    "some fail": (proxy(), proxy(series(5), series(1, "503", "UC"), sent=6), "failing", "1 of 6 failed: 503 UC×1"),
    "several flags": (proxy(), proxy(series(1, "503", "UF,URX")), "failing", "503 UF,URX×1"),
    "rule is gone": (
        proxy(),
        with_clusters(requests=(series(2, "503", "NC", name="unknown"),)),
        "failing",
        "503 NC×2; the route leads to cluster",
    ),
    "blocked": (proxy(), proxy(series(2, "502", name="BlackHoleCluster")), "failing", "502×2"),
    "answered by the proxy": (proxy(), proxy(series(2)), "failing", "the proxy answered itself"),
    "no connection, no metrics": (
        with_clusters(upstream()),
        with_clusters(upstream(SUBSET, TLS, endpoint(failures=2))),
        "failing",
        "no connection to httpbin.org: 2 tried",
    ),
    "to the alias, in vain": (
        proxy(),
        proxy(series(2, "503", "UF,URX", name="PassthroughCluster"), series(1, "0", "DC", name="PassthroughCluster")),
        "failing",
        "3 of 3 failed",
    ),
    "no route": (proxy(), proxy(virtual_hosts=()), "unconfigured", "route table 80"),
    "certificates unchecked": (
        proxy(),
        with_clusters(upstream(SUBSET, TlsSettings("httpbin.org"), endpoint(5)), requests=(series(5),)),
        "unconfigured",
        "any name",
    ),
    "passthrough": (
        proxy(),
        proxy(series(2, name="PassthroughCluster")),
        "leaking",
        "2 requests in clear through Pass",
    ),
    "passthrough, final dot": (
        proxy(),
        proxy(series(1, of="httpbin.org.:80", name="PassthroughCluster")),
        "leaking",
        "",
    ),
    "passthrough, cut off": (
        proxy(),
        proxy(series(1, "503", "UC", name="PassthroughCluster")),
        "leaking",
        "1 request in clear",
    ),
    "leaks beside good ones": (
        proxy(),
        proxy(series(50), series(1, name="PassthroughCluster"), sent=50),
        "leaking",
        "1 request in clear",
    ),
    "a cluster without TLS": (
        with_clusters(upstream(), upstream(PLAIN, None)),
        with_clusters(upstream(), upstream(PLAIN, None, endpoint(3)), requests=(series(3, "400"),)),
        "leaking",
        f"3 requests in clear through cluster {PLAIN}",
    ),
    "the route to port 443": (
        with_clusters(upstream("outbound|443||httpbin.org", None), route=("outbound|443||httpbin.org",)),
        with_clusters(upstream("outbound|443||httpbin.org", None, endpoint(1)), route=("outbound|443||httpbin.org",)),
        "leaking",
        "through cluster outbound|443||httpbin.org",
    ),
    "past the mesh to the host's address": (
        proxy(),
        proxy(upstreams=(upstream(), Upstream("PassthroughCluster", None, "", (endpoint(1, port=80), endpoint(9))))),
        "leaking",
        "1 connection to 203.0.113.10:80, an address of httpbin.org",
    ),
    "past the mesh, in vain": (
        proxy(),
        proxy(upstreams=(upstream(), Upstream("PassthroughCluster", None, "", (endpoint(0, port=80, failures=2),)))),
        "silent",
        "",
    ),
    "past the mesh to the alias": (
        proxy(),
        proxy(upstreams=(upstream(), Upstream("PassthroughCluster", None, "", (endpoint(1, "192.0.2.7", 80),)))),
        "silent",
        "",
    ),
    "unread after": (proxy(), ProxyUnread(POD, "connection refused"), "unknown", "connection refused"),
    "unread before": (ProxyUnread(POD, "not permitted"), proxy(), "unknown", "not permitted"),
}


@pytest.mark.parametrize(("before", "after", "judgement", "reason"), VERDICTS.values(), ids=VERDICTS.keys())
def test_verdicts(before: Proxy, after: Proxy, judgement: str, reason: str) -> None:
    if isinstance(after, ProxySnapshot):
        after = replace(after, taken_at=15)
    found = judged(before, after)
    assert str(found.judgement) == judgement, found.reason
    assert reason in found.reason


def test_every_verdict_has_a_row() -> None:
    assert {row[2] for row in VERDICTS.values()} == set(Judgement)


def test_evidence_has_the_five_of_the_design() -> None:
    found = judged(proxy(sent=1), proxy(series(5), series(1, "503", "UC"), sent=7, at=15))
    assert found.by_code == {"200": 5, "503": 1}
    evidence = found.evidence
    assert set(evidence) == {"window", "configured", "used", "seen", "served", "notLeaking"}
    assert evidence["window"] == {"seconds": 15, "restarted": False}
    assert evidence["configured"]["ok"]
    assert (evidence["used"]["requests"], evidence["used"]["endpoints"]) == (6, {"203.0.113.10:443": 6})
    assert evidence["seen"]["requests"] == 6
    assert evidence["served"] == {"byServer": 5, "failed": 1, "abandoned": 0, "reasons": "503 UC×1"}
    assert evidence["notLeaking"] == {"ok": True, "leaks": []}


def test_codes_in_clear_are_counted_too() -> None:
    assert judged(proxy(), proxy(series(2, "400", name="PassthroughCluster"))).by_code == {"400": 2}


@pytest.mark.parametrize(
    ("baseline", "judgement"),
    [
        (Baseline(), Judgement.FAILING),
        (Baseline(failed_share=0.05), Judgement.FAILING),
        (Baseline(failed_share=0.1), Judgement.VERIFIED),
    ],
)
def test_errors_no_more_than_before(baseline: Baseline, judgement: Judgement) -> None:
    after = proxy(series(9), series(1, "503", "UF"), sent=9)
    assert judged(proxy(), after, baseline).judgement is judgement


@pytest.mark.parametrize(
    ("before", "after", "judgement"),
    [
        (None, [series(3, "403")], Judgement.VERIFIED),
        (0.2, [series(3, "403")], Judgement.VERIFIED),
        (0.0, [series(3, "403"), series(1)], Judgement.VERIFIED),
        (0.0, [series(3, "403")], Judgement.FAILING),
    ],
)
def test_errors_of_the_server_where_there_were_none(
    before: float | None, after: list[RequestSeries], judgement: Judgement
) -> None:
    assert judged(proxy(), proxy(*after, sent=4), Baseline(error_share=before)).judgement is judgement


def test_after_a_restart_everything_counts() -> None:
    before = proxy(series(50), series(5, name="PassthroughCluster"), sent=50)
    after = proxy(series(60), sent=60, uptime=4)
    found = judged(before, after)
    assert (found.judgement, found.by_code) == (Judgement.VERIFIED, {"200": 60})
    assert found.reason.endswith("(since the proxy restarted)")
    assert found.evidence["window"]["restarted"]


@pytest.mark.parametrize(
    ("before", "after", "seconds", "anew"),
    [
        (0, 0, 15, False),  # nobody says
        (300, 315, 15, False),
        (300, 310, 15, False),  # late
        (300, 3, 15, True),
        (300, 0, 15, True),  # and not flushed yet
        (5, 10, 20, True),  # larger than before, and 15 s too small
        (5, 20, 20, False),  # as late as it may be
        (0, 5, 6, False),  # as young as the window
    ],
)
def test_a_proxy_has_restarted_when_its_uptime_does_not_fit(
    before: float, after: float, seconds: float, anew: bool
) -> None:
    one, other = proxy(uptime=before), proxy(uptime=after)
    assert restarted(replace(one, taken_at=100.0), replace(other, taken_at=100.0 + seconds)) is anew


def test_a_leak_before_the_restart_does_not_hide_one_after() -> None:
    leak = series(5, name="PassthroughCluster")
    assert judged(proxy(leak), proxy(leak, uptime=4)).judgement is Judgement.LEAKING


def test_a_series_that_shrank_was_made_anew() -> None:
    found = judged(proxy(series(50), sent=50), proxy(series(3), sent=3))
    assert (found.judgement, found.by_code) == (Judgement.VERIFIED, {"200": 3})


def taken(connections: int, tls: TlsSettings | None = None, failures: int = 0) -> ProxySnapshot:
    """A proxy that has made so many connections for an entry of another host, which has the alias's address."""
    seen = Endpoint("203.0.113.99", 80, "", connections + failures, failures, 0, 0, 0)
    return proxy(at=5, upstreams=(upstream(), Upstream("outbound|80||db.example.com", tls, "", (seen,))))


@pytest.mark.parametrize(
    ("before", "after", "takers", "judgement"),
    [
        (taken(1), taken(3), ("db.example.com",), Judgement.LEAKING),
        (taken(3), taken(3), ("db.example.com",), Judgement.SILENT),
        (taken(3), taken(3, failures=2), ("db.example.com",), Judgement.SILENT),
        (taken(1, TLS), taken(3, TLS), ("db.example.com",), Judgement.SILENT),
        (taken(1), taken(3), (), Judgement.SILENT),
    ],
)
def test_what_another_entry_takes_at_the_alias_leaves_in_clear(
    before: ProxySnapshot, after: ProxySnapshot, takers: tuple[str, ...], judgement: Judgement
) -> None:
    found = judge_pod(HOST, before, after, replace(EXPECTED, takers=takers))
    assert found.judgement is judgement
    if judgement is Judgement.LEAKING:
        assert found.reason == "2 connections in clear through cluster outbound|80||db.example.com"


def test_an_address_that_dns_took_away_is_no_answer_of_the_proxy() -> None:
    before = with_clusters(upstream(SUBSET, TLS, endpoint(0, "203.0.113.9")))
    after = with_clusters(upstream(), requests=(series(1),))
    assert judged(before, after).judgement is Judgement.SILENT


@pytest.mark.parametrize("mode", [None, TLS])
def test_the_third_cluster_of_unknown_hosts_may_originate_tls(mode: TlsSettings | None) -> None:
    dynamic = Upstream("AllowAnyDynamicDNSCluster", mode)
    after = with_clusters(upstream(), dynamic, requests=(series(1, name="AllowAnyDynamicDNSCluster"),))
    assert (judged(proxy(), after).judgement is Judgement.LEAKING) is (mode is None)


# ---- as recorded from Envoy --------------------------------------------------------------------------------------------


def recorded(when: str) -> ProxySnapshot:
    files = {
        "/stats": f"stats-{when}.txt",
        "/clusters": f"clusters-{when}.json",
        "dynamic_active_clusters": "active_clusters.json",
        "dynamic_route_configs": "route_configs.json",
    }
    paths = admin_paths(["httpbin.org"])
    texts = {path: (RECORDED / name).read_text() for path in paths for part, name in files.items() if part in path}
    return snapshot(POD, texts, 0)


@pytest.mark.parametrize(
    ("name", "before", "after", "judgement", "reason"),
    [
        ("httpbin.org", "after", "after", "silent", "no request"),
        ("httpbin.org", "before", "after", "verified", "200×5, 404×1, 500×1 over TLS"),
        ("httpbin.org", "after", "leaking", "leaking", "1 request in clear through PassthroughCluster; 1 connection to 203.0.113.10:80"),
        ("api.example.com", "before", "after", "verified", "200×1"),
        ("wrong.example.com", "before", "after", "failing", "503 UF×1"),
        ("gone.example.com", "before", "after", "failing", "503 NC×1; the route leads to cluster"),
        ("plain.example.com", "before", "after", "unconfigured", "does not originate TLS"),
        ("plain.example.com", "after", "leaking", "leaking", "through cluster outbound|80||plain.example.com"),
        ("blocked.example.com", "before", "after", "unconfigured", "itself"),
        ("unknown.example.com", "before", "after", "unconfigured", "so PassthroughCluster does"),
    ],
)  # fmt: skip
def test_recorded_windows(name: str, before: str, after: str, judgement: str, reason: str) -> None:
    host = Host(name)
    found = judge_pod(host, recorded(before), recorded(after), Expected.of(host))
    assert (str(found.judgement), reason in found.reason) == (judgement, True), found.reason


def test_recorded_latencies() -> None:
    found = judge_pod(HOST, recorded("before"), recorded("after"), EXPECTED)
    assert found.evidence["seen"]["latencySince"] == "window"
    assert found.buckets[-1] == (math.inf, 6)
    again = judge_pod(HOST, recorded("after"), recorded("after"), EXPECTED)
    assert again.evidence["seen"]["latencySince"] == "proxy start"


# ---- workloads ---------------------------------------------------------------------------------------------------------


def pod(judgement: Judgement, name: str = "a", reason: str = "because") -> PodVerdict:
    return PodVerdict(Ref("Pod", "shop", name), judgement, reason, {})


def test_no_pod_proves_nothing() -> None:
    found = judge(HOST, WORKLOAD, [], True)
    assert (found.judgement, found.fails_closed) == (Judgement.UNKNOWN, True)
    assert not decided([found])


@pytest.mark.parametrize("worst", list(Judgement))
def test_a_workload_is_as_good_as_its_worst_pod(worst: Judgement) -> None:
    found = judge(HOST, WORKLOAD, [pod(Judgement.VERIFIED), pod(worst, "b", "why")], False)
    assert found.judgement is worst
    if worst is not Judgement.VERIFIED:
        assert found.reason == "why (pod b; 1 of 2 pods)"


def test_one_pod_speaks_for_itself() -> None:
    assert judge(HOST, WORKLOAD, [pod(Judgement.SILENT)], False).reason == "because"


@pytest.mark.parametrize(
    ("judgements", "ends"),
    [
        ([Judgement.SILENT], False),
        ([Judgement.UNKNOWN], False),
        ([Judgement.VERIFIED, Judgement.SILENT], False),
        ([Judgement.FAILING, Judgement.SILENT], False),
        ([Judgement.VERIFIED], True),
        ([Judgement.VERIFIED, Judgement.FAILING, Judgement.UNCONFIGURED], True),
        ([Judgement.SILENT, Judgement.LEAKING], True),
    ],
)
def test_the_window_ends_as_soon_as_it_is_known(judgements: list[Judgement], ends: bool) -> None:
    assert decided([judge(HOST, WORKLOAD, [pod(one) for one in judgements], True)]) is ends
    assert decided([judge(HOST, WORKLOAD, [pod(one)], True) for one in judgements]) is ends


def test_what_is_not_configured_may_leak_yet_where_it_fails_open() -> None:
    assert not decided([judge(HOST, WORKLOAD, [pod(Judgement.UNCONFIGURED)], False)])
    assert decided([judge(HOST, WORKLOAD, [pod(Judgement.UNCONFIGURED)], True)])


def without_a_trace(*past: Endpoint, at: float = 0) -> ProxySnapshot:
    """A proxy whose host has no entry any more."""
    everything = VirtualHost("80", ("*",), ("PassthroughCluster",))
    upstreams = (Upstream("PassthroughCluster", None, "", past),)
    return proxy(at=at, upstreams=upstreams, virtual_hosts=(everything,))


def test_connections_that_may_be_the_host_s_are_said_where_it_fails_open() -> None:
    calls = endpoint(3, "203.0.113.9", 80)
    others = (endpoint(2, "203.0.113.9", 443), endpoint(1, "192.0.2.7", 80), endpoint(0, "203.0.113.8", 80, failures=4))
    found = judged(without_a_trace(), without_a_trace(calls, *others, at=15))
    words = "3 connections to 203.0.113.9:80 through PassthroughCluster may be to httpbin.org, in clear"
    assert found.judgement is Judgement.UNCONFIGURED
    assert found.evidence["notLeaking"] == {"ok": False, "leaks": [], "possible": [words]}
    assert judge(HOST, WORKLOAD, [found], False).reason == f"{found.reason}; {words}"
    assert judge(HOST, WORKLOAD, [found], True).reason == found.reason
    # They were there before, or the host's addresses are known, and these are others.
    assert judged(without_a_trace(calls), without_a_trace(calls, at=15)).evidence["notLeaking"]["ok"]
    known = proxy(upstreams=(upstream(), Upstream("PassthroughCluster", None, "", (calls,))), at=15)
    assert judged(proxy(), known).evidence["notLeaking"] == {"ok": True, "leaks": []}


def test_the_window_may_wait_for_latencies() -> None:
    without = judge(HOST, WORKLOAD, [pod(Judgement.VERIFIED)], True)
    assert not decided([without], latency=True)
    known = replace(pod(Judgement.VERIFIED), buckets=((1.0, 1), (math.inf, 1)))
    assert decided([judge(HOST, WORKLOAD, [known], True)], latency=True)


# ---- latencies ---------------------------------------------------------------------------------------------------------

NONE: Mapping[str, float | None] = {"p50": None, "p95": None, "p99": None}


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        ((), NONE),
        (((1.0, 0), (math.inf, 0)), NONE),
        (((math.inf, 5),), NONE),
        (((10.0, 100), (math.inf, 100)), {"p50": 5, "p95": 9.5, "p99": 9.9}),
        (((10.0, 0), (20.0, 100), (math.inf, 100)), {"p50": 15, "p95": 19.5, "p99": 19.9}),
        (((10.0, 50), (20.0, 90), (math.inf, 100)), {"p50": 10, "p95": 20, "p99": 20}),
    ],
)
def test_percentiles(buckets: tuple[tuple[float, int], ...], expected: Mapping[str, float | None]) -> None:
    assert percentiles(buckets) == pytest.approx(expected)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=8))
def test_percentiles_rise_and_stay_within_the_bounds(counts: list[int]) -> None:
    bounds = [*map(float, range(1, len(counts))), math.inf]
    buckets = [(bound, sum(counts[: index + 1])) for index, bound in enumerate(bounds)]
    found = [value for value in percentiles(buckets, (1, 50, 95, 99, 100)).values() if value is not None]
    assert len(found) == (5 if sum(counts) else 0)
    assert found == sorted(found)
    assert all(0 <= value <= len(counts) - 1 for value in found)


def test_durations_are_differences() -> None:
    def durations(*counts: int) -> tuple[DurationSeries, ...]:
        bounds = (1.0, 10.0, math.inf)
        return (DurationSeries("httpbin.org", tuple(zip(bounds, counts, strict=True))),)

    before = proxy(series(4), sent=4, durations=durations(2, 4, 4))
    after = proxy(series(6), sent=6, durations=durations(2, 6, 6))
    assert judged(before, after).buckets == ((1.0, 0), (10.0, 2), (math.inf, 2))
