"""The steps that give sidecars the files which they are to read, in a rollout of their own before any mesh object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kubectl_egress import kinds
from kubectl_egress.model import Action, Body, Step, Wait
from kubectl_egress.plan.callers import CallerChange
from kubectl_egress.plan.guard import workload_patch


def files_first(steps: Sequence[Step], callers: Sequence[CallerChange]) -> list[Step]:
    """The steps up to the mesh objects: ConfigMaps (journals, then CAs), what mounts them, then the rest."""

    def is_config_map(step: Step) -> bool:
        return step.ref is not None and step.ref.kind == "ConfigMap"

    config_maps = [step for step in steps if is_config_map(step)]
    return [*config_maps, *mount_steps(callers), *(step for step in steps if not is_config_map(step))]


def mount_steps(callers: Sequence[CallerChange]) -> Iterator[Step]:
    """Files for the sidecars first, in a rollout of their own: that each can read them shows before a URL changes."""
    changes = [change for change in callers if change.mounted != change.before]
    for change in changes:
        patch = workload_patch(change.before, change.mounted)
        title = "the files that its sidecars are to read, and nothing else"
        yield Step(0, Action.PATCH, change.workload, title, change.before, change.mounted, patch)
    for change in changes:
        if kinds.rolls(change.workload.kind):
            title = "roll out, and watch it"
            yield Step(0, Action.WAIT, change.workload, title, wait=Wait.ROLLOUT, workloads=(change.workload,))


def as_mounted(change: CallerChange) -> Body:
    """The workload as the first of two patches leaves it: one generation on."""
    generation = change.before["metadata"].get("generation")
    if change.mounted == change.before or generation is None:
        return change.mounted
    return {**change.mounted, "metadata": {**change.mounted["metadata"], "generation": generation + 1}}
