"""The kinds that make pods: where the pod template is, what changing it does, when a rollout is done."""

from __future__ import annotations

from kubectl_egress.kinds.rollouts import deadline_passed, hold, rollout_done, rollout_failed
from kubectl_egress.kinds.status import Hold
from kubectl_egress.kinds.table import (
    CUSTOM_KINDS,
    KINDS,
    KNATIVE,
    KindRow,
    containers,
    named,
    pod_template,
    rolls,
    row,
    row_of,
    selector,
    template_steps,
)

__all__ = [
    "CUSTOM_KINDS",
    "KINDS",
    "KNATIVE",
    "Hold",
    "KindRow",
    "containers",
    "deadline_passed",
    "hold",
    "named",
    "pod_template",
    "rollout_done",
    "rollout_failed",
    "rolls",
    "row",
    "row_of",
    "selector",
    "template_steps",
]
