"""The plan of a migration: journal, mesh objects, proxies, callers, rollouts, verification; in this order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kubectl_egress import kinds, mesh
from kubectl_egress.errors import EgressError
from kubectl_egress.journal import CallerRecord, Journal, Lease, MeshRecord, from_config_map, is_journal
from kubectl_egress.model import (
    AS_BEFORE,
    Action,
    Body,
    CallSite,
    Finding,
    Guard,
    Host,
    Origination,
    Plan,
    Ref,
    Skip,
    Step,
    Survey,
    Wait,
    Workload,
)
from kubectl_egress.plan.addresses import alias_addresses
from kubectl_egress.plan.callers import CallerChange, change_caller, copy_step
from kubectl_egress.plan.closing import fails_closed
from kubectl_egress.plan.guard import workload_patch
from kubectl_egress.plan.journals import closing_step, opening_step
from kubectl_egress.plan.mount_steps import as_mounted, files_first
from kubectl_egress.plan.naming import named_objects
from kubectl_egress.plan.network_guards import callers_by, guards
from kubectl_egress.plan.objects import MeshChange, bundle_change, tls_ports, wanted_objects
from kubectl_egress.plan.passing import knowing_step, mesh_steps
from kubectl_egress.plan.ports import refuse_two_ports
from kubectl_egress.scan import is_aside


@dataclass(frozen=True, slots=True)
class MigrationRequest:
    """What the user asked for, and who asks when."""

    hosts: tuple[Host, ...]
    run: str = ""
    by: str = ""
    started: str = ""
    fail_open: bool = False
    export_to: tuple[str, ...] = (".",)
    workloads: frozenset[Ref] | None = None
    """Only these; None: every caller of the host in the namespace."""
    origination: Mapping[str, Any] = field(default_factory=dict)
    """What was asked of the sidecar by name, by field of Origination; the rest is as the host's journal has it."""
    named: bool = False
    """Whether the mesh is to know the hosts by name, and no more."""
    hold: bool = False
    """Whether the applications are to start after their proxies."""
    bundle: str = ""
    """CAs (PEM) that vouch for the servers, to be put into a ConfigMap; empty: the public ones, or as `origination` says."""
    guard: Guard | None = None
    """What NetworkPolicies are to let the callers' pods reach; None: none are written."""
    baseline: Mapping[Host, Mapping[str, object]] = field(default_factory=dict)
    """By host: what the proxies said before, for the journal."""


def plan_migration(
    survey: Survey, sites: Sequence[CallSite], findings: Sequence[Finding], request: MigrationRequest
) -> Plan:
    """Everything between what the survey shows and all of `request.hosts` being migrated.

    Sites that cannot be rewritten become skips. Nothing left to do gives a plan without steps. A finding that
    blocks is carried, not acted on: the caller stops. EgressError for a host whose name is another port's.
    """
    journals = {one.host: one for one in map(from_config_map, (doc.body for doc in survey.journals))}
    refuse_two_ports(request.hosts, survey, tuple(journals.values()), named=request.named)
    if request.named:
        return _plan_named(survey, sites, findings, request, journals)
    aliases = _aliases(survey, journals, request)
    originations = {host: _origination(host, survey, journals.get(host), request) for host in request.hosts}
    chosen = [site for site in sites if site.server in aliases and _asked(site.workload, request)]
    callers = [
        change
        for workload in survey.workloads
        if _asked(workload.ref, request)
        and (change := _caller(workload, chosen, aliases, survey.sources, request, originations)) is not None
    ]
    opened: list[Journal] = []
    steps, later = list[Step](), list[Step]()
    # In one order always: of two runs that want the same hosts, one gets them all.
    for host in sorted(request.hosts):
        known = journals.get(host)
        wanted = _wanted(host, survey, sites, aliases[host], originations[host], request)
        journal, prepared, settling = _prepare(host, survey, known, aliases[host], callers, wanted, request)
        opened += [journal] if journal else []
        steps += prepared
        later += settling
    steps = files_first(sorted(steps, key=lambda step: not is_journal(step.after)), callers)
    if opened:
        targets = tuple(sorted({caller.workload for journal in opened for caller in journal.callers}))
        everybody = tuple(sorted(one.ref for one in survey.workloads if one.pods))
        # A short name is for callers to come: then every workload's proxy is to know it.
        short = any(journal.origination.short_name for journal in opened)
        steps += _change(callers, survey, everybody if short and not targets else targets, later)
        if targets:
            steps.append(Step(0, Action.VERIFY, None, "prove it from the proxies' own statistics", workloads=targets))
        steps += [closing_step(journal, _lease(request)) for journal in opened]
    return Plan(
        hosts=request.hosts,
        namespace=survey.namespace,
        steps=tuple(replace(step, order=order) for order, step in enumerate(steps, 1)),
        skipped=tuple(Skip(site, why) for site in chosen if site.url.encrypted and (why := _left_alone(site, aliases))),
        findings=tuple(findings),
        fails_closed=fails_closed(survey, chosen, request.hosts, fail_open=request.fail_open),
        guarded=callers_by(chosen) if request.guard else frozenset(),
    )


