"""`kubectl egress verify`: proof from the proxies; exit status 3 when it is not proven."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from kubectl_egress.cli.migrate import Window, check_durations
from kubectl_egress.cli.options import Connection, Namespace, output_option
from kubectl_egress.cli.output import Ticker, check_format, coloured, emit, emit_document, say

FORMATS = ("json", "yaml", "wide")
REFUSED = 3


def verify(
    connection: Connection,
    hosts: Annotated[
        list[str] | None,
        typer.Argument(metavar="HOST", help="By default every host that is migrated.", show_default=False),
    ] = None,
    namespace: Namespace = "",
    window: Window = "15s",
    output: Annotated[str, output_option(*FORMATS)] = "",
) -> int:
    """Prove that the calls to migrated hosts leave over TLS.

    Reads every caller's proxies, their configuration and their own statistics, twice and more, and ends as soon as it knows. Exit status 3 unless every workload is
    verified for every host.

    \b
    Examples:
      kubectl egress verify
      kubectl egress verify httpbin.org -o json
    """
    check_format(output, FORMATS)
    check_durations(window=window)
    from kubectl_egress.cli.verify_cluster import verdicts_of
    from kubectl_egress.report import all_verified, verify_document, verify_summary, verify_table

    ticker = Ticker(sys.stderr)
    try:
        verdicts = verdicts_of(hosts or [], namespace, window, connection, ticker.now)
    finally:
        ticker.end()
    if output in ("json", "yaml"):
        emit_document(verify_document(verdicts), output)
    else:
        emit(verify_table(verdicts, output == "wide", coloured(sys.stdout)))
        say(verify_summary(verdicts))
    return 0 if all_verified(verdicts) else REFUSED
