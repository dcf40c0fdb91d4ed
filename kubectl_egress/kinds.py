"""The kinds that make pods: where the pod template is, what changing it does, when a rollout is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kubectl_egress import paths
from kubectl_egress.model import Body, Steps


@dataclass(frozen=True, slots=True)
class KindRow:
    """What has to be known of a kind."""

    kind: str
    api_version: str
    plural: str
    short_names: tuple[str, ...]
    """kubectl's (`kubectl api-resources`)."""
    template: Steps
    mutable: bool = True
    """Whether the API accepts another pod template."""
    rolls: bool = False
    """Whether the controller replaces running pods when the template changes."""

    @property
    def group(self) -> str:
        """The API group: `apps`."""
        return self.api_version.rpartition("/")[0]

    @property
    def names(self) -> tuple[str, ...]:
        """What kubectl accepts for TYPE, in lower case: plural, singular, short names, with and without the group."""
        plain = (self.plural, self.kind.lower(), *self.short_names)
        version = self.api_version.rpartition("/")[2]
        full = (f"{name}.{suffix}" for name in plain for suffix in (self.group, f"{version}.{self.group}"))
        return (*plain, *full)


KINDS = (
    KindRow("Deployment", "apps/v1", "deployments", ("deploy",), ("spec", "template"), rolls=True),
    KindRow("StatefulSet", "apps/v1", "statefulsets", ("sts",), ("spec", "template"), rolls=True),
    KindRow("DaemonSet", "apps/v1", "daemonsets", ("ds",), ("spec", "template"), rolls=True),
    KindRow("ReplicaSet", "apps/v1", "replicasets", ("rs",), ("spec", "template")),
    # "field is immutable" for any change of the template (validation of batch/v1 Job).
    KindRow("Job", "batch/v1", "jobs", (), ("spec", "template"), mutable=False),
    KindRow("CronJob", "batch/v1", "cronjobs", ("cj",), ("spec", "jobTemplate", "spec", "template")),
)


class Hold(StrEnum):
    """Why pods that run keep the old template although it was changed."""

    NONE = ""
    PAUSED = "paused"
    """A Deployment with `spec.paused`."""
    ON_DELETE = "on-delete"
    """`updateStrategy.type: OnDelete`: a pod gets the new template when somebody deletes it."""
    PARTITION = "partition"
    """`updateStrategy.rollingUpdate.partition`: pods with a lower ordinal keep the old template."""
    NO_ROLLOUT = "no-rollout"
    """A ReplicaSet: only pods made later have the new template."""
    NEXT_RUN = "next-run"
    """A CronJob: Jobs made later have the new template, those that run do not."""
    IMMUTABLE = "immutable"
    """A Job: its template cannot be changed."""


def row(kind: str) -> KindRow | None:
    """The row of a kind (`Deployment`); None if it makes no pods that we know of."""
    return next((candidate for candidate in KINDS if candidate.kind == kind), None)


def named(word: str) -> KindRow | None:
    """The row that kubectl's TYPE means: `deploy`, `Deployment`, `deployments.apps`, `deployments.v1.apps`."""
    return next((candidate for candidate in KINDS if word.lower() in candidate.names), None)


def rolls(kind: str) -> bool:
    """Whether changing the template of this kind replaces the pods that run."""
    found = row(kind)
    return found is not None and found.rolls


def template_steps(kind: str) -> Steps:
    """Where the pod template of a kind is. KeyError for a kind that has none."""
    found = row(kind)
    if found is None:
        raise KeyError(kind)
    return found.template


def pod_template(body: Body) -> Body | None:
    """The pod template (with its metadata and spec) of an object; None if it has none."""
    found = row(str(body.get("kind", "")))
    if found is None:
        return None
    try:
        template = paths.get(body, found.template)
    except KeyError:
        return None
    return template if isinstance(template, Mapping) else None


def selector(body: Body) -> Body | None:
    """The label selector of its pods; None for a CronJob, whose pods belong to its Jobs."""
    found = body.get("spec", {}).get("selector")
    return found if isinstance(found, Mapping) and row(str(body.get("kind", ""))) else None


def containers(template: Body) -> Iterator[tuple[Steps, Body, str]]:
    """Every container of a pod template: its address in the template, the container, and its role.

    The role is `init`, `sidecar` (an init container that stays: `restartPolicy: Always`, Kubernetes 1.28) or
    `container`.
    """
    spec = template.get("spec") or {}
    for field in ("initContainers", "containers"):
        for number, container in enumerate(_entries(spec.get(field))):
            always = container.get("restartPolicy") == "Always"
            role = "container" if field == "containers" else "sidecar" if always else "init"
            yield ("spec", field, number), container, role


def _entries(value: Any) -> list[Body]:
    return [entry if isinstance(entry, Mapping) else {} for entry in value] if isinstance(value, list) else []


# ---- rollouts -------------------------------------------------------------------------------------------------------


