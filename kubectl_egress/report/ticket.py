"""A change ticket's page: what was migrated, the evidence, before and after, and the way back; as Markdown or HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubectl_egress import __version__, paths, urls
from kubectl_egress.drift import Migration
from kubectl_egress.journal import MeshRecord
from kubectl_egress.model import Body, Verdict
from kubectl_egress.plan import Command
from kubectl_egress.report.comparison import Calls, calls_text, comparison, share
from kubectl_egress.report.diff import body_diff
from kubectl_egress.report.latency import latency_of
from kubectl_egress.report.names import short_name
from kubectl_egress.report.pages import page
from kubectl_egress.report.table import one_line
from kubectl_egress.report.verify import fails


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
        "verdicts": [_verdict(one) for one in ticket.verdicts],
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
        "alias": journal.alias,
        "objects": [_object(record) for record in journal.mesh],
        "sites": [
            {
                "workload": short_name(caller.workload),
                "object": short_name(site.object),
                "path": paths.kubectl_path(site.steps),
                "before": f"https://{journal.host}",
                "after": f"http://{journal.host.name}" + (f":{journal.host.port}" if journal.host.port != 443 else ""),
            }
            for caller in journal.callers
            for site in caller.sites
        ],
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
    return page("ticket.html", ticket_document(ticket))


def ticket_markdown(ticket: Ticket) -> str:
    """The same for a ticket that takes Markdown (CommonMark with tables)."""
    return "\n".join(_markdown(ticket_document(ticket))) + "\n"


def _markdown(told: Mapping[str, Any]) -> Iterator[str]:
    hosts = ", ".join(one["host"] for one in told["migrations"])
    yield f"# TLS origination for {_text(hosts)}"
    yield ""
    yield f"Namespace `{_code(told['namespace'])}` of {_text(told['server'])}, as it was at {_text(told['made'])}. kubectl egress {told['version']}."
    yield from _glance(told)
    for one in told["migrations"]:
        yield from ("", f"## {_text(one['host'])}", "")
        yield f"{_text(one['phase'])} by {_text(one['by'])} at {_text(one['started'])} (run `{_code(one['run'])}`)."
        yield ""
        yield (
            f"In the pods the name leads to `{_code(one['alias'])}`, which is routed nowhere: without its sidecar a request fails, none leaves in clear."
            if one["alias"]
            else "**Fails open:** without its sidecar a request leaves in clear."
        )
        yield from ("", "### What changed", "")
        yield from _table(
            ("Workload", "Object", "Field", "Before", "After"),
            [[site[key] for key in ("workload", "object", "path", "before", "after")] for site in one["sites"]],
        )
        for item in one["objects"]:
            yield from (
                "",
                f"{'Added' if item['added'] else 'Changed'}: `{_code(item['name'])}`",
                "",
                *_fence(item["diff"], "diff"),
            )
        if one["drift"]:
            yield from ("", "### Changed since", "")
            yield from _table(
                ("What", "Object", "", "Remedy"),
                [[drift[key] for key in ("code", "object", "message", "remedy")] for drift in one["drift"]],
            )
    yield from _evidence(told)
    yield from _back(told)


def _glance(told: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "## At a glance", "")
    if not told["verified"]:
        yield "Nobody asked the proxies."
        return
    yield from _table(
        ("Workload", "Host", "Verdict", "Fails", "Requests", "Codes", "p50", "p95", "p99"),
        [
            [
                *(one[key] for key in ("workload", "host", "verdict", "fails", "requests", "codes")),
                *one["latency"].values(),
            ]
            for one in told["verdicts"]
        ],
    )


def _evidence(told: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "## Evidence", "")
    if not told["verified"]:
        yield "Nobody asked the proxies."
        return
    yield from ("Read from each pod's own proxy:", "")
    yield from _table(
        ("Pod", "Verdict", "Why", "TLS", "Sent to"),
        [
            [pod[key] for key in ("name", "verdict", "reason", "tls", "used")]
            for one in told["verdicts"]
            for pod in one["pods"]
        ],
    )
    yield from (
        "",
        "### Before and now",
        "",
        "Before: of all callers, since their proxies had started. While the application itself encrypted, the mesh could not "
        "see what the server answered, nor how fast. Now: of the workload, while it was verified.",
        "",
    )
    yield from _table(
        ("Workload", "Host", "", "Calls", "Failed on the way", "Errors of the server", "p95"),
        [
            [one["workload"], one["host"], when, *one[when].values()]
            for one in told["verdicts"]
            for when in ("before", "now")
        ],
    )


def _back(told: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "## The way back", "", "With the tool:", "", *_fence(told["undo"] + "\n", "sh"))
    if told["byHandTrouble"]:
        yield from ("", f"By hand: {_text(told['byHandTrouble'])}")
        return
    yield from ("", "By hand, in this order and no other; each command has to succeed before the next:", "")
    text = "".join(
        f"# {number}. {one_line(step['why'])}\n{step['line']}\n" for number, step in enumerate(told["byHand"], 1)
    )
    yield from _fence(text, "sh")


def _table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(headers)} |"
    yield f"|{' --- |' * len(headers)}"
    for row in rows:
        yield f"| {' | '.join(_text(str(cell)) for cell in row)} |"


def _text(text: str) -> str:
    """Text in which nothing is markup."""
    escaped = "".join(f"\\{char}" if char in r"\`*_[]<>|#~" else char for char in one_line(text))
    return escaped or "–"


def _code(text: str) -> str:
    return one_line(text).replace("`", "'")


def _fence(text: str, language: str) -> list[str]:
    """A block that nothing in it can end."""
    longest = max((len(run) for line in text.splitlines() for run in [line] if set(run) == {"`"}), default=0)
    mark = "`" * max(3, longest + 1)
    return [f"{mark}{language}", *text.rstrip("\n").splitlines(), mark]
