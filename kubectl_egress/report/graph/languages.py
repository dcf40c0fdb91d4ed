"""A graph in Mermaid (https://mermaid.js.org, flowchart) and in DOT (https://graphviz.org)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kubectl_egress import urls
from kubectl_egress.graph import Edge, Graph, Health
from kubectl_egress.model import Visibility
from kubectl_egress.report.graph.document import told
from kubectl_egress.report.names import short_name
from kubectl_egress.report.table import one_line

COLOURS = {
    Visibility.FULL: "#1a7f4b",
    Visibility.NAMED: "#2259c7",
    Visibility.OPAQUE: "#5b6b82",
    Visibility.BLOCKED: "#c6303e",
    Visibility.UNKNOWN: "#5b6b82",
}
HEALTHS = {Health.DEGRADED: "#9a6700", Health.FAILING: "#c6303e", Health.CLEAR: "#c6303e"}
"""What is not well has its own colour, as on the page."""
ARROWS = {
    Visibility.FULL: "==>",
    Visibility.NAMED: "-->",
    Visibility.OPAQUE: "-.->",
    Visibility.BLOCKED: "--x",
    Visibility.UNKNOWN: "-.->",
}
STYLES = {
    Visibility.FULL: "bold",
    Visibility.NAMED: "solid",
    Visibility.OPAQUE: "dashed",
    Visibility.BLOCKED: "solid",
    Visibility.UNKNOWN: "dotted",
}


def graph_mermaid(graph: Graph) -> str:
    """A flowchart, as GitHub and GitLab draw it between fences."""
    return "\n".join(_mermaid(graph)) + "\n"


def _mermaid(graph: Graph) -> Iterator[str]:
    yield "flowchart LR"
    names = _names(graph)
    for name, identity in names.items():
        label = _entities(name[1])
        shape = f'["{label}"]' if name[0] == "workload" else f'(["{label}"])'
        yield f"  {identity}{shape}"
    for edge in graph.edges:
        label = _entities(_label(edge))
        yield f'  {_from(edge, names)} {ARROWS[edge.visibility]}|"{label}"| {_to(edge, names)}'
    for number, edge in enumerate(graph.edges):
        yield f"  linkStyle {number} stroke:{_colour(edge)},color:{_colour(edge)}"


def graph_dot(graph: Graph) -> str:
    """A digraph: `kubectl egress graph -o dot | dot -Tsvg`."""
    return "\n".join(_dot(graph)) + "\n"


def _dot(graph: Graph) -> Iterator[str]:
    yield "digraph egress {"
    yield '  graph [rankdir=LR, fontname="sans-serif", nodesep=0.25, ranksep=1.6]'
    yield '  node [fontname="sans-serif", fontsize=11, style=filled, fillcolor="#f3f4f5", color="#c4c9d0"]'
    yield '  edge [fontname="sans-serif", fontsize=9]'
    names = _names(graph)
    for name, identity in names.items():
        shape = "box" if name[0] == "workload" else "ellipse"
        yield f"  {identity} [label={_quoted(name[1])}, shape={shape}]"
    for edge in graph.edges:
        colour = _colour(edge)
        head = ", arrowhead=tee" if edge.visibility is Visibility.BLOCKED else ""
        yield (
            f"  {_from(edge, names)} -> {_to(edge, names)} [label={_quoted(_label(edge))}, "
            f'style={STYLES[edge.visibility]}, color="{colour}", fontcolor="{colour}"{head}]'
        )
    yield "}"


Names = Mapping[tuple[str, str], str]


def _names(graph: Graph) -> dict[tuple[str, str], str]:
    """An identity of our own for each node, so that no name can mean anything to the language."""
    workloads = dict.fromkeys(("workload", _workload(edge)) for edge in graph.edges)
    hosts = dict.fromkeys(("host", edge.name) for edge in graph.edges)
    return {
        **{name: f"w{number}" for number, name in enumerate(workloads)},
        **{name: f"h{number}" for number, name in enumerate(hosts)},
    }


def _workload(edge: Edge) -> str:
    return f"{edge.workload.namespace}/{short_name(edge.workload)}"


def _from(edge: Edge, names: Names) -> str:
    return names["workload", _workload(edge)]


def _to(edge: Edge, names: Names) -> str:
    return names["host", edge.name]


def _label(edge: Edge) -> str:
    said = told(edge)
    return urls.shown(f"{edge.visibility}  {said}" if said else str(edge.visibility))


def _colour(edge: Edge) -> str:
    return HEALTHS.get(edge.health, COLOURS[edge.visibility])


def _entities(text: str) -> str:
    """Everything that is not plainly text as Mermaid's entity codes (#35;)."""
    return "".join(char if char.isalnum() or char in " -./:~%*" else f"#{ord(char)};" for char in one_line(text))


def _quoted(text: str) -> str:
    """A DOT string, in which `\\` and `"` alone mean something."""
    escaped = one_line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
