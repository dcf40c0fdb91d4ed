"""What besides the pods' host aliases keeps a workload's requests from leaving in clear: a short name's Service, a guard."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from kubectl_egress import mesh
from kubectl_egress.journal import Journal
from kubectl_egress.model import CallSite, Document, Host, Judgement, Ref, Survey, Verdict


def with_closing(
    verdict: Verdict,
    survey: Survey,
    journals: Sequence[Journal],
    sites: Sequence[CallSite],
    unclosed: Set[tuple[Ref | None, Host]] = frozenset(),
) -> Verdict:
    """The verdict with what closes it as well, and without the alias where it is passed by (`findings.unclosed`).

    Who calls the host by a short name alone has no alias of the host's name: there the Service of that name, which has
    no pods, answers nobody without a sidecar.
    """
    passed = not unclosed.isdisjoint({(verdict.workload, verdict.host), (None, verdict.host)})
    closed_by = [] if passed else list(verdict.closed_by)
    closed = verdict.fails_closed and not passed
    by_its_name = any(
        site.workload == verdict.workload and site.server == verdict.host and not site.url.encrypted for site in sites
    )
    for journal in journals:
        service = _present("Service", journal.origination.short_name, survey)
        if journal.host == verdict.host and service and not by_its_name and _without_pods(service):
            closed = True
            closed_by.append(f"Service {service.ref.name}, which has no pods")
    guard = _present("NetworkPolicy", mesh.guard_name(verdict.host, verdict.workload), survey)
    if guard:
        closed_by.append(f"NetworkPolicy {guard.ref.name}, where the network enforces it")
    return replace(verdict, fails_closed=closed, closed_by=tuple(closed_by), guarded=guard is not None)


def without_bystanders(
    verdicts: Sequence[Verdict], journals: Sequence[Journal], sites: Sequence[CallSite]
) -> tuple[Verdict, ...]:
    """Without workloads that nothing says to call a host, and that do not: a short name is anybody's to call.

    Where nobody calls it, all stay: that is what there is to say.
    """
    callers = {(one.host, caller.workload) for one in journals for caller in one.callers}
    callers |= {(site.server, site.workload) for site in sites}
    quiet = [one for one in verdicts if one.judgement is Judgement.SILENT and (one.host, one.workload) not in callers]
    return tuple(
        one
        for one in verdicts
        if one not in quiet or all(other in quiet for other in verdicts if other.host == one.host)
    )


def _present(kind: str, name: str, survey: Survey) -> Document | None:
    found = (one for one in survey.mesh_objects if (one.ref.kind, one.ref.name) == (kind, name))
    return next((one for one in found if mesh.is_ours(one.body)), None)


def _without_pods(service: Document) -> bool:
    spec = service.body.get("spec") or {}
    return not spec.get("selector") and spec.get("type", "ClusterIP") == "ClusterIP"
