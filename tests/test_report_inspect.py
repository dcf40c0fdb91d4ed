from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from kubectl_egress.inspection import InspectItem, InspectReport, PassthroughTraffic
from kubectl_egress.model import CallSite, Finding, Host, ProxyUnread, Ref, Severity, Visibility
from kubectl_egress.proxy.wire import Destination, KnownBy
from kubectl_egress.report.inspect import inspect_document, inspect_names, inspect_summary, inspect_table
from kubectl_egress.scan import REASON_COMMENT
from kubectl_egress.scan.identifiers import RULES
from kubectl_egress.urls import find_urls

CURL = Ref("Deployment", "shop", "curl", "apps/v1")
WEB = Ref("StatefulSet", "shop", "web", "apps/v1")
CONFIG = Ref("ConfigMap", "shop", "web", "v1")
HTTPBIN = Host("httpbin.org")
STRIPE = Host("api.stripe.com")
SCRIPT = ("spec", "template", "spec", "containers", 0, "command", 2)
NO_SIDECAR = Finding(
    "no-sidecar",
    Severity.BLOCK,
    "its pods have no sidecar, so there is nobody who could originate TLS",
    "label the namespace: kubectl label namespace shop istio-injection=enabled",
    WEB,
)
REDIRECT = Finding("https-redirect", Severity.WARN, "it may answer 301", "look at it", CURL, HTTPBIN)


def site(workload: Ref, text: str, **more: Any) -> CallSite:
    whole = CallSite(workload, workload, SCRIPT, find_urls(text)[0], container="main")
    return replace(whole, **more)


OPAQUE = InspectItem(
    CURL, HTTPBIN, Visibility.OPAQUE, (site(CURL, "https://httpbin.org/status/200"),), findings=(REDIRECT,)
)
STOPPED = InspectItem(
    WEB,
    STRIPE,
    Visibility.UNKNOWN,
    (
        site(WEB, "https://bob:pw@api.stripe.com/v1", object=CONFIG, steps=("data", "app.properties"), container=""),
        site(WEB, "https://api.stripe.com/v2", reason="it is put together at run time"),
    ),
    findings=(NO_SIDECAR,),
)
DONE = InspectItem(CURL, Host("done.example"), Visibility.FULL, (site(CURL, "http://done.example/"),), (), True)
REPORT = InspectReport(
    "shop",
    (OPAQUE, STOPPED, DONE),
    passthrough=(
        PassthroughTraffic(CURL, 54, 0, 1),
        PassthroughTraffic(WEB, 0, 0, 0, 0, (ProxyUnread(Ref("Pod", "shop", "web-0"), "connection refused"),)),
    ),
    workloads=2,
)
EMPTY = InspectReport("shop", (), workloads=3)


def test_nothing_found() -> None:
    assert inspect_table(EMPTY) == ""
    assert inspect_names(EMPTY) == ""
    assert inspect_summary(EMPTY) == "No calls to external hosts found in shop namespace (3 workloads read).\n"


def test_the_table_at_one_glance() -> None:
    assert (
        inspect_table(REPORT)
        == """\
WORKLOAD          HOST             VISIBILITY   CALLS     FAILS    FINDINGS
deployment/curl   httpbin.org      opaque       1 https   <none>   https-redirect
statefulset/web   api.stripe.com   unknown      2 https   <none>   no-sidecar
deployment/curl   done.example     full         1 http    closed   <none>

WORKLOAD          PASSTHROUGHCLUSTER           PROXIES
deployment/curl   54 connections, 0 requests   1/1
statefulset/web   <unknown>                    0/1

block  no-sidecar  statefulset/web: its pods have no sidecar, so there is nobody who could originate TLS
       → label the namespace: kubectl label namespace shop istio-injection=enabled
warn   https-redirect  deployment/curl, httpbin.org: it may answer 301
       → look at it
"""
    )


