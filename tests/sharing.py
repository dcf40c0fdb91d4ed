"""How tests are shared among pytest-xdist's workers: what needs one lab, or one scene, goes to one worker."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

UNDER_TEST = "KUBECONFIG_UNDER_TEST"
"""The environment variable that names a cluster on which the slow tier is to run."""
VARIANTS = ("embedded", "real", "fails-closed", "fails-open")
"""The parameters that fixtures of module scope have here: each has scenes of its own."""
_SLOW_TIER = "tests/cluster/"
_LONGEST = ("test_kills", "test_api_faults", "test_windows")
"""Minutes each; the first two keep a machine busy by themselves, and with a third beside them for too long."""


@functools.cache
def shares_fixtures(path: str) -> bool:
    """Whether a file has a fixture of module scope, which would be made once for each worker that gets a test of it."""
    return 'scope="module"' in Path(path).read_text()


def scope_of(test: str, root: Path) -> str:
    """The tests with the same scope run on one worker, one after the other: test's ID, directory that it begins from → any text."""
    path, _, name = test.partition("::")
    slow = path.startswith(_SLOW_TIER)
    if slow and UNDER_TEST in os.environ:
        return UNDER_TEST  # nobody knows what that cluster bears
    if not shares_fixtures(str(root / path)):
        # To hand out thousands of quick cases one by one takes longer than they do.
        return test if slow else test.partition("[")[0]
    variant = next((word for word in VARIANTS if f"[{word}" in name), "")
    return f"{path} {variant}"


def turn_of(item: pytest.Item) -> int:
    """When a test of the fast tier is to begin, small numbers first.

    At the end there are to be quick ones, so that no worker waits for another: the longest, labs for a whole file, labs for
    one test, laws, tables.
    """
    if item.path.stem in _LONGEST:
        return _LONGEST.index(item.path.stem) - len(_LONGEST)
    if item.get_closest_marker("lab") is not None:
        return 0 if shares_fixtures(str(item.path)) else 1
    return 2 if item.path.stem.endswith("_laws") else 3


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

    def _reschedule(self, node: WorkerController) -> None:
        """A worker begins a test when it knows the next: no sooner than that, or a scope waits there while others are idle."""
        if self.workqueue and self._pending_of(self.assigned_work[node]) > 1:
            return
        super()._reschedule(node)
