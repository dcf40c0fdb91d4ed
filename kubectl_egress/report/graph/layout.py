"""Where the parts of a drawing are: workloads on the left, hosts on the right, few crossings, nothing on top of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubectl_egress.graph import Edge, Graph

WIDTH = 1120
BOX = 300
ROW = 58
HEIGHT = 44
TOP = 16
SIDE = 16
WIDEST = 3 * ROW
"""Between two boxes of the shorter column."""


@dataclass(frozen=True, slots=True)
class Node:
    """One box: its key, and the corner at its upper left."""

    key: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes by key, and the size of the whole."""

    workloads: Mapping[str, Node]
    hosts: Mapping[str, Node]
    width: float
    height: float

    def path(self, edge: Edge) -> str:
        """The curve of an edge, as SVG's `d`."""
        start, end = self.workloads[workload_key(edge)], self.hosts[edge.name]
        x1, y1, x2, y2 = start.x + BOX, start.y + HEIGHT / 2, end.x, end.y + HEIGHT / 2
        bend = (x2 - x1) * 0.5
        return f"M{x1:.0f},{y1:.1f} C{x1 + bend:.0f},{y1:.1f} {x2 - bend:.0f},{y2:.1f} {x2 - 5:.0f},{y2:.1f}"

    def middle(self, edge: Edge) -> tuple[float, float]:
        """Where the label of an edge stands."""
        start, end = self.workloads[workload_key(edge)], self.hosts[edge.name]
        return (start.x + BOX + end.x) / 2, (start.y + end.y + HEIGHT) / 2


def workload_key(edge: Edge) -> str:
    """What names a workload in the drawing."""
    return f"{edge.workload.namespace}/{edge.workload.kind}/{edge.workload.name}"


def layout(graph: Graph) -> Layout:
    """Each column ordered by where its neighbours in the other stand (barycentres, a few times)."""
    workloads = list(dict.fromkeys(map(workload_key, graph.edges)))
    hosts = list(dict.fromkeys(edge.name for edge in graph.edges))
    pairs = [(workload_key(edge), edge.name) for edge in graph.edges]
    for _ in range(4):
        hosts = _ordered(hosts, [(host, workload) for workload, host in pairs], workloads)
        workloads = _ordered(workloads, pairs, hosts)
    rows = max(len(workloads), len(hosts), 1)
    height = 2 * TOP + (rows - 1) * ROW + HEIGHT
    return Layout(
        workloads={key: Node(key, SIDE, y) for key, y in _spread(workloads, height)},
        hosts={key: Node(key, WIDTH - BOX - SIDE, y) for key, y in _spread(hosts, height)},
        width=WIDTH,
        height=height,
    )


def _ordered(keys: Sequence[str], pairs: Sequence[tuple[str, str]], others: Sequence[str]) -> list[str]:
    place = {key: number for number, key in enumerate(others)}
    near: dict[str, list[int]] = {}
    for key, other in pairs:
        near.setdefault(key, []).append(place[other])
    return sorted(keys, key=lambda key: sum(near[key]) / len(near[key]))


def _spread(keys: Sequence[str], height: float) -> list[tuple[str, float]]:
    """One below the other, over the height, or in its middle where they are few."""
    gaps = max(1, len(keys) - 1)
    gap = min(WIDEST, (height - 2 * TOP - HEIGHT) / gaps)
    first = (height - (len(keys) - 1) * gap - HEIGHT) / 2
    return [(key, first + number * gap) for number, key in enumerate(keys)]
