"""What closes a workload's calls without a sidecar, as `verify` says it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubectl_egress import mesh
from kubectl_egress.journal import Journal
from kubectl_egress.model import Body, Host, Judgement, Origination, Ref, Verdict
from kubectl_egress.policies import guard_policy
from kubectl_egress.report.verify import verify_document, verify_table
from kubectl_egress.verify import with_closing, without_bystanders
from tests.build import NAMESPACE, deployment, document
from tests.build_mesh import HOST, survey_of

SHOP = Ref("Deployment", NAMESPACE, "shop")
OTHER = Ref("Deployment", NAMESPACE, "other")
SILENT = Verdict(HOST, SHOP, Judgement.SILENT, "configured, but no request in 15 s", False, ())
NAMED = Journal(HOST, NAMESPACE, "migrated", "", "", "", "", origination=Origination(short_name="partner"))
SERVICE = mesh.short_service("partner", NAMESPACE)
GUARD = guard_policy(mesh.guard_name(HOST, SHOP), NAMESPACE, {"matchLabels": {"app": "shop"}}, ())


def closing(verdict: Verdict, *objects: Body, env: dict[str, str] | None = None, short: bool = True) -> Verdict:
    survey, sites = survey_of(deployment("shop", env=env or {}), objects=[document(one) for one in objects])
    return with_closing(verdict, survey, [NAMED] if short else [], sites)


@pytest.mark.parametrize(
    ("said", "closed", "by", "word"),
    [
        ({}, False, [], "open"),
        ({"objects": [SERVICE]}, True, ["Service partner, which has no pods"], "closed"),
        ({"objects": [SERVICE], "short": False}, False, [], "open"),
        ({"objects": [SERVICE], "env": {"API": "http://httpbin.org/"}}, False, [], "open"),
        ({"objects": [{**SERVICE, "spec": {**SERVICE["spec"], "selector": {"app": "x"}}}]}, False, [], "open"),
        ({"objects": [{**SERVICE, "spec": {"type": "ExternalName"}}]}, False, [], "open"),
        ({"objects": [{**SERVICE, "metadata": {"name": "partner", "namespace": NAMESPACE}}]}, False, [], "open"),
        (
            {"objects": [GUARD]},
            False,
            ["NetworkPolicy egress-httpbin.org.deployment.shop, where the network enforces it"],
            "guarded",
        ),
    ],
)
def test_what_closes_it(said: dict[str, Any], closed: bool, by: list[str], word: str) -> None:
    found = closing(SILENT, *said.pop("objects", ()), **said)
    assert (found.fails_closed, list(found.closed_by)) == (closed, by)
    assert verify_document([found])["items"][0]["closedBy"] == by
    table = verify_table([found], wide=True)
    assert f" {word} " in table
    assert not by or f"{word:<12}  deployment/shop, httpbin.org: by {by[0]}\n" in table


def test_an_alias_and_a_guard_are_both_said() -> None:
    aliased = replace(SILENT, fails_closed=True, closed_by=("the host alias 192.0.2.17",))
    found = closing(aliased, GUARD)
    assert (found.fails_closed, len(found.closed_by)) == (True, 2)
    assert " closed " in verify_table([found])


@pytest.mark.parametrize("passed", [(SHOP, HOST), (None, HOST)])
def test_an_alias_that_is_passed_by_closes_nothing(passed: tuple[Ref | None, Host]) -> None:
    aliased = replace(SILENT, fails_closed=True, closed_by=("the host alias 192.0.2.17",))
    survey, sites = survey_of(deployment("shop"), objects=[document(GUARD)])
    found = with_closing(aliased, survey, [], sites, frozenset({passed}))
    assert (found.fails_closed, found.guarded) == (False, True)
    assert found.closed_by == (f"NetworkPolicy {GUARD['metadata']['name']}, where the network enforces it",)
    assert with_closing(aliased, survey, [], sites, frozenset({(OTHER, HOST)})).fails_closed


def test_who_does_not_call_a_short_name_is_no_matter() -> None:
    busy = replace(SILENT, workload=OTHER, judgement=Judgement.VERIFIED)
    elsewhere = replace(SILENT, host=Host("other.example.com"))
    assert without_bystanders([SILENT, busy, elsewhere], [NAMED], []) == (busy, elsewhere), "each host for itself"
    _, sites = survey_of(deployment("shop", env={"API": "http://httpbin.org/"}))
    assert without_bystanders([SILENT, busy], [NAMED], sites) == (SILENT, busy)
    assert without_bystanders([SILENT], [NAMED], []) == (SILENT,)
    lost = replace(SILENT, judgement=Judgement.UNCONFIGURED)
    assert without_bystanders([lost, busy], [NAMED], []) == (lost, busy)
