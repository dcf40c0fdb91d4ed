"""Where the labels of a drawing stand: each on its own curve, none on another, on as few other curves as can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEIGHT = 22
GAP = 3
"""Between two labels."""
HEAD = 12
"""Between the end of a curve and its box."""
ROUNDS = 8
STEPS = 24
"""So finely a curve is looked at."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A Bézier from a box on the left to one on the right, level at both ends."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def path(self) -> str:
        """As SVG's `d`, which ends before the box and leaves room for a head."""
        bend = (self.x2 - self.x1) * 0.5
        return (
            f"M{self.x1:.0f},{self.y1:.1f} C{self.x1 + bend:.0f},{self.y1:.1f} "
            f"{self.x2 - bend:.0f},{self.y2:.1f} {self.x2 - HEAD:.0f},{self.y2:.1f}"
        )

    def at(self, part: float) -> tuple[float, float]:
        """The point at a part (0 to 1) of the curve."""
        rest, bend = 1 - part, (self.x2 - self.x1) * 0.5
        first, second, third, last = rest**3, 3 * rest**2 * part, 3 * rest * part**2, part**3
        x = first * self.x1 + second * (self.x1 + bend) + third * (self.x2 - bend) + last * self.x2
        return x, (first + second) * self.y1 + (third + last) * self.y2


@dataclass(frozen=True, slots=True)
class Place:
    """The middle of a label."""

    x: float
    y: float
    width: float

    def covers(self, other: Place) -> bool:
        """Whether two labels lie on each other."""
        return abs(self.x - other.x) < (self.width + other.width) / 2 + GAP and abs(self.y - other.y) < HEIGHT + GAP

    def holds(self, point: tuple[float, float]) -> bool:
        """Whether a point is under the label."""
        return abs(self.x - point[0]) < self.width / 2 and abs(self.y - point[1]) < HEIGHT / 2 + 1


def places(curves: Sequence[Curve], widths: Sequence[float]) -> list[Place | None]:
    """A place for the label of each curve, as near its middle as can be; None: no label, or no room that is free."""
    wanted = [index for index, width in enumerate(widths) if width]
    if not wanted:
        return [None] * len(curves)
    points = [[curve.at(step / STEPS) for step in range(STEPS + 1)] for curve in curves]
    # The steepest first: they have the fewest places.
    order = sorted(wanted, key=lambda index: -abs(curves[index].y2 - curves[index].y1))
    best: list[Place | None] = []
    for _ in range(ROUNDS):
        found = _placed(curves, widths, points, order)
        if not best or _missing(found, wanted) < _missing(best, wanted):
            best = found
        if not _missing(best, wanted):
            return best
        # Whoever found no room is asked first in the next round.
        order = sorted(order, key=lambda index: found[index] is not None)
    return best


def _missing(found: Sequence[Place | None], wanted: Sequence[int]) -> int:
    return sum(found[index] is None for index in wanted)


def _placed(
    curves: Sequence[Curve],
    widths: Sequence[float],
    points: Sequence[Sequence[tuple[float, float]]],
    order: Sequence[int],
) -> list[Place | None]:
    """One label after the other, each where it hides the least of other curves and no label."""
    found: list[Place | None] = [None] * len(curves)
    for index in order:
        taken = [place for place in found if place is not None]
        others = [point for other, row in enumerate(points) if other != index for point in row]
        free = [one for one in _on(curves[index], widths[index]) if not any(one.covers(other) for other in taken)]
        found[index] = min(free, key=lambda one: sum(map(one.holds, others)), default=None)
    return found


def _on(curve: Curve, width: float) -> list[Place]:
    """Places on a curve on which a label touches no box, the nearest to its middle first."""
    found = (Place(*curve.at(0.5 + sign * step / 64), width) for step in range(32) for sign in (1, -1))
    return [one for one in found if one.x - width / 2 >= curve.x1 + 6 and one.x + width / 2 <= curve.x2 - 10]
