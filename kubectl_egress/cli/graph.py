"""`kubectl egress graph`: workloads, external hosts, how each edge is seen and how it goes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from kubectl_egress.cli.migrate import check_durations
from kubectl_egress.cli.options import Connection, History, Selection, Targets, output_option
from kubectl_egress.cli.output import Ticker, check_format, coloured, emit, emit_document, say, width

FORMATS = ("dot", "html", "json", "mermaid", "yaml")


def graph(
    selection: Selection,
    connection: Connection,
    history: History,
    targets: Targets = None,
    window: Annotated[
        str, typer.Option("--window", metavar="TIME", help="How long to watch the sidecars for rates (e.g. 6s, 1m).")
    ] = "6s",
    output: Annotated[str, output_option(*FORMATS)] = "",
) -> int:
    """Draw which workloads call which external hosts, and how well the mesh sees it.

    With rate, error share and p95, as far as the sidecars (or, with --prometheus, its series) know them. For the terminal, as Mermaid or DOT, or as one HTML
    page that needs no network, works with the keyboard, and prints.

    \b
    Examples:
      kubectl egress graph
      kubectl egress graph deploy/curl -o mermaid
      kubectl egress graph -A -o html > egress.html
      kubectl egress graph --prometheus auto --since 1h
    """
    check_format(output, FORMATS)
    check_durations(window=window, since=history.since)
    from kubectl_egress.cli.graph_cluster import graph_of
    from kubectl_egress.report.graph import (
        graph_document,
        graph_dot,
        graph_html,
        graph_mermaid,
        graph_summary,
        graph_text,
    )

    ticker = Ticker(sys.stderr)
    try:
        found = graph_of(targets or (), selection, window, history, connection, ticker.now)
    finally:
        ticker.end()
    if output in ("json", "yaml"):
        emit_document(graph_document(found), output)
        return 0
    pictures = {"html": graph_html, "dot": graph_dot, "mermaid": graph_mermaid}
    emit(pictures[output](found) if output else graph_text(found, coloured(sys.stdout), width(sys.stdout)))
    say(graph_summary(found))
    return 0
