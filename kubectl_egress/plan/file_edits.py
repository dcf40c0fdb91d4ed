"""What a migration changes in manifests: URLs spliced, host aliases added, new objects in a file beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kubectl_egress import kinds, manifests, mesh
from kubectl_egress.errors import ManifestError
from kubectl_egress.manifests import Kustomization
from kubectl_egress.model import (
    Action,
    Body,
    CallSite,
    Document,
    Edit,
    Finding,
    Host,
    Plan,
    Skip,
    Step,
    Steps,
    Survey,
    Workload,
)
from kubectl_egress.plan.migration import taken_addresses
from kubectl_egress.plan.objects import MeshChange, wanted_objects
from kubectl_egress.plan.own_files import OwnFile, egress_files, taken_in
from kubectl_egress.urls import apply_edits

Address = tuple[int, Steps]

WAVE_ANNOTATION = "argocd.argoproj.io/sync-wave"
_WAVES = {"DestinationRule": "-3", "ServiceEntry": "-2", "VirtualService": "-1"}


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file before (None: it is new) and after."""

    file: str
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class FilePlan:
    """The plan, and what it means for each file."""

    plan: Plan
    files: tuple[FileChange, ...]


def plan_files(
    texts: Mapping[str, str],
    documents: Sequence[Document],
    survey: Survey,
    sites: Sequence[CallSite],
    hosts: Sequence[Host],
    findings: Sequence[Finding],
    *,
    fail_open: bool = False,
    ipv6: bool = False,
    kustomizations: Sequence[Kustomization] = (),
) -> FilePlan:
    """The migration of `hosts` in manifests of one namespace; `texts` by file, `sites` with their spots.

    ConfigMaps are edited where they stand: Git is the source, and rolls back with the rest. ManifestError for a string
    that cannot be edited without changing more than its URL, and for an object of somebody else's that cannot be
    completed. `ipv6`: pods have IPv6 addresses, which needs an alias of that family.
    """
    chosen = [site for site in sites if site.server in hosts]
    aliases = {} if fail_open else _aliases(hosts, survey, ipv6=ipv6)
    changed = dict(texts)
    for file, edits in _edits(chosen).items():
        changed[file] = _spliced(texts[file], edits)
    for document, host in _unaliased(chosen, survey, aliases):
        template = kinds.template_steps(document.ref.kind)
        for address in reversed(aliases[host]):
            changed[document.file] = manifests.insert_host_alias(
                changed[document.file], document.index, template, address, host.name
            )
    updates = list(_updates(texts, changed, documents))
    steps: list[Step] = []
    for host in hosts:
        objects = tuple(wanted_objects(host, survey, aliases.get(host, ()), (".",), fail_open=fail_open))
        steps += [_step(one) for one in objects if one.before != one.after]
        _write_objects(host, objects, chosen, documents, kustomizations, texts, changed)
    plan = Plan(
        hosts=tuple(hosts),
        namespace=survey.namespace,
        # the order in which they may be applied: a URL last
        steps=tuple(replace(step, order=order) for order, step in enumerate([*steps, *updates], 1)),
        skipped=tuple(
            Skip(site, site.reason or site.url.reason) for site in chosen if site.url.encrypted and not site.rewritable
        ),
        findings=tuple(findings),
        fails_closed={site.workload: not fail_open for site in chosen},
    )
    files = (FileChange(file, texts.get(file), text) for file, text in changed.items() if texts.get(file) != text)
    return FilePlan(plan, tuple(files))


def _aliases(hosts: Sequence[Host], survey: Survey, *, ipv6: bool) -> Mapping[Host, tuple[str, ...]]:
    """The aliases that the manifests already have for the hosts, or free ones: an address is one host's alone."""
    taken = set(taken_addresses(survey))
    found: dict[Host, tuple[str, ...]] = {}
    for host in hosts:
        address = _alias(host, survey) or mesh.alias_address(host, taken)
        taken.add(address)
        found[host] = (address, mesh.alias_address_v6(address)) if ipv6 else (address,)
    return found


