"""Where a run reads from, a cluster or files; from then on there is one path."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kubectl_egress.cli.options import Connection, Files, Selection
from kubectl_egress.errors import EgressError, UsageError

if TYPE_CHECKING:
    from kubectl_egress.cluster.survey import Asking
    from kubectl_egress.journal import Journal
    from kubectl_egress.model import CallSite, Document, Evidence, Finding, Host, Ref, Spot, Steps, Survey
    from kubectl_egress.places import Forced, Place

MESH_KINDS = ("ServiceEntry", "DestinationRule", "VirtualService", "Sidecar", "EnvoyFilter")


def survey_cluster(
    targets: Sequence[str],
    selection: Selection,
    connection: Connection,
    asking: Asking | None = None,
    places: Sequence[Place] = (),
    *,
    with_secrets: bool = False,
) -> Survey:
    """Everything that there is to know of the targets in the cluster; the connection is closed again."""
    from kubectl_egress.cluster import connect
    from kubectl_egress.cluster.secrets import Secrets
    from kubectl_egress.cluster.survey import survey
    from kubectl_egress.cluster.targets import parse_targets

    parsed = parse_targets(targets)
    cluster = connect(connection.options(selection.namespace))
    try:
        return survey(
            cluster,
            parsed,
            selector=selection.selector,
            all_namespaces=selection.all_namespaces,
            live=asking is not None,
            asking=asking,
            places=places,
            secrets=Secrets.NAMED if with_secrets else Secrets.NONE,
        )
    finally:
        cluster.close()


def surveys_of_cluster(
    targets: Sequence[str],
    selection: Selection,
    connection: Connection,
    asking: Asking | None = None,
    places: Sequence[Place] = (),
    *,
    with_secrets: bool = False,
) -> Iterator[Survey]:
    """As `survey_cluster`, of all namespaces one after another while the cluster is still being read."""
    from kubectl_egress.cluster import connect
    from kubectl_egress.cluster.secrets import Secrets
    from kubectl_egress.cluster.stream import surveys
    from kubectl_egress.cluster.targets import parse_targets

    parsed = parse_targets(targets)
    cluster = connect(connection.options(selection.namespace))
    try:
        secrets = Secrets.NAMED if with_secrets else Secrets.NONE
        yield from surveys(cluster, parsed, selector=selection.selector, places=places, asking=asking, secrets=secrets)
    finally:
        cluster.close()


def with_addresses(survey: Survey, sites: Sequence[CallSite]) -> Survey:
    """The survey with the addresses of the hosts that nameless connections may have gone to; asks DNS only if there are such."""
    from kubectl_egress.model import ProxySnapshot
    from kubectl_egress.proxy.wire import has_nameless

    if not any(isinstance(said, ProxySnapshot) and has_nameless(said) for said in survey.proxies.values()):
        return survey
    from kubectl_egress.cluster.resolving import addresses_of

    return replace(survey, resolved=addresses_of(site.host.name for site in sites if site.url.encrypted))


def refuse_blind(survey: Survey) -> None:
    """Raise ForbiddenError where no type of workload may be listed: that there is nothing would be a guess."""
    from kubectl_egress import kinds
    from kubectl_egress.errors import ForbiddenError

    types = {row.plural for row in kinds.KINDS}
    refused = [one for one in survey.denied if one.resource.partition(".")[0] in types and not one.absent]
    if refused and not survey.workloads:
        raise _forbidden([one.resource for one in refused], refused[0].namespace, ForbiddenError)


def check_forced(forced: Sequence[Forced], sites: Sequence[CallSite]) -> None:
    """EgressError for a `--force` where no URL of that host stands, with the paths where one does."""
    from kubectl_egress.paths import kubectl_path

    there = {(site.host.name, kubectl_path(site.steps)) for site in sites}
    for one in forced:
        if (one.host, one.path) not in there:
            paths = sorted({path for host, path in there if host == one.host})
            remedy = (
                f"it stands at {', '.join(paths)}" if paths else "inspect -o wide shows which URLs there are, and where"
            )
            raise EgressError(f"--force: no URL of {one.host} stands at {one.path}", remedy)


def journals_of(survey: Survey) -> list[Journal]:
    """The namespace's journals; ForbiddenError where ConfigMaps may not be listed, since there may be some."""
    from kubectl_egress.journal import from_config_map

    readable_journals(survey)
    return [from_config_map(document.body) for document in survey.journals]


