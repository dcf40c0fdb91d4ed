"""The JSON patch of a workload: nothing is written unless all that the plan relied on still stands."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_egress import paths
from kubectl_egress.model import Body, PatchOperation, Steps
from kubectl_egress.plan.patches import patch_between

GENERATION: Steps = ("metadata", "generation")


def workload_patch(before: Body, after: Body) -> tuple[PatchOperation, ...]:
    """Tests first (generation, container and entry names, old values), then the changes.

    A JSON patch tests an absent member by `null` only where its parent is there; `metadata.generation`, which moves with every change of the
    spec and with nothing else, stands for it.
    """
    changes = patch_between(before, after)
    if not changes:
        return ()
    tests = list(dict.fromkeys(_names(before, changes)))
    generation = before.get("metadata", {}).get("generation")
    if generation is not None:
        tests.insert(0, PatchOperation("test", GENERATION, generation))
    return (*tests, *changes)


def _names(before: Body, changes: tuple[PatchOperation, ...]) -> Iterator[PatchOperation]:
    for change in changes:
        for length, step in enumerate(change.steps):
            if not isinstance(step, int):
                continue
            holder = change.steps[: length + 1]
            try:
                name = paths.get(before, (*holder, "name"))
            except (KeyError, TypeError, IndexError):
                continue
            yield PatchOperation("test", (*holder, "name"), name)
