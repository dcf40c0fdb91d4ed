from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress.findings import check
from kubectl_egress.model import Finding, Host, Severity
from tests.build import NAMESPACE, deployment, pod
from tests.build_mesh import HOST, codes_of, entry, rule, survey_of, tls_on_80
from tests.findings_cases import URL, Case, case, denied, scripted, shop
from tests.findings_preflight_cases import SILENT, TRIGGERS

T = TypeVar("T")


def run(one: Case) -> tuple[Finding, ...]:
    survey, sites = one.make()
    return check(survey, sites, one.hosts, **one.options)


@pytest.mark.parametrize(
    ("code", "one"),
    [pytest.param(code, one, id=f"{code}: {one.name}") for code, all_ in TRIGGERS.items() for one in all_],
)
def test_found(code: str, one: Case) -> None:
    found = [finding for finding in run(one) if finding.code == code]
    assert found
    for finding in found:
        assert finding.message
        assert finding.remedy
        assert "\n" not in finding.message + finding.remedy


@pytest.mark.parametrize(
    ("code", "one"),
    [pytest.param(code, one, id=f"{code}: {one.name}") for code, all_ in SILENT.items() for one in all_],
)
def test_not_found(code: str, one: Case) -> None:
    assert code not in codes_of(run(one))


def test_a_workload_that_is_ready_has_no_findings() -> None:
    survey, sites = survey_of(
        shop(), objects=[entry(), rule(trafficPolicy=tls_on_80())], pods={"shop": [pod("shop-1")]}, live=True
    )
    assert check(survey, sites, [HOST]) == ()
    assert check(survey, sites, None) == ()


def test_nothing_is_found_of_hosts_that_nobody_calls() -> None:
    survey, sites = survey_of(shop(labels={"sidecar.istio.io/inject": "false"}))
    assert check(survey, sites, [Host("example.com")]) == ()
    assert codes_of(check(survey, sites, None)) == ["no-sidecar"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("port", Severity.BLOCK),
        ("composed", Severity.BLOCK),
        ("one of two", Severity.WARN),
        ("comment", Severity.INFO),
    ],
)
def test_what_cannot_be_rewritten_blocks_only_where_nothing_else_can(name: str, expected: Severity) -> None:
    one = next(one for one in TRIGGERS["not-rewritable"] if one.name == name)
    assert {finding.severity for finding in run(one) if finding.code == "not-rewritable"} == {expected}


def test_a_comment_makes_no_caller() -> None:
    survey, sites = survey_of(scripted(f"# see {URL}\nsleep 1", labels={"sidecar.istio.io/inject": "false"}))
    assert len(sites) == 1
    assert check(survey, sites, None) == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pods", Severity.BLOCK),
        ("entries", Severity.BLOCK),
        ("elsewhere", Severity.WARN),
        ("something else", Severity.WARN),
        ("no Istio", Severity.BLOCK),
        ("sidecars", Severity.BLOCK),
    ],
)
def test_only_what_a_plan_needs_blocks_when_it_cannot_be_read(name: str, expected: Severity) -> None:
    one = next(one for one in TRIGGERS["no-permission"] if one.name == name)
    assert [finding.severity for finding in run(one)] == [expected]


def test_a_finding_says_where() -> None:
    (finding,) = [one for one in run(TRIGGERS["port-not-captured"][0]) if one.code == "port-not-captured"]
    assert str(finding.workload and finding.workload.name) == "shop"
    assert finding.steps == (
        *("spec", "template", "metadata", "annotations"),
        "traffic.sidecar.istio.io/excludeOutboundPorts",
    )
    assert 'is "9090, 80"' in finding.message
    assert "excludeOutboundPorts" in finding.remedy


def test_a_shadowing_rule_is_named_with_what_is_wrong_with_it() -> None:
    (finding,) = run(TRIGGERS["rule-shadowed"][0])
    assert finding.object == rule().ref
    assert finding.host == HOST
    assert finding.workload is None
    assert "mode: DISABLE" in finding.message


def test_a_conflict_of_one_namespace_does_not_concern_another() -> None:
    bad = rule(trafficPolicy=tls_on_80(mode="DISABLE"))
    survey, sites = survey_of(shop(), deployment("far", "elsewhere", env={"API": URL}), objects=[bad])
    (finding,) = check(survey, sites, None)
    assert finding.workload is not None
    assert finding.workload.namespace == NAMESPACE


def test_a_caller_in_clear_gets_the_alias_and_so_has_to_be_ready_for_it() -> None:
    old = deployment("old", env={"API": "http://httpbin.org/"}, labels={"sidecar.istio.io/inject": "false"})
    survey, sites = survey_of(shop(), old)
    assert codes_of(check(survey, sites, None)) == ["no-sidecar", "plain-callers"]
    assert codes_of(check(survey, sites, None, fail_open=True)) == ["plain-callers"]


def test_a_host_on_another_port_is_no_host_that_another_port_cuts_off() -> None:
    survey, sites = survey_of(shop(env={"API": "https://httpbin.org:8443/", "HOST": "httpbin.org:8443"}))
    assert codes_of(check(survey, sites, None)) == []


def test_secrets_in_a_url_are_in_no_message() -> None:
    survey, sites = survey_of(
        shop(env={"A": "https://me:hunter2@httpbin.org:8443/?token=hunter2", "B": f"{URL}?api_key=hunter2"}),
    )
    found = check(survey, sites, None)
    assert {"secret-in-url", "two-ports"} <= set(codes_of(found))
    assert "hunter2" not in str(found)


ALL_CASES = [one for cases in (TRIGGERS, SILENT) for several in cases.values() for one in several]


@given(st.sampled_from(ALL_CASES), st.randoms(use_true_random=False))
def test_the_order_of_what_was_read_changes_nothing(one: Case, random: Random) -> None:
    survey, sites = one.make()
    again = replace(
        survey, workloads=_shuffled(survey.workloads, random), mesh_objects=_shuffled(survey.mesh_objects, random)
    )
    found = check(survey, sites, one.hosts, **one.options)
    assert check(again, _shuffled(sites, random), one.hosts, **one.options) == found
    assert len(set(found)) == len(found)
    ranks = [list(Severity).index(finding.severity) for finding in found]
    assert ranks == sorted(ranks)


def _shuffled(several: tuple[T, ...], random: Random) -> tuple[T, ...]:
    return tuple(random.sample(several, len(several)))


def test_what_concerns_the_change_alone_is_left_out_when_nothing_changes() -> None:
    one = case("", shop(labels={"sidecar.istio.io/inject": "false"}), live=True, **denied("pods"))
    survey, sites = one.make()
    assert set(codes_of(check(survey, sites, None, migrating=False))) == {"no-sidecar", "no-permission"}