NAMED_ONLY = InspectItem(
    CURL,
    Host("idp.example"),
    Visibility.OPAQUE,
    (
        site(CURL, "https://idp.example/", reason=RULES[0].reason),
        site(CURL, "https://idp.example/", reason=REASON_COMMENT),
    ),
)


def test_what_is_only_named_is_no_call_and_not_opaque() -> None:
    again = replace(NAMED_ONLY, host=HTTPBIN)
    report = replace(REPORT, items=(OPAQUE, again, NAMED_ONLY), passthrough=())
    assert [line.split()[1:5] for line in inspect_table(report).splitlines()[1:4]] == [
        ["httpbin.org", "opaque", "1", "https"],
        ["httpbin.org", "<none>", "not", "called"],
        ["idp.example", "<none>", "not", "called"],
    ]
    assert inspect_summary(report).splitlines()[0] == "2 external hosts: 1 opaque, 0 named, 0 full, 1 not called."
    assert inspect_summary(replace(report, in_files=True)).startswith(
        "2 external hosts in files, 1 of them not called; "
    )
    assert inspect_names(replace(report, items=(NAMED_ONLY,))) == ""


def test_a_comment_beside_a_call_is_not_counted() -> None:
    mixed = replace(OPAQUE, call_sites=(*OPAQUE.call_sites, *NAMED_ONLY.call_sites))
    assert inspect_table(replace(REPORT, items=(mixed,), passthrough=())).splitlines()[1].split()[2:5] == [
        "opaque",
        "1",
        "https",
    ]


def test_wide_has_a_line_for_each_call_site() -> None:
    report = replace(REPORT, items=(replace(STOPPED, findings=()),), passthrough=())
    lines = inspect_table(report, wide=True).splitlines()
    assert [re.split(" {3,}", line)[-7:] for line in lines] == [
        ["FINDINGS", "CONTAINER", "OBJECT", "PATH", "URL", "REASON", "SEEN"],
        [
            "<none>",
            "<none>",
            "configmap/web",
            ".data.app\\.properties",
            "https://***@api.stripe.com/v1",
            "<none>",
            "<none>",
        ],
        [
            "<none>",
            "main",
            "statefulset/web",
            ".spec.template.spec.containers[0].command[2]",
            "https://api.stripe.com/v2",
            "it is put together at run time",
            "<none>",
        ],
    ]


LIVE = InspectItem(
    CURL,
    Host("api.github.com"),
    Visibility.OPAQUE,
    (),
    (
        Finding(
            "live-only",
            Severity.BLOCK,
            "its pods went to api.github.com:443",
            "look for it",
            CURL,
            Host("api.github.com"),
        ),
    ),
    seen=(
        Destination(Host("api.github.com"), KnownBy.SERVER_NAME, "PassthroughCluster", ("203.0.113.7",), 12),
        Destination(Host("api.github.com"), KnownBy.AUTHORITY, "PassthroughCluster", (), 0, 1),
    ),
)


def test_what_is_on_the_wire_alone_is_a_row_of_its_own() -> None:
    report = replace(REPORT, items=(LIVE,), passthrough=())
    assert inspect_table(report).splitlines()[:2] == [
        "WORKLOAD          HOST             VISIBILITY   CALLS         FAILS    FINDINGS",
        "deployment/curl   api.github.com   opaque       on the wire   <none>   live-only",
    ]
    (_, row, *_) = inspect_table(report, wide=True).splitlines()
    assert row.endswith("   12 connections (by server name), 1 request (by authority)")
    (item,) = inspect_document(report)["items"]
    assert (item["callSites"], item["live"][0]) == (
        [],
        {
            "host": "api.github.com",
            "port": 443,
            "cluster": "PassthroughCluster",
            "knownBy": "server name",
            "addresses": ["203.0.113.7"],
            "connections": 12,
            "requests": 0,
            "errors": 0,
        },
    )
    assert inspect_summary(report).splitlines()[-1] == "Next: kubectl egress explain live-only"


