"""A host's mesh objects among manifests: our own in files of their own, somebody else's completed where they stand."""

from __future__ import annotations

import os
from collections.abc import Sequence

from kubectl_egress import manifests, mesh
from kubectl_egress.errors import ManifestError
from kubectl_egress.manifests import Kustomization
from kubectl_egress.model import Action, Body, CallSite, Document, Host, Step
from kubectl_egress.plan.objects import MeshChange
from kubectl_egress.plan.own_files import OwnFile, egress_files, taken_in

WAVE_ANNOTATION = "argocd.argoproj.io/sync-wave"
_WAVES = {
    "ConfigMap": "-4",
    "DestinationRule": "-3",
    "ServiceEntry": "-2",
    "VirtualService": "-1",
    "Service": "-2",
    "NetworkPolicy": "-3",
}


def step_of(change: MeshChange) -> Step:
    """The step that writes an object, as it is shown."""
    action = Action.CREATE if change.before is None else Action.UPDATE
    return Step(0, action, change.ref, change.title, before=change.before, after=plain(change.after))


def plain(body: Body) -> Body:
    """Without a namespace where the manifests name none, and with the wave in which Argo CD is to apply it.

    Argo CD applies kinds that it does not know after Deployments, unless waves say otherwise (gitops-engine
    pkg/sync/sync_tasks.go); the rule has to come first, since an entry without it sends to port 443 in clear.
    """
    metadata = {key: value for key, value in body["metadata"].items() if value != ""}
    if mesh.is_ours(body):
        metadata["annotations"] = {WAVE_ANNOTATION: _WAVES[body["kind"]], **(metadata.get("annotations") or {})}
    return {**body, "metadata": metadata}


def write_objects(
    host: Host,
    objects: Sequence[MeshChange],
    sites: Sequence[CallSite],
    documents: Sequence[Document],
    kustomizations: Sequence[Kustomization],
    changed: dict[str, str],
) -> None:
    """The host's objects: somebody else's completed where they stand, our own in files of their own."""
    held = {one.ref: one for one in documents}
    for one in objects:
        document = held.get(one.ref)
        if document is not None and one.before != one.after and not mesh.is_ours(one.after):
            changed[document.file] = _completed(changed[document.file], document, one)
    own = [one for one in objects if one.before is None or mesh.is_ours(one.after)]
    new = any(one.before != one.after for one in own)
    for target in egress_files(host, sites, kustomizations) if own else ():
        if new or not _is_there(target, own, documents, kustomizations):
            changed[target.file] = manifests.dump([plain(one.after) for one in own])
        if target.file in changed and target.kustomization is not None:
            _take_in(target, changed)


def _is_there(
    target: OwnFile, own: Sequence[MeshChange], documents: Sequence[Document], kustomizations: Sequence[Kustomization]
) -> bool:
    """Whether what takes the target's directory in has the objects already."""
    if target.kustomization is None:
        return True
    places = {target.kustomization.directory, *taken_in(target.kustomization, kustomizations)}
    here = {one.ref for one in documents if os.path.dirname(one.file) in places}
    return all(one.ref in here for one in own)


def _take_in(target: OwnFile, changed: dict[str, str]) -> None:
    kustomization = target.kustomization
    assert kustomization is not None, "the caller looked"
    current = manifests.read_kustomization(changed[kustomization.file], kustomization.file)
    if current is not None and os.path.normpath(target.file) not in current.paths:
        name = os.path.basename(target.file)
        changed[kustomization.file] = manifests.add_resource(changed[kustomization.file], current, name)


def _completed(text: str, document: Document, change: MeshChange) -> str:
    """Somebody else's object with what it lacks; ManifestError where adding does not do."""
    try:
        return manifests.add(text, document.index, change.after)
    except ManifestError as error:
        raise ManifestError(
            f"{document.file}: {change.ref.kind} {change.ref.name} is there already, and has to say more than it does: "
            f"{error.message}",
            "delete it from the file, and run this again: the new file says all that it says, and what it lacks",
        ) from error
