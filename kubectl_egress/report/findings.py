"""Findings as text under a table and as part of a document."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from kubectl_egress import paths, urls
from kubectl_egress.model import Evidence, Finding, Severity
from kubectl_egress.report.names import reference, short_name

RANK = {severity: rank for rank, severity in enumerate((Severity.BLOCK, Severity.WARN, Severity.INFO))}
INDENT = " " * 7


def findings_text(findings: Sequence[Finding], width: int | None = None) -> str:
    """`block  no-sidecar  deployment/shop: message`, the remedy under it; the worst first, each once.

    `width` wraps, None leaves every message on one line (so that grep finds it).
    """
    lines = []
    for finding in worst_first(findings):
        lines += _wrapped(f"{finding.severity:<5}  {finding.code}  {about(finding)}{finding.message}", width)
        if finding.remedy:
            lines += _wrapped(f"{INDENT}→ {finding.remedy}", width)
    return urls.shown("".join(line + "\n" for line in lines))


def _order(finding: Finding) -> tuple[int, str, str, str]:
    return RANK[finding.severity], finding.code, str(finding.workload or ""), str(finding.host or "")


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each once, those that block first."""
    return tuple(dict.fromkeys(sorted(findings, key=_order)))


def about(finding: Finding) -> str:
    """Whom it concerns, with a colon; empty where it concerns nobody in particular."""
    named = [short_name(finding.workload)] if finding.workload else []
    named += [str(finding.host)] if finding.host else []
    return f"{', '.join(named)}: " if named else ""


def _wrapped(line: str, width: int | None) -> list[str]:
    if width is None:
        return [line]
    return textwrap.wrap(
        line,
        max(width, 40),
        subsequent_indent=INDENT + "  ",
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def finding_document(finding: Finding) -> dict[str, Any]:
    """The finding's part of a document."""
    document: dict[str, Any] = {
        "code": finding.code,
        "severity": str(finding.severity),
        "message": urls.shown(finding.message),
        "remedy": urls.shown(finding.remedy),
    }
    if finding.workload:
        document["workload"] = reference(finding.workload)
    if finding.host:
        document["host"] = str(finding.host)
    if finding.object:
        document["object"] = reference(finding.object)
    if finding.steps:
        document["path"] = paths.kubectl_path(finding.steps)
    if finding.evidence:
        document["evidence"] = [_evidence_document(one) for one in finding.evidence]
    return document


def _evidence_document(evidence: Evidence) -> dict[str, Any]:
    document: dict[str, Any] = {"object": reference(evidence.object)}
    if evidence.steps:
        document["path"] = paths.kubectl_path(evidence.steps)
    if evidence.value:
        document["value"] = urls.shown(evidence.value)
    if evidence.file:
        document |= {"file": evidence.file, "line": evidence.line}
    return document