def test_a_sample_of_the_sidecars_is_said_to_be_one() -> None:
    report = replace(REPORT, items=(), passthrough=(PassthroughTraffic(CURL, 54, 0, 1, pods=40),))
    assert "54 connections, 0 requests   1/40" in inspect_table(report)


def test_all_namespaces_come_first_and_the_next_command_names_one() -> None:
    report = replace(REPORT, namespace="", items=(replace(OPAQUE, findings=()),), passthrough=())
    assert (
        inspect_table(report)
        == """\
NAMESPACE   WORKLOAD          HOST          VISIBILITY   CALLS     FAILS    FINDINGS
shop        deployment/curl   httpbin.org   opaque       1 https   <none>   <none>
"""
    )
    assert report.ready_namespace == "shop"


def test_files_show_where_and_not_how_well() -> None:
    item = replace(
        OPAQUE, findings=(), call_sites=(site(CURL, "https://httpbin.org", file="deploy/curl.yaml", line=9),)
    )
    report = InspectReport("", (item,), workloads=1, in_files=True)
    assert (
        inspect_table(report)
        == """\
NAMESPACE   WORKLOAD          HOST          CALLS     FILE                 FINDINGS
shop        deployment/curl   httpbin.org   1 https   deploy/curl.yaml:9   <none>
"""
    )
    assert inspect_summary(report, "-f deploy/") == (
        "1 external host in files; how well the mesh sees them, only a cluster knows.\n"
        "Next: kubectl egress migrate httpbin.org -f deploy/\n"
    )


def test_the_summary_counts_hosts_and_names_the_next_command() -> None:
    assert inspect_summary(REPORT, "-n shop") == (
        "3 external hosts: 1 opaque, 0 named, 1 full, 1 unknown.\nNext: kubectl egress migrate httpbin.org -n shop\n"
    )


def test_where_everything_is_stopped_the_next_command_explains() -> None:
    assert inspect_summary(replace(REPORT, items=(STOPPED,))).endswith("Next: kubectl egress explain no-sidecar\n")


def test_where_everything_is_done_there_is_no_next_command() -> None:
    assert inspect_summary(replace(REPORT, items=(DONE,))) == "1 external host: 0 opaque, 0 named, 1 full.\n"


def test_a_host_with_one_blocked_caller_is_not_offered() -> None:
    blocked = replace(OPAQUE, workload=WEB, findings=(NO_SIDECAR,))
    assert replace(REPORT, items=(OPAQUE, blocked)).ready_hosts == ()


def test_findings_are_wrapped_for_a_terminal_and_whole_for_grep() -> None:
    narrow = inspect_table(replace(REPORT, items=(STOPPED,), passthrough=()), width=60)
    assert (
        narrow.partition("\n\n")[2]
        == """\
block  no-sidecar  statefulset/web: its pods have no
         sidecar, so there is nobody who could originate TLS
       → label the namespace: kubectl label namespace shop
         istio-injection=enabled
"""
    )


def many(count: int) -> InspectReport:
    refs = [Ref("Deployment", f"team-{number}", f"d{number}") for number in range(count)]
    items = tuple(
        replace(
            STOPPED,
            workload=ref,
            call_sites=(site(ref, "https://api.stripe.com/"),),
            findings=(replace(NO_SIDECAR, workload=ref),),
        )
        for ref in refs
    )
    unread = tuple(ProxyUnread(Ref("Pod", "a", f"p{number}"), "connection refused") for number in range(count))
    return InspectReport("", items, (PassthroughTraffic(CURL, 3, 0, 1, unread=unread),), workloads=count)