def hold(body: Body) -> Hold:
    """Why a change of this object's pod template does not reach all pods that run."""
    kind, spec = body.get("kind"), body.get("spec") or {}
    if kind == "Deployment":
        return Hold.PAUSED if spec.get("paused") else Hold.NONE
    if kind in ("StatefulSet", "DaemonSet"):
        strategy = spec.get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return Hold.ON_DELETE
        return Hold.PARTITION if (strategy.get("rollingUpdate") or {}).get("partition") else Hold.NONE
    return {"Job": Hold.IMMUTABLE, "CronJob": Hold.NEXT_RUN}.get(str(kind), Hold.NO_ROLLOUT)


def rollout_done(body: Body) -> tuple[bool, str]:
    """Whether every pod has the template as it is now, and what `kubectl rollout status` says of it.

    As kubectl decides (kubectl pkg/polymorphichelpers/rollout_status.go). Kinds that do not roll are done at once;
    `rollout_failed` says when there is nothing to wait for.
    """
    decide = {"Deployment": _deployment, "DaemonSet": _daemon_set, "StatefulSet": _stateful_set}.get(
        str(body.get("kind"))
    )
    if decide is None:
        return True, f"{str(body.get('kind', '')).lower()} {_quoted(body)} does not roll out"
    return decide(body)


def rollout_failed(body: Body) -> str:
    """Why waiting is in vain: a Deployment's progress deadline has passed; empty otherwise."""
    if body.get("kind") != "Deployment" or not _observed(body):
        return ""
    return f"deployment {_quoted(body)} exceeded its progress deadline" if deadline_passed(body) else ""


def deadline_passed(body: Body) -> str:
    """When a Deployment's progress deadline was found to have passed (UTC, as the status has it); empty if it was not."""
    for condition in (body.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return str(condition.get("lastUpdateTime") or condition.get("lastTransitionTime") or "unknown")
    return ""


def _quoted(body: Body) -> str:
    return f'"{body.get("metadata", {}).get("name", "")}"'


def _observed(body: Body) -> bool:
    return int(_count(body["metadata"], "generation")) <= _count(body.get("status") or {}, "observedGeneration")


def _count(mapping: Body, field: str, default: int = 0) -> int:
    value = mapping.get(field)
    return int(value) if value is not None else default


def _deployment(body: Body) -> tuple[bool, str]:
    if not _observed(body):
        return False, "Waiting for deployment spec update to be observed..."
    failed = rollout_failed(body)
    if failed:
        return False, failed
    status = body.get("status") or {}
    wanted = _count(body.get("spec") or {}, "replicas", 1)
    updated, total = _count(status, "updatedReplicas"), _count(status, "replicas")
    available = _count(status, "availableReplicas")
    waiting = f"Waiting for deployment {_quoted(body)} rollout to finish: "
    if updated < wanted:
        return False, f"{waiting}{updated} out of {wanted} new replicas have been updated..."
    if total > updated:
        return False, f"{waiting}{total - updated} old replicas are pending termination..."
    if available < updated:
        return False, f"{waiting}{available} of {updated} updated replicas are available..."
    return True, f"deployment {_quoted(body)} successfully rolled out"


def _daemon_set(body: Body) -> tuple[bool, str]:
    if hold(body) is Hold.ON_DELETE:
        return True, "rollout status is only available for RollingUpdate strategy type"
    if not _observed(body):
        return False, "Waiting for daemon set spec update to be observed..."
    status = body.get("status") or {}
    wanted = _count(status, "desiredNumberScheduled")
    updated, available = _count(status, "updatedNumberScheduled"), _count(status, "numberAvailable")
    waiting = f"Waiting for daemon set {_quoted(body)} rollout to finish: "
    if updated < wanted:
        return False, f"{waiting}{updated} out of {wanted} new pods have been updated..."
    if available < wanted:
        return False, f"{waiting}{available} of {wanted} updated pods are available..."
    return True, f"daemon set {_quoted(body)} successfully rolled out"


def _stateful_set(body: Body) -> tuple[bool, str]:
    if hold(body) is Hold.ON_DELETE:
        return True, "rollout status is only available for RollingUpdate strategy type"
    status, spec = body.get("status") or {}, body.get("spec") or {}
    if not _count(status, "observedGeneration") or not _observed(body):
        return False, "Waiting for statefulset spec update to be observed..."
    wanted, ready = _count(spec, "replicas", 1), _count(status, "readyReplicas")
    if ready < wanted:
        return False, f"Waiting for {wanted - ready} pods to be ready..."
    updated = _count(status, "updatedReplicas")
    # kubectl prints "partitioned" for every rollingUpdate block; the API server always writes one with partition 0,
    # and then the number of updated pods decides just as well.
    rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate")
    if rolling is not None:
        share = wanted - _count(rolling, "partition")
        if updated < share:
            return (
                False,
                f"Waiting for partitioned roll out to finish: {updated} out of {share} new pods have been updated...",
            )
        return True, f"partitioned roll out complete: {updated} new pods have been updated..."
    revision = status.get("updateRevision", "")
    if revision != status.get("currentRevision", ""):
        return False, f"waiting for statefulset rolling update to complete {updated} pods at revision {revision}..."
    current = _count(status, "currentReplicas")
    return True, f"statefulset rolling update complete {current} pods at revision {revision}..."
