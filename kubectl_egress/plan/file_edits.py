"""What a migration changes in manifests: URLs spliced, host aliases added, new objects in a file beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kubectl_egress import kinds, manifests, mesh, paths
from kubectl_egress.errors import EgressError, ManifestError
from kubectl_egress.manifests import Kustomization
from kubectl_egress.model import (
    AS_BEFORE,
    Action,
    Body,
    CallSite,
    Document,
    Edit,
    Finding,
    Guard,
    Host,
    Origination,
    Plan,
    Skip,
    Step,
    Steps,
    Survey,
    Workload,
)
from kubectl_egress.plan.addresses import known_alias, taken_addresses
from kubectl_egress.plan.closing import fails_closed
from kubectl_egress.plan.file_objects import step_of, write_objects
from kubectl_egress.plan.holding import PROXY_CONFIG, held
from kubectl_egress.plan.mounting import mounted
from kubectl_egress.plan.network_guards import callers_by, guards, kept
from kubectl_egress.plan.objects import MeshChange, bundle_change, files_read, tls_ports, wanted_objects
from kubectl_egress.plan.ports import refuse_two_ports
from kubectl_egress.plan.stored_edits import Address, as_stored
from kubectl_egress.urls import apply_edits


@dataclass(frozen=True, slots=True)
class FileRequest:
    """What was asked for."""

    hosts: tuple[Host, ...]
    fail_open: bool = False
    ipv6: bool = False
    """Whether the pods have IPv6 addresses, which need an alias of that family."""
    hold: bool = False
    """Whether the applications are to start after their proxies."""
    origination: Origination = AS_BEFORE
    kustomizations: tuple[Kustomization, ...] = ()
    guard: Guard | None = None
    """What NetworkPolicies are to let the callers' pods reach; None: none are written."""
    bundle: str = ""
    """CAs (PEM) that vouch for the servers; empty: the public ones, or as `origination` says."""

    def origination_of(self, host: Host, namespace: str) -> Origination:
        """How the sidecar is to call one of the hosts."""
        if not self.bundle:
            return self.origination
        name = mesh.bundle(host, namespace, self.bundle)["metadata"]["name"]
        return replace(self.origination, ca=f"{name}:{mesh.BUNDLE_KEY}")


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file before (None: it is new) and after."""

    file: str
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """One object of the manifests as it was read, and as it is to be."""

    document: Document
    after: Body


@dataclass(frozen=True, slots=True)
class FilePlan:
    """The plan, and what it means for each file, or for each object."""

    plan: Plan
    files: tuple[FileChange, ...]
    documents: tuple[DocumentChange, ...] = ()
    """Workloads and sources that change."""
    objects: Mapping[Host, tuple[MeshChange, ...]] = field(default_factory=dict)
    """What each host needs, in the order in which it may be applied; what fits as it is, too."""


def plan_files(
    texts: Mapping[str, str],
    documents: Sequence[Document],
    survey: Survey,
    sites: Sequence[CallSite],
    findings: Sequence[Finding],
    request: FileRequest,
) -> FilePlan:
    """The migration of `request.hosts` in manifests of one namespace; `texts` by file, `sites` with their spots.

    ConfigMaps, and Secrets that were read, are edited where they stand: Git is the source, and rolls back with the rest. ManifestError for a string
    that cannot be edited without changing more than its URL, and for an object of somebody else's that cannot be
    completed, EgressError for a host whose name is another port's.
    """
    refuse_two_ports(request.hosts, survey, ())
    chosen = [site for site in sites if site.server in request.hosts]
    aliases = {} if request.fail_open else _aliases(request.hosts, survey, ipv6=request.ipv6)
    changed = dict(texts)
    for file, edits in as_stored(_edits(chosen), documents).items():
        changed[file] = _spliced(texts[file], edits)
    _edit_templates(chosen, survey, aliases, request, changed)
    updates = list(_updates(texts, changed, documents))
    steps: list[Step] = []
    objects = {host: _objects(host, survey, sites, aliases.get(host, ()), request) for host in request.hosts}
    for host, wanted in objects.items():
        steps += [step_of(one) for one in wanted if one.before != one.after]
        write_objects(host, wanted, chosen, documents, request.kustomizations, changed)
    plan = Plan(
        hosts=request.hosts,
        namespace=survey.namespace,
        # the order in which they may be applied: a URL last
        steps=tuple(replace(step, order=order) for order, step in enumerate([*steps, *map(_update, updates)], 1)),
        skipped=tuple(
            Skip(site, site.reason or site.url.reason) for site in chosen if site.url.encrypted and not site.rewritable
        ),
        findings=tuple(findings),
        fails_closed=fails_closed(survey, chosen, request.hosts, fail_open=request.fail_open),
        guarded=callers_by(chosen) if request.guard else frozenset(),
    )
    files = (FileChange(file, texts.get(file), text) for file, text in changed.items() if texts.get(file) != text)
    return FilePlan(plan, tuple(files), tuple(updates), objects)


def _objects(
    host: Host, survey: Survey, sites: Sequence[CallSite], aliases: Sequence[str], request: FileRequest
) -> tuple[MeshChange, ...]:
    """What the host needs, in the order in which it may be applied.

    EgressError where an earlier run was given CAs or a client certificate, and this one is not.
    """
    objects = [
        *wanted_objects(
            host,
            survey,
            aliases,
            (".",),
            fail_open=request.fail_open,
            origination=request.origination_of(host, survey.namespace),
            tls_ports=tls_ports(host, sites),
        )
    ]
    callers = callers_by(site for site in sites if site.server == host)
    for one in objects:
        if one.before and files_read(one.before) - files_read(one.after):
            raise EgressError(
                f"{one.ref.kind} {one.ref.name} has the sidecars read CAs or a client certificate from files",
                "say --ca and --client-secret as before; or delete the objects from the file, and run this again",
            )
    bundles = (bundle_change(host, survey, request.bundle),) if request.bundle else ()
    return (
        *bundles,
        *objects,
        *(guards(host, survey, callers, request.guard) if request.guard else kept(host, survey)),
    )


def _edit_templates(
    sites: Sequence[CallSite],
    survey: Survey,
    aliases: Mapping[Host, Sequence[str]],
    request: FileRequest,
    changed: dict[str, str],
) -> None:
    """Aliases and the annotation in the pod templates of callers."""
    for document, host, addresses in _unaliased(sites, survey, aliases):
        template = kinds.template_steps(document.ref.kind)
        for address in reversed(addresses):
            changed[document.file] = manifests.insert_host_alias(
                changed[document.file], document.index, template, address, host.name
            )
    for document in _holding(sites, survey) if request.hold else ():
        after, _ = held(document.body, document.ref.kind)
        changed[document.file] = _annotated(changed[document.file], document, after)
    for document, after in _mounting(sites, survey, request):
        changed[document.file] = _annotated(changed[document.file], document, after)


def _aliases(hosts: Sequence[Host], survey: Survey, *, ipv6: bool) -> Mapping[Host, tuple[str, ...]]:
    """The aliases that the manifests already have for the hosts, or free ones: an address is one host's alone."""
    taken = set(taken_addresses(survey))
    found: dict[Host, tuple[str, ...]] = {}
    for host in hosts:
        address = known_alias(host, survey) or mesh.alias_address(host, taken)
        taken.add(address)
        found[host] = (address, mesh.alias_address_v6(address)) if ipv6 else (address,)
    return found


