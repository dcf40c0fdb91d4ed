"""What changes in one workload: URLs, references to ConfigMap copies, host aliases, all in one patch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubectl_egress import kinds, paths, scan, urls
from kubectl_egress.journal import ORIGINAL_ANNOTATION, AnnotationRecord, CallerRecord, ReferenceRecord, SiteRecord
from kubectl_egress.model import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    Body,
    CallSite,
    Edit,
    Host,
    Origination,
    Ref,
    Steps,
    Workload,
)
from kubectl_egress.plan.holding import held
from kubectl_egress.plan.mounting import mounted


@dataclass(frozen=True, slots=True)
class CallerChange:
    """One workload before and after, the ConfigMap copies that it will read, and the record of it by host."""

    workload: Ref
    before: Body
    after: Body
    copies: tuple[tuple[Body, Body], ...]
    """(what it is a copy of, the copy)"""
    records: Mapping[Host, CallerRecord]
    mounted: Body
    """As it is before, but for the files that its sidecars are to read: these go first, and alone."""


def change_caller(
    workload: Workload,
    sites: Sequence[CallSite],
    aliases: Mapping[Host, Sequence[str]],
    config_maps: Mapping[Ref, Body],
    *,
    hold: bool = False,
    files: Mapping[Host, Origination] | None = None,
) -> CallerChange:
    """Rewrite `sites` (all of this workload, all rewritable) and add `aliases` (addresses by host) to its template.

    `aliases` of a host is empty where it fails open. `hold`: the application starts after its proxy. `files`: the hosts
    for which its sidecars have to read some.
    """
    with_files = body = mounted(workload.document.body, workload.ref.kind, files or {})
    for steps, edits in _edits_by_string([site for site in sites if site.object == workload.ref]):
        body = paths.replaced(body, steps, urls.apply_edits(paths.get(body, steps), edits))
    copies: list[tuple[Body, Body]] = []
    references: dict[Ref, tuple[ReferenceRecord, ...]] = {}
    for ref in sorted({site.object for site in sites if site.object.kind == "ConfigMap"}):
        copy = config_map_copy(config_maps[ref], [site for site in sites if site.object == ref])
        copies.append((config_maps[ref], copy))
        body, references[ref] = point_at(body, workload.ref.kind, ref.name, copy)
    body = with_aliases(body, workload.ref.kind, aliases)
    annotations: tuple[AnnotationRecord, ...] = ()
    if hold:
        body, annotations = held(body, workload.ref.kind)
    records = {
        host: CallerRecord(
            workload.ref,
            tuple(_record(site, workload, config_maps) for site in sites if site.server == host),
            tuple(
                record
                for ref, found in references.items()
                if any(site.object == ref and site.server == host for site in sites)
                for record in found
            ),
            annotations,
            scan.plain_urls(kinds.pod_template(workload.document.body) or {}, host),
        )
        for host in aliases
    }
    return CallerChange(workload.ref, workload.document.body, body, tuple(copies), records, with_files)


def _edits_by_string(sites: Iterable[CallSite]) -> list[tuple[Steps, tuple[Edit, ...]]]:
    found: dict[Steps, set[Edit]] = {}
    for site in sites:
        found.setdefault(site.steps, set()).update(site.url.edits)
    return [(steps, tuple(sorted(edits))) for steps, edits in found.items()]


def _record(site: CallSite, workload: Workload, config_maps: Mapping[Ref, Body]) -> SiteRecord:
    holder = workload.document.body if site.object == workload.ref else config_maps[site.object]
    part = site.part
    same = () if part else urls.occurrences(paths.get(holder, site.steps), site.host.name)
    return SiteRecord(
        object=site.object if site.object == workload.ref else original_of(site.object, holder),
        steps=site.steps,
        container=site.container,
        entry=site.entry,
        ordinal=part.ordinal if part else [url.start for url in same].index(site.url.start),
        total=part.total if part else len(same),
        setting=part.name if part else None,
        edits=tuple(Edit(edit.start - site.url.start, edit.old, edit.new) for edit in site.url.edits),
    )


def original_of(ref: Ref, body: Body) -> Ref:
    """The ConfigMap that a copy of ours was made from; any other ConfigMap is its own original."""
    metadata = body["metadata"]
    if (metadata.get("labels") or {}).get(MANAGED_BY_LABEL) != MANAGED_BY:
        return ref
    name = (metadata.get("annotations") or {}).get(ORIGINAL_ANNOTATION, ref.name)
    return Ref(ref.kind, ref.namespace, name, ref.api_version)


def config_map_copy(config_map: Body, sites: Sequence[CallSite]) -> Body:
    """The ConfigMap with its sites rewritten, as a new object."""
    rewritten: Body = config_map
    for steps, edits in _edits_by_string(sites):
        rewritten = paths.replaced(rewritten, steps, urls.apply_edits(paths.get(rewritten, steps), edits))
    return named_copy(config_map, rewritten)


def named_copy(config_map: Body, content: Body) -> Body:
    """A ConfigMap with `content`'s data, named after the original of `config_map` and a hash of the data, as Kustomize does."""
    metadata = config_map["metadata"]
    ref = Ref("ConfigMap", metadata["namespace"], metadata["name"], "v1")
    original = original_of(ref, config_map).name
    values = {key: content[key] for key in ("data", "binaryData") if content.get(key)}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{original[:240]}-{digest}",
            "namespace": metadata["namespace"],
            # not the original's labels: a GitOps controller would take the copy for its own and prune it
            "labels": {MANAGED_BY_LABEL: MANAGED_BY},
            "annotations": {ORIGINAL_ANNOTATION: original},
        },
        **values,
    }


