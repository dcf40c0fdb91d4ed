"""The lab's faults once more, on a real control plane: what becomes of a migration that something happens to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.cluster.client import RealLab
from tests.cluster.scenes import scene_of
from tests.scenarios import test_faults as faults
from tests.scenarios.test_faults import FAULTS, IN_CLEAR, Migrated

pytestmark = pytest.mark.cluster

# Up to 1.18 the oldest rule for a host wins at the top, whatever its exportTo.
OLDEST_WINS = "an older rule, exported everywhere, and no route"


@pytest.fixture(scope="module", params=[False, True], ids=["fails-closed", "fails-open"])
def migrated(request: pytest.FixtureRequest, cluster: RealLab) -> Iterator[Migrated]:
    with scene_of(cluster) as found:
        caller = found.deploy(faults.CALLER)
        found.migrate(*(["--fail-open"] if request.param else []))
        yield Migrated(found, caller, request.param)


@pytest.mark.parametrize("name", FAULTS)
def test_what_a_fault_costs(migrated: Migrated, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.environ.get("ISTIO") == "1.18":
        monkeypatch.setitem(FAULTS, OLDEST_WINS, replace(FAULTS[OLDEST_WINS], closed=IN_CLEAR, open=IN_CLEAR))
    faults.test_what_a_fault_costs(migrated, name)


def test_a_new_pod_after_a_fault_is_as_closed_as_the_old_one(migrated: Migrated) -> None:
    faults.test_a_new_pod_after_a_fault_is_as_closed_as_the_old_one(migrated)
