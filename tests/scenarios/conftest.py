"""A scene of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kubectl_egress.lab.client import Lab
from tests.scene import Scene


@pytest.fixture
def scene(lab: Lab) -> Iterator[Scene]:
    """A namespace with sidecars in a lab of the test's own."""
    with Scene(lab) as found:
        yield found
