from __future__ import annotations

from typing import Any

import pytest

from kubectl_egress.inspection import InspectReport, call_sites, concerned, hosts, inspect
from kubectl_egress.model import (
    Document,
    Endpoint,
    Finding,
    Host,
    ProxySnapshot,
    ProxyUnread,
    Ref,
    Severity,
    Survey,
    TcpSeries,
    Upstream,
    Visibility,
    Workload,
)
from tests.build_mesh import entry

HTTPBIN = Host("httpbin.org")
STRIPE = Host("api.stripe.com")
CURL = Ref("Deployment", "shop", "curl", "apps/v1")
POD = Ref("Pod", "shop", "curl-1")


def workload(ref: Ref, *urls: str, file: str = "", aliases: tuple[tuple[str, str], ...] = ()) -> Workload:
    spec: dict[str, Any] = {"containers": [{"name": "main", "args": list(urls)}]}
    if aliases:
        spec["hostAliases"] = [{"ip": address, "hostnames": [name]} for address, name in aliases]
    body = {
        "apiVersion": ref.api_version,
        "kind": ref.kind,
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "spec": {"template": {"spec": spec}},
    }
    pod = {"metadata": {"name": f"{ref.name}-1", "namespace": ref.namespace}}
    return Workload(Document(ref, body, file, 1 if file else 0), (pod,))


def snapshot(*upstreams: Upstream) -> ProxySnapshot:
    tcp = (TcpSeries("unknown", "PassthroughCluster", 54, 50),)
    return ProxySnapshot(POD, 0.0, upstreams, (), (), (), tcp)


def look(*workloads: Workload, findings: tuple[Finding, ...] = (), **survey: Any) -> InspectReport:
    whole = Survey("shop", workloads, **survey)
    return inspect(whole, call_sites(whole), findings)


def block(**about: Any) -> Finding:
    return Finding("no-sidecar", Severity.BLOCK, "there is none", "inject it", **about)


def test_a_workload_that_calls_nobody_is_no_item() -> None:
    report = look(workload(CURL))
    assert (report.items, report.passthrough, report.workloads) == ((), (), 1)


@pytest.mark.parametrize("url", ["https://shop.test.svc.cluster.local", "https://10.0.0.1/x", "http://localhost:8080"])
def test_what_is_inside_is_no_item(url: str) -> None:
    assert look(workload(CURL, url)).items == ()


def test_calls_of_one_host_are_one_item() -> None:
    (item,) = look(workload(CURL, "https://httpbin.org/a", "https://HTTPBIN.org/b")).items
    assert (item.host, len(item.call_sites)) == (HTTPBIN, 2)


def test_a_call_in_clear_is_a_call_to_the_same_host() -> None:
    whole = Survey("shop", (workload(CURL, "https://httpbin.org/a", "http://httpbin.org/b"),))
    assert hosts(call_sites(whole)) == (HTTPBIN,)


def test_another_port_is_another_host() -> None:
    whole = Survey("shop", (workload(CURL, "https://httpbin.org:8443/", "http://httpbin.org:8080/"),))
    assert hosts(call_sites(whole)) == (Host("httpbin.org", 8080), Host("httpbin.org", 8443))


def test_visibility_and_counters_are_those_of_its_own_pods() -> None:
    proxies = {POD: snapshot(Upstream("PassthroughCluster", None, endpoints=(Endpoint("1.2.3.4", 443),)))}
    other = Ref("Deployment", "shop", "web", "apps/v1")
    report = look(workload(CURL, "https://httpbin.org"), workload(other, "https://httpbin.org"), proxies=proxies)
    assert {item.workload: item.visibility for item in report.items} == {
        CURL: Visibility.OPAQUE,
        other: Visibility.UNKNOWN,
    }
    assert [(one.workload, one.connections, one.proxies) for one in report.passthrough] == [
        (CURL, 54, 1),
        (other, 0, 0),
    ]


def test_a_named_host_is_named() -> None:
    proxies = {POD: snapshot(Upstream("outbound|443||httpbin.org", None))}
    (item,) = look(workload(CURL, "https://httpbin.org"), proxies=proxies).items
    assert item.visibility is Visibility.NAMED


