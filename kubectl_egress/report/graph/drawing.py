"""A graph as one HTML page: a drawing, a table of the same, and nothing from the network."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from kubectl_egress import __version__, urls
from kubectl_egress.graph import Edge, Graph, Health
from kubectl_egress.graph.edges import DEGRADED, FAILING
from kubectl_egress.model import Visibility
from kubectl_egress.report.graph.document import errors_text, latency_text, rate_text, told
from kubectl_egress.report.graph.labels import Curve, Place, places
from kubectl_egress.report.graph.layout import BOX, HEIGHT, Layout, layout, workload_key
from kubectl_egress.report.names import short_name
from kubectl_egress.report.pages import page
from kubectl_egress.report.table import counted, one_line

LABELLED = 14
"""So many edges have room for their labels; of more, those of what is in focus are shown."""
TALL = 1900
"""Up to this height a graph is printed on one page, upright when it is taller than wide."""
LETTER = 6.9
"""Of a label, in the drawing's units."""
FITS = 36
"""Characters of a name in a box."""


def graph_html(graph: Graph) -> str:
    """The page."""
    return page("graph.html", _told(graph))


def _told(graph: Graph) -> dict[str, Any]:
    placed = layout(graph)
    labels = [told(edge).replace("  ", " · ") for edge in graph.edges]
    labelled = len(graph.edges) <= LABELLED
    counts = Counter(edge.visibility for edge in graph.edges)
    widths = [LETTER * len(label) + 14 if label and labelled else 0 for label in labels]
    rooms = places(placed.curves, widths)
    return {
        "version": __version__,
        "title": f"External calls of {graph.namespace or 'all namespaces'}",
        "made": graph.made,
        "day": graph.made.replace("T", " ").replace("+00:00", " UTC"),
        "upright": placed.height > placed.width,
        "onePage": placed.height <= TALL,
        "source": graph.source,
        "seconds": f"{graph.seconds:.0f}",
        "summary": _summary(graph),
        "width": placed.width,
        "height": placed.height,
        "box": BOX,
        "boxHeight": HEIGHT,
        "labelled": labelled,
        "edges": [
            _edge(number, edge, curve, label, room)
            for number, (edge, curve, label, room) in enumerate(
                zip(graph.edges, placed.curves, labels, rooms, strict=True)
            )
        ],
        "workloads": _workloads(graph, placed),
        "hosts": _hosts(graph, placed),
        "legend": [
            {"visibility": str(one), "count": counts[one], "meaning": meaning, "head": HEADS[one]}
            for one, meaning in MEANINGS.items()
            if counts[one]
        ],
        "healths": [
            {
                "health": str(one),
                "class": f"full {one.replace(' ', '-')}",
                "meaning": HEALTHS[one],
                "head": HEADS[Visibility.FULL],
            }
            for one in HEALTHS
            if any(edge.health is one for edge in graph.edges)
        ],
        "inferred": any(edge.inferred for edge in graph.edges),
        "unread": [urls.shown(one_line(text)) for text in graph.unread],
    }


MEANINGS = {
    Visibility.FULL: "requests, codes and latency: the sidecar originates TLS",
    Visibility.NAMED: "connections under the host’s name, no more",
    Visibility.OPAQUE: "bytes to no host in particular",
    Visibility.BLOCKED: "the mesh lets nothing out",
    Visibility.UNKNOWN: "no sidecar could be asked",
}

# Heads of edges, of which none looks like another without colour either; their tips are at 0,0.
HEADS = {
    Visibility.FULL: "M-10,-4.5 L0,0 L-10,4.5 Z",
    Visibility.NAMED: "M-9,-4 L-1,0 L-9,4 Z",
    Visibility.OPAQUE: "M-8,-4.5 L-1,0 L-8,4.5",
    Visibility.BLOCKED: "M-10,-4.5 L-1,4.5 M-10,4.5 L-1,-4.5",
    Visibility.UNKNOWN: "M-9,0 a4,4 0 1 0 8,0 a4,4 0 1 0 -8,0",
}

HEALTHS = {
    Health.DEGRADED: f"some requests fail, more than {100 * DEGRADED:g} %",
    Health.FAILING: f"many fail, at least {100 * FAILING:g} %, or all are blocked",
    Health.CLEAR: "requests leave unencrypted",
}


SIGNS = {Health.DEGRADED: "!", Health.FAILING: "×", Health.CLEAR: "!!"}
"""What is not well, also without colour."""