def _plan_named(
    survey: Survey,
    sites: Sequence[CallSite],
    findings: Sequence[Finding],
    request: MigrationRequest,
    journals: Mapping[Host, Journal],
) -> Plan:
    """Journal, entry, proxies; EgressError for a host that is migrated: its entry says more already."""
    steps: list[Step] = []
    opened: list[Journal] = []
    for host in sorted(request.hosts):
        known = journals.get(host)
        if known is not None and not known.named:
            raise EgressError(
                f"{host} is migrated in namespace {survey.namespace}: the mesh sees all of its calls",
                f"nothing has to be done; kubectl egress undo {host} gives it up",
            )
        changed = named_objects(host, survey)
        if changed or (known is not None and known.phase != "migrated"):
            journal, prepared, _ = _opened(host, survey, known, changed, (), (), request)
            opened.append(journal)
            steps += prepared
    steps.sort(key=lambda step: not is_journal(step.after))
    if opened:
        calling = {site.workload for site in sites if site.server in request.hosts and _asked(site.workload, request)}
        # Callers may be written where we cannot read: then every workload's proxy is to know.
        targets = tuple(sorted(calling or {one.ref for one in survey.workloads if _asked(one.ref, request)}))
        steps.append(Step(0, Action.WAIT, None, "every proxy knows the host", wait=Wait.NAMED, workloads=targets))
        steps += [closing_step(journal, _lease(request)) for journal in opened]
    numbered = tuple(replace(step, order=order) for order, step in enumerate(steps, 1))
    return Plan(request.hosts, survey.namespace, numbered, (), tuple(findings))


def _wanted(
    host: Host,
    survey: Survey,
    sites: Sequence[CallSite],
    aliases: Sequence[str],
    origination: Origination,
    request: MigrationRequest,
) -> tuple[MeshChange, ...]:
    changes = wanted_objects(
        host,
        survey,
        aliases,
        request.export_to,
        fail_open=request.fail_open,
        origination=origination,
        tls_ports=tls_ports(host, sites),
    )
    mine = [site for site in sites if site.server == host and _asked(site.workload, request)]
    guarded = guards(host, survey, callers_by(mine), request.guard) if request.guard else ()
    bundles = (bundle_change(host, survey, request.bundle),) if request.bundle else ()
    return (*bundles, *changes, *guarded)


def _origination(host: Host, survey: Survey, known: Journal | None, request: MigrationRequest) -> Origination:
    """What was asked for by name, on top of what an earlier run was asked for."""
    asked = replace(known.origination if known else AS_BEFORE, **request.origination)
    if not request.bundle:
        return asked
    name = mesh.bundle(host, survey.namespace, request.bundle)["metadata"]["name"]
    return replace(asked, ca=f"{name}:{mesh.BUNDLE_KEY}")


def _asked(workload: Ref, request: MigrationRequest) -> bool:
    return request.workloads is None or workload in request.workloads


def _aliases(
    survey: Survey, journals: Mapping[Host, Journal], request: MigrationRequest
) -> Mapping[Host, tuple[str, ...]]:
    if request.fail_open:
        return dict.fromkeys(request.hosts, ())
    return alias_addresses(request.hosts, survey, journals)


def _caller(
    workload: Workload,
    sites: Sequence[CallSite],
    aliases: Mapping[Host, Sequence[str]],
    sources: Mapping[Ref, Body],
    request: MigrationRequest,
    originations: Mapping[Host, Origination],
) -> CallerChange | None:
    mine = [site for site in sites if site.workload == workload.ref]
    rewritten = [site for site in mine if site.url.encrypted and not _left_alone(site, aliases)]
    called = {site.server for site in rewritten} | {
        site.server for site in mine if not (site.url.encrypted or is_aside(site))
    }
    wanted = {host: aliases[host] for host in aliases if host in called}
    row = kinds.row(workload.ref.kind)
    if not wanted or row is None or not row.mutable:
        return None
    files = {host: originations[host] for host in wanted}
    change = change_caller(workload, rewritten, wanted, sources, hold=request.hold, files=files)
    return None if change.after == change.before else change


