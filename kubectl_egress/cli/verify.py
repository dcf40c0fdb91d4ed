"""`kubectl egress verify`: proof from the proxies; exit status 3 when it is not proven."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from kubectl_egress.cli.migrate import Window, check_durations
from kubectl_egress.cli.options import Connection, History, Namespace, output_option
from kubectl_egress.cli.output import Ticker, animated, check_format, coloured, emit, emit_document, say, width
from kubectl_egress.errors import UsageError

if TYPE_CHECKING:
    from kubectl_egress.model import Verdict

FORMATS = ("json", "junit", "yaml", "wide")
REFUSED = 3
CLEAR = "\x1b[H\x1b[2J"


Hosts = Annotated[
    list[str] | None,
    typer.Argument(metavar="HOST", help="By default every host that is migrated.", show_default=False),
]
Watch = Annotated[bool, typer.Option("-w", "--watch", help="Go on, and say it anew after each window.")]
Wanted = Annotated[
    str,
    typer.Option(
        "--for",
        metavar="VERDICT",
        help="Wait until every verdict is this one (verified, silent, …), or until something leaks.",
        show_default=False,
    ),
]
Patience = Annotated[
    str, typer.Option("--timeout", metavar="TIME", help="How long to wait with --for (e.g. 5m); 0 means no limit.")
]


def verify(
    connection: Connection,
    history: History,
    hosts: Hosts = None,
    namespace: Namespace = "",
    window: Window = "15s",
    watch: Watch = False,
    wanted: Wanted = "",
    timeout: Patience = "5m",
    output: Annotated[str, output_option(*FORMATS)] = "",
) -> int:
    """Prove that the calls to migrated hosts leave over TLS.

    Reads every caller's proxies, their configuration and their own statistics, twice and more, and ends as soon as it knows. Exit status 3 unless every workload is
    verified for every host (with --for: unless every verdict is that one).

    \b
    Examples:
      kubectl egress verify
      kubectl egress verify httpbin.org -o json
      kubectl egress verify --for=verified --timeout 5m -o junit > verify.xml
      kubectl egress verify --prometheus auto --since 1h
    """
    check_format(output, FORMATS)
    check_durations(window=window, timeout=timeout, since=history.since)
    if watch and wanted:
        raise UsageError("--watch does not go with --for", "--watch goes on for ever, --for ends")
    _check_verdict(wanted)
    from kubectl_egress.cli.verify_cluster import Asked, verdicts_of, wait_for, watched

    asked = Asked(tuple(hosts or ()), namespace, window, connection, history)
    ticker = Ticker(sys.stderr)
    try:
        for found in watched(asked, ticker.now, ticker.line) if watch else ():
            ticker.end()
            emit(CLEAR if animated(sys.stdout) else "")
            _show(found, output)
            say(f"{datetime.now():%H:%M:%S}; Ctrl-C ends it.\n" if animated(sys.stderr) else "")
        found = wait_for(wanted, asked, timeout, ticker.now) if wanted else verdicts_of(asked, ticker.now)
    finally:
        ticker.end()
    _show(found, output)
    return 0 if all(str(verdict.judgement) == (wanted or "verified") for verdict in found) else REFUSED


def _check_verdict(wanted: str) -> None:
    if not wanted:
        return
    from kubectl_egress.model import Judgement

    known = [str(one) for one in Judgement]
    if wanted not in known:
        raise UsageError(f"--for: {wanted!r} is no verdict", f"it is one of {', '.join(known)}")


def _show(verdicts: tuple[Verdict, ...], output: str) -> None:
    from kubectl_egress.report.junit import verify_junit
    from kubectl_egress.report.verify import verify_document, verify_summary, verify_table

    if output == "junit":
        emit(verify_junit(verdicts))
    elif output in ("json", "yaml"):
        emit_document(verify_document(verdicts), output)
    else:
        emit(verify_table(verdicts, output == "wide", coloured(sys.stdout), width(sys.stdout)))
        say(verify_summary(verdicts))
