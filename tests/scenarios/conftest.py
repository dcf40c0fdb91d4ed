"""Scenes: in a lab of the test's own, or in one that a file's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kubectl_egress.lab.client import Lab
from tests.scene import Scene, scene_in
from tests.warm import start_lab


@pytest.fixture
def scene(lab: Lab) -> Iterator[Scene]:
    """A namespace with sidecars in a lab of the test's own."""
    with Scene(lab) as found:
        yield found


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    """A lab that the tests of a file share."""
    with start_lab() as lab:
        yield lab


@pytest.fixture
def shared_scene(shared: Lab) -> Iterator[Scene]:
    """A namespace of the test's own in the shared lab."""
    with scene_in(shared) as found:
        yield found
