"""What a namespace calls and how well the mesh sees it: Survey, call sites and findings, by workload and host."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from kubectl_egress import kinds, mesh
from kubectl_egress.findings.ports import led
from kubectl_egress.findings.scope import PROXY_CONTAINER
from kubectl_egress.findings.wire import destinations_of, outside, proxies_of
from kubectl_egress.model import (
    SOURCE_KINDS,
    Body,
    CallSite,
    Finding,
    Host,
    ProxyUnread,
    Ref,
    Severity,
    Survey,
    Visibility,
    Workload,
)
from kubectl_egress.places import Forced, Place
from kubectl_egress.proxy.wire import Destination, KnownBy, matched, nameless, unknown
from kubectl_egress.scan import REASON_REGISTRY, REASON_SHARED, is_aside, scan, used_by
from kubectl_egress.visibility import passthrough, visibility


@dataclass(frozen=True, slots=True)
class InspectItem:
    """The calls of one workload to one host."""

    workload: Ref
    host: Host
    visibility: Visibility
    call_sites: tuple[CallSite, ...]
    findings: tuple[Finding, ...] = ()
    fails_closed: bool | None = None
    """None while every call is `https://`: the application itself encrypts."""
    seen: tuple[Destination, ...] = ()
    """What the sidecars have sent there, by cluster, by name or by address. Without call sites, all that is known of it."""

    @property
    def called(self) -> bool:
        """Whether the pods call it, as far as is known; else it only stands somewhere: an issuer, a comment, a probe."""
        return not self.call_sites or not all(map(is_aside, self.call_sites))

    @property
    def calls(self) -> tuple[CallSite, ...]:
        """The call sites of which each stands for a call: no comment, and of several settings that say one, the scheme."""
        parts = ("scheme", "")
        return tuple(
            site for site in self.call_sites if not is_aside(site) and (site.part.role if site.part else "") in parts
        )

    @property
    def blocked(self) -> bool:
        """Whether a finding stops its migration."""
        return any(finding.severity is Severity.BLOCK for finding in self.findings)

    @property
    def ready(self) -> bool:
        """Whether `migrate` would have something to do, and nothing is known that stops it."""
        return not self.blocked and any(site.url.encrypted and site.rewritable for site in self.call_sites)


@dataclass(frozen=True, slots=True)
class PassthroughTraffic:
    """What the sidecars of one workload have sent to hosts without a name, since they started."""

    workload: Ref
    connections: int
    requests: int
    proxies: int
    """How many were read."""
    blocked: int = 0
    """What BlackHoleCluster took."""
    unread: tuple[ProxyUnread, ...] = ()
    pods: int = 0
    """How many have a sidecar that runs, asked or not."""
    destinations: tuple[Destination, ...] = ()
    """Where to, as far as that is known: Envoy forgets an address some seconds after its last connection."""


@dataclass(frozen=True, slots=True)
class InspectReport:
    """Everything that `inspect` shows; `items` in the order in which somebody would take them on."""

    namespace: str
    """Empty: all namespaces, or files."""
    items: tuple[InspectItem, ...]
    passthrough: tuple[PassthroughTraffic, ...] = ()
    findings: tuple[Finding, ...] = ()
    """Those that concern no item."""
    workloads: int = 0
    """How many were looked at."""
    in_files: bool = False
    """Whether it came from files, which say nothing about visibility."""

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Every finding once."""
        found = [finding for item in self.items for finding in item.findings]
        return tuple(dict.fromkeys([*found, *self.findings]))

    @property
    def ready_hosts(self) -> tuple[Host, ...]:
        """The hosts that one `migrate` could take on now: no caller is blocked, all are in one namespace."""
        first = self.ready_namespace
        return tuple(sorted({host for namespace, host in self._ready() if namespace == first}))

    @property
    def ready_namespace(self) -> str:
        """The namespace of `ready_hosts`."""
        return min((namespace for namespace, _ in self._ready()), default="")

    def _ready(self) -> set[tuple[str, Host]]:
        if any(one.severity is Severity.BLOCK for one in self.findings):
            return set()
        stopped = {(item.workload.namespace, item.host) for item in self.items if item.blocked}
        return {(item.workload.namespace, item.host) for item in self.items if item.ready} - stopped


