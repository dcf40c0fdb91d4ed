"""All namespaces, one survey after another, while their lists are still being read: memory holds a few pages of each.

The API server lists by the keys of its store, `NAMESPACE/NAME` in the order of their bytes, whatever the type. So several
lists can be read side by side, and a namespace is complete when each of them has come to a later one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from kubectl_egress.cluster import owners
from kubectl_egress.cluster.cluster import Cluster
from kubectl_egress.cluster.lists import (
    CONFIG_MAPS,
    PODS,
    Read,
    denial,
    document,
    listed,
    resource_of,
    side_by_side,
    slimmer,
)
from kubectl_egress.cluster.resources import ApiResource
from kubectl_egress.cluster.secrets import Secrets
from kubectl_egress.cluster.surroundings import (
    is_read,
    mesh_of,
    namespaces_of,
    revision_asked,
    revision_injected,
    settings_of,
)
from kubectl_egress.cluster.survey import Asking, Found, assembled, between_rows, is_running_pod, other_resources
from kubectl_egress.cluster.targets import Selection, Target, select
from kubectl_egress.errors import EgressError, ForbiddenError, NotFoundError
from kubectl_egress.model import Body, Denied, Survey
from kubectl_egress.places import Place

_READERS = 8
# ConfigMaps may have a megabyte each.
_CONFIG_MAPS_PAGE = 100
# Smaller than kubectl's 500: several lists are in memory at once, each with a page that is read ahead.
_PAGE = 250

Page = tuple[Body, ...]


class _Lane:
    """One list, read ahead by a page, given out namespace by namespace."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        cluster: Cluster,
        resource: ApiResource,
        *,
        keep: Callable[[Body], bool] = lambda _: True,
        selector: str = "",
        limit: int = _PAGE,
        metadata_only: bool = False,
    ) -> None:
        slim = slimmer(resource, metadata_only=metadata_only)
        pages = cluster.pages(
            resource.api_version,
            resource.plural,
            None,
            label_selector=selector,
            limit=limit,
            metadata_only=metadata_only,
            anew=self._begun_anew,
        )
        self._pool = pool
        self._resource = resource
        # A generator, so that a page is made small by the thread that has read it.
        self._pages = (tuple(slim(body) for body in page if keep(body)) for page in pages)
        self._items: list[Body] = []
        """What has been read and not given out, the last first."""
        self._last = ""
        """The key of the last one that was read."""
        self._anew = False
        self.denied: tuple[Denied, ...] = ()
        self._next: Future[Page | None] | None = pool.submit(next, self._pages, None)

    def head(self) -> str:
        """The namespace, with a slash as in the store's keys, of what comes next; empty at the end."""
        while not self._items and self._next is not None:
            self._items = self._page()
        return _key(self._items[-1]) if self._items else ""

    def take(self, key: str) -> Page:
        """Everything of one namespace."""
        found = []
        while self.head() == key:
            found.append(self._items.pop())
        return tuple(found)

    def _begun_anew(self) -> None:
        self._anew = True

    def _page(self) -> list[Body]:
        assert self._next is not None
        try:
            page = self._next.result()
        except NotFoundError:
            # A type that the cluster does not have has no objects: nothing is hidden.
            page = None
        except ForbiddenError as error:
            self.denied = (denial("list", self._resource.full_name, None, error),)
            page = None
        self._next = None if page is None else self._pool.submit(next, self._pages, None)
        return list(self._in_order(page or ()))[::-1]

    def _in_order(self, page: Page) -> Iterator[Body]:
        """The objects of a page, which have to follow those before; what a list begun anew has of the past is late."""
        for body in page:
            key = _key(body)
            if key >= self._last:
                self._last = key
                yield body
            elif not self._anew:
                raise EgressError(
                    f"the server's list of {self._resource.full_name} is not in the order of its namespaces",
                    "give the namespaces one by one: -n NAMESPACE",
                )


def _key(body: Body) -> str:
    return f"{body['metadata'].get('namespace', '')}/"


