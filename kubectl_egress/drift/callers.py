"""Workloads, ConfigMaps and Secrets of a migration that somebody deleted or changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kubectl_egress import kinds, mesh, paths, scan, urls
from kubectl_egress.drift.nouns import Drift
from kubectl_egress.journal import CallerRecord, Journal, SiteRecord
from kubectl_egress.model import SOURCE_KINDS, Body, Host, Ref, Survey, Workload
from kubectl_egress.plan.callers import original_of
from kubectl_egress.plan.callers_undo import setting_restored, undo_site, where_now


def workload_gone(caller: CallerRecord, journal: Journal) -> Drift:
    """The workload is not there."""
    return Drift(
        "workload-gone",
        caller.workload,
        "it was deleted since",
        f"nothing needs to be done; kubectl egress undo {journal.host} -n {journal.namespace} forgets it",
    )


def template_drifts(workload: Workload, caller: CallerRecord, journal: Journal) -> Iterator[Drift]:
    """URLs and aliases of the pod template, and pods that have not its alias."""
    body = workload.document.body
    again = f"kubectl egress migrate {journal.host} -n {journal.namespace} does it again"
    clear = False
    for site in caller.sites:
        if site.object != workload.ref:
            continue
        why, in_clear = _url_now(body, site, journal.host)
        clear = clear or in_clear
        if why:
            yield Drift("url-changed", workload.ref, f"{paths.kubectl_path(site.steps)}: {why}", again)
    if not journal.alias:
        return
    template = kinds.pod_template(body) or {}
    if not mesh.aliases_in(template, journal.host):
        yield Drift("alias-lost", workload.ref, _unaliased("the pod template", clear or bool(caller.references)), again)
    elif not mesh.closed_by(mesh.aliases_in(template, journal.host), workload.pods):
        why = "its pods have IPv6, for which the pod template has no alias: a client that wants IPv6 asks DNS"
        yield Drift("alias-lost", workload.ref, why, again)
    for pod in workload.pods:
        if mesh.aliases_in(template, journal.host) and not mesh.aliases_in(pod, journal.host) and not _leaving(pod):
            ref = Ref("Pod", workload.ref.namespace, pod["metadata"]["name"], "v1")
            message = "it runs with an older template, without the alias"
            yield Drift("alias-lost", ref, message, f"kubectl delete pod {ref.name} -n {ref.namespace} makes a new one")


def _unaliased(what: str, in_clear: bool) -> str:
    danger = ": without its sidecar, requests would leave in clear" if in_clear else ""
    return f"{what} has no alias for the host{danger}"


def _leaving(pod: Body) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _url_now(body: Body, site: SiteRecord, host: Host) -> tuple[str, bool]:
    """What is wrong with a URL that was rewritten ('' if nothing is), and whether it is in clear."""
    steps = where_now(body, site)
    if steps is None:
        return "it is not there any more", False
    if site.setting is not None:
        restored, why = setting_restored(paths.get(body, steps), site, host)
        changed = restored != paths.get(body, steps)
        return ("", True) if changed else (why or "it says https again, past what the sidecar can see", False)
    found = urls.occurrences(paths.get(body, steps), host.name)
    if len(found) != site.total:
        return f"it names the host {len(found)} times, and did so {site.total} times", any(
            not u.encrypted for u in found
        )
    if found[site.ordinal].encrypted:
        return "it calls https:// again, past what the sidecar can see", False
    return "", True


def source_drifts(
    workload: Workload,
    caller: CallerRecord,
    journals: Sequence[Journal],
    survey: Survey,
    originals: Mapping[Ref, Body | None],
) -> Iterator[Drift]:
    """ConfigMaps and Secrets that the workload reads by copies: the copy, the original, and what became of them."""
    template = kinds.pod_template(workload.document.body) or {}
    copies = {}
    for kind, name in dict.fromkeys((kind, name) for _, kind, name in scan.source_references(template)):
        ref = Ref(kind, workload.ref.namespace, name, "v1")
        if (body := survey.sources.get(ref)) is not None:
            copies[original_of(ref, body)] = (ref, body)
    # what may not be read is said once, elsewhere
    unread = any((one.verb, one.resource) == ("get", "secrets") for one in survey.denied)
    known = SOURCE_KINDS[:1] if unread else SOURCE_KINDS
    for original in sorted({site.object for site in caller.sites if site.object.kind in known}):
        ref, copy = copies.get(original, (original, None))
        if copy is None:
            message = f"no copy of {original.kind} {original.name} is there for {workload.ref.name} to read"
            yield Drift("copy-gone", original, message, "undo the migration, and migrate anew")
        elif ref == original:
            message = f"{workload.ref.kind.lower()}/{workload.ref.name} reads the original again"
            yield Drift("url-changed", original, message, "migrate the host again")
        else:
            yield from _original_drifts(original, ref, copy, workload.ref, journals, originals)


def _original_drifts(
    original: Ref,
    ref: Ref,
    copy: Body,
    workload: Ref,
    journals: Sequence[Journal],
    originals: Mapping[Ref, Body | None],
) -> Iterator[Drift]:
    current = originals.get(original)
    if current is None:
        remedy = (
            f"kubectl get {ref.kind.lower()} {ref.name} -n {ref.namespace} shows the copy; make the original from it"
        )
        yield Drift("original-gone", original, "it was deleted since it was copied", remedy)
        return
    content: Body = copy
    for journal in journals:
        record = journal.caller(workload)
        for site in record.sites if record and journal.namespace == workload.namespace else ():
            if site.object == original:
                content, _ = undo_site(content, site, journal.host)
    changed = [
        f"{part}.{key}"
        for part in ("data", "binaryData")
        for key in sorted({*(content.get(part) or {}), *(current.get(part) or {})})
        if (content.get(part) or {}).get(key) != (current.get(part) or {}).get(key)
    ]
    if changed:
        message = f"{', '.join(changed)} changed since it was copied; the pods read {ref.name}"
        yield Drift("original-changed", original, message, "undo the migration, and migrate anew")
