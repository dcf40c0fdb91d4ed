"""A change ticket's page: what was migrated, the evidence, before and after, and the way back; its values, and as HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_egress import __version__, paths, urls
from kubectl_egress.drift import Migration
from kubectl_egress.journal import Journal, MeshRecord
from kubectl_egress.model import Body, Verdict
from kubectl_egress.plan import Command
from kubectl_egress.report.comparison import Calls, calls_text, comparison, share
from kubectl_egress.report.diff import body_diff
from kubectl_egress.report.latency import latency_of
from kubectl_egress.report.names import short_name
from kubectl_egress.report.pages import page
from kubectl_egress.report.table import one_line
from kubectl_egress.report.verify import fails, verify_summary, worst_first


@dataclass(frozen=True, slots=True)
class Ticket:
    """Everything that the page says."""

    namespace: str
    server: str
    """The API server's address."""
    made: str
    """UTC, ISO 8601."""
    migrations: tuple[Migration, ...]
    verdicts: tuple[Verdict, ...]
    verified: bool
    """Whether anybody asked for verdicts."""
    undo: str
    """The command that takes all of it back."""
    by_hand: tuple[Command, ...]
    by_hand_trouble: str = ""
    """Why there are no commands, if there are none."""


def ticket_document(ticket: Ticket) -> dict[str, Any]:
    """What the page says, as values: nothing in it is markup, and nothing is secret."""
    return {
        "version": __version__,
        "namespace": ticket.namespace,
        "server": ticket.server,
        "made": ticket.made,
        "migrations": [_migration(one) for one in ticket.migrations],
        "verified": ticket.verified,
        "verdicts": [_verdict(one) for one in worst_first(ticket.verdicts)],
        "summary": verify_summary(ticket.verdicts).strip(),
        "undo": ticket.undo,
        "byHand": [{"why": urls.shown(one.why), "line": one.line} for one in ticket.by_hand],
        "byHandTrouble": urls.shown(ticket.by_hand_trouble),
    }


def _migration(migration: Migration) -> dict[str, Any]:
    journal = migration.journal
    return {
        "host": str(journal.host),
        "phase": journal.phase,
        "run": journal.run,
        "by": journal.by,
        "started": journal.started,
        "fails": migration.fails,
        "alias": journal.alias,
        "objects": [_object(record) for record in journal.mesh],
        "sites": _sites(journal),
        "drift": [
            {
                "code": one.code,
                "object": short_name(one.object),
                "message": urls.shown(one.message),
                "remedy": one.remedy,
            }
            for one in migration.drifts
        ],
    }


def _sites(journal: Journal) -> list[dict[str, Any]]:
    """Each field once, with how many URLs of the host in it changed."""
    fields = Counter(
        (short_name(caller.workload), short_name(site.object), paths.kubectl_path(site.steps))
        for caller in journal.callers
        for site in caller.sites
    )
    return [
        {
            "workload": workload,
            "object": name,
            "path": path,
            "before": f"https://{journal.host}",
            "after": f"http://{journal.host.name}",
            "count": count,
        }
        for (workload, name, path), count in fields.items()
    ]


def moment(time: str) -> str:
    """`2026-01-31 12:00:00 UTC`."""
    return time.replace("T", " ").replace("+00:00", " UTC")


def _object(record: MeshRecord) -> dict[str, Any]:
    return {
        "name": short_name(record.ref),
        "added": record.before is None,
        "diff": body_diff(_named(record, record.before), _named(record, record.after)),
    }


def _named(record: MeshRecord, body: Body | None) -> Mapping[str, Any] | None:
    return None if body is None else {"apiVersion": record.ref.api_version, "kind": record.ref.kind, **body}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    compared = comparison(verdict)
    return {
        "workload": short_name(verdict.workload),
        "host": str(verdict.host),
        "verdict": str(verdict.judgement),
        "reason": urls.shown(one_line(verdict.reason)),
        "fails": fails(verdict),
        "requests": sum(verdict.by_code.values()),
        "codes": ", ".join(f"{code}×{count}" for code, count in verdict.by_code.items()),
        "latency": {key: _milliseconds(value) for key, value in latency_of(verdict).items()},
        "before": _calls(compared.before if compared else None),
        "now": _calls(compared.now if compared else None),
        "pods": [
            {
                "name": pod.pod.name,
                "verdict": str(pod.judgement),
                "reason": urls.shown(one_line(pod.reason)),
                "tls": _tls(pod.evidence),
                "used": _used(pod.evidence),
            }
            for pod in verdict.pods
        ],
    }


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms" if value >= 1 else f"{value:.1f} ms"


def _calls(calls: Calls | None) -> dict[str, str]:
    """What failed, what the server refused and how long it took, in words; `unknown` where nobody could see it."""
    if calls is None:
        return dict.fromkeys(("calls", "failed", "errors", "p95"), "unknown")
    return {
        "calls": calls_text(calls),
        "failed": share(calls.failed),
        "errors": share(calls.errors),
        "p95": "unknown" if calls.p95 is None else _milliseconds(calls.p95),
    }


def _tls(evidence: Mapping[str, Any]) -> str:
    clusters = (evidence.get("configured") or {}).get("clusters") or []
    tls = next((one["tls"] for one in clusters if one.get("tls")), None)
    if tls is None:
        return "no TLS"
    names = ", ".join(tls["subjectAltNames"]) or ("the request's own" if tls["autoSan"] else "any")
    return f"SNI {tls['sni'] or 'the request’s own'}, certificate for {names}, CA {tls['ca'] or 'any'}"


def _used(evidence: Mapping[str, Any]) -> str:
    endpoints = (evidence.get("used") or {}).get("endpoints") or {}
    return ", ".join(f"{address} ×{count}" for address, count in endpoints.items())


def ticket_html(ticket: Ticket) -> str:
    """One self-contained page."""
    return page("ticket.html", {**ticket_document(ticket), "moment": moment})
