from __future__ import annotations

import json
import math
from dataclasses import replace
from xml.etree import ElementTree as Xml

import pytest

from kubectl_egress.model import Host, Judgement, PodVerdict, Ref, Verdict
from kubectl_egress.report.comparison import span
from kubectl_egress.report.junit import verify_junit
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


def test_a_narrow_terminal_does_without_what_wide_has() -> None:
    many = replace(GOOD, pods=(replace(POD, by_code={"200": 52}),))
    narrow = verify_table([many, QUIET], width=80)
    assert (
        narrow
        == """\
WORKLOAD          HOST          VERDICT    FAILS    CODES    P95      PODS
statefulset/web   httpbin.org   silent     open     <none>   <none>   1/1
deployment/curl   httpbin.org   verified   closed   200×52   15ms     1/1

silent        statefulset/web, httpbin.org: no request in 15s
"""
    )
    assert verify_table([many, QUIET], width=200) == verify_table([many, QUIET])
    assert "P99" in verify_table([many], wide=True, width=80)
    long = replace(QUIET, reason="word " * 30)
    lines = verify_table([long], width=80).splitlines()[3:]
    assert len(lines) > 1
    assert all(len(line) <= 80 for line in lines)
    assert all(line.startswith(" " * 14) for line in lines[1:])


def test_all_verified_needs_no_reasons() -> None:
    assert len(verify_table([GOOD]).splitlines()) == 2
    assert verify_summary([GOOD]) == "Verified: 1 workload, 1 host.\n"


def test_wide_has_a_line_for_every_pod() -> None:
    assert verify_table([GOOD], wide=True).endswith("\nverified      pod/curl-1: 54 requests, all over TLS\n")


BEFORE = {"unit": "connections", "count": 100, "seconds": 400, "failedShare": 0.01, "errorShare": None}


def compared(count: int, failed: int, error_share: float | None, seconds: float = 1.1) -> PodVerdict:
    now = {"unit": "requests", "count": count, "failed": failed, "errorShare": error_share}
    return replace(POD, evidence={"window": {"seconds": seconds}, "before": BEFORE, "now": now})


def test_before_and_now_with_numbers_and_durations_over_all_pods() -> None:
    verdict = replace(GOOD, pods=(compared(40, 0, 0.25), compared(60, 10, 0.5, 6.0)))
    text = verify_table([verdict], wide=True)
    assert text.endswith(
        "              now     100 requests in 6s: 10.0% failed on the way, 38.9% errors of the server, p95 15ms\n"
        "              before  100 connections in 7m: 1.0% failed on the way, answers and latency nobody could see\n"
    )
    assert "before" not in verify_table([verdict])


def test_what_nobody_saw_before_is_unknown_and_not_nothing() -> None:
    unseen = {**BEFORE, "unit": "", "count": 0, "failedShare": None}
    pod = compared(5, 0, 0.0)
    verdict = replace(GOOD, pods=(replace(pod, evidence={**pod.evidence, "before": unseen}),))
    assert verify_table([verdict], wide=True).endswith("before  unknown: the proxies had no name for it\n")
    nothing = replace(GOOD, pods=(compared(0, 0, None),))
    assert "              now     0 requests in 1s\n" in verify_table([nothing], wide=True)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0.4s"), (1.0, "1s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172800, "2d")]
)
def test_durations_as_people_say_them(seconds: float, text: str) -> None:
    assert span(seconds) == text


# ---- JUnit --------------------------------------------------------------------------------------------------------

# Jenkins' schema (xunit-plugin, junit-10.xsd): element → attributes that it may have, and elements, in their order.
JUNIT = {
    "testsuites": ({"name", "time", "tests", "failures", "disabled", "errors"}, ["testsuite"]),
    "testsuite": (
        {
            "name",
            "tests",
            "failures",
            "errors",
            "time",
            "disabled",
            "skipped",
            "timestamp",
            "hostname",
            "id",
            "package",
        },
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "testcase": (
        {"name", "assertions", "time", "classname", "status"},
        ["skipped", "error", "failure", "system-out", "system-err"],
    ),
    "failure": ({"type", "message"}, []),
    "system-out": (set(), []),
}


def valid(element: Xml.Element) -> None:
    attributes, children = JUNIT[element.tag]
    assert set(element.attrib) <= attributes, element.tag
    places = [children.index(child.tag) for child in element]
    assert places == sorted(places), [child.tag for child in element]
    for child in element:
        valid(child)


def test_junit_is_as_ci_systems_read_it() -> None:
    other = replace(
        QUIET, workload=replace(WEB, namespace="bank"), reason="a \x1b[31mred\x00 <word> & https://bob:pw@x.io"
    )
    text = verify_junit([GOOD, QUIET, other])
    root = Xml.fromstring(text)
    valid(root)
    assert "pw" not in text
    assert [(suite.get("name"), suite.get("tests"), suite.get("failures")) for suite in root] == [
        ("bank", "1", "1"),
        ("shop", "2", "1"),
    ]
    [passed, failed] = root[1]
    assert (passed.get("classname"), passed.get("name"), passed.find("failure")) == (
        "shop.deployment/curl",
        "httpbin.org",
        None,
    )
    failure = failed.find("failure")
    assert failure is not None
    assert (failure.get("type"), failure.get("message")) == ("silent", "silent: no request in 15s")
    evidence = json.loads(passed.findtext("system-out") or "")
    assert evidence["pods"][0]["evidence"]["used"] == {"requests": 54}


def test_junit_of_nothing_is_a_document() -> None:
    root = Xml.fromstring(verify_junit([]))
    valid(root)
    assert len(root) == 0


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