def readable_journals(survey: Survey) -> None:
    """Raise ForbiddenError where ConfigMaps may not be listed: journals are some of them."""
    from kubectl_egress.errors import ForbiddenError

    if any(one.resource == "configmaps" and one.verb == "list" for one in survey.denied):
        raise _forbidden(["configmaps"], survey.namespace, ForbiddenError)


def _forbidden(resources: Sequence[str], namespace: str, error: type[EgressError]) -> EgressError:
    where, flag = (f"in namespace {namespace}", f"-n {namespace}") if namespace else ("in all namespaces", "-A")
    return error(
        f"may not list {', '.join(sorted(resources))} {where}",
        f"ask for the permission, or choose another context or namespace; kubectl auth can-i list {resources[0]} {flag} "
        "checks it",
    )


def check_files_alone(targets: Sequence[str], selection: Selection) -> None:
    """Raise UsageError, in kubectl's words, for what does not go with `-f`."""
    if targets:
        raise UsageError(
            "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well",
            "leave out either -f or the resources",
        )
    if selection.selector:
        raise UsageError("a selector (-l) does not go with -f", "give only the files that you mean")


def read_documents(files: Files) -> tuple[Mapping[str, str], tuple[Document, ...]]:
    """The texts by file, and all objects in them."""
    from kubectl_egress import manifests
    from kubectl_egress.files import read

    texts = {one.file: one.text for one in read(files.filename, files.recursive, sys.stdin.buffer)}
    return texts, tuple(document for file, text in texts.items() for document in manifests.parse(text, file))


def survey_documents(
    documents: Sequence[Document], namespace: str = "", places: Sequence[Place] = (), *, with_secrets: bool = False
) -> Survey:
    """What the documents say, as a Survey; `namespace` is that of objects which name none, as with kubectl's -n.

    What a row of `--path` is about counts as a workload. `with_secrets`: Secrets are read, too.
    """
    from kubectl_egress import kinds, secret_values
    from kubectl_egress.mesh import is_ours
    from kubectl_egress.model import Survey, Workload

    named = [placed(document, namespace) for document in documents]
    return Survey(
        namespace=namespace,
        workloads=tuple(
            Workload(document)
            for document in named
            if kinds.row(document.ref.kind, document.ref.api_version)
            or any(place.concerns(document) for place in places)
        ),
        config_maps={document.ref: document.body for document in named if document.ref.kind == "ConfigMap"},
        secrets={
            document.ref: secret_values.readable(document.body)
            for document in named
            if with_secrets and document.ref.kind == "Secret" and secret_values.is_read(document.body)
        },
        with_secrets=with_secrets,
        namespaces={document.ref.name: document.body for document in named if document.ref.kind == "Namespace"},
        mesh_objects=tuple(
            document
            for document in named
            if document.ref.kind in MESH_KINDS or (document.ref.kind == "Service" and is_ours(document.body))
        ),
        policies=tuple(document for document in named if document.ref.kind == "NetworkPolicy"),
    )


def placed(document: Document, namespace: str) -> Document:
    """The document in `namespace` if it names none itself."""
    if document.ref.namespace or document.ref.kind == "Namespace":
        return document
    return replace(document, ref=replace(document.ref, namespace=namespace))


