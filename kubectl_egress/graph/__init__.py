"""Who calls whom, how each call is seen, and how it goes: Survey, call sites and flows → Graph."""

from __future__ import annotations

from kubectl_egress.graph.edges import NAMELESS, Edge, Graph, Health, graph, hosts_of
from kubectl_egress.graph.flows import Flow, flows
from kubectl_egress.graph.remembered import remembered

__all__ = ["NAMELESS", "Edge", "Flow", "Graph", "Health", "flows", "graph", "hosts_of", "remembered"]
