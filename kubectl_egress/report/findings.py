"""Findings as text under a table and as part of a document."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from kubectl_egress import paths, urls
from kubectl_egress.findings.rows import ROWS
from kubectl_egress.model import Evidence, Finding, Ref, Severity
from kubectl_egress.report.names import reference, short_name
from kubectl_egress.report.table import counted

RANK = {severity: rank for rank, severity in enumerate((Severity.BLOCK, Severity.WARN, Severity.INFO))}
INDENT = " " * 7
FEW = 3
"""As many findings of one code are shown one by one where they are grouped."""


def findings_text(
    findings: Iterable[Finding], width: int | None = None, *, grouped: bool = False, spaces: bool = False
) -> str:
    """`block  no-sidecar  deployment/shop: message`, the remedy under it; the worst first, each once.

    `width` wraps, None leaves every message on one line (so that grep finds it). `grouped`: more than a few of one code
    are two lines. `spaces`: workloads with their namespaces.
    """
    lines = []
    for group in _by_code(findings):
        if grouped and len(group) > FEW:
            lines += _wrapped(_together(group, spaces), width)
            lines += _wrapped(f"{INDENT}→ kubectl egress explain {group[0].code}; -o wide lists each", width)
            continue
        lines += [line for finding in group for line in _lines(finding, width, spaces)]
    return urls.shown("".join(line + "\n" for line in lines))


def _by_code(findings: Iterable[Finding]) -> list[list[Finding]]:
    groups: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in worst_first(findings):
        groups.setdefault((finding.severity, finding.code), []).append(finding)
    return list(groups.values())


def _together(group: Sequence[Finding], spaces: bool) -> str:
    """`block  no-sidecar  37 workloads (deployment/a, deployment/b, …): the workload's pods run without a sidecar`."""
    named = list(dict.fromkeys(_name(finding.workload, spaces) for finding in group if finding.workload))
    hosts = list(dict.fromkeys(str(finding.host) for finding in group if finding.host))
    whom, noun = (named, "workload") if named else (hosts, "host")
    shown = ", ".join(whom[:FEW]) + (", …" if len(whom) > FEW else "")
    first = group[0]
    title = next((row.title for row in ROWS if row.code == first.code), first.message)
    return f"{first.severity:<5}  {first.code}  {counted(len(whom), noun)} ({shown}): {title}"


def _lines(finding: Finding, width: int | None, spaces: bool) -> list[str]:
    lines = _wrapped(f"{finding.severity:<5}  {finding.code}  {about(finding, spaces)}{finding.message}", width)
    return lines + (_wrapped(f"{INDENT}→ {finding.remedy}", width) if finding.remedy else [])


def _order(finding: Finding) -> tuple[int, str, str, str]:
    return RANK[finding.severity], finding.code, str(finding.workload or ""), str(finding.host or "")


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each once, those that block first."""
    return tuple(dict.fromkeys(sorted(findings, key=_order)))


def about(finding: Finding, spaces: bool = False) -> str:
    """Whom it concerns, with a colon; empty where it concerns nobody in particular. `spaces`: with its namespace."""
    named = [_name(finding.workload, spaces)] if finding.workload else []
    named += [str(finding.host)] if finding.host else []
    return f"{', '.join(named)}: " if named else ""


def _name(workload: Ref, spaces: bool) -> str:
    return f"{workload.namespace} {short_name(workload)}" if spaces and workload.namespace else short_name(workload)


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