def _edits(sites: Sequence[CallSite]) -> Mapping[str, Mapping[Address, Sequence[Edit]]]:
    """By file and address, what becomes of the strings there."""
    found: dict[str, dict[Address, set[Edit]]] = {}
    for site in sites:
        spot = site.spot
        if spot is not None and site.url.encrypted and site.rewritable:
            edits = {replace(edit, start=edit.start + spot.shift) for edit in site.url.edits}
            found.setdefault(spot.file, {}).setdefault((spot.document, spot.steps), set()).update(edits)
    return {
        file: {address: tuple(sorted(edits)) for address, edits in addresses.items()}
        for file, addresses in found.items()
    }


def _spliced(text: str, edits: Mapping[Address, Sequence[Edit]]) -> str:
    whole = sorted({edit for (document, _), found in edits.items() if document < 0 for edit in found})
    if whole:
        return apply_edits(text, whole)
    return manifests.splice(text, edits)


def _unaliased(
    sites: Sequence[CallSite], survey: Survey, aliases: Mapping[Host, Sequence[str]]
) -> Iterator[tuple[Document, Host, tuple[str, ...]]]:
    """The callers' documents, and of the host's addresses those whose family their hosts files do not have yet."""
    for workload in survey.workloads:
        template = kinds.pod_template(workload.document.body)
        if template is None:
            continue
        present = {
            (name, ":" in str(entry.get("ip", "")))
            for entry in (template.get("spec") or {}).get("hostAliases") or ()
            for name in entry.get("hostnames") or ()
        }
        called = {site.server for site in sites if site.workload == workload.ref and _read_by(site, workload)}
        for host in aliases:
            missing = tuple(one for one in aliases[host] if (host.name, ":" in one) not in present)
            if host in called and missing:
                yield workload.document, host, missing