def inspect(survey: Survey, sites: Iterable[CallSite], findings: Sequence[Finding]) -> InspectReport:
    """Sort what was read by workload and host."""
    by_item: dict[tuple[Ref, Host], list[CallSite]] = {}
    for site in sites:
        by_item.setdefault((site.workload, site.server), []).append(site)
    workloads = {workload.ref: workload for workload in survey.workloads}
    about: dict[tuple[Ref | None, Host | None], list[tuple[int, Finding]]] = {}
    for place, finding in enumerate(findings):
        about.setdefault((finding.workload, finding.host), []).append((place, finding))
    names = outside(survey)
    wire = {ref: destinations_of(one, survey, names) for ref, one in workloads.items()} if survey.proxies else {}
    called = {ref: tuple(host for of, host in by_item if of == ref) for ref in wire}
    items = [
        _item(workloads[ref], host, tuple(found), about, survey, wire.get(ref, ()))
        for (ref, host), found in by_item.items()
        if ref in workloads
    ]
    for ref, destinations in wire.items():
        alone = unknown(destinations, called[ref], survey.resolved)
        items += [_live_item(workloads[ref], host, found, about, survey) for host, found in _by_host(alone).items()]
    taken = {finding for item in items for finding in item.findings}
    return InspectReport(
        namespace=survey.namespace,
        items=tuple(sorted(items, key=_next_first)),
        passthrough=tuple(_traffic(workload, survey) for workload in survey.workloads) if survey.proxies else (),
        findings=tuple(finding for finding in findings if finding not in taken),
        workloads=len(survey.workloads),
        in_files=any(workload.document.file for workload in survey.workloads),
    )


def merged(reports: Iterable[InspectReport]) -> InspectReport:
    """Reports of several namespaces as one, namespace after namespace; what is said of all of them is said once."""
    found = tuple(reports)
    return InspectReport(
        namespace="",
        items=tuple(item for report in found for item in report.items),
        passthrough=tuple(traffic for report in found for traffic in report.passthrough),
        findings=tuple(dict.fromkeys(finding for report in found for finding in report.findings)),
        workloads=sum(report.workloads for report in found),
        in_files=any(report.in_files for report in found),
    )


def call_sites(survey: Survey, places: Iterable[Place] = (), forced: Collection[Forced] = ()) -> tuple[CallSite, ...]:
    """Every URL of an external host that the survey's workloads call, workload by workload.

    `places` are rows of `--path`, `forced` what `--force` says.
    """
    rows = tuple(places)
    domain = survey.settings.cluster_domain
    spaces = frozenset((*survey.namespaces, *(workload.ref.namespace for workload in survey.workloads)))
    found = (
        site
        for workload in survey.workloads
        for site in scan(
            workload.document, survey.sources, rows, forced=forced, cluster_domain=domain, namespaces=spaces
        )
    )
    sites = led(_unshared(tuple(found), survey), survey)
    names = {name for one in mesh.serving(survey.mesh_objects) for name in one.body["spec"].get("hosts") or ()}

    @cache
    def inside(host: str, namespace: str) -> bool:
        named = any(mesh.covers(str(name), host) for name in names)
        return named and mesh.served_inside(host, survey.mesh_objects, namespace, domain)

    return tuple(
        replace(site, reason=REASON_REGISTRY) if inside(site.host.name, site.workload.namespace) else site
        for site in sites
    )


def _unshared(sites: tuple[CallSite, ...], survey: Survey) -> tuple[CallSite, ...]:
    """Of files, where a ConfigMap or Secret changes for all its readers: no setting that says a part of another workload's other call."""
    readers = {one.ref: one.document for one in survey.workloads if one.document.file}
    if not any(site.part and site.object.kind in SOURCE_KINDS and site.workload in readers for site in sites):
        return sites
    used = {ref: used_by(document, survey.sources) for ref, document in readers.items()}
    shared = {
        (site.workload, site.host)
        for site in sites
        for places in (used.values() if site.part and site.object.kind in SOURCE_KINDS else ())
        if places.get((site.object, site.steps, site.url.start), frozenset()) - {site.host}
    }
    return tuple(
        replace(site, reason=REASON_SHARED, part=None) if site.part and (site.workload, site.host) in shared else site
        for site in sites
    )


