"""Fixtures that more than one test file uses, and how tests are shared among workers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings
from xdist.remote import Producer  # type: ignore[import-untyped]

from kubectl_egress.lab.client import Lab
from tests.sharing import Sharing, turn_of
from tests.warm import start_lab

# How long an example takes says something about the machine's other work.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

WAITING = 1
"""Workers beyond the machine's cores: tests with a lab wait half of their time."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What --numprocesses=auto means here."""
    return (os.cpu_count() or 1) + WAITING


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Sharing:
    """Ours, whatever --dist says."""
    return Sharing(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=turn_of)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab of the test's own, with nothing in it but what Istio brings; gone afterwards."""
    with start_lab() as found:
        yield found
