"""Fixtures that more than one test file uses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from kubectl_egress.lab.client import Lab, start_lab

# How long an example takes says something about the machine's other work.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab of the test's own, with nothing in it but what Istio brings; gone afterwards."""
    with start_lab() as found:
        yield found
