"""What goes with its owner, with its last dependent, with its namespace."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_egress.lab.api.resources import RESOURCES
from kubectl_egress.lab.api.store import ObjectStore
from kubectl_egress.lab.controllers.ownership import Body, Delete, terminating

_FOREGROUND = "foregroundDeletion"


def _everything(store: ObjectStore) -> Iterator[tuple[str, Body]]:
    for resource in RESOURCES:
        for body in store.view(resource.plural):
            yield resource.plural, body


def orphans(store: ObjectStore) -> Iterator[Delete]:
    """Deletes of what has lost all its owners, or its namespace, or whose owner goes last."""
    uids = {body["metadata"]["uid"]: body for _, body in _everything(store)}
    leaving = {body["metadata"]["name"] for body in store.view("namespaces") if terminating(body)}
    for resource, body in _everything(store):
        metadata = body["metadata"]
        if terminating(body):
            continue
        owners = [uids.get(owner["uid"]) for owner in metadata.get("ownerReferences") or []]
        alone = bool(owners) and all(owner is None or _waits(owner) for owner in owners)
        if alone or metadata.get("namespace") in leaving:
            yield Delete(resource, body)


def _waits(body: Body) -> bool:
    return terminating(body) and _FOREGROUND in (body["metadata"].get("finalizers") or [])


def release(store: ObjectStore) -> None:
    """Let owners go whose dependents are gone, and namespaces that are empty."""
    everything = list(_everything(store))
    needed = {owner["uid"] for _, body in everything for owner in body["metadata"].get("ownerReferences") or []}
    for resource, body in everything:
        if _waits(body) and body["metadata"]["uid"] not in needed:
            left = [name for name in body["metadata"]["finalizers"] if name != _FOREGROUND]
            store.update(resource, {**body, "metadata": {**body["metadata"], "finalizers": left}})
    occupied = {body["metadata"].get("namespace") for _, body in _everything(store)}
    for namespace in store.view("namespaces"):
        if terminating(namespace) and namespace["metadata"]["name"] not in occupied:
            store.remove("namespaces", "", namespace["metadata"]["name"])
