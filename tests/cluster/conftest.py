"""Clusters for the slow tier, and how its tests are shared among workers.

What tests ask for:

- `cluster`: a real control plane, whole, for all tests of one pytest worker, one after the other; ready in ten seconds of
  an idle machine. Other workers have clusters of their own, so a test may count what its host saw, exchange its
  certificate, or put an object into `istio-system`: it only has to be as it was when the test has ended.
- `scene`: a namespace on it with sidecars, the outside world's counters at zero; gone after the test.
- `scene_of(cluster)` (tests.cluster.scenes): the same for a fixture of module scope; begin with `cluster.reset()`. Each scene
  has a namespace of another name, `scene.namespace`. Many assertions in one scene are better than many scenes.
- `embedded`: the embedded lab, for the contracts, which are asserted on both.

With `pytest --numprocesses=N` the tests of a file with a fixture of module scope go to one worker (for each of its parameters
to one: tests/sharing.py), all others to whoever is free.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubectl_egress.errors import EgressError
from kubectl_egress.lab.client import Lab
from tests.cluster.build import BuildError
from tests.cluster.client import Lent, RealLab, not_built, start_cluster
from tests.cluster.scenes import scene_of
from tests.scene import Scene
from tests.sharing import UNDER_TEST, shares_fixtures
from tests.warm import start_lab

HERE = Path(__file__).parent
_LONGEST = ("test_private_ca", "test_ip_families")
"""A minute and more each, of which they wait most."""


def pytest_configure(config: pytest.Config) -> None:
    """The markers are this directory's own."""
    config.addinivalue_line("markers", "cluster: needs a real control plane (root, Go programs built by build.py)")
    config.addinivalue_line("markers", "any_istio: says nothing of Istio's versions; one of them is enough")
    config.addinivalue_line("markers", f"anywhere: runs on a cluster that is not ours, too ({UNDER_TEST})")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest. On a cluster that is not ours, only what is marked for it."""
    if UNDER_TEST in os.environ:
        ours = pytest.mark.skip(
            reason=f"needs an outside world, nodes or a mesh of our own, which {UNDER_TEST} has not"
        )
        for item in items:
            if HERE in item.path.parents and item.get_closest_marker("anywhere") is None:
                item.add_marker(ours)
    items.sort(key=lambda item: _turn(item) if HERE in item.path.parents else 0)


def _turn(item: pytest.Item) -> int:
    """When a test of the slow tier is to begin, small numbers first: at the end there are to be short ones."""
    if item.path.stem in _LONGEST:
        return 0
    return 1 if shares_fixtures(str(item.path)) else 2


@pytest.fixture(scope="session")
def cluster() -> Iterator[RealLab]:
    """A real control plane with the Istio that ISTIO names, gone afterwards; or the one of KUBECONFIG_UNDER_TEST, as it is."""
    if UNDER_TEST in os.environ:
        yield Lent(Path(os.environ[UNDER_TEST]))
        return
    try:
        found = start_cluster()
    except BuildError as error:
        not_built(error)
    except EgressError as error:
        pytest.fail(f"{error.message}: {error.remedy}")
    with found:
        yield found


@pytest.fixture
def scene(cluster: RealLab) -> Iterator[Scene]:
    """A namespace with sidecars, and nothing counted yet."""
    cluster.reset()
    with scene_of(cluster) as found:
        yield found


@pytest.fixture(scope="session")
def embedded() -> Iterator[Lab]:
    """The embedded lab."""
    if UNDER_TEST in os.environ:
        pytest.skip("the embedded lab is held to the contract where the whole tier runs")
    with start_lab() as found:
        yield found
