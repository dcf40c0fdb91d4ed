"""The kinds that make pods: where the pod template is, whether it can be changed, whether that replaces pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_egress import paths
from kubectl_egress.model import Body, Steps

_TAKEN = ("Service", "StatefulSet", "DaemonSet")


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
        # `services` and `sts` are Kubernetes' own
        return (*(plain if "." not in self.group or self.kind not in _TAKEN else self.short_names), *full)


KINDS = (
    KindRow("Deployment", "apps/v1", "deployments", ("deploy",), ("spec", "template"), rolls=True),
    KindRow("StatefulSet", "apps/v1", "statefulsets", ("sts",), ("spec", "template"), rolls=True),
    KindRow("DaemonSet", "apps/v1", "daemonsets", ("ds",), ("spec", "template"), rolls=True),
    KindRow("ReplicaSet", "apps/v1", "replicasets", ("rs",), ("spec", "template")),
    # "field is immutable" for any change of the template (validation of batch/v1 Job).
    KindRow("Job", "batch/v1", "jobs", (), ("spec", "template"), mutable=False),
    KindRow("CronJob", "batch/v1", "cronjobs", ("cj",), ("spec", "jobTemplate", "spec", "template")),
)

# knative/serving pkg/apis/serving/v1: each new template makes a Revision, that a Deployment, that the pods.
KNATIVE = KindRow(
    "Service", "serving.knative.dev/v1", "services", ("kservice", "ksvc"), ("spec", "template"), rolls=True
)

# Those of others' resource definitions; they are looked for where the cluster serves their group.
CUSTOM_KINDS = (
    # argo-rollouts pkg/apis/rollouts/v1alpha1. Without a template where spec.workloadRef leads to a Deployment's.
    KindRow("Rollout", "argoproj.io/v1alpha1", "rollouts", ("ro",), ("spec", "template"), rolls=True),
    KNATIVE,
    # openkruise/kruise apis/apps
    KindRow("CloneSet", "apps.kruise.io/v1alpha1", "clonesets", ("clone",), ("spec", "template"), rolls=True),
    KindRow("StatefulSet", "apps.kruise.io/v1beta1", "statefulsets", ("asts",), ("spec", "template"), rolls=True),
    KindRow("DaemonSet", "apps.kruise.io/v1alpha1", "daemonsets", ("daemon", "ads"), ("spec", "template"), rolls=True),
)


def row(kind: str, api_version: str = "") -> KindRow | None:
    """The row of a kind (`Deployment`); None if it makes no pods that we know of.

    Without an API version, any of that name: Knative's for `Service`.
    """
    group = api_version.rpartition("/")[0]
    rows = (candidate for candidate in (*KINDS, *CUSTOM_KINDS) if candidate.kind == kind)
    return next((candidate for candidate in rows if not api_version or candidate.group == group), None)


def row_of(body: Body) -> KindRow | None:
    """The row of an object's kind."""
    return row(str(body.get("kind", "")), str(body.get("apiVersion", "")))


def named(word: str) -> KindRow | None:
    """The row that kubectl's TYPE means: `deploy`, `Deployment`, `deployments.apps`, `deployments.v1.apps`."""
    return next((candidate for candidate in (*KINDS, *CUSTOM_KINDS) if word.lower() in candidate.names), None)


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
    found = row_of(body)
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
    return found if isinstance(found, Mapping) and row_of(body) else None


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