def _holding(sites: Sequence[CallSite], survey: Survey) -> Iterator[Document]:
    """The callers' documents whose applications would not wait for their proxies."""
    for workload in survey.workloads:
        calls = any(site.workload == workload.ref and _read_by(site, workload) for site in sites)
        if calls and held(workload.document.body, workload.ref.kind)[1]:
            yield workload.document


def _mounting(sites: Sequence[CallSite], survey: Survey, request: FileRequest) -> Iterator[tuple[Document, Body]]:
    """The callers' documents, with what mounts the files that their sidecars are to read."""
    for workload in survey.workloads:
        called = {site.server for site in sites if site.workload == workload.ref and _read_by(site, workload)}
        files = {host: request.origination_of(host, survey.namespace) for host in request.hosts if host in called}
        after = mounted(workload.document.body, workload.ref.kind, files)
        if after != workload.document.body:
            yield workload.document, after


def _annotated(text: str, document: Document, after: Body) -> str:
    """The text with the annotation of the pod template added; ManifestError where it is there and says something else."""
    steps = kinds.template_steps(document.ref.kind)
    now = next(one.body for one in manifests.parse(text, document.file) if one.index == document.index)
    try:
        metadata = {**paths.get(after, (*steps, "metadata"))}
        known = _annotations(now, steps)
        annotations = {**known, **metadata["annotations"]}
        return manifests.add(
            text,
            document.index,
            paths.replaced(now, (*steps, "metadata"), {**metadata, "annotations": annotations}),
        )
    except ManifestError as error:
        other = next((key for key, value in known.items() if annotations[key] != value), "")
        raise ManifestError(
            f"{document.file}: the annotation {other} is there, and has another value",
            "write holdApplicationUntilProxyStarts: true into it by hand, and leave --hold out"
            if other == PROXY_CONFIG
            else f"make it {annotations.get(other, '')} by hand, and run this again",
        ) from error


def _annotations(body: Body, steps: Steps) -> Body:
    """Those of a pod template, as it stands."""
    try:
        return paths.get(body, (*steps, "metadata")).get("annotations") or {}
    except KeyError:
        return {}


def _read_by(site: CallSite, workload: Workload) -> bool:
    """Whether the pods of this document call it: an overlay's patch and its base have one name, and two templates."""
    own = site.object == workload.ref and site.spot is not None
    return not own or (site.spot is not None and site.spot.file == workload.document.file)


def _updates(
    texts: Mapping[str, str], changed: Mapping[str, str], documents: Sequence[Document]
) -> Iterator[DocumentChange]:
    known = {(one.file, one.index): one for one in documents if not one.spots}
    for file, text in changed.items():
        if texts.get(file) == text or not any(one.file == file and not one.spots for one in documents):
            continue
        before = manifests.parse(texts[file], file)
        for old, new in zip(before, manifests.parse(text, file), strict=True):
            if old.body != new.body:
                yield DocumentChange(replace(old, ref=known.get((file, old.index), old).ref), new.body)


def _update(change: DocumentChange) -> Step:
    title = f"{change.document.file}: URLs to http://, host aliases"
    return Step(0, Action.UPDATE, change.document.ref, title, before=change.document.body, after=change.after)
