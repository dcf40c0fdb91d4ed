"""How the slow tier's tests are shared among pytest-xdist's workers: what needs one scene goes to one worker."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.cluster.client import UNDER_TEST

VARIANTS = ("embedded", "real", "fails-closed", "fails-open")
"""The parameters that fixtures of module scope have here: each has scenes of its own."""


@functools.cache
def shares_fixtures(path: str) -> bool:
    """Whether a file has a fixture of module scope, which would be made once for each worker that gets a test of it."""
    return 'scope="module"' in Path(path).read_text()


def scope_of(test: str, root: Path) -> str:
    """The tests with the same scope run on one worker, one after the other: test's ID, directory that it begins from → any text."""
    if UNDER_TEST in os.environ:
        return UNDER_TEST  # nobody knows what that cluster bears
    path, _, name = test.partition("::")
    if not shares_fixtures(str(root / path)):
        return test
    variant = next((word for word in VARIANTS if f"[{word}" in name), "")
    return f"{path} {variant}"


class Sharing(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out scopes in the order of collection.

    xdist's own `--dist=loadgroup` does not see its groups with pytest 9.2 (it writes to Item._nodeid, which pytest no
    longer reads), and only a worker knows the fixtures of a test.
    """

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid, self.config.rootpath)
