"""What changes in one workload: URLs, references to copies of ConfigMaps and Secrets, host aliases, all in one patch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubectl_egress import kinds, paths, scan, secret_values, urls
from kubectl_egress.journal import ORIGINAL_ANNOTATION, AnnotationRecord, CallerRecord, ReferenceRecord, SiteRecord
from kubectl_egress.model import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    SOURCE_KINDS,
    Action,
    Body,
    CallSite,
    Edit,
    Host,
    Origination,
    Ref,
    Step,
    Steps,
    Workload,
)
from kubectl_egress.plan.holding import held
from kubectl_egress.plan.mounting import mounted


@dataclass(frozen=True, slots=True)
class CallerChange:
    """One workload before and after, the copies of its sources that it will read, and the record of it by host."""

    workload: Ref
    before: Body
    after: Body
    copies: tuple[tuple[Body, Body], ...]
    """(what it is a copy of, the copy); Secrets as `secret_values.readable` has them."""
    records: Mapping[Host, CallerRecord]
    mounted: Body
    """As it is before, but for the files that its sidecars are to read: these go first, and alone."""


def change_caller(
    workload: Workload,
    sites: Sequence[CallSite],
    aliases: Mapping[Host, Sequence[str]],
    sources: Mapping[Ref, Body],
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
    for ref in sorted({site.object for site in sites if site.object.kind in SOURCE_KINDS}):
        copy = source_copy(sources[ref], [site for site in sites if site.object == ref])
        copies.append((sources[ref], copy))
        body, references[ref] = point_at(body, workload.ref.kind, ref, copy)
    body = with_aliases(body, workload.ref.kind, aliases)
    annotations: tuple[AnnotationRecord, ...] = ()
    if hold:
        body, annotations = held(body, workload.ref.kind)
    records = {
        host: CallerRecord(
            workload.ref,
            tuple(_record(site, workload, sources) for site in sites if site.server == host),
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


def _record(site: CallSite, workload: Workload, sources: Mapping[Ref, Body]) -> SiteRecord:
    holder = workload.document.body if site.object == workload.ref else sources[site.object]
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
    """The ConfigMap or Secret that a copy of ours was made from; any other is its own original."""
    metadata = body["metadata"]
    if (metadata.get("labels") or {}).get(MANAGED_BY_LABEL) != MANAGED_BY:
        return ref
    name = (metadata.get("annotations") or {}).get(ORIGINAL_ANNOTATION, ref.name)
    return Ref(ref.kind, ref.namespace, name, ref.api_version)


def source_copy(source: Body, sites: Sequence[CallSite]) -> Body:
    """The ConfigMap or Secret with its sites rewritten, as a new object."""
    rewritten: Body = source
    for steps, edits in _edits_by_string(sites):
        rewritten = paths.replaced(rewritten, steps, urls.apply_edits(paths.get(rewritten, steps), edits))
    return named_copy(source, rewritten, sorted(_which(site, source) for site in sites))


def _which(site: CallSite, source: Body) -> tuple[Steps, str, int]:
    """Which URL or setting of its string a call site is; no offset, which would tell how long what is before it is."""
    if site.part:
        return site.steps, site.part.name, site.part.ordinal
    starts = [url.start for url in urls.find_urls(paths.get(source, site.steps))]
    return site.steps, "", starts.index(site.url.start)


def named_copy(source: Body, content: Body, made: object) -> Body:
    """A ConfigMap or Secret with `content`'s data, named after the original of `source` and a hash.

    Of a ConfigMap the hash is that of the data, as Kustomize does it. Names of Secrets may be read by who may not read their
    values, and from a hash these could be guessed: there it is that of which version of `source` it was made from, and
    what was `made` of it, which come to the same.
    """
    metadata = source["metadata"]
    ref = Ref(source["kind"], metadata["namespace"], metadata["name"], "v1")
    original = original_of(ref, source).name
    values = {key: content[key] for key in ("data", "binaryData") if content.get(key)}
    version = [metadata.get("uid", ""), metadata.get("resourceVersion", ""), made]
    hashed = version if ref.kind == "Secret" else values
    digest = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:10]
    kept = {"type": source["type"]} if ref.kind == "Secret" and source.get("type") else {}
    return {
        "apiVersion": "v1",
        "kind": ref.kind,
        "metadata": {
            "name": f"{original[:240]}-{digest}",
            "namespace": metadata["namespace"],
            # not the original's labels: a GitOps controller would take the copy for its own and prune it
            "labels": {MANAGED_BY_LABEL: MANAGED_BY},
            "annotations": {ORIGINAL_ANNOTATION: original},
        },
        **kept,
        **values,
    }


def copy_step(copy: Body, title: str, original: Body | None = None) -> Step:
    """The step that creates a copy of a ConfigMap or Secret."""
    ref = Ref(copy["kind"], copy["metadata"]["namespace"], copy["metadata"]["name"], "v1")
    if ref.kind == "Secret":
        copy, original = secret_values.stored(copy), original and secret_values.stored(original)
    return Step(0, Action.CREATE, ref, title, original, copy)


def point_at(body: Body, kind: str, source: Ref, copy: Body) -> tuple[Body, tuple[ReferenceRecord, ...]]:
    """Every reference of the pod template to `source` made to name `copy`, and the record of them."""
    template_steps = kinds.template_steps(kind)
    original = copy["metadata"]["annotations"][ORIGINAL_ANNOTATION]
    records = []
    name = copy["metadata"]["name"]
    for steps, *used in scan.source_references(paths.get(body, template_steps)):
        if used == [source.kind, source.name]:
            address = (*template_steps, *steps)
            body = paths.replaced(body, address, name)
            records.append(ReferenceRecord(address, original, source.kind, name))
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
