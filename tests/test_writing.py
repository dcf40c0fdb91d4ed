"""A write that meets an object which has moved: when it is sent again, and when it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from kubectl_egress.apply.lease import LeaseLostError
from kubectl_egress.apply.writing import write
from kubectl_egress.cluster import Cluster
from kubectl_egress.errors import InvalidError
from kubectl_egress.model import Action, Body, Outcome, PatchOperation, Ref, Step
from kubectl_egress.plan.guard import GENERATION
from tests import build

CURL = Ref("Deployment", build.NAMESPACE, "curl", "apps/v1")
LABEL = ("spec", "template", "metadata", "labels", "new")


def deployment(generation: int, replicas: int) -> Body:
    body = build.deployment("curl", spec={"replicas": replicas})
    return {**body, "metadata": {**body["metadata"], "generation": generation}}


class Scaled:
    """An API server on which somebody has scaled the Deployment, whose generation has moved to 2."""

    def __init__(self) -> None:
        self.body = deployment(2, replicas=3)
        self.taken: list[Sequence[PatchOperation]] = []

    def get(self, ref: Ref) -> Body:
        return self.body

    def patch(self, ref: Ref, operations: Sequence[PatchOperation], dry_run: bool) -> Body:
        if PatchOperation("test", GENERATION, 2) not in operations:
            raise InvalidError("the server rejected our request due to an error in our request", status=422)
        self.taken.append(operations)
        return self.body


STEP = Step(
    1,
    Action.UPDATE,
    CURL,
    "",
    before=deployment(1, replicas=1),
    patch=(PatchOperation("test", GENERATION, 1), PatchOperation("add", LABEL, "label")),
)


def test_who_is_only_scaled_is_patched_all_the_same() -> None:
    server = Scaled()
    assert write(STEP, cast("Cluster", server), dry_run=False) == Outcome(STEP, True)
    assert server.taken == [(PatchOperation("test", GENERATION, 2), PatchOperation("add", LABEL, "label"))]


def test_a_run_that_has_lost_its_lease_meanwhile_sends_no_second_patch() -> None:
    server = Scaled()

    def lost() -> None:
        raise LeaseLostError("another run has taken over")

    with pytest.raises(LeaseLostError):
        write(STEP, cast("Cluster", server), dry_run=False, check=lost)
    assert server.taken == []
