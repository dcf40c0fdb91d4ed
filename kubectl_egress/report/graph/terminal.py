"""A graph for a terminal: each workload, and a branch for each host."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

from kubectl_egress import urls
from kubectl_egress.graph import Edge, Graph, Health
from kubectl_egress.model import Visibility
from kubectl_egress.report.colour import highlighted, painted
from kubectl_egress.report.graph.document import errors_text, latency_text, rate_text
from kubectl_egress.report.names import short_name
from kubectl_egress.report.table import counted, one_line

LINES = {
    Visibility.FULL: "━━▶",
    Visibility.NAMED: "──▶",
    Visibility.OPAQUE: "╌╌▶",
    Visibility.BLOCKED: "──✕",
    Visibility.UNKNOWN: "··▶",
}


def graph_text(graph: Graph, colour: bool = False, width: int | None = None) -> str:
    """The graph; '' where no workload calls anything outside. Notes that do not fit into `width` have a line of their own."""
    columns = _Columns(*(max((len(one(edge)) for edge in graph.edges), default=0) for one in TOLD))
    parts = []
    for workload, found in groupby(graph.edges, key=lambda edge: edge.workload):
        edges = list(found)
        where = "" if graph.namespace else f"{workload.namespace}  "
        parts.append(f"{painted(where + short_name(workload), 'bold', colour)}\n")
        for edge in edges:
            branch = "└" if edge is edges[-1] else "├"
            parts.append(_line(branch, edge, columns, colour, width))
    return urls.shown("".join(parts))


class _Columns(NamedTuple):
    host: int
    rate: int
    errors: int
    latency: int


TOLD = (lambda edge: one_line(edge.name), rate_text, errors_text, latency_text)


def _line(branch: str, edge: Edge, columns: _Columns, colour: bool, width: int | None) -> str:
    told = [
        f"{branch}{LINES[edge.visibility]} {one_line(edge.name):<{columns.host}}",
        f"{edge.visibility:<8}",
        f"{rate_text(edge):>{columns.rate}}",
        f"{errors_text(edge):>{columns.errors}}",
        f"{latency_text(edge):<{columns.latency}}",
    ]
    notes = _notes(edge)
    if width is not None and notes and len("  ".join([*told, notes])) > width:
        notes = f"\n{'│' if branch == '├' else ' '}    {notes}"
    bad = edge.health in (Health.FAILING, Health.CLEAR)
    told[1] = highlighted(told[1], colour and not bad)
    line = "  ".join(told).rstrip() + notes if notes.startswith("\n") else "  ".join([*told, notes]).rstrip()
    return f"{painted(line, 'red', colour and bad)}\n"


def _notes(edge: Edge) -> str:
    notes = [f"{edge.flow.in_clear} IN CLEAR"] if edge.flow and edge.flow.in_clear else []
    notes += [str(edge.health)] if edge.health in (Health.DEGRADED, Health.FAILING) else []
    notes += ["migrated"] if edge.migrated else []
    notes += [f"blocked by {','.join(edge.findings)}"] if edge.findings else []
    notes += ["no call site"] if not edge.call_sites and edge.host else []
    return ", ".join(notes)


def graph_summary(graph: Graph) -> str:
    """Of what, over how long, from where; and what a `~` means, if there is one."""
    if not graph.edges:
        return f"No external call was found in {counted(graph.workloads, 'workload')}.\n"
    calls = counted(len({edge.workload for edge in graph.edges}), "workload")
    hosts = counted(len({edge.host for edge in graph.edges if edge.host}), "host")
    inferred = any(edge.inferred for edge in graph.edges)
    note = " ~: bytes without a name, taken for the only such host that is written." if inferred else ""
    unread = "".join(f"\n{urls.shown(one_line(text))}" for text in graph.unread)
    return f"{calls}, {hosts}; {graph.seconds:.0f} s from {graph.source}.{note}{unread}\n"