def test_many_findings_of_one_code_are_two_lines_unless_each_is_asked_for() -> None:
    below = inspect_table(many(5)).partition("\n\n")[2]
    assert (
        below
        == """\
block  no-sidecar  5 workloads (team-0 deployment/d0, team-1 deployment/d1, team-2 deployment/d2, …): the workload's pods \
run without a sidecar
       → kubectl egress explain no-sidecar; -o wide lists each
"""
    )
    assert inspect_table(many(5), wide=True).count("block  no-sidecar  team-") == 5
    assert inspect_table(many(3)).count("block  no-sidecar  team-") == 3


def test_of_all_namespaces_the_counters_are_shown_when_asked_for() -> None:
    assert "PASSTHROUGHCLUSTER" not in inspect_table(many(1))
    assert "NAMESPACE   WORKLOAD          PASSTHROUGHCLUSTER          PROXIES" in inspect_table(many(1), wide=True)


def test_wide_names_where_nameless_connections_went() -> None:
    to = [Destination(Host(f"203.0.113.{number}"), KnownBy.NOTHING, "PassthroughCluster") for number in range(7)]
    traffic = PassthroughTraffic(CURL, 7, 0, 1, destinations=(LIVE.seen[0], *to))
    text = inspect_table(InspectReport("shop", (), (traffic,)), wide=True)
    assert text.splitlines()[1].endswith(
        "1/1       api.github.com:443 (by server name), 203.0.113.0:443, 203.0.113.1:443, 203.0.113.2:443, 203.0.113.3:443, 3 more"
    )


def test_a_workload_that_sent_nothing_is_no_line_of_the_counters() -> None:
    quiet = PassthroughTraffic(WEB, 0, 0, 2)
    assert "web" not in inspect_table(replace(REPORT, items=(), passthrough=(quiet,)))


def test_colour_is_an_escape_sequence_and_nothing_else() -> None:
    plain, colour = inspect_table(REPORT), inspect_table(REPORT, colour=True)
    assert "\x1b" not in plain
    assert "\x1b[33mopaque\x1b[0m" in colour
    assert (
        colour.replace("\x1b[33m", "").replace("\x1b[31m", "").replace("\x1b[32m", "").replace("\x1b[0m", "") == plain
    )


def test_names_are_what_kubectl_accepts_each_once() -> None:
    assert inspect_names(REPORT) == "deployment.apps/curl\nstatefulset.apps/web\n"


def test_the_document_has_the_names_of_the_contract() -> None:
    document = inspect_document(REPORT)
    assert (document["apiVersion"], document["kind"]) == ("egress.kubectl/v1", "InspectReport")
    assert document["items"][1] == {
        "workload": {"kind": "StatefulSet", "namespace": "shop", "name": "web"},
        "host": "api.stripe.com",
        "port": 443,
        "visibility": "unknown",
        "callSites": [
            {
                "object": {"kind": "ConfigMap", "namespace": "shop", "name": "web"},
                "path": ".data.app\\.properties",
                "url": "https://***@api.stripe.com/v1",
                "container": "",
                "rewritable": True,
                "reason": "",
            },
            {
                "object": {"kind": "StatefulSet", "namespace": "shop", "name": "web"},
                "path": ".spec.template.spec.containers[0].command[2]",
                "url": "https://api.stripe.com/v2",
                "container": "main",
                "rewritable": False,
                "reason": "it is put together at run time",
            },
        ],
        "findings": [
            {
                "code": "no-sidecar",
                "severity": "block",
                "message": "its pods have no sidecar, so there is nobody who could originate TLS",
                "remedy": "label the namespace: kubectl label namespace shop istio-injection=enabled",
                "workload": {"kind": "StatefulSet", "namespace": "shop", "name": "web"},
            }
        ],
    }
    assert document["items"][2]["failsClosed"] is True
    assert "failsClosed" not in document["items"][0]
    assert document["passthrough"][0] == {
        "workload": {"kind": "Deployment", "namespace": "shop", "name": "curl"},
        "connections": 54,
        "requests": 0,
        "blocked": 0,
        "proxies": 1,
        "unread": [],
    }
