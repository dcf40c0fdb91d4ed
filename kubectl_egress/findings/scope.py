"""What the checks look at: the survey, sorted by who calls which host, and the small questions that several checks ask."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from kubectl_egress import kinds, mesh
from kubectl_egress.journal import Journal, from_config_map
from kubectl_egress.model import (
    AS_BEFORE,
    Body,
    CallSite,
    Document,
    Evidence,
    Guard,
    Host,
    Origination,
    ProxySnapshot,
    Ref,
    Severity,
    Steps,
    Survey,
    Workload,
)
from kubectl_egress.places import CONTAINER_PLACES, matches
from kubectl_egress.scan import is_aside
from kubectl_egress.scan.strings import MESH_CONTAINERS, Reader
from kubectl_egress.urls import external

PROXY_CONTAINER = "istio-proxy"


@dataclass(frozen=True, slots=True)
class Found:
    """What a check saw; code and severity come from its row of the catalogue."""

    message: str
    remedy: str
    workload: Ref | None = None
    host: Host | None = None
    object: Ref | None = None
    steps: Steps = ()
    severity: Severity | None = None
    """None: the row's."""
    evidence: tuple[Evidence, ...] = ()
    """What was read elsewhere than at `steps` of `object`: pods, proxies."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A workload that calls at least one of the hosts."""

    workload: Workload
    hosts: tuple[Host, ...]
    sites: tuple[CallSite, ...]
    """All of the workload's, also to other hosts."""

    @property
    def ref(self) -> Ref:
        """Which workload."""
        return self.workload.ref

    @property
    def template(self) -> Body:
        """Its pod template."""
        return kinds.pod_template(self.workload.document.body) or {}

    @property
    def pod_spec(self) -> Body:
        """The spec of its pod template."""
        return self.template.get("spec") or {}

    @property
    def pods(self) -> tuple[Body, ...]:
        """Its pods that run or will run: not those that are done or on their way out."""
        return tuple(pod for pod in self.workload.pods if _lives(pod))

    def template_steps(self, *steps: str | int) -> Steps:
        """An address in the pod template as one in the workload."""
        return (*kinds.template_steps(self.ref.kind), *steps)

    def metadata(self, field: str) -> Mapping[str, str]:
        """Labels or annotations of the pod template."""
        return (self.template.get("metadata") or {}).get(field) or {}

    def containers(self) -> Iterator[tuple[Steps, Body]]:
        """The application's containers, init containers too, and their addresses in the workload."""
        for steps, container, _ in kinds.containers(self.template):
            if container.get("name") not in MESH_CONTAINERS:
                yield self.template_steps(*steps), container

    def calls(self, host: Host) -> tuple[CallSite, ...]:
        """The encrypted call sites of a host."""
        return tuple(site for site in self.uses(host) if site.url.encrypted)

    def uses(self, host: Host) -> tuple[CallSite, ...]:
        """The call sites of a host, `http://HOST` too."""
        return tuple(site for site in self.sites if not is_aside(site) and concerns(host, site))


