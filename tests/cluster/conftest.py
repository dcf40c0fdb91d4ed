"""Clusters for the slow tier: one real one for all tests of a run, or the one that the environment names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubectl_egress.errors import EgressError
from kubectl_egress.lab.client import start_lab
from tests.cluster.build import BuildError
from tests.cluster.client import RealLab, start_cluster

UNDER_TEST = "KUBECONFIG_UNDER_TEST"


def pytest_configure(config: pytest.Config) -> None:
    """The marker is this directory's own."""
    config.addinivalue_line("markers", "cluster: needs a real control plane (root, Go programs built by build.py)")


@pytest.fixture(scope="session")
def cluster() -> Iterator[RealLab]:
    """A real control plane of our own, with the Istio that ISTIO names; gone afterwards."""
    if UNDER_TEST in os.environ:
        pytest.skip(f"{UNDER_TEST} names a cluster whose outside world is not ours")
    try:
        found = start_cluster(os.environ.get("ISTIO", "1.31"))
    except BuildError as error:
        pytest.skip(str(error))
    except EgressError as error:
        pytest.fail(f"{error.message}: {error.remedy}")
    with found:
        yield found


@pytest.fixture(scope="session")
def real_kubeconfig(request: pytest.FixtureRequest) -> Path:
    """The kubeconfig of a real API server with Istio: ours, or that of KUBECONFIG_UNDER_TEST."""
    if UNDER_TEST in os.environ:
        return Path(os.environ[UNDER_TEST])
    found: RealLab = request.getfixturevalue("cluster")
    return found.kubeconfig


@pytest.fixture(scope="session")
def lab_kubeconfig() -> Iterator[Path]:
    """The kubeconfig of the embedded lab."""
    with start_lab() as found:
        yield found.kubeconfig
