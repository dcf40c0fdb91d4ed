"""Cases that wait most of their time, at once in one lab, each in a scene of its own and reported as a subtest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

AT_ONCE = 4
"""Two workers of them keep two cores busy, and nobody waits for the machine."""

Case = TypeVar("Case")


def side_by_side(
    subtests: pytest.Subtests, cases: Iterable[tuple[str, Case]], run: Callable[[Case], None], at_once: int = AT_ONCE
) -> None:
    """Run each case, `at_once` at a time; what one raises is its own failure, and keeps no other from running."""
    with ThreadPoolExecutor(at_once) as pool:
        for name, found in [(name, pool.submit(run, case)) for name, case in cases]:
            with subtests.test(name):
                found.result()
