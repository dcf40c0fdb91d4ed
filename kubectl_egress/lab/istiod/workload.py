"""Who a pod is to the mesh: its workload, and the names under which its metrics stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_egress.lab.parts import Body

PROXY_CONTAINER = "istio-proxy"

# A Job of a CronJob: its name with the scheduled time.
_SCHEDULED = re.compile(r"^(?P<name>.+)-\d{8,10}$")


@dataclass(frozen=True, slots=True)
class Workload:
    """What makes the pods: the Deployment, not its ReplicaSet; the CronJob, not its Job."""

    api_version: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Identity:
    """The `source_*` labels of a proxy's metrics."""

    workload: str
    namespace: str
    app: str
    version: str
    canonical_name: str
    canonical_revision: str


def workload_of(pod: Body) -> Workload:
    """The owner of a pod as the injector finds it, the pod itself if it has none."""
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    own_name = metadata.get("name") or metadata.get("generateName", "").rstrip("-")
    owner = next((owner for owner in metadata.get("ownerReferences") or () if owner.get("controller")), None)
    if owner is None:
        return Workload("v1", "Pod", own_name)
    kind, name = owner["kind"], owner["name"]
    template_hash = labels.get("pod-template-hash", "")
    if kind == "ReplicaSet" and template_hash and name.endswith(f"-{template_hash}"):
        return Workload("apps/v1", "Deployment", name.removesuffix(f"-{template_hash}"))
    if kind == "Job" and (scheduled := _SCHEDULED.match(name)):
        return Workload("batch/v1", "CronJob", scheduled["name"])
    return Workload(owner.get("apiVersion", "v1"), kind, name)


def identity_of(pod: Body) -> Identity:
    """The names of a pod, by its labels and its owner."""
    labels: Mapping[str, Any] = pod["metadata"].get("labels") or {}
    name = workload_of(pod).name
    return Identity(
        workload=name,
        namespace=pod["metadata"].get("namespace", "default"),
        app=labels.get("app", "") or "unknown",
        version=labels.get("version", "") or "unknown",
        canonical_name=canonical_name(labels, name),
        canonical_revision=canonical_revision(labels),
    )


def canonical_name(labels: Mapping[str, str], workload: str) -> str:
    """`service.istio.io/canonical-name`, else what the injector puts there."""
    keys = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
    return next((labels[key] for key in keys if labels.get(key)), workload)


def canonical_revision(labels: Mapping[str, str]) -> str:
    """`service.istio.io/canonical-revision`, else what the injector puts there."""
    keys = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
    return next((labels[key] for key in keys if labels.get(key)), "latest")
