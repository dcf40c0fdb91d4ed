"""Asking the API server what it would permit, before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kubectl_egress.cluster.cluster import Cluster
from kubectl_egress.cluster.lists import side_by_side
from kubectl_egress.cluster.resources import ApiResource
from kubectl_egress.errors import ApiError, UnreachableError
from kubectl_egress.model import Denied, Ref

_READERS = 8
_VERSION = "authorization.k8s.io/v1"
_PATH = f"/apis/{_VERSION}/selfsubjectaccessreviews"


def not_permitted(cluster: Cluster, wanted: Iterable[tuple[str, Ref]]) -> tuple[Denied, ...]:
    """Those of the verbs and objects that the API server would refuse to who asks, each verb and type once.

    A server that does not say it leaves it open: its refusal comes with the write. Raises ForbiddenError for credentials
    that do not count (401).
    """
    names: dict[_Right, list[str]] = {}
    for verb, ref in wanted:
        names.setdefault(_Right(verb, cluster.resource_of(ref.kind, ref.api_version), ref.namespace), []).append(
            ref.name
        )
    with side_by_side(_READERS, "permission") as pool:
        answers = list(pool.map(lambda right: _refused(cluster, right, names[right]), names))
    return tuple(
        Denied(right.verb, right.resource.full_name, right.namespace, "")
        for right, refused in zip(names, answers, strict=True)
        if refused
    )


@dataclass(frozen=True, slots=True)
class _Right:
    """What is asked for objects of one type together."""

    verb: str
    resource: ApiResource
    namespace: str


def _refused(cluster: Cluster, right: _Right, names: Iterable[str]) -> bool:
    """Whether one of the objects would be refused: a rule may be for some names; a name is not known to who creates."""
    if _allowed(cluster, right, ""):
        return False
    return right.verb == "create" or not all(_allowed(cluster, right, name) for name in names)


def _allowed(cluster: Cluster, right: _Right, name: str) -> bool:
    attributes = {
        "namespace": right.namespace,
        "verb": right.verb,
        "group": right.resource.group,
        "resource": right.resource.plural,
        **({"name": name} if name else {}),
    }
    review = {"apiVersion": _VERSION, "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
    try:
        answer = cluster.transport.json("POST", _PATH, body=review)
    except (ApiError, UnreachableError) as error:
        if isinstance(error, ApiError) and error.status == 401:
            raise
        return True
    return bool((answer.get("status") or {}).get("allowed", True))
