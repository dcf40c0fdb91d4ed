"""Kustomize overlays that migrate what other kustomizations take in, and leave every file of theirs as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubectl_egress import manifests, paths
from kubectl_egress.errors import ManifestError
from kubectl_egress.manifests import Kustomization
from kubectl_egress.model import Body, Document, Host, Ref
from kubectl_egress.plan.file_edits import DocumentChange, FileChange, FilePlan
from kubectl_egress.plan.file_objects import plain
from kubectl_egress.plan.guard import workload_patch
from kubectl_egress.plan.own_files import file_name, taken_in

HEADER = "# kubectl egress migrate -o kustomize wrote this, and its next run writes it anew.\n"
FILE = "kustomization.yaml"
_EDIT = "leave out -o kustomize: then it is edited where it stands"


def overlay_files(
    made: FilePlan, documents: Sequence[Document], kustomizations: Sequence[Kustomization], texts: Mapping[str, str]
) -> tuple[FileChange, ...]:
    """Beside each kustomization that no other takes in, and that takes callers in: the files of `DIRECTORY-egress`.

    Each object is patched by JSON patches that test what they replace: where the base says something else by then,
    kustomize refuses to build. ManifestError for what cannot be reached so: strings that a kustomization generates,
    objects that only complete others (patches), and manifests that no kustomization takes in.
    """
    theirs = [one for one in kustomizations if not is_overlay(texts.get(one.file, ""))]
    own = {os.path.normpath(one.directory) for one in kustomizations if one not in theirs}
    held = {one.ref: one for one in documents if os.path.normpath(os.path.dirname(one.file)) not in own}
    changed = [*made.documents, *_completed(made, held)]
    _refuse_generated(made, theirs)
    tops = [one for one in theirs if not any(one.directory in taken_in(other, theirs) for other in theirs)]
    for change in changed:
        _refuse_others(change.document, theirs)
    files: list[FileChange] = []
    for top in tops:
        inside = (top, *(one for one in theirs if one.directory in taken_in(top, theirs)))
        mine = [change for change in changed if any(_takes(one, change.document.file) for one in inside)]
        if mine:
            missing = {
                host: [one.after for one in wanted if one.ref not in held] for host, wanted in made.objects.items()
            }
            files += _overlay(top, inside, mine, missing)
    return tuple(files)


def is_overlay(text: str) -> bool:
    """Whether an earlier run has written the kustomization."""
    return text.startswith(HEADER)


def _completed(made: FilePlan, held: Mapping[Ref, Document]) -> Iterator[DocumentChange]:
    """Mesh objects of the base that lack something."""
    for objects in made.objects.values():
        for one in objects:
            if one.ref in held and one.before != one.after:
                yield DocumentChange(held[one.ref], one.after)


def _refuse_generated(made: FilePlan, kustomizations: Sequence[Kustomization]) -> None:
    sources = {file: one for one in kustomizations for file in one.sources}
    for change in made.files:
        if change.file in sources:
            raise ManifestError(f"{change.file}: {sources[change.file].file} generates a ConfigMap from it", _EDIT)
        before = manifests.read_kustomization(change.before or "", change.file)
        after = manifests.read_kustomization(change.after, change.file)
        if before and after and before.body.get("configMapGenerator") != after.body.get("configMapGenerator"):
            raise ManifestError(f"{change.file}: the URL is in a literal of its configMapGenerator", _EDIT)


def _refuse_others(document: Document, kustomizations: Sequence[Kustomization]) -> None:
    if any(_takes(one, document.file) for one in kustomizations):
        return
    path = os.path.normpath(document.file)
    patching = next((one for one in kustomizations if path in one.paths), None)
    if patching is not None:
        raise ManifestError(f"{document.file} is a patch of {patching.file}, and no whole object", _EDIT)
    raise ManifestError(
        f"{document.file}: no kustomization takes it in, and an overlay needs one",
        f"make one (kustomize create --autodetect) and give its directory; or {_EDIT}",
    )


def _takes(kustomization: Kustomization, file: str) -> bool:
    return os.path.normpath(file) in kustomization.resources


def _overlay(
    top: Kustomization,
    inside: Sequence[Kustomization],
    changes: Sequence[DocumentChange],
    objects: Mapping[Host, Sequence[Body]],
) -> Iterator[FileChange]:
    base = os.path.normpath(top.directory or ".")
    if os.path.basename(base) in ("", ".", ".."):
        raise ManifestError(
            f"{top.file}: an overlay goes beside the directory of its base, and this one has no name here",
            "run it from the directory above, and give this one's name to -f",
        )
    directory = f"{base}-egress"
    namespace = _namespace(top, inside)
    resources = [f"../{os.path.basename(base)}"]
    for host, wanted in objects.items():
        if wanted:
            resources.append(file_name(host))
            text = manifests.dump([plain(_placed(body, namespace)) for body in wanted])
            yield FileChange(os.path.join(directory, file_name(host)), None, text)
    body = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": resources,
        "patches": [_patch(change) for change in changes],
    }
    yield FileChange(os.path.join(directory, FILE), None, HEADER + manifests.dump([body]))


def _namespace(top: Kustomization, inside: Sequence[Kustomization]) -> str:
    """The namespace that the kustomizations give to their objects, as ours have to have it too."""
    given = sorted({str(one.body["namespace"]) for one in inside if one.body.get("namespace")})
    if top.body.get("namespace") or len(given) < 2:
        return str(top.body.get("namespace") or "".join(given))
    raise ManifestError(
        f"{top.file} takes in kustomizations of several namespaces: {', '.join(given)}", "give one of them to -f"
    )


def _placed(body: Body, namespace: str) -> Body:
    return {**body, "metadata": {**body["metadata"], **({"namespace": namespace} if namespace else {})}}


def _patch(change: DocumentChange) -> dict[str, Any]:
    body = change.document.body
    group, _, version = str(body["apiVersion"]).rpartition("/")
    target = {
        **({"group": group} if group else {}),
        "version": version,
        "kind": body["kind"],
        "name": body["metadata"]["name"],
        **({"namespace": body["metadata"]["namespace"]} if body["metadata"].get("namespace") else {}),
    }
    operations: list[Any] = [
        {"op": one.op, "path": paths.json_pointer(one.steps), **({} if one.op == "remove" else {"value": one.value})}
        for one in workload_patch(body, change.after)
    ]
    return {"target": target, "patch": manifests.dump([operations])}
