"""What is on the wire and stands in no spec."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_egress.findings.scope import Found, Scope
from kubectl_egress.model import CallSite, Evidence, Host, Proxy, Ref, Severity, Survey, Workload
from kubectl_egress.proxy.wire import Destination, KnownBy, named, nameless, unknown
from kubectl_egress.urls import external

_SHOWN = 3  # pods of which evidence is given


def proxies_of(workload: Workload, survey: Survey) -> tuple[Proxy, ...]:
    """What the sidecars of a workload said."""
    names = (pod["metadata"] for pod in workload.pods)
    refs = (Ref("Pod", name.get("namespace", workload.ref.namespace), name["name"]) for name in names)
    return tuple(survey.proxies[ref] for ref in refs if ref in survey.proxies)


def outside(survey: Survey) -> frozenset[str]:
    """The hosts that a ServiceEntry says are outside the mesh."""
    specs = (one.body.get("spec") or {} for one in survey.mesh_objects if one.ref.kind == "ServiceEntry")
    return frozenset(
        str(name).lower()
        for spec in specs
        if spec.get("location", "MESH_EXTERNAL") == "MESH_EXTERNAL"
        for name in spec.get("hosts") or ()
    )


def destinations_of(workload: Workload, survey: Survey, names: frozenset[str]) -> tuple[Destination, ...]:
    """Everywhere outside that the pods of a workload went; `names` are those outside that the mesh knows."""
    proxies = proxies_of(workload, survey)
    used = (one for one in named(proxies, names) if one.connections or one.requests)
    domain = survey.settings.cluster_domain
    return tuple(
        one for one in (*nameless(proxies), *used) if one.known_by is KnownBy.NOTHING or external(one.host.name, domain)
    )


def called_hosts(workload: Ref, sites: tuple[CallSite, ...]) -> tuple[Host, ...]:
    """The hosts that stand in what is read of a workload, whatever they stand there for."""
    return tuple(dict.fromkeys(site.server for site in sites if site.workload == workload))


def live_only(scope: Scope) -> Iterator[Found]:
    """Destinations that the sidecars saw and nothing that is read names; looked for when all hosts are asked for."""
    if not scope.everything or not scope.survey.proxies:
        return
    names = outside(scope.survey)
    for workload in scope.survey.workloads:
        there = destinations_of(workload, scope.survey, names)
        for one in unknown(there, called_hosts(workload.ref, scope.sites), scope.survey.resolved):
            yield _found(workload.ref, one)


def _found(workload: Ref, one: Destination) -> Found:
    sure = one.known_by is not KnownBy.NOTHING
    place = f", {', '.join(one.addresses[:_SHOWN])}" if one.addresses and sure else ""
    how = f" (by its {one.known_by}{place})" if sure else ""
    why = "" if sure else ": no host of its spec has that address, as this machine resolves them"
    remedy = (
        "look for it in Secrets, in the image and in what the program reads elsewhere; --path adds places to look at"
        if sure
        else "an access log with the server name (a Telemetry with accessLogging, an entry with an HTTPS port) would tell "
        "which host it is"
    )
    return Found(
        f"its pods {_verb(one)} {one.host.name}:{one.host.port}{how}, which stands nowhere that is read{why}",
        remedy,
        workload,
        one.host,
        severity=Severity.BLOCK if sure else Severity.WARN,
        evidence=tuple(Evidence(pod, (), _counted(one)) for pod in one.pods[:_SHOWN]),
    )


def _verb(one: Destination) -> str:
    if one.blocked:
        return "were kept from"
    return "called" if one.requests else "went to"


def _counted(one: Destination) -> str:
    parts = [f"{one.connections} connections"] if one.connections else []
    parts += [f"{one.requests} requests"] if one.requests else []
    return f"{one.cluster}: {', '.join(parts) or 'in use'}"
