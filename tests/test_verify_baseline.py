from __future__ import annotations

import math
from typing import Any

import pytest

from kubectl_egress.model import (
    DurationSeries,
    Endpoint,
    Host,
    Judgement,
    ProxySnapshot,
    Ref,
    RequestSeries,
    TlsSettings,
    Upstream,
    VirtualHost,
)
from kubectl_egress.verify import Baseline, Expected, judge_pod, measure

HOST = Host("httpbin.org")
POD = Ref("Pod", "shop", "curl-1")


def said(**parts: Any) -> ProxySnapshot:
    known: dict[str, Any] = {"upstreams": (), "virtual_hosts": (), "requests": (), "durations": (), "tcp": ()}
    return ProxySnapshot(pod=POD, **{"taken_at": 0.0, **known, **parts})


def requests(code: str, count: int, flags: str = "-") -> RequestSeries:
    return RequestSeries(HOST.name, HOST.name, code, flags, count)


def upstream(name: str, *, port: int = 443, connections: int, failures: int = 0) -> Upstream:
    return Upstream(name, None, endpoints=(Endpoint("203.0.113.1", port, "", connections, failures),))


def test_what_nobody_saw_is_unknown() -> None:
    assert measure(HOST, [], alone=True)["unit"] == ""
    assert Baseline.of(measure(HOST, [], alone=True)).error_share is None
    assert Baseline.of(None) == Baseline()


def test_bytes_without_a_name_count_for_the_only_host_that_is_called() -> None:
    proxy = said(upstreams=(upstream("PassthroughCluster", connections=40, failures=4),))
    assert measure(HOST, [proxy], alone=False)["unit"] == ""
    found = measure(HOST, [proxy, proxy], alone=True)
    assert (found["unit"], found["count"], found["failedShare"]) == ("connections", 80, 0.1)
    assert found["errorShare"] is None
    assert found["latencyMs"] is None, "the application encrypted: nobody knows"


def test_a_name_beats_bytes_and_other_ports_are_other_calls() -> None:
    named = upstream("outbound|443||httpbin.org", connections=7)
    nameless = upstream("PassthroughCluster", port=5432, connections=90)
    assert measure(HOST, [said(upstreams=(named, nameless))], alone=True)["count"] == 7
    assert measure(HOST, [said(upstreams=(nameless,))], alone=True)["count"] == 0


def test_requests_beat_connections_and_bring_errors_and_latency() -> None:
    durations = (DurationSeries(HOST.name, ((10.0, 50), (math.inf, 50))),)
    proxy = said(requests=(requests("200", 60), requests("500", 20), requests("503", 20, "UF")), durations=durations)
    found = measure(HOST, [proxy], alone=False)
    assert (found["unit"], found["count"], found["failedShare"], found["errorShare"]) == ("requests", 100, 0.2, 0.25)
    assert found["latencyMs"] == pytest.approx({"p50": 5.0, "p95": 9.5, "p99": 9.9})


def test_few_calls_excuse_nothing() -> None:
    few = measure(HOST, [said(requests=(requests("200", 1), requests("503", 1, "UF")))], alone=True)
    assert Baseline.of(few).failed_share == 0.0
    many = measure(HOST, [said(requests=(requests("200", 50), requests("503", 50, "UF")))], alone=True)
    assert Baseline.of(many).failed_share == 0.5


def running(count: int, failed: int) -> ProxySnapshot:
    tls = TlsSettings("httpbin.org", ("httpbin.org",), "file-root:system")
    cluster = "outbound|80|kubectl-egress|httpbin.org"
    endpoint = Endpoint("203.0.113.1", 443, "", count, 0, count, count, 0)
    return said(
        upstreams=(Upstream(cluster, tls, endpoints=(endpoint,)),),
        virtual_hosts=(VirtualHost("80", (HOST.name,), (cluster,)),),
        requests=tuple(one for one in (requests("200", count - failed), requests("503", failed, "UF")) if one.count),
    )


@pytest.mark.parametrize(
    ("failed", "baseline", "judgement"),
    [
        (0, None, Judgement.VERIFIED),
        (5, None, Judgement.FAILING),
        (5, {"count": 100, "failedShare": 0.1, "errorShare": None}, Judgement.VERIFIED),
        (20, {"count": 100, "failedShare": 0.1, "errorShare": None}, Judgement.FAILING),
        (5, {"count": 3, "failedShare": 0.9, "errorShare": None}, Judgement.FAILING),
    ],
)
def test_no_worse_than_before_is_a_number(failed: int, baseline: dict[str, Any] | None, judgement: Judgement) -> None:
    verdict = judge_pod(HOST, said(), running(100, failed), Expected.of(HOST), Baseline.of(baseline))
    assert verdict.judgement is judgement, verdict.reason
    if baseline is None:
        assert "before" not in verdict.evidence
    else:
        assert verdict.evidence["before"] == baseline
        assert verdict.evidence["now"]["failedShare"] == failed / 100
