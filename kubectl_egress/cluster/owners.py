"""Whose pod is it: from controller references, also through ReplicaSets and Jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kubectl_egress import kinds
from kubectl_egress.cluster.projection import SOURCES
from kubectl_egress.model import Body, Document, Ref
from kubectl_egress.scan import source_references

# What stands between a workload and its pods, and is no workload of its own then.
BETWEEN = {"ReplicaSet": ("Deployment", "Rollout"), "Job": ("CronJob",)}
# What Knative makes of a Service: a Revision, and of that a Deployment, whose pods bear the Service's name.
_MADE = {**BETWEEN, "Deployment": ("Revision",)}
KNATIVE_SERVICE = "serving.knative.dev/service"


def controller(body: Body) -> tuple[str, str]:
    """Kind and name of the owner that controls the object; empty if none does."""
    owner = _owner(body)
    return str(owner.get("kind", "")), str(owner.get("name", ""))


def _owner(body: Body) -> Body:
    owners = body.get("metadata", {}).get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), {})


def is_workload(kind: str, body: Body) -> bool:
    """Whether an object of this kind stands for itself: not a Deployment's ReplicaSet, not a CronJob's Job."""
    return controller(body)[0] not in _MADE.get(kind, ())


def parents(between: Mapping[str, Iterable[Body]]) -> Mapping[Ref, Ref]:
    """The Deployment (or Rollout) of each ReplicaSet and the CronJob of each Job that has one; `between` by kind."""
    found = {}
    for kind, bodies in between.items():
        for body in bodies:
            owner, name = controller(body)
            if owner in BETWEEN[kind]:
                namespace = body["metadata"].get("namespace", "")
                found[Ref(kind, namespace, body["metadata"]["name"])] = Ref(owner, namespace, name)
    return found


def pods_by_workload(pods: Iterable[Body], known: Mapping[Ref, Ref]) -> Mapping[Ref, tuple[Body, ...]]:
    """The pods of each workload, by the workload's Ref; `known` are the parents.

    Where a ReplicaSet could not be read, its name tells the Deployment's: NAME-HASH, with the hash as the pod's label.
    """
    grouped: dict[Ref, list[Body]] = {}
    for pod in pods:
        kind, name = controller(pod)
        if kind:
            api_version = str(_owner(pod).get("apiVersion", ""))
            owner = Ref(kind, pod["metadata"].get("namespace", ""), name, api_version)
            made = _knative(owner, pod) or known.get(owner) or _guessed(owner, pod) or owner
            grouped.setdefault(made, []).append(pod)
    return {ref: tuple(found) for ref, found in grouped.items()}


def readers(grouped: Mapping[Ref, Iterable[Body]], workloads: Iterable[Document]) -> Mapping[Ref, tuple[Ref, ...]]:
    """By ConfigMap and Secret, the workloads that read it: by their pods, as `projection` keeps them, and by their templates."""
    found: dict[Ref, set[Ref]] = {}
    for ref, pods in grouped.items():
        for kind, name in {source for pod in pods for source in pod.get(SOURCES, ())}:
            found.setdefault(Ref(kind, ref.namespace, name, "v1"), set()).add(ref)
    for one in workloads:
        for _, kind, name in source_references(kinds.pod_template(one.body) or {}):
            found.setdefault(Ref(kind, one.ref.namespace, name, "v1"), set()).add(one.ref)
    return {source: tuple(sorted(refs)) for source, refs in found.items()}


def _knative(owner: Ref, pod: Body) -> Ref | None:
    """The Knative Service that a pod's label names."""
    name = (pod["metadata"].get("labels") or {}).get(KNATIVE_SERVICE)
    return Ref("Service", owner.namespace, str(name)) if name else None


def _guessed(owner: Ref, pod: Body) -> Ref | None:
    """The Deployment that a ReplicaSet's name and its pod's hash tell of."""
    mark = "-" + str((pod["metadata"].get("labels") or {}).get("pod-template-hash", ""))
    if owner.kind != "ReplicaSet" or len(mark) == 1 or not owner.name.endswith(mark):
        return None
    return Ref("Deployment", owner.namespace, owner.name.removesuffix(mark))