def surveys(
    cluster: Cluster,
    targets: Sequence[Target] = (),
    *,
    selector: str = "",
    places: Sequence[Place] = (),
    asking: Asking | None = None,
    secrets: Secrets = Secrets.NONE,
) -> Iterator[Survey]:
    """A Survey of each namespace that has workloads, as `survey` makes one; at least one, which may be empty.

    `asking`: how to ask the sidecars; None: not at all. `secrets`: which Secrets to read. Raises what `survey` raises, and EgressError for a server whose
    lists have another order.
    """
    selections = select(targets, cluster.resource, selector=selector, all_namespaces=True, more=cluster.custom_kinds)
    with side_by_side(_READERS, "stream") as pool:
        others = () if targets else other_resources(cluster, places)
        yield from _surveys(cluster, selections, others, selector, asking, secrets, pool)


def _surveys(
    cluster: Cluster,
    selections: Sequence[Selection],
    others: Sequence[ApiResource],
    selector: str,
    asking: Asking | None,
    secrets: Secrets,
    pool: ThreadPoolExecutor,
) -> Iterator[Survey]:
    mesh = pool.submit(mesh_of, cluster, None)
    between = {row.kind: _Lane(pool, cluster, resource_of(row), metadata_only=True) for row in between_rows(selections)}
    pods = _Lane(pool, cluster, PODS, keep=is_running_pod)
    types = [*(resource_of(one.row) for one in selections if one.row.kind not in between), *others]
    chosen = [_Lane(pool, cluster, resource, selector=selector) for resource in types]
    config_maps = _Lane(pool, cluster, CONFIG_MAPS, limit=_CONFIG_MAPS_PAGE)
    spaces = namespaces_of(cluster, None)
    by_name = {body["metadata"]["name"]: body for body in spaces.items}
    settings, unread = settings_of(cluster, revision_asked(spaces.items))
    lanes = [*chosen, *between.values(), pods, config_maps]
    asked = 0
    while key := min(filter(None, [lane.head() for lane in lanes]), default="" if asked else "/"):
        namespace = key.rstrip("/")
        owned = {kind: lane.take(key) for kind, lane in between.items()}
        reads = [Read(lane.take(key)) for lane in chosen]
        reads += [
            _of_their_own(cluster, one, owned, namespace, selector) for one in selections if one.row.kind in owned
        ]
        workloads = tuple(document(body) for read in reads for body in read.items)
        running = pods.take(key)
        injected = revision_injected(running)
        if not (settings.known or unread) and injected:
            settings, unread = settings_of(cluster, injected)
        found = Found(
            workloads=workloads,
            pods=running,
            between=owned,
            namespaces=tuple(filter(None, [by_name.get(namespace)])),
            config_maps=tuple(filter(is_read(workloads), config_maps.take(key))),
            mesh=mesh.result().items,
            settings=settings,
            denied=_denied([spaces, mesh.result(), *reads], lanes, unread),
        )
        if workloads or not any(lane.head() for lane in lanes):
            asked += 1
            yield assembled(cluster, found, "", asking, secrets)


def _of_their_own(
    cluster: Cluster, selection: Selection, owned: Mapping[str, Page], namespace: str, selector: str
) -> Read:
    """ReplicaSets and Jobs that nothing makes: mostly there are none, and then their templates are not read."""
    kind = selection.row.kind
    if not any(owners.is_workload(kind, body) for body in owned[kind]):
        return Read()
    return listed(
        cluster,
        resource_of(selection.row),
        namespace,
        lambda body: owners.is_workload(kind, body),
        label_selector=selector,
    )


def _denied(reads: Sequence[Read], lanes: Sequence[_Lane], unread: Sequence[Denied]) -> tuple[Denied, ...]:
    found = [denied for read in reads for denied in read.denied]
    return tuple(dict.fromkeys([*found, *(denied for lane in lanes for denied in lane.denied), *unread]))
