"""Which tests go to one worker, and which are begun first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sharing import UNDER_TEST, scope_of, turn_of

ROOT = Path(__file__).parents[1]
REFUSALS = "tests/scenarios/test_refusals.py"
FAULTS = "tests/scenarios/test_faults.py"


@pytest.mark.parametrize(
    ("test", "scope"),
    [
        ("tests/test_urls.py::test_x", "tests/test_urls.py::test_x"),
        ("tests/test_urls.py::test_x[a::b[c]]", "tests/test_urls.py::test_x"),
        ("tests/cluster/test_options.py::test_x[a]", "tests/cluster/test_options.py::test_x[a]"),
        (f"{REFUSALS}::test_x[a]", f"{REFUSALS} "),
        (f"{REFUSALS}::test_y", f"{REFUSALS} "),
        (f"{FAULTS}::test_x[fails-closed-a]", f"{FAULTS} fails-closed"),
        (f"{FAULTS}::test_x[fails-open-a]", f"{FAULTS} fails-open"),
    ],
)
def test_what_shares_a_lab_goes_to_one_worker(test: str, scope: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(UNDER_TEST, raising=False)
    assert scope_of(test, ROOT) == scope


def test_a_cluster_that_is_not_ours_is_asked_by_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UNDER_TEST, "config")
    slow = {scope_of(f"tests/cluster/test_faults.py::test_x[{name}]", ROOT) for name in "ab"}
    assert len(slow) == 1
    assert scope_of("tests/test_urls.py::test_x", ROOT) not in slow


def test_labs_come_first(request: pytest.FixtureRequest) -> None:
    turns = [turn_of(item) for item in request.session.items if "cluster" not in item.path.parts]
    assert turns == sorted(turns)
