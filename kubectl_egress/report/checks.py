"""Findings for a repository's checks: SARIF 2.1.0, and the workflow commands of GitHub Actions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from kubectl_egress import __version__, paths, urls
from kubectl_egress.findings.row import Row
from kubectl_egress.findings.rows import ROWS
from kubectl_egress.model import Evidence, Finding, Severity
from kubectl_egress.report.findings import about, worst_first

# docs.oasis-open.org/sarif/sarif/v2.1.0, appendix on the schema
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {Severity.BLOCK: "error", Severity.WARN: "warning", Severity.INFO: "note"}
# docs.github.com/actions, "Workflow commands": notice, warning and error.
COMMANDS = {Severity.BLOCK: "error", Severity.WARN: "warning", Severity.INFO: "notice"}


def sarif_document(findings: Iterable[Finding]) -> dict[str, Any]:
    """The findings as a SARIF log: one run, a rule for each code that occurs, a result for each finding."""
    found = worst_first(findings)
    codes = {finding.code for finding in found}
    rules = [row for row in ROWS if row.code in codes]
    driver = {"name": "kubectl-egress", "semanticVersion": __version__, "rules": [_rule(row) for row in rules]}
    order = [row.code for row in rules]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, order) for finding in found],
            }
        ],
    }


def _rule(row: Row) -> dict[str, Any]:
    return {
        "id": row.code,
        "shortDescription": {"text": row.title},
        "fullDescription": {"text": f"{row.what} {row.why}"},
        "help": {"text": row.remedy},
        "defaultConfiguration": {"level": LEVELS[row.severity]},
    }


def _result(finding: Finding, order: Sequence[str]) -> dict[str, Any]:
    identity = (finding.code, str(finding.workload), str(finding.host), str(finding.object), str(finding.steps))
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": order.index(finding.code),
        "level": LEVELS[finding.severity],
        "message": {"text": urls.shown(_text(finding))},
        # Without the line, which moves with every edit above it.
        "partialFingerprints": {"finding/v1": hashlib.sha256("\n".join(identity).encode()).hexdigest()},
    }
    if locations := [_location(one) for one in finding.evidence]:
        result["locations"] = locations[:1]
    if locations[1:]:
        result["relatedLocations"] = locations[1:]
    return result


def _text(finding: Finding) -> str:
    return f"{about(finding)}{finding.message}" + (f" → {finding.remedy}" if finding.remedy else "")


def _location(evidence: Evidence) -> dict[str, Any]:
    ref = evidence.object
    name = "/".join(part for part in (ref.namespace, ref.kind.lower(), ref.name) if part)
    where = f"{name}{paths.kubectl_path(evidence.steps)}" if evidence.steps else name
    location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": where, "kind": "resource"}]}
    if evidence.file and evidence.file != "-":
        location["physicalLocation"] = {
            "artifactLocation": {"uri": quote(evidence.file.removeprefix("./"))},
            "region": {"startLine": max(1, evidence.line)},
        }
    return location


def github_commands(findings: Iterable[Finding]) -> str:
    """One workflow command a line: `::error file=…,line=…,title=no-sidecar::deployment/shop: …`."""
    return "".join(_command(finding) for finding in worst_first(findings))


def _command(finding: Finding) -> str:
    place = next((one for one in finding.evidence if one.file and one.file != "-"), None)
    named = {"file": place.file.removeprefix("./"), "line": str(max(1, place.line))} if place else {}
    properties = ",".join(f"{key}={_property(value)}" for key, value in {**named, "title": finding.code}.items())
    lines = [f"{about(finding)}{finding.message}", *([f"→ {finding.remedy}"] if finding.remedy else [])]
    return f"::{COMMANDS[finding.severity]} {properties}::{_data(urls.shown(chr(10).join(lines)))}\n"


def _data(text: str) -> str:
    """As actions/toolkit escapes it (packages/core, command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def failing(findings: Iterable[Finding], severity: Severity) -> tuple[Finding, ...]:
    """The findings that are at least as bad."""
    worse = (Severity.BLOCK,) if severity is Severity.BLOCK else (Severity.BLOCK, Severity.WARN)
    return tuple(finding for finding in worst_first(findings) if finding.severity in worse)