def hosts(sites: Iterable[CallSite]) -> tuple[Host, ...]:
    """The hosts that the sites call, each once, as `migrate` takes them."""
    return tuple(sorted({site.server for site in sites}))


def concerned(survey: Survey, sites: Iterable[CallSite]) -> tuple[Host, ...]:
    """The hosts that a sidecar may have something to say about: those that are called, and those outside that the mesh knows."""
    spaces = {workload.ref.namespace for workload in survey.workloads}
    seen = tuple(one for one in survey.mesh_objects if any(mesh.exported_to(one, space) for space in spaces))
    known = outside(replace(survey, mesh_objects=seen))
    return tuple(dict.fromkeys([*hosts(sites), *map(Host, sorted(known))]))


def _item(
    workload: Workload,
    host: Host,
    sites: tuple[CallSite, ...],
    about: Mapping[tuple[Ref | None, Host | None], Sequence[tuple[int, Finding]]],
    survey: Survey,
    wire: Sequence[Destination],
) -> InspectItem:
    keys = ((workload.ref, host), (workload.ref, None), (None, host))
    found = [one for key in keys for one in about.get(key, ())]
    closed = _closed(workload, host) and not any(finding.code == "fails-open" for _, finding in found)
    return InspectItem(
        workload=workload.ref,
        host=host,
        visibility=visibility(host, proxies_of(workload, survey), sites),
        call_sites=sites,
        findings=tuple(finding for _, finding in sorted(found, key=lambda one: one[0])),
        fails_closed=None if all(site.url.encrypted for site in sites) else closed,
        seen=tuple(one for _, one in matched(wire, [host], survey.resolved)),
    )


def _by_host(destinations: Iterable[Destination]) -> dict[Host, tuple[Destination, ...]]:
    found: dict[Host, tuple[Destination, ...]] = {}
    for one in destinations:
        found[one.host] = (*found.get(one.host, ()), one)
    return found


def _live_item(
    workload: Workload,
    host: Host,
    seen: tuple[Destination, ...],
    about: Mapping[tuple[Ref | None, Host | None], Sequence[tuple[int, Finding]]],
    survey: Survey,
) -> InspectItem:
    """What is on the wire alone."""
    by_name = seen[0].known_by in (KnownBy.CLUSTER, KnownBy.SERVER_NAME)
    known = visibility(host, proxies_of(workload, survey), ()) if by_name else Visibility.OPAQUE
    return InspectItem(
        workload=workload.ref,
        host=host,
        visibility=Visibility.BLOCKED if all(one.blocked for one in seen) else known,
        call_sites=(),
        findings=tuple(finding for _, finding in about.get((workload.ref, host), ())),
        seen=seen,
    )


def _closed(workload: Workload, host: Host) -> bool:
    template = kinds.pod_template(workload.document.body) or {}
    return mesh.closed_by(mesh.aliases_in(template, host), workload.pods)


def _traffic(workload: Workload, survey: Survey) -> PassthroughTraffic:
    proxies = proxies_of(workload, survey)
    unread = tuple(proxy for proxy in proxies if isinstance(proxy, ProxyUnread))
    counted = passthrough(proxies)
    return PassthroughTraffic(
        workload.ref,
        counted.connections,
        counted.requests,
        len(proxies) - len(unread),
        counted.blocked,
        unread,
        max(len(proxies), sum(map(_has_running_sidecar, workload.pods))),
        nameless(proxies),
    )


def _has_running_sidecar(pod: Body) -> bool:
    status = pod.get("status") or {}
    states = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    return any(state.get("name") == PROXY_CONTAINER and "running" in (state.get("state") or {}) for state in states)


def _next_first(item: InspectItem) -> tuple[int, Host, Ref]:
    """What can be migrated now, then what is stopped, then what is only on the wire, then what is done or not called."""
    if not item.called:
        return 4, item.host, item.workload
    if item.ready:
        return 0, item.host, item.workload
    if not item.call_sites:
        return 2, item.host, item.workload
    if item.blocked or any(site.url.encrypted for site in item.call_sites):
        return 1, item.host, item.workload
    return 3, item.host, item.workload
