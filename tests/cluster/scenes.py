"""Scenes on a cluster that goes on after them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from kubectl_egress.errors import NotFoundError
from kubectl_egress.lab.client import Lab
from kubectl_egress.model import Ref
from tests.scene import NAMESPACE, Scene, until


@contextlib.contextmanager
def scene_of(lab: Lab, namespace: str = NAMESPACE) -> Iterator[Scene]:
    """A namespace with sidecars that is gone afterwards: a cluster outlives its tests."""
    with Scene(lab, namespace) as found:
        yield found
        ref = Ref("Namespace", "", namespace, "v1")
        found.cluster.delete(ref, uid=found.cluster.get(ref)["metadata"]["uid"])

        def gone() -> bool:
            try:
                found.cluster.get(ref)
            except NotFoundError:
                return True
            return False

        until(gone, f"namespace {namespace} is gone", 60.0)
