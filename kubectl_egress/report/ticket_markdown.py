"""A change ticket's page as Markdown, for a ticket that takes it (CommonMark with tables)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubectl_egress.report.table import one_line
from kubectl_egress.report.ticket import Ticket, moment, ticket_document


def ticket_markdown(ticket: Ticket) -> str:
    """The page."""
    return "\n".join(_markdown(ticket_document(ticket))) + "\n"


def _markdown(told: Mapping[str, Any]) -> Iterator[str]:
    hosts = ", ".join(one["host"] for one in told["migrations"])
    yield f"# TLS origination for {_text(hosts)}"
    yield ""
    yield f"Namespace `{_code(told['namespace'])}` of {_text(told['server'])}, as it was at {_text(moment(told['made']))}. kubectl egress {told['version']}."
    yield from _glance(told)
    for one in told["migrations"]:
        yield from ("", f"## {_text(one['host'])}", "")
        yield f"{_text(one['phase'])} by {_text(one['by'])} at {_text(moment(one['started']))} (run `{_code(one['run'])}`)."
        yield ""
        yield FAILS[one["fails"]].format(alias=_code(one["alias"]))
        yield from ("", "### What changed", "")
        yield from _table(
            ("Workload", "Object", "Field", "Before", "After"),
            [
                [
                    *(site[key] for key in ("workload", "object", "path", "before")),
                    site["after"] + (f" ×{site['count']}" if site["count"] > 1 else ""),
                ]
                for site in one["sites"]
            ],
        )
        yield ""
        yield from (f"- {_done(item)}: `{_code(item['name'])}`" for item in one["objects"])
        if one["drift"]:
            yield from ("", "### Changed since", "")
            yield from _table(
                ("What", "Object", "", "Remedy"),
                [[drift[key] for key in ("code", "object", "message", "remedy")] for drift in one["drift"]],
            )
    yield from _evidence(told)
    yield from _back(told)
    yield from ("", "## The objects, in full")
    for one in told["migrations"]:
        for item in one["objects"]:
            yield from ("", f"{_done(item)}: `{_code(item['name'])}`", "", *_fence(item["diff"], "diff"))


FAILS = {
    "closed": "**Fails closed:** in the pods the name leads to `{alias}`, which is routed nowhere. Without its sidecar a "
    "request fails, and none leaves in clear.",
    "guarded": "**Guarded:** without its sidecar a request leaves in clear only if the cluster's network does not enforce "
    "NetworkPolicies.",
    "open": "**Fails open:** without its sidecar a request leaves in clear.",
    "": "The mesh knows the host by name; its callers still encrypt by themselves.",
}


def _done(item: Mapping[str, Any]) -> str:
    return "Added" if item["added"] else "Changed"


def _glance(told: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "## At a glance", "")
    if not told["verified"]:
        yield "Nobody asked the proxies."
        return
    yield from (_text(told["summary"]), "")
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

    reasons = [one for one in told["verdicts"] if one["verdict"] != "verified" and one["reason"]]
    yield from ([""] if reasons else [])
    yield from (
        f"- **{one['verdict']}** {_text(one['workload'])}, {_text(one['host'])}: {_text(one['reason'])}"
        for one in reasons
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
        "see what the server answered, nor how fast. Now: of the workload, while its proxies were watched for this page.",
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
