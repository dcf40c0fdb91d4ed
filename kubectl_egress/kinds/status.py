"""How the status of a workload is read, and why pods may keep an old template."""

from __future__ import annotations

from enum import StrEnum

from kubectl_egress.model import Body


class Hold(StrEnum):
    """Why pods that run keep the old template although it was changed."""

    NONE = ""
    PAUSED = "paused"
    """A Deployment or a Rollout with `spec.paused`; OpenKruise has it in the strategy."""
    ON_DELETE = "on-delete"
    """`updateStrategy.type: OnDelete`: a pod gets the new template when somebody deletes it."""
    PARTITION = "partition"
    """`updateStrategy.rollingUpdate.partition`: pods with a lower ordinal keep the old template."""
    NO_ROLLOUT = "no-rollout"
    """A ReplicaSet: only pods made later have the new template."""
    NEXT_RUN = "next-run"
    """A CronJob: Jobs made later have the new template, those that run do not."""
    PROMOTION = "promotion"
    """An Argo Rollout that waits for somebody: a pause without a duration, `autoPromotionEnabled: false`."""
    IN_PLACE = "in-place"
    """OpenKruise's InPlaceOnly: pods are never made anew, and only images change in them."""
    PINNED = "pinned"
    """A Knative Service whose traffic, or the name of whose next revision, is fixed."""
    IMMUTABLE = "immutable"
    """A Job: its template cannot be changed."""


def quoted(body: Body) -> str:
    """The name as kubectl's messages have it."""
    return f'"{body.get("metadata", {}).get("name", "")}"'


def observed(body: Body) -> bool:
    """Whether the controller has seen the object as it is now."""
    return int(count(body["metadata"], "generation")) <= count(body.get("status") or {}, "observedGeneration")


def count(mapping: Body, field: str, default: int = 0) -> int:
    """A number of a status or spec; Argo writes one as a string."""
    value = mapping.get(field)
    return int(str(value)) if str(value).isdecimal() else default