def _alias(host: Host, survey: Survey) -> str:
    for document in survey.mesh_objects:
        if document.ref.kind == "ServiceEntry" and host.name in (document.body.get("spec", {}).get("hosts") or ()):
            known = mesh.alias_of(document.body)
            if known:
                return known
    return ""


def _edits(sites: Sequence[CallSite]) -> Mapping[str, Mapping[Address, Sequence[Edit]]]:
    """By file and address, what becomes of the strings there."""
    found: dict[str, dict[Address, set[Edit]]] = {}
    for site in sites:
        spot = site.spot
        if spot is not None and site.url.encrypted and site.rewritable:
            edits = {replace(edit, start=edit.start + spot.shift) for edit in site.url.edits}
            found.setdefault(spot.file, {}).setdefault((spot.document, spot.steps), set()).update(edits)
    return {
        file: {address: tuple(sorted(edits)) for address, edits in addresses.items()}
        for file, addresses in found.items()
    }


def _spliced(text: str, edits: Mapping[Address, Sequence[Edit]]) -> str:
    whole = sorted({edit for (document, _), found in edits.items() if document < 0 for edit in found})
    if whole:
        return apply_edits(text, whole)
    return manifests.splice(text, edits)


def _unaliased(
    sites: Sequence[CallSite], survey: Survey, aliases: Mapping[Host, Sequence[str]]
) -> Iterator[tuple[Document, Host]]:
    for workload in survey.workloads:
        template = kinds.pod_template(workload.document.body)
        if template is None:
            continue
        present = {
            name
            for entry in (template.get("spec") or {}).get("hostAliases") or ()
            for name in entry.get("hostnames") or ()
        }
        called = {site.server for site in sites if site.workload == workload.ref and _read_by(site, workload)}
        for host in aliases:
            if host in called and host.name not in present:
                yield workload.document, host


def _read_by(site: CallSite, workload: Workload) -> bool:
    """Whether the pods of this document call it: an overlay's patch and its base have one name, and two templates."""
    own = site.object == workload.ref and site.spot is not None
    return not own or (site.spot is not None and site.spot.file == workload.document.file)


def _updates(texts: Mapping[str, str], changed: Mapping[str, str], documents: Sequence[Document]) -> Iterator[Step]:
    refs = {(one.file, one.index): one.ref for one in documents if not one.spots}
    for file, text in changed.items():
        if texts.get(file) == text or not any(one.file == file and not one.spots for one in documents):
            continue
        before = manifests.parse(texts[file], file)
        for old, new in zip(before, manifests.parse(text, file), strict=True):
            if old.body != new.body:
                ref = refs.get((file, old.index), old.ref)
                title = f"{file}: URLs to http://, host aliases"
                yield Step(0, Action.UPDATE, ref, title, before=old.body, after=new.body)


def _step(change: MeshChange) -> Step:
    action = Action.CREATE if change.before is None else Action.UPDATE
    return Step(0, action, change.ref, change.title, before=change.before, after=_plain(change.after))


def _plain(body: Body) -> Body:
    """Without a namespace where the manifests name none, and with the wave in which Argo CD is to apply it.

    Argo CD applies kinds that it does not know after Deployments, unless waves say otherwise (gitops-engine
    pkg/sync/sync_tasks.go); the rule has to come first, since an entry without it sends to port 443 in clear.
    """
    metadata = {key: value for key, value in body["metadata"].items() if value != ""}
    if mesh.is_ours(body):
        metadata["annotations"] = {WAVE_ANNOTATION: _WAVES[body["kind"]], **(metadata.get("annotations") or {})}
    return {**body, "metadata": metadata}


def _write_objects(
    host: Host,
    objects: Sequence[MeshChange],
    sites: Sequence[CallSite],
    documents: Sequence[Document],
    kustomizations: Sequence[Kustomization],
    texts: Mapping[str, str],
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
            changed[target.file] = manifests.dump([_plain(one.after) for one in own])
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