_NO_ALIAS = "said by several settings: without the alias, a pod that still says so could not be told from others"


def _left_alone(site: CallSite, aliases: Mapping[Host, Sequence[str]]) -> str:
    """Why a plan does not touch a call site; empty if it does.

    Old pods are awaited before an undo takes the mesh objects away: by their alias, or by the URLs that stand in them.
    """
    return site.reason or site.url.reason or (_NO_ALIAS if site.part and not aliases.get(site.server) else "")


def _prepare(
    host: Host,
    survey: Survey,
    known: Journal | None,
    aliases: Sequence[str],
    callers: Sequence[CallerChange],
    objects: Sequence[MeshChange],
    request: MigrationRequest,
) -> tuple[Journal | None, list[Step], list[Step]]:
    """The journal as it is when the migration begins, and its mesh steps; None when there is nothing to do."""
    changed = [one for one in objects if one.before != one.after]
    records = tuple(change.records[host] for change in callers if host in change.records)
    if not changed and not records and (known is None or known.phase == "migrated"):
        return None, [], []
    return _opened(host, survey, known, changed, aliases, records, request)


def _opened(
    host: Host,
    survey: Survey,
    known: Journal | None,
    changed: Sequence[MeshChange],
    aliases: Sequence[str],
    records: tuple[CallerRecord, ...],
    request: MigrationRequest,
) -> tuple[Journal, list[Step], list[Step]]:
    """The journal, the steps that write it and the mesh objects, and those that come once every proxy knows the host."""
    journal = Journal(
        host=host,
        namespace=survey.namespace,
        phase="migrating",
        run=request.run,
        by=request.by,
        started=request.started,
        alias=aliases[0] if aliases else "",
        mesh=tuple(MeshRecord(one.ref, one.before and _recorded(one.before), _recorded(one.after)) for one in changed),
        callers=records,
        baseline=request.baseline.get(host),
        origination=_origination(host, survey, known, request),
        named=request.named,
    )
    journal, opening = opening_step(journal, known, survey, _lease(request))
    now, later = mesh_steps(host, survey, changed)
    return journal, [*([opening] if opening else []), *now], later


def _lease(request: MigrationRequest) -> Lease | None:
    return Lease(request.run, request.by, request.started, request.started) if request.run else None


SERVER_FIELDS = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")


def _recorded(body: Body) -> Body:
    """An object as a journal keeps it: what people write, without what the server adds."""
    metadata = {key: value for key, value in body["metadata"].items() if key not in SERVER_FIELDS}
    return {"metadata": metadata, "spec": body.get("spec") or {}}


def _change(
    callers: Sequence[CallerChange], survey: Survey, targets: tuple[Ref, ...], later: Sequence[Step]
) -> Iterator[Step]:
    yield from [knowing_step(targets), *later] if later else ()
    title = "every proxy originates TLS for the host, and every istiod knows the objects"
    yield Step(0, Action.WAIT, None, title, wait=Wait.PROXIES, workloads=targets)
    present = set(survey.sources)
    for change in callers:
        for original, copy in change.copies:
            step = copy_step(copy, _copy_title(original), original)
            if step.ref is not None and step.ref not in present:
                present.add(step.ref)
                yield step
    for change in callers:
        before = as_mounted(change)
        after = {**change.after, "metadata": before["metadata"]}
        patch = workload_patch(before, after)
        title = f"URLs to http://, aliases and {_copies_title(change)}, in one patch"
        yield Step(0, Action.PATCH, change.workload, title, before, after, patch)
    for change in callers:
        if kinds.rolls(change.workload.kind):
            title = "roll out, and watch it"
            yield Step(0, Action.WAIT, change.workload, title, wait=Wait.ROLLOUT, workloads=(change.workload,))


def _copies_title(change: CallerChange) -> str:
    secret = any(original["kind"] == "Secret" for original, _ in change.copies)
    return "copies of ConfigMaps and Secrets" if secret else "ConfigMap copies"


def _copy_title(original: Body) -> str:
    return f"a copy of {original['kind']} {original['metadata']['name']}, which stays as it is, with http:// URLs"
