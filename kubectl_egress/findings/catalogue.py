"""All findings by code: run them over a survey, explain one."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Sequence

from kubectl_egress.errors import EgressError
from kubectl_egress.findings.aliases import past_the_alias
from kubectl_egress.findings.evidence import evidence_of
from kubectl_egress.findings.row import Row
from kubectl_egress.findings.rows import ROWS
from kubectl_egress.findings.scope import Found, Scope, make_scope
from kubectl_egress.journal import from_config_map
from kubectl_egress.model import AS_BEFORE, CallSite, Finding, Guard, Host, Origination, Ref, Severity, Survey

_BY_CODE = {row.code: row for row in ROWS}
_RANK = {severity: rank for rank, severity in enumerate((Severity.BLOCK, Severity.WARN, Severity.INFO))}
_OF_OTHERS = ("host-not-visible", "rule-shadowed", "entry-conflict", "route-conflict")
_EFFECT = {
    Severity.BLOCK: "stops a migration before anything is changed",
    Severity.WARN: "is said, and stops nothing",
    Severity.INFO: "is said, and stops nothing",
}


def codes() -> tuple[str, ...]:
    """Every code, in the catalogue's order."""
    return tuple(_BY_CODE)


def check(
    survey: Survey,
    sites: Sequence[CallSite],
    hosts: Sequence[Host] | None,
    *,
    fail_open: bool = False,
    migrating: bool = True,
    origination: Origination = AS_BEFORE,
    guard: Guard | None = None,
) -> tuple[Finding, ...]:
    """What a user has to know before the hosts are migrated, each once: the worst first, then by code and workload.

    `hosts` None: every external host that a call site reaches with encryption. `fail_open`: without the host alias, so
    that what would only keep the alias from working is none. `migrating` False: the state alone is of interest
    (`inspect` of what is done, `verify`), not whether a change could be made. `origination`: what was asked of the sidecar;
    `guard`: what of NetworkPolicies.
    """
    scope = make_scope(survey, sites, hosts, fail_open=fail_open, origination=origination, guard=guard)
    found = {_finding(row, one, scope) for row in ROWS if migrating or not row.changes for one in row.check(scope)}
    return tuple(sorted(found, key=_order))


def unclosed(survey: Survey, sites: Sequence[CallSite], hosts: Sequence[Host]) -> frozenset[tuple[Ref | None, Host]]:
    """The workloads (None: all of them) and hosts whose alias is passed by: with it, too, they do not fail closed."""
    return past_the_alias(make_scope(survey, sites, hosts, fail_open=False))


def conflicts(survey: Survey) -> tuple[Finding, ...]:
    """What others have for hosts that are migrated already, and that keeps the migration's own objects from their effect.

    As `check` says it before a migration; workloads are those that the journals name.
    """
    journals = [from_config_map(document.body) for document in survey.journals]
    own = {_identity(one.ref) for journal in journals for one in journal.mesh}
    found: set[Finding] = set()
    for fail_open in (False, True):
        hosts = [journal.host for journal in journals if bool(journal.alias) is not fail_open]
        scope = make_scope(survey, (), hosts, fail_open=fail_open)
        found |= {_finding(_BY_CODE[code], one, scope) for code in _OF_OTHERS for one in _BY_CODE[code].check(scope)}
    others = (one for one in found if one.object is None or _identity(one.object) not in own)
    return tuple(sorted(others, key=_order))


def _identity(ref: Ref) -> tuple[str, str, str]:
    return ref.kind, ref.namespace, ref.name


def ignorable(code: str) -> bool:
    """Whether a user may go on in spite of it (`--ignore CODE`); KeyError for an unknown code."""
    return _BY_CODE[code].ignorable


def explain(code: str) -> str:
    """One page on a finding: what, why, remedy, and whether it can be ignored.

    Raises EgressError for an unknown code, with those that are spelled like it.
    """
    row = _BY_CODE.get(code.strip().lower())
    if row is None:
        near = difflib.get_close_matches(code.strip().lower(), _BY_CODE, n=3)
        remedy = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(_BY_CODE)}"
        raise EgressError(f"there is no finding {code!r}", remedy)
    ignore = (
        "Yes: nothing can leave in clear because of it."
        if row.ignorable
        else "No: while it is there, a call could fail, or leave in clear."
    )
    parts = (("What", row.what), ("Why", row.why), ("Remedy", row.remedy), ("Can it be ignored?", ignore))
    page = [f"{row.code} ({row.severity}): {row.title}", f"It {_EFFECT[row.severity]}."]
    for heading, text in parts:
        page += [
            "",
            heading,
            textwrap.fill(text, 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False),
        ]
    return "\n".join(page) + "\n"


def _finding(row: Row, found: Found, scope: Scope) -> Finding:
    return Finding(
        code=row.code,
        severity=found.severity or row.severity,
        message=found.message,
        remedy=found.remedy,
        workload=found.workload,
        host=found.host,
        object=found.object,
        steps=found.steps,
        evidence=evidence_of(found, scope),
    )


def _order(finding: Finding) -> tuple[int, str, str, str, str, str, str]:
    places = (str(finding.workload or ""), str(finding.host or ""), str(finding.object or ""))
    return (_RANK[finding.severity], finding.code, *places, str(finding.steps), finding.message)
