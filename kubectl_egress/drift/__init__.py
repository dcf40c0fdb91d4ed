"""What has become of migrations: each journal held against what is there now, and every difference said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kubectl_egress import findings, inspection, mesh
from kubectl_egress.drift.callers import source_drifts, template_drifts, workload_gone
from kubectl_egress.drift.mesh_objects import mesh_drifts
from kubectl_egress.drift.nouns import CODES, Drift, Migration, Migrations
from kubectl_egress.errors import EgressError
from kubectl_egress.journal import Journal, from_config_map
from kubectl_egress.model import SOURCE_KINDS, Body, Document, Finding, Host, Proxy, ProxyUnread, Ref, Survey
from kubectl_egress.verify import Expected, configured

__all__ = ["CODES", "Drift", "Migration", "Migrations", "migrations", "originals_of", "readable"]


def originals_of(survey: Survey) -> tuple[Ref, ...]:
    """The ConfigMaps and Secrets that migrations have copied, which have to be read besides: no template names them any more."""
    found = {
        site.object
        for journal in readable(survey)
        for caller in journal.callers
        for site in caller.sites
        if site.object.kind in SOURCE_KINDS
    }
    return tuple(sorted(found))


def migrations(survey: Survey, originals: Mapping[Ref, Body | None], proxies: Mapping[Ref, Proxy] | None) -> Migrations:
    """Hold every journal of the survey against the rest of it.

    `originals`: the sources of `originals_of`, None for one that is gone. `proxies`: by pod; None: nobody asked.
    """
    journals = readable(survey)
    unread = tuple(_unreadable(survey))
    known = replace(survey, journals=tuple(_documents(survey)))
    others, passed = findings.conflicts(known), _passed_by(journals, known)
    items = tuple(
        Migration(
            journal,
            tuple(dict.fromkeys(_drifts(journal, journals, survey, originals, proxies, others))),
            len(list(_asked(journal, survey, proxies or {}))),
            _passing(journal, passed),
        )
        for journal in sorted(journals, key=lambda one: (one.namespace, one.host))
    )
    return Migrations(survey.namespace, items, unread)


def _passed_by(journals: Sequence[Journal], survey: Survey) -> frozenset[tuple[Ref | None, Host]]:
    """Callers (None: all) and hosts of which the alias is passed by."""
    callers = {caller.workload for journal in journals for caller in journal.callers}
    workloads = tuple(one for one in survey.workloads if one.ref in callers)
    closed = [journal.host for journal in journals if journal.alias]
    return findings.unclosed(survey, inspection.call_sites(replace(survey, workloads=workloads)), closed)


def _passing(journal: Journal, passed: frozenset[tuple[Ref | None, Host]]) -> frozenset[Ref]:
    callers = (caller.workload for caller in journal.callers)
    return frozenset(one for one in callers if {(one, journal.host), (None, journal.host)} & passed)


def readable(survey: Survey) -> list[Journal]:
    """The journals that this version can read."""
    return [one for one in (_read(document.body) for document in survey.journals) if isinstance(one, Journal)]


def _documents(survey: Survey) -> Iterator[Document]:
    return (document for document in survey.journals if isinstance(_read(document.body), Journal))


def _read(body: Body) -> Journal | EgressError:
    try:
        return from_config_map(body)
    except EgressError as error:
        return error


def _unreadable(survey: Survey) -> Iterator[Drift]:
    for document in survey.journals:
        said = _read(document.body)
        if isinstance(said, EgressError):
            yield Drift("unread", document.ref, said.message, said.remedy)
    for denied in survey.denied:
        where = f"-n {denied.namespace}" if denied.namespace else "-A"
        if not denied.absent:
            yield Drift(
                "unread",
                Ref(denied.resource, denied.namespace, ""),
                f"may not {denied.verb} {denied.resource}: what became of them is not known",
                f"kubectl auth can-i {denied.verb} {denied.resource} {where} checks the permission",
            )


def _drifts(
    journal: Journal,
    journals: Sequence[Journal],
    survey: Survey,
    originals: Mapping[Ref, Body | None],
    proxies: Mapping[Ref, Proxy] | None,
    others: Sequence[Finding],
) -> Iterator[Drift]:
    if journal.phase != "migrated":
        yield _unfinished(journal)
    for record in journal.mesh:
        yield from mesh_drifts(record, journal, survey)
    for one in others:
        if one.host == journal.host and (one.workload is None or journal.caller(one.workload)):
            yield Drift("conflict", one.object or journal.ref, one.message, one.remedy)
    workloads = {workload.ref: workload for workload in survey.workloads}
    for caller in journal.callers:
        workload = workloads.get(caller.workload)
        if workload is None:
            yield workload_gone(caller, journal)
            continue
        yield from template_drifts(workload, caller, journal)
        yield from source_drifts(workload, caller, journals, survey, originals)
    for pod, said in _asked(journal, survey, proxies or {}):
        yield from _proxy_drifts(pod, said, journal)


def _unfinished(journal: Journal) -> Drift:
    command = "undo" if journal.phase == "undoing" else "migrate"
    return Drift(
        "unfinished",
        journal.ref,
        f"the run {journal.run} is {journal.phase}, or was cut short at it",
        f"kubectl egress {command} {journal.host} -n {journal.namespace} goes on, if it is",
    )


def _asked(journal: Journal, survey: Survey, proxies: Mapping[Ref, Proxy]) -> Iterator[tuple[Ref, Proxy]]:
    callers = {caller.workload for caller in journal.callers}
    for workload in survey.workloads:
        for pod in workload.pods if workload.ref in callers else ():
            ref = Ref("Pod", workload.ref.namespace, pod["metadata"]["name"])
            if ref in proxies:
                yield ref, proxies[ref]


def _proxy_drifts(pod: Ref, said: Proxy, journal: Journal) -> Iterator[Drift]:
    if isinstance(said, ProxyUnread):
        remedy = f"kubectl logs {pod.name} -c istio-proxy -n {pod.namespace} says more"
        yield Drift("unread", replace(pod, api_version="v1"), said.reason, remedy)
        return
    ready, _, reason = configured(journal.host, said, Expected.of(journal.host, subset=mesh.SUBSET))
    if not ready:
        remedy = f"kubectl egress verify {journal.host} -n {journal.namespace} says what that does to requests"
        yield Drift("rule-missing", replace(pod, api_version="v1"), reason, remedy)