def _summary(graph: Graph) -> str:
    calls = counted(len({edge.workload for edge in graph.edges}), "workload")
    hosts = counted(len({edge.host for edge in graph.edges if edge.host}), "host")
    return f"{calls}, {hosts}"


def _edge(number: int, edge: Edge, curve: Curve, label: str, room: Place | None) -> dict[str, Any]:
    x, y = (room.x, room.y) if room else curve.at(0.5)
    return {
        "number": number,
        "workload": short_name(edge.workload),
        "namespace": edge.workload.namespace,
        "workloadKey": workload_key(edge),
        "host": edge.name,
        "visibility": str(edge.visibility),
        "health": str(edge.health),
        "class": f"{edge.visibility} {edge.health.replace(' ', '-')}",
        "path": curve.path,
        "head": HEADS[edge.visibility],
        "tip": f"{curve.x2 - 2:.0f} {curve.y2:.1f}",
        "thickness": f"{_thickness(edge):.1f}",
        "x": f"{x:.0f}",
        "y": f"{y:.0f}",
        "label": label,
        "labelWidth": LETTER * len(label) + 14,
        "crowded": room is None,
        "rate": rate_text(edge),
        "errors": errors_text(edge).removesuffix(" errors"),
        "latency": latency_text(edge).removeprefix("p95 "),
        "codes": ", ".join(f"{code}×{count}" for code, count in (edge.flow.by_code if edge.flow else {}).items()),
        "fails": "" if edge.fails_closed is None else "closed" if edge.fails_closed else "open",
        "notes": ", ".join(_notes(edge)),
    }


def _notes(edge: Edge) -> list[str]:
    notes = [f"{edge.flow.in_clear} requests in clear"] if edge.flow and edge.flow.in_clear else []
    notes += ["migrated"] if edge.migrated else []
    notes += [f"blocked by {code}" for code in edge.findings]
    notes += ["written nowhere that can be read"] if not edge.call_sites and edge.host else []
    return notes


def _thickness(edge: Edge) -> float:
    return 1.6 + min(4.0, 1.3 * math.log10(1 + 10 * (edge.rate or 0.0)))


def _workloads(graph: Graph, placed: Layout) -> list[dict[str, Any]]:
    found = []
    for key, node in placed.workloads.items():
        edges = [edge for edge in graph.edges if workload_key(edge) == key]
        second = counted(len(edges), "host") + _trouble(edges)
        second += "" if graph.namespace else f" · {edges[0].workload.namespace}"
        found.append(_box(node.x, node.y, key, short_name(edges[0].workload), second, edges))
    return found


def _hosts(graph: Graph, placed: Layout) -> list[dict[str, Any]]:
    found = []
    for key, node in placed.hosts.items():
        edges = [edge for edge in graph.edges if edge.name == key]
        single = told(edges[0]).replace("  ", " · ") if len(edges) == 1 else ""
        many = counted(len(edges), "caller") + _trouble(edges)
        second = single or (many if len(edges) > 1 else str(edges[0].visibility))
        found.append(_box(node.x, node.y, key, key, second, edges))
    return found


def _trouble(edges: Sequence[Edge]) -> str:
    """How many of them do not go well, the worst first."""
    counts = Counter(edge.health for edge in edges if edge.health in HEALTHS)
    return "".join(f" · {counts[one]} {one}" for one in reversed(Health) if counts[one])


def _box(x: float, y: float, key: str, name: str, second: str, edges: Sequence[Edge]) -> dict[str, Any]:
    worst = max((edge.health for edge in edges), key=tuple(Health).index)
    least = max((edge.visibility for edge in edges), key=tuple(Visibility).index)
    # The order of Visibility: opaque, named, full, blocked, unknown.
    if {edge.visibility for edge in edges} <= {Visibility.OPAQUE, Visibility.NAMED, Visibility.FULL}:
        least = min((edge.visibility for edge in edges), key=tuple(Visibility).index)
    shown = one_line(name)
    return {
        "x": f"{x:.0f}",
        "y": f"{y:.1f}",
        "key": key,
        "name": shown,
        "short": shown if len(shown) <= FITS else f"{shown[: FITS - 1]}…",
        "second": second,
        "class": f"{least} {worst.replace(' ', '-')}",
        "sign": SIGNS.get(worst, "×" if least is Visibility.BLOCKED else ""),
    }
