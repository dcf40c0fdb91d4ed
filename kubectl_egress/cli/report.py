"""`kubectl egress report`: the change, its evidence and the way back by hand, for a ticket."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from kubectl_egress.cli.migrate import Window, check_durations
from kubectl_egress.cli.options import Connection, Namespace, output_option
from kubectl_egress.cli.output import Ticker, check_format, emit, emit_document

FORMATS = ("html", "json", "markdown", "yaml")


def report(
    connection: Connection,
    hosts: Annotated[
        list[str] | None,
        typer.Argument(metavar="HOST", help="By default every host that is migrated.", show_default=False),
    ] = None,
    namespace: Namespace = "",
    window: Window = "15s",
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Whether to ask the sidecars for evidence.")
    ] = True,
    output: Annotated[str, output_option(*FORMATS)] = "markdown",
) -> int:
    """Write a page for a change ticket: what was migrated, the evidence, the way back.

    With the kubectl commands that take it back by hand, in the safe order. No value of a workload stands in it but the
    hosts: strings, Secrets and paths of URLs are left out. One HTML file, or Markdown; it needs no network to be read.

    \b
    Examples:
      kubectl egress report
      kubectl egress report httpbin.org -o html > change-4711.html
    """
    check_format(output, FORMATS)
    check_durations(window=window)
    from kubectl_egress.cli.report_cluster import ticket_of
    from kubectl_egress.report.ticket import ticket_document, ticket_html
    from kubectl_egress.report.ticket_markdown import ticket_markdown

    ticker = Ticker(sys.stderr)
    try:
        ticket = ticket_of(hosts or [], namespace, window if verify else "", connection, ticker.now)
    finally:
        ticker.end()
    if output in ("json", "yaml"):
        document = {"apiVersion": "egress.kubectl/v1", "kind": "ChangeReport", **ticket_document(ticket)}
        emit_document(document, output)
    else:
        emit(ticket_html(ticket) if output == "html" else ticket_markdown(ticket))
    return 0
