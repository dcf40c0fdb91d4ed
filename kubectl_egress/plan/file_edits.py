"""What a migration changes in manifests: URLs spliced, host aliases added, new objects in a file beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kubectl_egress import kinds, manifests, mesh
from kubectl_egress.errors import ManifestError
from kubectl_egress.model import (
    Action,
    Body,
    CallSite,
    Document,
    Edit,
    Finding,
    Host,
    Plan,
    Ref,
    Skip,
    Step,
    Steps,
    Survey,
)
from kubectl_egress.plan.migration import taken_addresses
from kubectl_egress.plan.objects import MeshChange, wanted_objects

Address = tuple[int, Steps]


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


def egress_file(host: Host, sites: Sequence[CallSite]) -> str:
    """Where the new objects of a host go: beside the first file that calls it."""
    first = next(site.file for site in sites if site.server == host)
    name = f"egress-{host.name.replace('*', 'wildcard', 1)}.yaml"
    return os.path.join(os.path.dirname(first), name) if first != "-" else name


def plan_files(
    texts: Mapping[str, str],
    documents: Sequence[Document],
    survey: Survey,
    sites: Sequence[CallSite],
    hosts: Sequence[Host],
    findings: Sequence[Finding],
    *,
    fail_open: bool = False,
) -> FilePlan:
    """The migration of `hosts` in manifests of one namespace; `texts` by file, `sites` with file and line.

    ConfigMaps are edited where they stand: Git is the source, and rolls back with the rest. ManifestError for a string
    that cannot be edited without changing more than its URL, and for an object of somebody else's to be completed.
    """
    chosen = [site for site in sites if site.server in hosts]
    held = {one.ref: one for one in documents}
    aliases = {} if fail_open else {host: _alias(host, survey) for host in hosts}
    changed = dict(texts)
    for file, edits in _edits(chosen, held).items():
        changed[file] = manifests.splice(texts[file], edits)
    for document, host in _unaliased(chosen, survey, aliases):
        template = kinds.template_steps(document.ref.kind)
        changed[document.file] = manifests.insert_host_alias(
            changed[document.file], document.index, template, aliases[host], host.name
        )
    updates = list(_updates(texts, changed, documents))
    steps: list[Step] = []
    for host in hosts:
        addresses = (aliases[host],) if host in aliases else ()
        objects = tuple(wanted_objects(host, survey, addresses, (".",), fail_open=fail_open))
        steps += [_step(one) for one in objects if one.before != one.after]
        if any(one.before != one.after for one in objects):
            changed[egress_file(host, chosen)] = _own_file(objects, held)
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


def _alias(host: Host, survey: Survey) -> str:
    """The alias that the manifests already have for the host, or a free one."""
    for document in survey.mesh_objects:
        if document.ref.kind == "ServiceEntry" and host.name in (document.body.get("spec", {}).get("hosts") or ()):
            known = mesh.alias_of(document.body)
            if known:
                return known
    return mesh.alias_address(host, taken_addresses(survey))


def _edits(sites: Sequence[CallSite], held: Mapping[Ref, Document]) -> Mapping[str, Mapping[Address, Sequence[Edit]]]:
    found: dict[str, dict[Address, set[Edit]]] = {}
    for site in sites:
        document = held.get(site.object)
        if document is not None and site.url.encrypted and site.rewritable:
            address = (document.index, site.steps)
            found.setdefault(document.file, {}).setdefault(address, set()).update(site.url.edits)
    return {
        file: {address: tuple(sorted(edits)) for address, edits in addresses.items()}
        for file, addresses in found.items()
    }


def _unaliased(
    sites: Sequence[CallSite], survey: Survey, aliases: Mapping[Host, str]
) -> Iterator[tuple[Document, Host]]:
    for workload in survey.workloads:
        row = kinds.row(workload.ref.kind)
        template = kinds.pod_template(workload.document.body)
        if row is None or not row.mutable or template is None:
            continue
        present = {
            name
            for entry in (template.get("spec") or {}).get("hostAliases") or ()
            for name in entry.get("hostnames") or ()
        }
        called = {site.server for site in sites if site.workload == workload.ref}
        for host in aliases:
            if host in called and host.name not in present:
                yield workload.document, host


def _updates(texts: Mapping[str, str], changed: Mapping[str, str], documents: Sequence[Document]) -> Iterator[Step]:
    refs = {(one.file, one.index): one.ref for one in documents}
    for file, text in changed.items():
        if texts.get(file) == text:
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
    """Without a namespace where the manifests name none."""
    metadata = {key: value for key, value in body["metadata"].items() if value != ""}
    return {**body, "metadata": metadata}


def _own_file(objects: Sequence[MeshChange], held: Mapping[Ref, Document]) -> str:
    """The host's three objects as one file; ManifestError where one is somebody else's and does not say enough."""
    for one in objects:
        document = held.get(one.ref)
        if document is not None and one.before != one.after and not mesh.is_ours(one.after):
            raise ManifestError(
                f"{document.file}: {one.ref.kind} {one.ref.name} is there already, and has to say more than it does",
                "delete it from the file, and run this again: the new file says all that it says, and what it lacks",
            )
    return manifests.dump([_plain(one.after) for one in objects if one.before is None or mesh.is_ours(one.after)])
