"""A graph as text: for the terminal, Mermaid, DOT, JSON, and one HTML page."""

from __future__ import annotations

from kubectl_egress.report.graph.document import graph_document
from kubectl_egress.report.graph.drawing import graph_html
from kubectl_egress.report.graph.languages import graph_dot, graph_mermaid
from kubectl_egress.report.graph.terminal import graph_summary, graph_text

__all__ = ["graph_document", "graph_dot", "graph_html", "graph_mermaid", "graph_summary", "graph_text"]
