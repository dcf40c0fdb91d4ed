"""A graph as a document, and the words for its numbers that every format shares."""

from __future__ import annotations

from typing import Any

from kubectl_egress import urls
from kubectl_egress.graph import Edge, Graph
from kubectl_egress.report.inspect import API_VERSION
from kubectl_egress.report.names import reference


def graph_document(graph: Graph) -> dict[str, Any]:
    """The EgressGraph as a document for `-o json` and `-o yaml`."""
    return {
        "apiVersion": API_VERSION,
        "kind": "EgressGraph",
        "namespace": graph.namespace,
        "made": graph.made,
        "source": graph.source,
        "seconds": round(graph.seconds, 1),
        "edges": [_edge(edge) for edge in graph.edges],
        "unread": [urls.shown(text) for text in graph.unread],
    }


def _edge(edge: Edge) -> dict[str, Any]:
    return {
        "workload": reference(edge.workload),
        "host": edge.host.name if edge.host else None,
        "port": edge.host.port if edge.host else None,
        "visibility": str(edge.visibility),
        "health": str(edge.health),
        "unit": edge.unit or None,
        "count": edge.count,
        "rate": None if edge.rate is None else round(edge.rate, 3),
        "byCode": dict(edge.flow.by_code) if edge.flow else {},
        "errorShare": None if edge.error_share is None else round(edge.error_share, 4),
        "p95Ms": None if edge.p95 is None else round(edge.p95, 2),
        "inClear": edge.flow.in_clear if edge.flow else 0,
        "inferred": edge.inferred,
        "callSites": edge.call_sites,
        "migrated": edge.migrated,
        "failsClosed": edge.fails_closed,
        "blockedBy": list(edge.findings),
    }


def rate_text(edge: Edge) -> str:
    """`5.2/s`, `0.8 conn/s`; '' where nothing was seen."""
    if edge.rate is None or not edge.count:
        return ""
    number = f"{edge.rate:.1f}" if edge.rate >= 0.1 else f"{edge.rate:.2g}"
    about = "~" if edge.inferred else ""
    return f"{about}{number}/s" if edge.unit == "requests" else f"{about}{number} conn/s"


def errors_text(edge: Edge) -> str:
    """`2.5% errors`; '' where the mesh sees no answers."""
    return "" if edge.error_share is None else f"{100 * edge.error_share:.1f}% errors"


def latency_text(edge: Edge) -> str:
    """`p95 12ms`; '' where nobody could see."""
    if edge.p95 is None:
        return ""
    return f"p95 {edge.p95:.0f}ms" if edge.p95 >= 1 else f"p95 {edge.p95:.1f}ms"


def told(edge: Edge) -> str:
    """The three of them, as far as they are known."""
    clear = f"{edge.flow.in_clear} IN CLEAR" if edge.flow and edge.flow.in_clear else ""
    return "  ".join(filter(None, [clear, rate_text(edge), errors_text(edge), latency_text(edge)]))
