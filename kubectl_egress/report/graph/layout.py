"""Where the parts of a drawing are: workloads on the left, hosts on the right, few crossings, nothing on top of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubectl_egress.graph import Edge, Graph
from kubectl_egress.report.graph.labels import Curve
from kubectl_egress.report.graph.order import untangled

WIDTH = 1120
BOX = 300
ROW = 58
HEIGHT = 44
TOP = 16
SIDE = 16
PORT = 8
"""Between two edges where they touch a box."""
LABEL = 30
TALLEST = 14 * LABEL
"""Height for each label, so far as labels are shown."""
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
    """Boxes by key, the curve of each edge in the graph's order, and the size of the whole."""

    workloads: Mapping[str, Node]
    hosts: Mapping[str, Node]
    curves: tuple[Curve, ...]
    width: float
    height: float


def workload_key(edge: Edge) -> str:
    """What names a workload in the drawing."""
    return f"{edge.workload.namespace}/{edge.workload.kind}/{edge.workload.name}"


def layout(graph: Graph) -> Layout:
    """Two columns, in an order in which few edges cross; the shorter one is spread over the height of the other."""
    pairs = [(workload_key(edge), edge.name) for edge in graph.edges]
    workloads, hosts = untangled(pairs)
    rows = max(len(workloads), len(hosts), 1)
    height = max(2 * TOP + (rows - 1) * ROW + HEIGHT, min(LABEL * len(pairs), TALLEST))
    left = {key: Node(key, SIDE, y) for key, y in _spread(workloads, height)}
    right = {key: Node(key, WIDTH - BOX - SIDE, y) for key, y in _spread(hosts, height)}
    return Layout(left, right, _curves(pairs, left, right), WIDTH, height)


def _curves(
    pairs: Sequence[tuple[str, str]], workloads: Mapping[str, Node], hosts: Mapping[str, Node]
) -> tuple[Curve, ...]:
    """Each curve begins and ends at a place of its own on its boxes, in the order in which they do not cross there."""
    starts = _ports([(workload, hosts[host].y) for workload, host in pairs], workloads)
    ends = _ports([(host, workloads[workload].y) for workload, host in pairs], hosts)
    return tuple(
        Curve(workloads[workload].x + BOX, start, hosts[host].x, end)
        for (workload, host), start, end in zip(pairs, starts, ends, strict=True)
    )


def _ports(ends: Sequence[tuple[str, float]], nodes: Mapping[str, Node]) -> list[float]:
    """The height at which each edge touches its box; `ends`: the box, and how high the other end is."""
    at: dict[int, float] = {}
    for key, node in nodes.items():
        own = sorted((other, index) for index, (name, other) in enumerate(ends) if name == key)
        gap = min(PORT, (HEIGHT - 14) / max(1, len(own) - 1))
        for number, (_, index) in enumerate(own):
            at[index] = node.y + HEIGHT / 2 + (number - (len(own) - 1) / 2) * gap
    return [at[index] for index in range(len(ends))]


def _spread(keys: Sequence[str], height: float) -> list[tuple[str, float]]:
    """One below the other, over the height, or in its middle where they are few."""
    gaps = max(1, len(keys) - 1)
    gap = min(WIDEST, (height - 2 * TOP - HEIGHT) / gaps)
    first = (height - (len(keys) - 1) * gap - HEIGHT) / 2
    return [(key, first + number * gap) for number, key in enumerate(keys)]
