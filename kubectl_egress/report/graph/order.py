"""In which order two columns stand, so that few of the lines between them cross."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

ROUNDS = 12
Pairs = Sequence[tuple[str, str]]
"""The ends of each line, left and right."""
Columns = tuple[list[str], list[str]]


def untangled(pairs: Pairs) -> Columns:
    """The left and the right column: the best of some rounds of barycentres, with and without neighbours that change places."""
    left, right = list(dict.fromkeys(one for one, _ in pairs)), list(dict.fromkeys(other for _, other in pairs))
    best = _best(pairs, [(left, right), *_rounds(pairs, left, right, swapping=False)])
    return _best(pairs, [best, *_rounds(pairs, *best, swapping=True)])


def _best(pairs: Pairs, found: Sequence[Columns]) -> Columns:
    return min(found, key=lambda one: crossings(pairs, *one))


def _rounds(pairs: Pairs, left: list[str], right: list[str], *, swapping: bool) -> Iterator[Columns]:
    turned = [(other, one) for one, other in pairs]
    for _ in range(ROUNDS):
        right = _swapped(right, turned, left) if swapping else _by_barycentre(right, turned, left)
        left = _swapped(left, pairs, right) if swapping else _by_barycentre(left, pairs, right)
        yield left, right


def crossings(pairs: Pairs, left: Sequence[str], right: Sequence[str]) -> int:
    """How many pairs of lines cross."""
    rows, columns = _places(left), _places(right)
    seen: list[int] = []
    count = 0
    for _, end in sorted((rows[one], columns[other]) for one, other in pairs):
        count += len(seen) - bisect_right(seen, end)
        insort(seen, end)
    return count


def _places(keys: Sequence[str]) -> Mapping[str, int]:
    return {key: number for number, key in enumerate(keys)}


def _ends(pairs: Pairs, others: Sequence[str]) -> Mapping[str, list[int]]:
    """Where the lines of each key end among the others, from the top."""
    places = _places(others)
    found: dict[str, list[int]] = {}
    for key, other in pairs:
        insort(found.setdefault(key, []), places[other])
    return found


def _by_barycentre(keys: Sequence[str], pairs: Pairs, others: Sequence[str]) -> list[str]:
    ends = _ends(pairs, others)
    return sorted(keys, key=lambda key: sum(ends[key]) / len(ends[key]))


def _swapped(keys: Sequence[str], pairs: Pairs, others: Sequence[str]) -> list[str]:
    """Neighbours that cross less the other way round change places, once from the top down."""
    ends, found = _ends(pairs, others), list(keys)
    for upper, lower in pairwise(range(len(found))):
        above, below = ends[found[upper]], ends[found[lower]]
        if _crossed(below, above) < _crossed(above, below):
            found[upper], found[lower] = found[lower], found[upper]
    return found


def _crossed(above: Sequence[int], below: Sequence[int]) -> int:
    """How often the lines of one key cross those of the next below it; both sorted."""
    return sum(len(above) - bisect_right(above, end) for end in below)