def test_a_sidecar_is_asked_about_what_is_called_and_what_the_namespace_sees_outside() -> None:
    entries = (
        entry("seen", "other", hosts=["seen.example.com", "*.example.org"]),
        entry("own", "shop", hosts=["own.example.com"], exportTo=["."]),
        entry("hidden", "other", hosts=["hidden.example.com"], exportTo=["."]),
        entry("inside", "other", hosts=["inside.example.com"], location="MESH_INTERNAL"),
    )
    survey = Survey("shop", (workload(CURL, "https://httpbin.org:8443/"),), mesh_objects=entries)
    asked = {str(host) for host in concerned(survey, call_sites(survey))}
    assert asked == {"httpbin.org:8443", "seen.example.com", "*.example.org", "own.example.com"}


def test_a_proxy_that_could_not_be_read_is_said() -> None:
    report = look(workload(CURL, "https://httpbin.org"), proxies={POD: ProxyUnread(POD, "no answer")})
    assert report.items[0].visibility is Visibility.UNKNOWN
    assert [one.reason for one in report.passthrough[0].unread] == ["no answer"]


@pytest.mark.parametrize(
    ("urls", "aliases", "closed"),
    [
        (("https://httpbin.org",), (), None),
        (("http://httpbin.org",), (), False),
        (("http://httpbin.org",), (("10.0.0.1", "httpbin.org"),), False),
        (("http://httpbin.org",), (("not an address", "httpbin.org"),), False),
        (("http://httpbin.org",), (("192.0.2.7", "other.org"),), False),
        (("http://httpbin.org",), (("192.0.2.7", "httpbin.org"),), True),
        (("http://httpbin.org", "https://httpbin.org"), (("100::7", "httpbin.org"),), True),
    ],
)
def test_plain_calls_fail_closed_where_the_alias_leads_nowhere(
    urls: tuple[str, ...], aliases: tuple[tuple[str, str], ...], closed: bool | None
) -> None:
    (item,) = look(workload(CURL, *urls, aliases=aliases)).items
    assert item.fails_closed is closed


def test_an_alias_that_a_command_passes_by_closes_nothing() -> None:
    passed = Finding("fails-open", Severity.BLOCK, "past the alias", "take it out", workload=CURL, host=HTTPBIN)
    shop = workload(CURL, "http://httpbin.org", aliases=(("192.0.2.7", "httpbin.org"),))
    (item,) = look(shop, findings=(passed,)).items
    assert item.fails_closed is False


def test_findings_go_to_whom_they_concern() -> None:
    about_host, about_workload, about_nobody = block(host=STRIPE), block(workload=CURL), block()
    elsewhere = block(workload=CURL, host=Host("elsewhere.org"))
    report = look(
        workload(CURL, "https://httpbin.org", "https://api.stripe.com"),
        findings=(about_host, about_workload, about_nobody, elsewhere),
    )
    assert {item.host: item.findings for item in report.items} == {
        HTTPBIN: (about_workload,),
        STRIPE: (about_host, about_workload),
    }
    assert report.findings == (about_nobody, elsewhere)
    assert set(report.all_findings) == {about_host, about_workload, about_nobody, elsewhere}


def test_what_can_be_done_now_comes_first_and_what_is_done_last() -> None:
    report = look(
        workload(CURL, "http://a.example.com", "https://b.example.com", "https://c.example.com"),
        findings=(block(workload=CURL, host=Host("b.example.com")),),
    )
    assert [item.host.name[0] for item in report.items] == ["c", "b", "a"]
    assert report.ready_hosts == (Host("c.example.com"),)


def test_ready_hosts_are_those_of_one_namespace() -> None:
    other = Ref("Deployment", "bank", "curl", "apps/v1")
    report = look(workload(CURL, "https://httpbin.org"), workload(other, "https://api.stripe.com"))
    assert (report.ready_hosts, report.ready_namespace) == ((STRIPE,), "bank")


def test_files_are_known_by_their_documents() -> None:
    assert look(workload(CURL, "https://httpbin.org", file="a.yaml")).in_files
    assert not look(workload(CURL, "https://httpbin.org")).in_files
