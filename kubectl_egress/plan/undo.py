"""The plan of an undo: callers back to https, their old pods gone, then the mesh objects, then the journal."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from kubectl_egress import kinds, mesh, paths, scan, urls
from kubectl_egress.errors import EgressError
from kubectl_egress.journal import Journal, Lease, MeshRecord, from_config_map
from kubectl_egress.model import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    Action,
    Body,
    Document,
    Finding,
    Host,
    Plan,
    Ref,
    Severity,
    Step,
    Steps,
    Survey,
    Wait,
)
from kubectl_egress.plan.callers import copy_step, original_of
from kubectl_egress.plan.callers_undo import CHANGED_SINCE, CallerUndo, undo_caller, with_copies
from kubectl_egress.plan.guard import workload_patch
from kubectl_egress.plan.journals import phase_step
from kubectl_egress.plan.passing import leaving_steps
from kubectl_egress.plan.patches import patch_between, reverted
from kubectl_egress.plan.taking_back import changed_since


def plan_undo(
    survey: Survey,
    hosts: Sequence[Host],
    workloads: frozenset[Ref] | None = None,
    lease: Lease | None = None,
    earlier: Mapping[Host, Journal] | None = None,
) -> Plan:
    """Everything between what the survey shows and what was there before `hosts` were migrated.

    `workloads`: undo these alone; the mesh objects stay while a caller is left, and are as `earlier` has them, the journals
    that the run found. `lease`: taken first; None where the run holds it already. EgressError for a host without a journal.
    What somebody else changed since is left alone and said as a finding.
    """
    found = earlier or {}
    journals = _journals(hosts, survey)
    chosen = [_narrowed(journals[host], workloads) for host in hosts]
    staying = {host: _left_over(journals[host], workloads, found.get(host)) for host in hosts}
    remaining = [journal for host, journal in journals.items() if host not in hosts]
    undone = [
        undo
        for workload in survey.workloads
        if (undo := undo_caller(workload, chosen, remaining, survey.sources)) is not None
    ]
    _refuse_clear(undone, chosen, survey)
    steps = [
        step
        for host in sorted(hosts)
        if staying[host] is None and (step := phase_step(journals[host], "undoing", survey, lease)) is not None
    ]
    steps += _callers(undone, remaining, survey)
    callers = tuple(sorted({caller.workload for journal in chosen for caller in journal.callers}))
    steps += [_old_pods_gone(callers)] if callers else []
    findings = [finding for undo in undone for finding in undo.left]
    leaving = list(leaving_steps([one for one in chosen if staying[one.host] is None], survey, callers))
    steps += leaving
    for journal in chosen:
        ends, known = staying[journal.host] is None, found.get(journal.host)
        records = journal.mesh if ends else changed_since(journal, known, survey) if known else ()
        undoing = [_undo_mesh(one, survey, journal) for one in _in_order(records, ends and bool(leaving))]
        steps += [step for step, _ in undoing if step]
        findings += [finding for _, finding in undoing if finding]
        findings += _plain_callers(survey, journal) if ends and not journal.named else ()
    steps += _copies(survey, undone, chosen)
    steps += _ended(survey, chosen, staying)
    return Plan(
        hosts=tuple(hosts),
        namespace=survey.namespace,
        steps=tuple(replace(step, order=order) for order, step in enumerate(steps, 1)),
        findings=tuple(findings),
    )


def _journals(hosts: Sequence[Host], survey: Survey) -> Mapping[Host, Journal]:
    """All of the namespace; EgressError where one of these hosts has none, or names what may not be read."""
    journals = {one.host: one for one in map(from_config_map, (doc.body for doc in survey.journals))}
    for host in hosts:
        if host not in journals:
            # Another port of the name has a journal of its own, and objects of these names.
            unknown = not any(one.name == host.name for one in journals)
            ours = [one.ref for one in survey.mesh_objects if unknown and one.ref.name == mesh.object_name(host)]
            lost = (
                f"{ours[0].kind} {ours[0].name} is there, so its journal was deleted, or it is from Git; "
                if ours
                else ""
            )
            raise EgressError(
                f"{host} is not migrated in namespace {survey.namespace}: there is no journal of it",
                f"{lost}migrated here: {', '.join(sorted(map(str, journals))) or 'nothing'}",
            )
    _refuse_unread([journals[host] for host in hosts], survey)
    return journals


def _refuse_unread(journals: Sequence[Journal], survey: Survey) -> None:
    """EgressError where Secrets that the migration has copied may not be read: copies would be left, and nobody would know."""
    refused = [one for one in survey.denied if (one.verb, one.resource) == ("get", "secrets")]
    if refused and any(journal.secrets for journal in journals):
        raise EgressError(
            f"the migration has copied Secrets, which may not be read: {refused[0].message}; nothing was changed",
            f"ask for the permission; kubectl auth can-i get secrets -n {survey.namespace} checks it",
        )


def _refuse_clear(undone: Sequence[CallerUndo], journals: Sequence[Journal], survey: Survey) -> None:
    """EgressError where a host would be called in clear that was not before: by a string that was changed, or is new."""
    for undo, journal in itertools.product(undone, journals):
        name, record = journal.host.name, journal.caller(undo.workload)
        before = record.plain if record else 0
        left = any(finding.host == journal.host for finding in undo.left)
        copied = (text for copy in undo.copies if left for _, text in paths.walk_strings(copy))
        if (
            scan.plain_urls(kinds.pod_template(undo.after) or {}, journal.host) > before
            or any(not url.encrypted for text in copied for url in urls.occurrences(text, name))
            or (left and _settings_call(undo, journal.host, survey))
        ):
            raise EgressError(
                f"{undo.workload.kind.lower()}/{undo.workload.name} was changed since, and would go on calling "
                f"http://{name}, in clear; nothing was changed",
                f"write https://{name} there by hand, and run the same command again",
            )


def _settings_call(undo: CallerUndo, host: Host, survey: Survey) -> bool:
    """Whether settings of their own (`API_SCHEME`, `API_HOST`) say a call in clear to the host."""
    copies = {Ref(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]): one for one in undo.copies}
    found = scan.scan(Document(undo.workload, undo.after), {**survey.sources, **copies})
    return any(site.host.name == host.name and not site.url.encrypted and not scan.is_aside(site) for site in found)


def _plain_callers(survey: Survey, journal: Journal) -> Iterator[Finding]:
    """Who calls the host in clear and was never migrated: the mesh objects that make TLS of it are going to be deleted."""
    for workload in survey.workloads:
        sites = scan.scan(workload.document, survey.sources) if journal.caller(workload.ref) is None else ()
        for site in sites:
            leading = replace(site, led_to=journal.host.port)
            if leading.server == journal.host and not site.url.encrypted and not scan.is_aside(site):
                yield Finding(
                    "plain-callers",
                    Severity.WARN,
                    f"{workload.ref.kind.lower()}/{workload.ref.name} calls http://{_authority(site.host)} itself: that leaves in clear "
                    "once the mesh objects are gone",
                    "write https:// there first, or leave the host migrated",
                    workload=workload.ref,
                    host=journal.host,
                    object=site.object,
                    steps=site.steps,
                )
                break


def _authority(host: Host) -> str:
    return host.name if host.port == mesh.CLEAR_PORT else str(host)


def _narrowed(journal: Journal, workloads: frozenset[Ref] | None) -> Journal:
    """The journal with the records of these workloads alone."""
    if workloads is None:
        return journal
    return replace(journal, callers=tuple(one for one in journal.callers if one.workload in workloads))


def _left_over(journal: Journal, workloads: frozenset[Ref] | None, earlier: Journal | None) -> Journal | None:
    """What the journal still has to say when these workloads are undone; None: nothing."""
    known = earlier or journal
    left = tuple(one for one in known.callers if workloads is not None and one.workload not in workloads)
    return replace(known, callers=left) if left or (earlier and earlier.named) else None


def _ended(survey: Survey, chosen: Sequence[Journal], staying: Mapping[Host, Journal | None]) -> Iterator[Step]:
    for journal in chosen:
        left = staying[journal.host]
        if left is not None:
            step = phase_step(left, "migrated", survey)
            yield from [step] if step else []
            continue
        body = next(document.body for document in survey.journals if document.ref == journal.ref)
        title = "the journal: nothing is left to undo"
        yield Step(0, Action.DELETE, journal.ref, title, before=body)


def _callers(undone: Sequence[CallerUndo], remaining: Sequence[Journal], survey: Survey) -> Iterator[Step]:
    present = set(survey.sources)
    yield from _noted(undone, remaining, survey)
    for undo in undone:
        for copy in undo.copies:
            step = copy_step(copy, f"a copy of the {copy['kind']} for the hosts that stay")
            if step.ref is not None and step.ref not in present:
                present.add(step.ref)
                yield step
    for undo in undone:
        patch = workload_patch(undo.before, undo.after)
        title = "URLs, aliases and references as they were, in one patch"
        yield Step(0, Action.PATCH, undo.workload, title, undo.before, undo.after, patch)
    for undo in undone:
        if kinds.rolls(undo.workload.kind):
            title = "roll out, and watch it"
            yield Step(0, Action.WAIT, undo.workload, title, wait=Wait.ROLLOUT, workloads=(undo.workload,))


def _noted(undone: Sequence[CallerUndo], remaining: Sequence[Journal], survey: Survey) -> Iterator[Step]:
    """The journals of hosts that stay, with new copies of Secrets before these are made: nothing else could find them again."""
    made = {undo.workload: [one for one in undo.copies if one["kind"] == "Secret"] for undo in undone}
    for journal in remaining:
        callers = tuple(with_copies(record, made.get(record.workload, ())) for record in journal.callers)
        step = (
            phase_step(replace(journal, callers=callers), journal.phase, survey) if callers != journal.callers else None
        )
        yield from [step] if step else []


def _undo_mesh(record: MeshRecord, survey: Survey, journal: Journal) -> tuple[Step | None, Finding | None]:
    document = next((one for one in survey.mesh_objects if one.ref == record.ref), None)
    if document is None:
        _refuse_hidden(record.ref, survey)
        return None, None
    if record.before is None:
        if (document.body["metadata"].get("labels") or {}).get(MANAGED_BY_LABEL) != MANAGED_BY:
            return None, _foreign(record.ref, journal.host)
        return Step(0, Action.DELETE, record.ref, "what the migration added", before=document.body), None
    # A route that is half-way says what this run wrote, not what somebody has changed.
    written = {"spec": record.after["spec"]} if mesh.is_passing(document.body) else {}
    current = {**document.body, **written}
    after, conflicts = _reverted(current, record.before, record.after)
    patch = patch_between(document.body, after)
    finding = _changed(record.ref, conflicts, journal.host) if conflicts else None
    if not patch:
        return None, finding
    title = "as it was before the migration took it over" if not mesh.is_ours(after) else "as it was before"
    return Step(0, Action.UPDATE, record.ref, title, before=document.body, after=after, patch=patch), finding


def _old_pods_gone(callers: tuple[Ref, ...]) -> Step:
    title = "no pod with an http:// URL is left, terminating ones included"
    return Step(0, Action.WAIT, None, title, wait=Wait.NO_OLD_PODS, workloads=callers)


# An entry without its rule leads to the server's TLS port in clear; with what a rule reads from files gone, nothing goes.
_LAST = {"ServiceEntry": 1, "DestinationRule": 2, "ConfigMap": 3}


def _in_order(records: Iterable[MeshRecord], entry_first: bool) -> Sequence[MeshRecord]:
    """The rule after the entry whichever run wrote which, else youngest first.

    `entry_first`: while its route still takes TLS connections past it.
    """
    places = {**_LAST, **({"ServiceEntry": -1} if entry_first else {})}
    youngest_first = tuple(records)[::-1]
    return sorted(youngest_first, key=lambda record: places.get(record.ref.kind, 0))


def _refuse_hidden(ref: Ref, survey: Survey) -> None:
    """EgressError for an object that may be there, and may not be read: it would be left, and nobody would know of it."""
    stem = ref.kind.lower().removesuffix("y")
    for denied in survey.denied:
        if denied.namespace == ref.namespace and denied.resource.partition(".")[0] in (f"{stem}s", f"{stem}ies"):
            raise EgressError(
                f"{ref.kind} {ref.name} of the migration may not be read: {denied.message}; nothing was changed",
                f"kubectl auth can-i {denied.verb} {denied.resource} -n {ref.namespace} checks the permission",
            )


def _reverted(current: Body, before: Body, after: Body) -> tuple[Body, tuple[Steps, ...]]:
    """The parts that the journal has, put back; the rest of the object as it is."""
    body, conflicts = dict(current), []
    for part in before:
        body[part], left = reverted(current[part], before[part], after[part])
        conflicts += [(part, *steps) for steps in left]
    return body, tuple(conflicts)


def _foreign(ref: Ref, host: Host) -> Finding:
    return Finding(
        CHANGED_SINCE,
        Severity.WARN,
        f"{ref.kind} {ref.name} no longer carries our label and was left alone",
        "delete it by hand if nobody needs it",
        host=host,
        object=ref,
    )


def _changed(ref: Ref, conflicts: Sequence[Steps], host: Host) -> Finding:
    fields = ", ".join(paths.kubectl_path(steps) for steps in conflicts)
    return Finding(
        CHANGED_SINCE,
        Severity.WARN,
        f"{ref.kind} {ref.name}: {fields} was changed by somebody else since and was left alone",
        "look at it, and put it back by hand if need be",
        host=host,
        object=ref,
    )


def _copies(survey: Survey, undone: Sequence[CallerUndo], journals: Sequence[Journal]) -> Iterator[Step]:
    """Our copies of these hosts' ConfigMaps and Secrets that no template reads once the undo is done."""
    after = {undo.workload: undo.after for undo in undone}
    used: set[tuple[str, str]] = set()
    for workload in survey.workloads:
        body = after.get(workload.ref, workload.document.body)
        template = kinds.pod_template(body)
        used.update((kind, name) for _, kind, name in scan.source_references(template or {}))
    originals = {site.object for journal in journals for caller in journal.callers for site in caller.sites}
    for ref, body in sorted(survey.sources.items(), key=lambda one: one[0]):
        original = original_of(ref, body)
        if original != ref and original in originals and (ref.kind, ref.name) not in used:
            # of a Secret no value goes into the plan
            told = {key: body[key] for key in ("apiVersion", "kind", "metadata")} if ref.kind == "Secret" else body
            yield Step(0, Action.DELETE, ref, "the copy that no pod reads any more", before=told)