@dataclass(frozen=True)
class Scope:
    """One run of the checks."""

    survey: Survey
    sites: tuple[CallSite, ...]
    hosts: tuple[Host, ...]
    fail_open: bool = False
    origination: Origination = AS_BEFORE
    everything: bool = False
    """Whether no host was asked for in particular."""
    guard: Guard | None = None
    """What was asked for by `--guard`."""

    @cached_property
    def callers(self) -> tuple[Caller, ...]:
        """The workloads that call one of the hosts: those that a migration gives the alias, and those that have it."""
        by_workload: dict[Ref, list[CallSite]] = {}
        for site in self.sites:
            by_workload.setdefault(site.workload, []).append(site)
        callers = (self._caller(one, by_workload.get(one.ref, [])) for one in self.survey.workloads)
        return tuple(caller for caller in callers if caller.hosts)

    def _caller(self, workload: Workload, sites: Sequence[CallSite]) -> Caller:
        # `http://HOST` gets the alias too, where there is one.
        counting = [site for site in sites if is_call(site) or (not is_aside(site) and not self.fail_open)]
        hosts = {host for site in counting for host in self.called(site)}
        hosts |= {host for ref, host in self._migrated if ref == workload.ref and host in self.hosts}
        return Caller(workload, tuple(sorted(hosts)), tuple(sites))

    def called(self, site: CallSite) -> tuple[Host, ...]:
        """The hosts of this run that a call site calls: its own, and wildcards."""
        exact = (site.server,) if site.server in self._exact_hosts else ()
        return exact + tuple(host for host in self._wildcards if concerns(host, site))

    @cached_property
    def _exact_hosts(self) -> frozenset[Host]:
        return frozenset(host for host in self.hosts if not host.wildcard)

    @cached_property
    def _wildcards(self) -> tuple[Host, ...]:
        return tuple(host for host in self.hosts if host.wildcard)

    @cached_property
    def bodies(self) -> dict[Ref, Body]:
        """The workloads' objects."""
        return {workload.ref: workload.document.body for workload in self.survey.workloads}

    def scripts(self, caller: Caller) -> tuple[tuple[str, Ref, Steps], ...]:
        """Where a caller's containers may run curl or wget: the text, the object and the address; files of its sources too."""
        if caller.ref not in self._scripts:
            found = ((text, ref, steps) for text, ref, steps in _texts(caller, self.survey.sources))
            self._scripts[caller.ref] = tuple(dict.fromkeys(one for one in found if _CLIENTS.search(one[0])))
        return self._scripts[caller.ref]

    @cached_property
    def _scripts(self) -> dict[Ref, tuple[tuple[str, Ref, Steps], ...]]:
        return {}

    @cached_property
    def mesh_bodies(self) -> dict[Ref, Body]:
        """The mesh's objects."""
        return {document.ref: document.body for document in self.survey.mesh_objects}

    @cached_property
    def journals(self) -> tuple[Journal, ...]:
        """What earlier runs wrote down in this namespace."""
        return tuple(from_config_map(document.body) for document in self.survey.journals)

    def migrated(self, workload: Ref, host: Host) -> bool:
        """Whether an earlier run has migrated the workload's calls to the host."""
        return (workload, host) in self._migrated

    @cached_property
    def _migrated(self) -> frozenset[tuple[Ref, Host]]:
        return frozenset((caller.workload, journal.host) for journal in self.journals for caller in journal.callers)

    @cached_property
    def pairs(self) -> tuple[tuple[str, Host], ...]:
        """Every namespace with every host that is called from it."""
        called = {(caller.ref.namespace, host) for caller in self.callers for host in caller.hosts}
        # Through a short name, anybody may call it.
        short = {(self.survey.namespace, host) for host in self.hosts} if self.origination.short_name else set()
        return tuple(sorted(called | short))

    def concerned(self, host: Host, namespace: str) -> tuple[Ref | None, ...]:
        """Whom a finding about a host in a namespace concerns: nobody in particular, unless other namespaces call it."""
        if len([where for where, called in self.pairs if called == host]) == 1:
            return (None,)
        return tuple(
            caller.ref for caller in self.callers if caller.ref.namespace == namespace and host in caller.hosts
        )

    def proxies(self, namespace: str) -> tuple[tuple[Ref, ProxySnapshot], ...]:
        """What the sidecars of the callers in a namespace said, by pod."""
        return self._proxies.get(namespace, ())

    @cached_property
    def _proxies(self) -> dict[str, tuple[tuple[Ref, ProxySnapshot], ...]]:
        found: dict[str, list[tuple[Ref, ProxySnapshot]]] = {}
        for ref, said in self.survey.proxies.items():
            if isinstance(said, ProxySnapshot) and self.workload_of(ref) is not None:
                found.setdefault(ref.namespace, []).append((ref, said))
        return {namespace: tuple(said) for namespace, said in found.items()}

    def workload_of(self, pod: Ref) -> Ref | None:
        """The caller whose pod it is."""
        return self._by_pod.get((pod.namespace, pod.name))

    @cached_property
    def _by_pod(self) -> dict[tuple[str, str], Ref]:
        return {(one.ref.namespace, pod["metadata"]["name"]): one.ref for one in self.callers for pod in one.pods}

    def objects(self, kind: str) -> tuple[Document, ...]:
        """The mesh objects of a kind in all namespaces, the oldest first."""
        return self._by_kind.get(kind, ())

    @cached_property
    def _by_kind(self) -> dict[str, tuple[Document, ...]]:
        kinds_there = {document.ref.kind for document in self.survey.mesh_objects}
        return {kind: tuple(mesh.of_kind(kind, self.survey.mesh_objects)) for kind in kinds_there}

    def naming(self, kind: str, host: Host) -> tuple[Document, ...]:
        """Those that name exactly this host."""
        return tuple(self._by_name.get((kind, host.name), ()))

    @cached_property
    def _by_name(self) -> dict[tuple[str, str], list[Document]]:
        found: dict[tuple[str, str], list[Document]] = {}
        for kind, documents in self._by_kind.items():
            for document in documents:
                for name in names(document.body):
                    found.setdefault((kind, name), []).append(document)
        return found

    def chosen(self, kind: str, host: Host, namespace: str) -> Document | None:
        """The object that a migration would write to: our own, else the oldest that fits."""
        candidates = [one for one in self.naming(kind, host) if one.ref.namespace == namespace]
        own = [one for one in candidates if mesh.is_ours(one.body)]
        fitting = [one for one in candidates if not mesh.fits(one.body, host, fail_open=self.fail_open)]
        return next(iter(own or fitting), None)

    def aliases(self, host: Host, namespace: str) -> frozenset[str]:
        """The addresses to which our aliases of the host lead, as journals and entries record them, or would lead."""
        recorded = {journal.alias for journal in self.journals if journal.host == host}
        entry = self.chosen("ServiceEntry", host, namespace)
        recorded |= {mesh.alias_of(entry.body)} if entry else set()
        ours = {address for address in recorded if address} or {mesh.alias_address(host)}
        return frozenset(ours | {mesh.alias_address_v6(address) for address in ours})