def with_lines(
    sites: Sequence[CallSite], documents: Sequence[Document], texts: Mapping[str, str], namespace: str = ""
) -> tuple[CallSite, ...]:
    """The call sites with the file and the line at which each of them stands; `texts` by file."""
    held = {key: document for document in documents for key in _keys(placed(document, namespace))}
    spots = [_spot(site, held) for site in sites]
    known = {
        (file, *address): line
        for file, text in texts.items()
        for address, line in _lines_of(file, text, spots, sites).items()
    }
    return tuple(
        replace(site, file=spot.file, line=known.get((spot.file, *_address(spot, site)), site.line), spot=spot)
        if spot
        else site
        for site, spot in zip(sites, spots, strict=True)
    )


def findings_with_lines(
    findings: Sequence[Finding],
    sites: Sequence[CallSite],
    documents: Sequence[Document],
    texts: Mapping[str, str],
    namespace: str = "",
) -> tuple[Finding, ...]:
    """The findings with file and line at what they were read from; `sites` have theirs already."""
    from kubectl_egress import manifests

    held = {placed(document, namespace).ref: document for document in documents}
    known = {(site.object, site.steps): (site.file, site.line) for site in reversed(sites)}
    by_host = {(site.object, site.steps, site.server): (site.file, site.line) for site in reversed(sites)}
    wanted: dict[str, set[tuple[int, Steps]]] = {}
    for one in (one for finding in findings for one in finding.evidence):
        document = held.get(one.object)
        if document and document.file and (one.object, one.steps) not in known:
            wanted.setdefault(document.file, set()).add((document.index, one.steps))
    lines = {file: manifests.lines(texts[file], found) for file, found in wanted.items()}

    def located(one: Evidence, host: Host | None) -> Evidence:
        document = held.get(one.object)
        file, line = known.get((one.object, one.steps), ("", 0))
        if host is not None:
            file, line = by_host.get((one.object, one.steps, host), (file, line))
        if document and not file:
            file = document.file
            line = lines.get(file, {}).get((document.index, one.steps), document.line)
        return replace(one, file=file, line=line)

    return tuple(
        replace(finding, evidence=tuple(located(one, finding.host) for one in finding.evidence)) for finding in findings
    )


def _keys(document: Document) -> Iterator[tuple[Ref, str, int]]:
    """An overlay's patch has the name of its base: the workload's own sites say in which file they are."""
    yield document.ref, document.file, document.line
    yield document.ref, "", 0


def _spot(site: CallSite, held: Mapping[tuple[Ref, str, int], Document]) -> Spot | None:
    from kubectl_egress.model import Spot

    document = held.get((site.object, site.file, site.line)) or held.get((site.object, "", 0))
    if document is None:
        return None
    if site.object.kind == "Secret" and site.steps[-1] in (document.body.get("stringData") or {}):
        return Spot(document.file, document.index, ("stringData", *site.steps[1:]))
    return document.spots.get(site.steps) or Spot(document.file, document.index, site.steps)


def _address(spot: Spot, site: CallSite) -> tuple[int, Steps, int]:
    return spot.document, spot.steps, spot.shift + site.url.start


def _lines_of(
    file: str, text: str, spots: Sequence[Spot | None], sites: Sequence[CallSite]
) -> dict[tuple[int, Steps, int], int]:
    from kubectl_egress import manifests

    mine = [_address(spot, site) for spot, site in zip(spots, sites, strict=True) if spot and spot.file == file]
    found = manifests.lines_at(text, inside) if (inside := [one for one in mine if one[0] >= 0]) else {}
    return found | {one: text.count("\n", 0, one[2]) + 1 for one in mine if one[0] < 0}


def again(selection: Selection, files: Files, namespace: str = "") -> str:
    """The flags that lead another command to the same place; `namespace` where it had been all of them."""
    named = namespace if selection.all_namespaces else selection.namespace
    words = [word for name in files.filename for word in ("-f", name)]
    return " ".join([*words, *(["-R"] if files.recursive else []), *(["-n", named] if named else [])])
