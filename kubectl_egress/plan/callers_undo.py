"""One workload as it was before its hosts were migrated: URLs by ordinal, aliases, references to ConfigMaps and Secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kubectl_egress import kinds, mesh, paths, scan, urls
from kubectl_egress.journal import ORIGINAL_ANNOTATION, CallerRecord, Journal, SiteRecord
from kubectl_egress.model import Body, Edit, Finding, Host, Ref, Severity, Steps, Workload
from kubectl_egress.plan.callers import named_copy, original_of, without_aliases
from kubectl_egress.plan.holding import annotation_put_back
from kubectl_egress.plan.mounting import unmounted

CHANGED_SINCE = "changed-since"
"""The code of findings that say what an undo leaves as it is."""


@dataclass(frozen=True, slots=True)
class CallerUndo:
    """One workload as it is and as it was, the copy that other hosts still need, and what could not be put back."""

    workload: Ref
    before: Body
    after: Body
    copies: tuple[Body, ...]
    left: tuple[Finding, ...]


def undo_caller(
    workload: Workload, journals: Sequence[Journal], remaining: Sequence[Journal], sources: Mapping[Ref, Body]
) -> CallerUndo | None:
    """The workload without what `journals` record of it; None if there is nothing to put back.

    `remaining`: the journals of hosts that stay, whose URLs a copy may still hold.
    """
    body: Body = workload.document.body
    left: list[Finding] = []
    records = [(journal, record) for journal in journals if (record := journal.caller(workload.ref)) is not None]
    for journal, record in records:
        for site in record.sites:
            if site.object == workload.ref:
                body, why = undo_site(body, site, journal.host)
                left += [_left(why, journal.host, workload.ref, site)] if why else []
        addresses = (journal.alias, mesh.alias_address_v6(journal.alias)) if journal.alias else ()
        body = without_aliases(body, workload.ref.kind, addresses, journal.host)
        if mesh.needs_files(journal.origination):
            body = unmounted(body, workload.ref.kind, journal.host)
        needed = {one.key for other in remaining if (kept := other.caller(workload.ref)) for one in kept.annotations}
        for annotation in record.annotations:
            if annotation.key not in needed:
                body, why = annotation_put_back(body, workload.ref.kind, annotation)
                left += [_annotation_left(why, journal.host, workload.ref, annotation.key)] if why else []
    copies: list[Body] = []
    known = [record for one in (*journals, *remaining) if (record := one.caller(workload.ref)) is not None]
    for steps, kind, name in _copied(body, workload, records):
        copy = sources.get(Ref(kind, workload.ref.namespace, name))
        origin = _made_from(kind, name, copy, known)
        if copy is None:
            # a copy that somebody has deleted: what it was made from is known all the same
            body = paths.replaced(body, steps, origin)
            continue
        target, made, why_not = _undo_copy(copy, origin, workload.ref, records, remaining, sources)
        body = paths.replaced(body, steps, target)
        copies += [made] if made else []
        left += [_left(why, host, workload.ref, site) for why, host, site in why_not]
    if body == workload.document.body and not left:
        return None
    return CallerUndo(workload.ref, workload.document.body, body, tuple(copies), tuple(left))


def _made_from(kind: str, name: str, copy: Body | None, records: Sequence[CallerRecord]) -> str:
    """The name of what a ConfigMap or Secret was copied from, as a journal knows it, or else it says itself; its own for none of ours.

    Our label may be gone from it: somebody has taken it off, or a policy has.
    """
    said = ((copy or {}).get("metadata", {}).get("annotations") or {}).get(ORIGINAL_ANNOTATION)
    known = (one for record in records for one in record.references if one.kind == kind)
    return next((one.original for one in known if one.copy == name or one.original == said), name)


def _copied(
    body: Body, workload: Workload, records: Sequence[tuple[Journal, CallerRecord]]
) -> list[tuple[Steps, str, str]]:
    """The references that a record says we have moved, wherever they stand now."""
    if not any(record.references for _, record in records):
        return []
    prefix = kinds.template_steps(workload.ref.kind)
    found = scan.source_references(paths.get(body, prefix))
    return [((*prefix, *steps), kind, name) for steps, kind, name in found]


def _undo_copy(
    copy: Body,
    origin: str,
    workload: Ref,
    records: Sequence[tuple[Journal, CallerRecord]],
    remaining: Sequence[Journal],
    sources: Mapping[Ref, Body],
) -> tuple[str, Body | None, list[tuple[str, Host, SiteRecord]]]:
    """The name to point at, the copy to make first (None: it is there), and what could not be put back in it.

    `origin`: the name of what it was made from; its own where that is not known.
    """
    name = copy["metadata"]["name"]
    current = Ref(copy["kind"], workload.namespace, name, "v1")
    original = original_of(current, copy)
    if original == current:  # also where somebody has taken our label off
        original = replace(current, name=origin)
    if original == current:
        return name, None, []
    kept = [
        site
        for journal in remaining
        if (record := journal.caller(workload)) is not None
        for site in record.sites
        if site.object == original
    ]
    if not kept:
        return original.name, None, []
    content: Body = copy
    left = []
    for journal, record in records:
        for site in record.sites:
            if site.object == original:
                content, why = undo_site(content, site, journal.host)
                left += [(why, journal.host, site)] if why else []
    made = named_copy(copy, content, ["undo", sorted(str(journal.host) for journal, _ in records)])
    there = Ref(copy["kind"], workload.namespace, made["metadata"]["name"]) in sources
    return made["metadata"]["name"], None if there else made, left


def with_copies(record: CallerRecord, copies: Sequence[Body]) -> CallerRecord:
    """A record of a host that stays, with the names of new copies of the Secrets that it reads."""
    added = [
        replace(one, copy=copy["metadata"]["name"])
        for copy in copies
        for one in record.references
        if one.kind == "Secret" and one.original == copy["metadata"]["annotations"][ORIGINAL_ANNOTATION]
    ]
    new = dict.fromkeys(one for one in added if one not in record.references)
    return replace(record, references=(*record.references, *new)) if new else record


def undo_site(body: Body, site: SiteRecord, host: Host) -> tuple[Body, str]:
    """The object with one URL put back, or the reason why it was left as it is."""
    steps = where_now(body, site)
    if steps is None:
        return body, "it is not there any more"
    text = paths.get(body, steps)
    if site.setting is not None:
        restored, why = setting_restored(text, site, host)
        return (paths.replaced(body, steps, restored), "") if restored != text else (body, why)
    found = urls.occurrences(text, host.name)
    if len(found) != site.total:
        return body, f"it now names the host {len(found)} times and did so {site.total} times"
    url = found[site.ordinal]
    if url.encrypted:
        return body, ""
    try:
        return paths.replaced(body, steps, urls.apply_edits(text, urls.inverse(site.edits, url.start))), ""
    except ValueError:
        return body, "its URL is not what the migration made of it"


def setting_restored(text: str, site: SiteRecord, host: Host) -> tuple[str, str]:
    """A string with one setting put back in it; the same string where it is back already, or for the reason that follows."""
    found = scan.values_of(text, site.setting) if site.setting else ((0, text),)
    if len(found) != site.total:
        return text, f"it now has {len(found)} settings {site.setting} and had {site.total}"
    start, value = found[site.ordinal]
    if all(value.startswith(edit.old, edit.start) for edit in site.edits if edit.old):
        return text, ""
    if not all(_as_written(value, edit, host) for edit in site.edits):
        return text, "it is not what the migration made of it"
    return urls.apply_edits(text, urls.inverse(site.edits, start)), ""


def _as_written(value: str, edit: Edit, host: Host) -> bool:
    """Whether a setting's value is what its one edit left: `http`, `http://`, `80`, or the host's name alone."""
    if not edit.new:
        return edit.start == len(value) and value.lower() == host.name
    return value.startswith(edit.new) and value[len(edit.new) :] in ("", "://")


def where_now(body: Body, site: SiteRecord) -> Steps | None:
    """Where the site's string stands now: containers and env entries may have changed places."""
    steps: Steps = ()
    names = iter((site.container, site.entry))
    for step in site.steps:
        try:
            holder = paths.get(body, steps)
            if isinstance(step, int) and isinstance(holder[0], Mapping):
                wanted = next(names, "")
                step = next(index for index, item in enumerate(holder) if item.get("name") == wanted)
            holder[step]
        except (KeyError, IndexError, TypeError, StopIteration):
            return None
        steps = (*steps, step)
    return steps if isinstance(paths.get(body, steps), str) else None


def _annotation_left(why: str, host: Host, workload: Ref, key: str) -> Finding:
    return Finding(
        code=CHANGED_SINCE,
        severity=Severity.WARN,
        message=f"the annotation {key} of the pod template was left as it is: {why}",
        remedy="take holdApplicationUntilProxyStarts out of it by hand if nobody else needs it",
        workload=workload,
        host=host,
        object=workload,
        steps=(*kinds.template_steps(workload.kind), "metadata", "annotations", key),
    )


def _left(why: str, host: Host, workload: Ref, site: SiteRecord) -> Finding:
    return Finding(
        code=CHANGED_SINCE,
        severity=Severity.WARN,
        message=f"{paths.kubectl_path(site.steps)} was left as it is: {why}",
        remedy="look at it, and write https:// there by hand if it still says http://",
        workload=workload,
        host=host,
        object=site.object,
        steps=site.steps,
    )
