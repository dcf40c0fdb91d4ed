from __future__ import annotations

import math
from dataclasses import replace

from kubectl_egress.model import Host, Judgement, PodVerdict, Ref, Verdict
from kubectl_egress.report.verify import all_verified, verify_document, verify_summary, verify_table

HTTPBIN = Host("httpbin.org")
CURL = Ref("Deployment", "shop", "curl", "apps/v1")
WEB = Ref("StatefulSet", "shop", "web", "apps/v1")
POD = PodVerdict(
    Ref("Pod", "shop", "curl-1"),
    Judgement.VERIFIED,
    "54 requests, all over TLS",
    {
        "configured": {"sni": "httpbin.org", "source": "https://bob:pw@x.io"},
        "used": {"requests": 54},
        "limit": math.inf,
    },
    {"200": 52, "504": 2},
    ((5.0, 0), (10.0, 50), (25.0, 54), (math.inf, 54)),
)
GOOD = Verdict(HTTPBIN, CURL, Judgement.VERIFIED, "", True, (POD,))
QUIET = Verdict(
    HTTPBIN,
    WEB,
    Judgement.SILENT,
    "no request in 15s",
    False,
    (PodVerdict(Ref("Pod", "shop", "web-0"), Judgement.SILENT, "no request in 15s", {}),),
)


def test_nothing_to_verify() -> None:
    assert verify_table([]) == ""
    assert verify_summary([]) == "Nothing to verify: no workload calls a migrated host.\n"
    assert verify_document([])["items"] == []


def test_the_table_at_one_glance_worst_first() -> None:
    assert (
        verify_table([GOOD, QUIET])
        == """\
WORKLOAD          HOST          VERDICT    FAILS    REQUESTS   CODES          P50      P95      P99      PODS
statefulset/web   httpbin.org   silent     open     0          <none>         <none>   <none>   <none>   1/1
deployment/curl   httpbin.org   verified   closed   54         200×52,504×2   8ms      15ms     23ms     1/1

silent        statefulset/web, httpbin.org: no request in 15s
"""
    )


def test_all_verified_needs_no_reasons() -> None:
    assert len(verify_table([GOOD]).splitlines()) == 2
    assert verify_summary([GOOD]) == "Verified: 1 workload, 1 host.\n"


def test_wide_has_a_line_for_every_pod() -> None:
    assert verify_table([GOOD], wide=True).endswith("\nverified      pod/curl-1: 54 requests, all over TLS\n")


def test_the_answer_is_yes_only_if_all_are() -> None:
    assert all_verified([GOOD])
    assert not all_verified([GOOD, QUIET])
    assert verify_summary([GOOD, QUIET]) == "Not verified: 1 silent, 1 verified (2 workloads, 1 host).\n"


def test_latency_is_that_of_all_pods_together() -> None:
    slow = replace(POD, buckets=((5.0, 0), (10.0, 0), (25.0, 54), (math.inf, 54)))
    both = verify_document([replace(GOOD, pods=(POD, slow))])["items"][0]["latencyMs"]
    assert 10 < both["p50"] < 25


def test_the_document_has_the_names_of_the_contract() -> None:
    document = verify_document([GOOD])
    assert (document["apiVersion"], document["kind"]) == ("egress.kubectl/v1", "VerifyReport")
    item = document["items"][0]
    assert {key: item[key] for key in ("host", "workload", "verdict", "failsClosed", "requests")} == {
        "host": "httpbin.org",
        "workload": {"kind": "Deployment", "namespace": "shop", "name": "curl"},
        "verdict": "verified",
        "failsClosed": True,
        "requests": {"total": 54, "byCode": {"200": 52, "504": 2}},
    }
    assert set(item["latencyMs"]) == {"p50", "p95", "p99"}
    assert item["pods"] == [
        {
            "name": "curl-1",
            "verdict": "verified",
            "reason": "54 requests, all over TLS",
            "evidence": {
                "configured": {"sni": "httpbin.org", "source": "https://***@x.io"},
                "used": {"requests": 54},
                "limit": "inf",
            },
        }
    ]
