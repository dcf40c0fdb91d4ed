"""Lists that may be refused: what was read, and what could not be, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from kubectl_egress.cluster import projection, resources
from kubectl_egress.cluster.cluster import Cluster
from kubectl_egress.cluster.resources import BUILT_IN, ApiResource
from kubectl_egress.errors import ForbiddenError, NotFoundError
from kubectl_egress.kinds import KindRow
from kubectl_egress.model import Body, Denied, Document, Ref


@dataclass(frozen=True, slots=True)
class Read:
    """What a list gave, and what could not be read."""

    items: tuple[Body, ...] = ()
    denied: tuple[Denied, ...] = ()


@contextmanager
def side_by_side(readers: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Threads that read at the same time. After an error or Ctrl-C nothing that has not begun is begun."""
    pool = ThreadPoolExecutor(readers, name)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def together(reads: Iterable[Read]) -> Read:
    """Several of them as one."""
    found = tuple(reads)
    items = tuple(body for read in found for body in read.items)
    return Read(items, tuple(denied for read in found for denied in read.denied))


def built_in(kind: str) -> ApiResource:
    """The resource of a kind that is known without asking."""
    return next(resource for resource in BUILT_IN if resource.kind == kind)


PODS = built_in("Pod")
CONFIG_MAPS = built_in("ConfigMap")
SECRETS = built_in("Secret")
NAMESPACES = built_in("Namespace")


def listed(
    cluster: Cluster,
    resource: ApiResource,
    namespace: str | None,
    keep: Callable[[Body], bool] = lambda _: True,
    *,
    label_selector: str = "",
    field_selector: str = "",
    metadata_only: bool = False,
) -> Read:
    """The objects of a type that are to be kept, or why they may not be read."""
    try:
        bodies = cluster.list(
            resource.api_version,
            resource.plural,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            metadata_only=metadata_only,
        )
        slim = slimmer(resource, metadata_only=metadata_only)
        return Read(tuple(slim(body) for body in bodies if keep(body)))
    except NotFoundError:
        # A type that the cluster does not have has no objects: nothing is hidden.
        return Read()
    except ForbiddenError as error:
        return Read(denied=(denial("list", resource.full_name, namespace, error),))


def slimmer(resource: ApiResource, *, metadata_only: bool = False) -> Callable[[Body], Body]:
    """What is kept of each object of a type."""
    if metadata_only:
        return projection.between
    if resource.kind in ("ConfigMap", "Namespace"):
        return projection.without_managers
    return projection.pod if resource is PODS else projection.with_manager_names


def denial(verb: str, name: str, namespace: str | None, error: ForbiddenError | NotFoundError) -> Denied:
    """The refusal as a value; credentials that do not count stop everything."""
    if error.status == 401:
        raise error
    return Denied(verb, name, namespace or "", error.message, absent=isinstance(error, NotFoundError))


def resource_of(row: KindRow) -> ApiResource:
    """The resource of a row of `kinds`."""
    return resources.of_row(row)


def document(body: Body) -> Document:
    """The object with its Ref."""
    metadata = body["metadata"]
    return Document(Ref(body["kind"], metadata.get("namespace", ""), metadata["name"], body["apiVersion"]), body)
