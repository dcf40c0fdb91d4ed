"""Findings as text under a table and as part of a document."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from kubectl_egress import paths, urls
from kubectl_egress.model import Finding, Severity
from kubectl_egress.report.names import reference, short_name

RANK = {severity: rank for rank, severity in enumerate((Severity.BLOCK, Severity.WARN, Severity.INFO))}
INDENT = " " * 7


def findings_text(findings: Sequence[Finding], width: int | None = None) -> str:
    """`block  no-sidecar  deployment/shop: message`, the remedy under it; the worst first, each once.

    `width` wraps, None leaves every message on one line (so that grep finds it).
    """
    lines = []
    for finding in dict.fromkeys(sorted(findings, key=_order)):
        lines += _wrapped(f"{finding.severity:<5}  {finding.code}  {_about(finding)}{finding.message}", width)
        if finding.remedy:
            lines += _wrapped(f"{INDENT}→ {finding.remedy}", width)
    return urls.shown("".join(line + "\n" for line in lines))


def _order(finding: Finding) -> tuple[int, str, str, str]:
    return RANK[finding.severity], finding.code, str(finding.workload or ""), str(finding.host or "")


def _about(finding: Finding) -> str:
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
    return document