def point_at(body: Body, kind: str, name: str, copy: Body) -> tuple[Body, tuple[ReferenceRecord, ...]]:
    """Every reference of the pod template to ConfigMap `name` made to name `copy`, and the record of them."""
    template_steps = kinds.template_steps(kind)
    original = copy["metadata"]["annotations"][ORIGINAL_ANNOTATION]
    records = []
    for steps, used in scan.config_map_references(paths.get(body, template_steps)):
        if used == name:
            body = paths.replaced(body, (*template_steps, *steps), copy["metadata"]["name"])
            records.append(ReferenceRecord((*template_steps, *steps), original))
    return body, tuple(records)


def with_aliases(body: Body, kind: str, aliases: Mapping[Host, Sequence[str]]) -> Body:
    """The workload with each host's name leading to its addresses, in all containers of its pods."""
    steps = (*kinds.template_steps(kind), "spec", "hostAliases")
    spec = paths.get(body, steps[:-1])
    present: list[Any] = list(spec.get("hostAliases") or ())
    known = {(entry.get("ip"), name) for entry in present for name in entry.get("hostnames") or ()}
    added = [
        {"ip": address, "hostnames": [host.name]}
        for host, addresses in aliases.items()
        for address in addresses
        if (address, host.name) not in known
    ]
    return paths.replaced(body, steps, present + added) if added else body


def without_aliases(body: Body, kind: str, addresses: Iterable[str], host: Host) -> Body:
    """The workload without `host` at those addresses; an entry or a list that becomes empty goes too."""
    steps = (*kinds.template_steps(kind), "spec")
    spec = dict(paths.get(body, steps))
    gone = set(addresses)
    left = []
    for entry in spec.get("hostAliases") or ():
        if entry.get("ip") in gone and host.name in (entry.get("hostnames") or ()):
            names = [name for name in entry["hostnames"] if name != host.name]
            if names:
                left.append({**entry, "hostnames": names})
        else:
            left.append(entry)
    if left == list(spec.get("hostAliases") or ()):
        return body
    if left:
        spec["hostAliases"] = left
    else:
        del spec["hostAliases"]
    return paths.replaced(body, steps, spec)
