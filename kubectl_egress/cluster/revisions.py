"""The pod templates that a cluster still keeps of a workload, as `kubectl rollout history` numbers them."""

from __future__ import annotations

from collections.abc import Sequence

from kubectl_egress.cluster.cluster import Cluster
from kubectl_egress.cluster.owners import controller
from kubectl_egress.errors import ForbiddenError, NotFoundError
from kubectl_egress.model import Body, Ref

# k8s.io/kubectl pkg/polymorphichelpers/history.go
_ANNOTATION = "deployment.kubernetes.io/revision"


def revisions(cluster: Cluster, workload: Ref) -> Sequence[tuple[int, Body]]:
    """Number and pod template of each, the newest first; () where there are none, or they may not be read."""
    try:
        found = _of_deployment(cluster, workload) if workload.kind == "Deployment" else _of_others(cluster, workload)
    except (ForbiddenError, NotFoundError):
        return ()
    return sorted(found, key=lambda one: -one[0])


def _of_deployment(cluster: Cluster, workload: Ref) -> list[tuple[int, Body]]:
    return [
        (int(number), body["spec"]["template"])
        for body in cluster.list("apps/v1", "replicasets", workload.namespace)
        if controller(body) == ("Deployment", workload.name)
        and (number := (body["metadata"].get("annotations") or {}).get(_ANNOTATION, "")).isdigit()
    ]


def _of_others(cluster: Cluster, workload: Ref) -> list[tuple[int, Body]]:
    return [
        (int(body["revision"]), body["data"]["spec"]["template"])
        for body in cluster.list("apps/v1", "controllerrevisions", workload.namespace)
        if controller(body) == (workload.kind, workload.name)
    ]
