"""ControllerRevisions: the templates that StatefulSets and DaemonSets have had."""

from __future__ import annotations

from collections.abc import Sequence

from kubectl_egress.lab.controllers.ownership import (
    REVISION_HASH,
    Body,
    Create,
    Delete,
    Object,
    Update,
    Write,
    reference,
    template_hash,
)


def current_hash(owner: Body) -> str:
    """The hash of the template that the owner has now."""
    return template_hash(owner["spec"]["template"])


def record(owner: Body, revisions: Sequence[Body]) -> list[Write]:
    """What makes the owner's template its newest revision, and keeps no more than revisionHistoryLimit old ones."""
    wanted, newest = current_hash(owner), max([0, *(item["revision"] for item in revisions)])
    known = next((item for item in revisions if item["metadata"]["labels"][REVISION_HASH] == wanted), None)
    if known is None:
        writes: list[Write] = [
            Create("controllerrevisions", _revision(owner, wanted, newest + 1), owner["metadata"]["uid"])
        ]
    elif known["revision"] < newest:
        writes = [Update("controllerrevisions", {**known, "revision": newest + 1})]
    else:
        writes = []
    older = sorted((item for item in revisions if item is not known), key=lambda item: int(item["revision"]))
    surplus = len(older) - owner["spec"].get("revisionHistoryLimit", 10)
    return [*writes, *(Delete("controllerrevisions", item) for item in older[: max(surplus, 0)])]


def _revision(owner: Body, name: str, number: int) -> Object:
    metadata = owner["metadata"]
    template = {**owner["spec"]["template"], "$patch": "replace"}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{metadata['name']}-{name}",
            "namespace": metadata["namespace"],
            "labels": {**(owner["spec"]["template"]["metadata"].get("labels") or {}), REVISION_HASH: name},
            "ownerReferences": [reference(owner)],
        },
        "data": {"spec": {"template": template}},
        "revision": number,
    }


def template_at(revisions: Sequence[Body], name: str) -> Object | None:
    """The template of the revision called `name`."""
    for item in revisions:
        if item["metadata"]["name"] == name:
            template = item["data"]["spec"]["template"]
            return {key: value for key, value in template.items() if key != "$patch"}
    return None