_CLIENTS = re.compile(r"\b(?:curl|wget)\b")


def _texts(caller: Caller, sources: Mapping[Ref, Body]) -> Iterator[tuple[str, Ref, Steps]]:
    reader = Reader(caller.ref, caller.template, sources)
    for steps, container in caller.containers():
        words = [str(word) for field in ("command", "args") for word in container.get(field) or ()]
        yield " ".join(words), caller.ref, (*steps, "command" if container.get("command") else "args")
        for place in CONTAINER_PLACES:
            for inner, words in matches(container, place.pattern[:-1]) if place.pattern[-2:-1] == ("command",) else ():
                if len(inner) > 1 and isinstance(words, list):
                    yield " ".join(map(str, words)), caller.ref, (*steps, *inner)
        for found in reader.container(steps, container):
            if found.object != caller.ref:
                yield found.text, found.object, found.steps


def make_scope(
    survey: Survey,
    sites: Sequence[CallSite],
    hosts: Sequence[Host] | None,
    *,
    fail_open: bool,
    origination: Origination = AS_BEFORE,
    guard: Guard | None = None,
) -> Scope:
    """Sort the survey; `hosts` None means every external host that somebody calls with encryption."""
    everything = hosts is None
    if hosts is None:
        domain = survey.settings.cluster_domain
        called = {site.host for site in sites if is_call(site) and external(site.host.name, domain)}
        hosts = sorted(called)
    return Scope(survey, tuple(sites), tuple(dict.fromkeys(hosts)), fail_open, origination, everything, guard)


def is_call(site: CallSite) -> bool:
    """Whether it is an encrypted call of the pods: no comment, no identifier, and nothing that the kubelet calls."""
    return site.url.encrypted and not is_aside(site)


def concerns(host: Host, site: CallSite) -> bool:
    """Whether a call site calls the host's server, or one that the wildcard stands for; `http://HOST` does, too."""
    return site.server.port == host.port and mesh.covers(host.name, site.host.name)


def names(body: Body) -> frozenset[str]:
    """The hosts that a mesh object names, wildcards as they are written."""
    spec = body.get("spec") or {}
    return frozenset(str(name).lower() for name in (spec.get("host"), *(spec.get("hosts") or ())) if name)


def title(ref: Ref) -> str:
    """`DestinationRule shop/httpbin`."""
    return f"{ref.kind} {ref.namespace}/{ref.name}" if ref.namespace else f"{ref.kind} {ref.name}"


def by_caller(check: Callable[[Scope, Caller], Iterator[Found]]) -> Callable[[Scope], Iterator[Found]]:
    """A check of one caller as a check of all; the findings are about that workload."""

    def checked(scope: Scope) -> Iterator[Found]:
        for caller in scope.callers:
            yield from check(scope, caller)

    return checked


def _lives(pod: Body) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return phase not in ("Succeeded", "Failed") and not (pod.get("metadata") or {}).get("deletionTimestamp")
