"""Read everything that a run decides from, once: one list for each resource type, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from kubectl_egress import kinds
from kubectl_egress.cluster import owners
from kubectl_egress.cluster.cluster import Cluster
from kubectl_egress.cluster.lists import PODS, Read, document, listed, resource_of, side_by_side
from kubectl_egress.cluster.proxies import CONCURRENCY, has_proxy, is_running, not_running, read_snapshots
from kubectl_egress.cluster.resources import ApiResource
from kubectl_egress.cluster.secrets import Secrets, secrets_of
from kubectl_egress.cluster.surroundings import (
    config_maps_of,
    journals_and_others,
    knative_aliases,
    mesh_of,
    namespaces_of,
    recorded_besides,
    revision_asked,
    revision_injected,
    settings_of,
)
from kubectl_egress.cluster.targets import Selection, Target, select
from kubectl_egress.errors import NotFoundError
from kubectl_egress.kinds import KindRow
from kubectl_egress.model import Body, Denied, Document, Host, MeshSettings, Proxy, Ref, Survey, Workload
from kubectl_egress.places import Place

_READERS = 8


@dataclass(frozen=True, slots=True)
class Asking:
    """How the sidecars are asked."""

    hosts: Sequence[Host] | None = None
    """About what; None: about everything outbound."""
    about: Callable[[Survey], Sequence[Host]] | None = None
    """About what, as all that else was read says."""
    concurrency: int = CONCURRENCY
    sample: int = 0
    """As many sidecars of each workload; 0: all."""
    at_most: int = 0
    """With more sidecars than this, one of each workload; 0: no limit."""
    overview: bool = False
    """What `inspect` shows: also their access logs, for the names of hosts that the mesh does not know."""


def survey(
    cluster: Cluster,
    targets: Sequence[Target] = (),
    *,
    selector: str = "",
    all_namespaces: bool = False,
    live: bool = True,
    hosts: Sequence[Host] | None = None,
    places: Sequence[Place] = (),
    concurrency: int = CONCURRENCY,
    asking: Asking | None = None,
    secrets: Secrets = Secrets.NONE,
) -> Survey:
    """Read the workloads that the targets and the label selector mean, and what decides about them.

    Without targets, also objects of other kinds that a row of `places` (`--path`) is about. `live`: ask the sidecars of their running pods too, about `hosts` (None: about everything outbound), or as `asking` says.
    `secrets`: which Secrets to read, beside all else. What may not be read becomes a Denied. Raises UsageError for targets that do not fit together, NotFoundError for
    a target, a type or a namespace that does not exist, ForbiddenError for credentials that do not count (401), and
    UnreachableError.
    """
    selections = select(
        targets, cluster.resource, selector=selector, all_namespaces=all_namespaces, more=cluster.custom_kinds
    )
    namespace = None if all_namespaces else cluster.namespace
    with side_by_side(_READERS, "survey") as pool:
        others = () if targets else other_resources(cluster, places)
        found = _gather(cluster, selections, namespace, selector, pool, others)
    how = (asking or Asking(hosts, concurrency=concurrency)) if live else None
    return assembled(cluster, found, namespace or "", how, secrets)


def assembled(cluster: Cluster, found: Found, namespace: str, asking: Asking | None, secrets: Secrets) -> Survey:
    """Pods put to their workloads, the Secrets that are to be read, and their sidecars asked (None: not at all)."""
    grouped = owners.pods_by_workload(found.pods, owners.parents(found.between))
    workloads = tuple(Workload(one, grouped.get(one.ref, ())) for one in found.workloads)
    journals, config_maps = journals_and_others(found.config_maps)
    besides = recorded_besides(cluster, journals)
    hidden = secrets_of(cluster, found.workloads, journals, secrets)
    seen = Survey(
        namespace=namespace,
        workloads=workloads,
        config_maps=config_maps,
        secrets={document(body).ref: body for body in hidden.items},
        with_secrets=secrets is Secrets.NAMED,
        namespaces={body["metadata"]["name"]: body for body in found.namespaces},
        mesh_objects=tuple(document(body) for body in (*found.mesh, *besides.items)),
        journals=journals,
        settings=found.settings,
        denied=(*found.denied, *besides.denied, *dict.fromkeys(hidden.denied)),
        live=True,
        knative_aliases=knative_aliases(cluster, found.workloads),
        readers=owners.readers(grouped, found.workloads),
    )
    return replace(seen, proxies=_proxies(cluster, seen, asking)) if asking else seen


def pods_of(cluster: Cluster, workloads: Iterable[Ref]) -> Mapping[Ref, tuple[Body, ...]]:
    """The pods of each of these workloads as they are now, terminating and finished ones too.

    One list of pods, and one of ReplicaSets or Jobs where there are such between. Raises what the lists raise.
    """
    wanted = tuple(workloads)
    spaces = {ref.namespace for ref in wanted}
    namespace = spaces.pop() if len(spaces) == 1 else None
    kinds_between = [kind for kind, makers in owners.BETWEEN.items() if any(ref.kind in makers for ref in wanted)]
    between = {kind: _all(cluster, kind, namespace, metadata_only=True) for kind in kinds_between}
    pods = _all(cluster, "Pod", namespace) if wanted else ()
    grouped = owners.pods_by_workload(pods, owners.parents(between))
    return {ref: grouped.get(ref, ()) for ref in wanted}


def _all(cluster: Cluster, kind: str, namespace: str | None, *, metadata_only: bool = False) -> tuple[Body, ...]:
    resource = cluster.resource_of(kind)
    return tuple(cluster.list(resource.api_version, resource.plural, namespace, metadata_only=metadata_only))


# ---- gathering ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """All that was read, before the pods are put to their workloads."""

    workloads: tuple[Document, ...]
    pods: tuple[Body, ...]
    between: Mapping[str, tuple[Body, ...]]
    """ReplicaSets and Jobs by kind: names and owners alone."""
    namespaces: tuple[Body, ...]
    config_maps: tuple[Body, ...]
    mesh: tuple[Body, ...]
    settings: MeshSettings
    denied: tuple[Denied, ...]


def _gather(
    cluster: Cluster,
    selections: Sequence[Selection],
    namespace: str | None,
    selector: str,
    pool: ThreadPoolExecutor,
    others: Sequence[ApiResource],
) -> Found:
    """All reads, side by side. What waits for another in the pool was submitted after it, so that none waits for ever."""
    spaces = pool.submit(namespaces_of, cluster, namespace)
    pods = pool.submit(listed, cluster, PODS, namespace, is_running_pod)
    between = {
        row.kind: pool.submit(listed, cluster, resource_of(row), namespace, metadata_only=True)
        for row in between_rows(selections)
    }
    chosen = [pool.submit(_workloads, cluster, one, namespace, selector, between) for one in selections]
    more = [pool.submit(listed, cluster, one, namespace, label_selector=selector) for one in others]
    mesh = pool.submit(mesh_of, cluster, namespace)
    namespaces = spaces.result()
    mesh_wide = pool.submit(settings_of, cluster, revision_asked(namespaces.items))
    bodies = [future.result() for future in chosen]
    _check_names(selections, [document(body) for read in bodies for body in read.items], namespace, bodies)
    bodies += [future.result() for future in more]
    workloads = tuple(document(body) for read in bodies for body in read.items)
    config_maps = pool.submit(config_maps_of, cluster, namespace, workloads).result()
    settings, unread = mesh_wide.result()
    injected = revision_injected(pods.result().items)
    if not (settings.known or unread) and injected:
        settings, unread = settings_of(cluster, injected)
    owned = {kind: future.result() for kind, future in between.items()}
    reads = [namespaces, pods.result(), *owned.values(), *bodies, mesh.result(), config_maps]
    return Found(
        workloads=workloads,
        pods=pods.result().items,
        between={kind: read.items for kind, read in owned.items()},
        namespaces=namespaces.items,
        config_maps=config_maps.items,
        mesh=mesh.result().items,
        settings=settings,
        denied=tuple(dict.fromkeys([*(denied for read in reads for denied in read.denied), *unread])),
    )


def other_resources(cluster: Cluster, places: Sequence[Place]) -> tuple[ApiResource, ...]:
    """The resources of kinds that only `--path` names; NotFoundError for one that the cluster does not have."""
    names = dict.fromkeys(
        f"{place.kind}.{place.group}".lower() if place.group else place.kind.lower()
        for place in places
        if kinds.row(place.kind, f"{place.group}/" if place.group else "") is None
    )
    return tuple(cluster.resource(name) for name in names)


def is_running_pod(pod: Body) -> bool:
    """Whether it runs, or may still: a finished pod calls nobody."""
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def between_rows(selections: Sequence[Selection]) -> tuple[KindRow, ...]:
    """The kinds that stand between a selected kind and its pods, and those whose objects may be owned."""
    wanted = {selection.row.kind for selection in selections}
    return tuple(
        row for row in kinds.KINDS if row.kind in owners.BETWEEN and wanted & {row.kind, *owners.BETWEEN[row.kind]}
    )


def _workloads(
    cluster: Cluster,
    selection: Selection,
    namespace: str | None,
    selector: str,
    between: Mapping[str, Future[Read]],
) -> Read:
    """The objects of one kind that are selected, and are workloads of their own."""
    kind, names = selection.row.kind, selection.names
    if kind in between and not names:
        # Mostly there are none beside those of Deployments and CronJobs, whose templates are old and many.
        owned = between[kind].result()
        if not any(owners.is_workload(kind, body) for body in owned.items):
            return Read(denied=owned.denied)
    return listed(
        cluster,
        resource_of(selection.row),
        namespace,
        lambda body: owners.is_workload(kind, body) and (not names or body["metadata"]["name"] in names),
        label_selector=selector,
        field_selector=f"metadata.name={names[0]}" if len(names) == 1 else "",
    )


def _check_names(
    selections: Sequence[Selection], documents: Iterable[Document], namespace: str | None, reads: Sequence[Read]
) -> None:
    """Raise NotFoundError, in the API server's words, for names that are not there; not for what may not be read."""
    found = {(document.ref.kind, document.ref.name) for document in documents}
    missing = [
        f'{selection.row.plural}.{selection.row.group} "{name}" not found'
        for selection, read in zip(selections, reads, strict=True)
        for name in selection.names
        if (selection.row.kind, name) not in found and not read.denied
    ]
    if missing:
        plurals = ",".join(selection.row.plural for selection in selections)
        remedy = f"kubectl get {plurals} -n {namespace} lists what is there"
        raise NotFoundError("; ".join(missing), remedy, status=404, reason="NotFound")


def _proxies(cluster: Cluster, seen: Survey, asking: Asking) -> Mapping[Ref, Proxy]:
    """What the sidecars say, and why those say nothing that ought to run."""
    dead = (not_running(pod) for workload in seen.workloads for pod in workload.pods if not is_leaving(pod))
    by_workload = _askable(seen.workloads)
    many = bool(asking.at_most) and sum(map(len, by_workload)) > asking.at_most
    chosen = [pod for pods in by_workload for pod in pods[: 1 if many else asking.sample or None]]
    hosts = asking.about(seen) if asking.about and chosen else asking.hosts
    said = read_snapshots(cluster, chosen, hosts, concurrency=asking.concurrency, overview=asking.overview)
    return {**said, **{one.pod: one for one in dead if one is not None}}


def is_leaving(pod: Body) -> bool:
    """Whether the pod has been told to go."""
    return "deletionTimestamp" in pod["metadata"]


def _askable(workloads: Iterable[Workload]) -> list[list[Body]]:
    """The pods whose sidecars can be asked, of each workload."""
    return [[pod for pod in workload.pods if has_proxy(pod) and is_running(pod)] for workload in workloads]
