"""What the lab's parts ask of each other: the API server of its store and its node, the node of istiod."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Body = Mapping[str, Any]


class LabRefusal(Exception):  # noqa: N818  # an answer, not a failure
    """A shape that the lab does not model: refused with a sentence, never approximated."""


@dataclass(frozen=True, slots=True)
class SchemaCause:
    """One field that a resource definition does not let through, its parts as in metav1.StatusCause."""

    field: str
    reason: str
    message: str


class SchemaRefusal(LabRefusal):
    """What the API server refuses by a resource definition, before it asks a webhook."""

    def __init__(self, causes: Sequence[SchemaCause]) -> None:
        super().__init__("; ".join(f"{cause.field}: {cause.message}" for cause in causes))
        self.causes = tuple(causes)


@dataclass(frozen=True, slots=True)
class StoreEvent:
    """One change of the store: ADDED, MODIFIED or DELETED, of an object of a resource (`pods`, `serviceentries`, …)."""

    type: str
    resource: str
    object: Body


class Store(Protocol):
    """The objects, in memory; every method is called on the event loop's thread. Bodies are copies."""

    def list(self, resource: str, namespace: str | None = None) -> list[Body]:
        """All objects of a resource, of one namespace or of all."""
        ...

    def get(self, resource: str, namespace: str, name: str) -> Body | None:
        """One object, if it is there."""
        ...

    def create(self, resource: str, body: Body) -> Body:
        """A new object, with what the server adds."""
        ...

    def update(self, resource: str, body: Body) -> Body:
        """The object as it is now to be."""
        ...

    def patch_status(self, resource: str, namespace: str, name: str, status: Body) -> Body | None:
        """Merge into the status; None if the object has gone."""
        ...

    def delete(self, resource: str, namespace: str, name: str) -> None:
        """Ask for an object to go; a pod that runs is terminating from then on."""
        ...

    def remove(self, resource: str, namespace: str, name: str) -> None:
        """Take a terminating pod away for good, once its processes are gone."""
        ...

    def subscribe(self) -> AsyncIterator[StoreEvent]:
        """First an ADDED for everything that is there, then every change."""
        ...


class Node(Protocol):
    """What the API server asks of the node that runs the pods."""

    async def connect(self, pod: Body, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a port on the pod's loopback (port-forward); ConnectionError if nobody listens."""
        ...

    async def exec(self, pod: Body, container: str, command: Sequence[str], *, stdin: bool, tty: bool) -> Process:
        """Start a command in the container, with pipes; FileNotFoundError if it is not there."""
        ...

    def logs(
        self, pod: Body, container: str, *, follow: bool, tail: int | None, previous: bool
    ) -> AsyncIterator[bytes]:
        """The container's output."""
        ...


@dataclass(frozen=True, slots=True)
class ProxyConfiguration:
    """What istiod has one sidecar do: Envoy resources (v3 JSON), each list in a stable order."""

    clusters: tuple[Body, ...]
    listeners: tuple[Body, ...]
    routes: tuple[Body, ...]


class Istiod(Protocol):
    """The embedded istiod: pure functions over objects."""

    def admit(self, body: Body) -> None:
        """Raise LabRefusal for a mesh object of a shape that is not modelled, or that the real one refuses."""
        ...

    def inject(self, pod: Body, namespace: Body) -> Body:
        """The pod with its sidecar, or as it was (label and annotation rules of the real injector)."""
        ...

    def bootstrap(self, pod: Body, directory: str, *, mark: int | None) -> Body:
        """Envoy's bootstrap: admin on 127.0.0.1:15000, xDS from the files lds.json, cds.json, rds.json in `directory`.

        `mark`: SO_MARK for every upstream socket, where the proxy has no UID of its own.
        """
        ...

    def configuration(self, pod: Body, objects: Sequence[Body]) -> ProxyConfiguration:
        """The proxy's configuration, from the namespaces and mesh objects (ServiceEntry, DestinationRule, VirtualService,
        Sidecar, Service) that there are."""
        ...
