"""The objects of the lab's cluster, in memory: one revision counter, a bounded history, and everybody who follows it."""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kubectl_egress.lab.api.patches import merge_patch
from kubectl_egress.lab.api.resources import BY_PLURAL
from kubectl_egress.lab.api.status import already_exists, conflict, expired, not_found
from kubectl_egress.lab.parts import StoreEvent

Body = Mapping[str, Any]
Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""

HISTORY = 8192
"""How many changes a watch may be behind."""


@dataclass(frozen=True, slots=True)
class Change:
    """One revision: what happened to which object, and what it was before."""

    revision: int
    type: str
    resource: str
    object: Body
    previous: Body | None


def timestamp(moment: datetime | None = None) -> str:
    """`2026-11-22T10:00:00Z`, now unless told."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ObjectStore:
    """Implements `parts.Store`. What it keeps is never changed in place, so `view` and `peek` may hand out the originals."""

    def __init__(self, history: int = HISTORY) -> None:
        self._objects: dict[str, dict[Key, Object]] = {plural: {} for plural in BY_PLURAL}
        self._changes: deque[Change] = deque(maxlen=history)
        self._followers: set[asyncio.Queue[Change]] = set()
        self.revision = 1

    # ---- reading

    def list(self, resource: str, namespace: str | None = None) -> list[Body]:
        """Copies of the objects, by namespace and name; of every namespace unless told."""
        return [copy.deepcopy(body) for body in self.view(resource, namespace)]

    def get(self, resource: str, namespace: str, name: str) -> Body | None:
        """A copy of an object, or None."""
        return copy.deepcopy(self.peek(resource, namespace, name))

    def view(self, resource: str, namespace: str | None = None) -> tuple[Body, ...]:
        """As `list`, without copies: only to read.

        In the order of etcd's keys, as the API server lists: `a-b/x` stands before `a/x`.
        """
        objects = self._objects[resource]
        return tuple(objects[key] for key in sorted(objects, key="/".join) if not namespace or key[0] == namespace)

    def peek(self, resource: str, namespace: str, name: str) -> Body | None:
        """As `get`, without a copy: only to read."""
        return self._objects[resource].get(self._key(resource, namespace, name))

    # ---- writing

    def create(self, resource: str, body: Body) -> Body:
        """Store a new object, with a uid (unless it has one) and a timestamp.

        Raises StatusError (409) if there is one of that name.
        """
        row = BY_PLURAL[resource]
        fresh: Object = copy.deepcopy(dict(body))
        fresh = {"apiVersion": row.api_version(), "kind": row.kind, **fresh}
        metadata = fresh.setdefault("metadata", {})
        if row.namespaced:
            metadata.setdefault("namespace", "default")
        key = self._key(resource, metadata.get("namespace", ""), metadata["name"])
        if key in self._objects[resource]:
            raise already_exists(row, key[1])
        metadata.update(uid=metadata.get("uid") or str(uuid.uuid4()), creationTimestamp=timestamp())
        if row.generation:
            metadata["generation"] = 1
        return self._record("ADDED", resource, key, fresh)

    def update(self, resource: str, body: Body) -> Body:
        """Replace an object; what is the same as before changes no revision.

        A resourceVersion in the body is a precondition. The last finalizer of a terminating object that goes takes it along.
        Raises StatusError: 404, 409.
        """
        row = BY_PLURAL[resource]
        fresh: Object = copy.deepcopy(dict(body))
        metadata = fresh["metadata"]
        key = self._key(resource, metadata.get("namespace", ""), metadata["name"])
        current = self._objects[resource].get(key)
        if current is None:
            raise not_found(row, key[1])
        kept = current["metadata"]
        if metadata.get("resourceVersion") not in (None, "", kept["resourceVersion"]):
            raise conflict(row, key[1])
        for field in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            metadata.pop(field, None)
            if field in kept:
                metadata[field] = kept[field]
        metadata["resourceVersion"] = kept["resourceVersion"]
        if fresh == current:
            return copy.deepcopy(current)
        if row.generation and fresh.get("spec") != current.get("spec"):
            metadata["generation"] = kept.get("generation", 0) + 1
        if kept.get("deletionTimestamp") and not metadata.get("finalizers") and resource != "pods":
            return self._record("DELETED", resource, key, fresh)
        return self._record("MODIFIED", resource, key, fresh)

    def patch_status(self, resource: str, namespace: str, name: str, status: Body) -> Body | None:
        """Merge into the status (RFC 7386: None takes a field away, lists are replaced); None if there is no such object."""
        current = self.peek(resource, namespace, name)
        if current is None:
            return None
        merged = merge_patch(current.get("status") or {}, status)
        return self.update(resource, {**current, "status": merged})

    def delete(self, resource: str, namespace: str, name: str, *, grace: int | None = None) -> None:
        """Delete: a pod that runs and whatever has finalizers is marked as terminating, everything else is gone at once.

        `grace`: seconds; 0 takes a pod away at once, None is the pod's own. An object that is not there is no error.
        """
        key = self._key(resource, namespace, name)
        current = self._objects[resource].get(key)
        if current is None:
            return
        seconds = self._grace(current, grace) if resource == "pods" else 0
        if not seconds and not current["metadata"].get("finalizers"):
            self._record("DELETED", resource, key, current)
        elif not current["metadata"].get("deletionTimestamp"):
            self._mark(resource, key, current, seconds)

    def mark_terminating(self, resource: str, namespace: str, name: str, changes: Body) -> None:
        """Set the deletionTimestamp, and merge `changes`; what then takes it away is `update` (finalizers) or `remove`."""
        key = self._key(resource, namespace, name)
        current = self._objects[resource].get(key)
        if current is not None and not current["metadata"].get("deletionTimestamp"):
            self._mark(resource, key, merge_patch(current, changes), 0)

    def remove(self, resource: str, namespace: str, name: str) -> None:
        """Take an object away for good; one that is not there is no error."""
        key = self._key(resource, namespace, name)
        current = self._objects[resource].get(key)
        if current is not None:
            self._record("DELETED", resource, key, current)

    # ---- following

    async def subscribe(self) -> AsyncIterator[StoreEvent]:
        """First an ADDED for everything that is there, then every change, without end."""
        with self.follow() as queue:
            there = [StoreEvent("ADDED", resource, body) for resource in self._objects for body in self.list(resource)]
            for event in there:
                yield event
            while True:
                change = await queue.get()
                yield StoreEvent(change.type, change.resource, copy.deepcopy(change.object))

    @contextmanager
    def follow(self) -> Iterator[asyncio.Queue[Change]]:
        """A queue that gets every change from now on, as long as the context lasts."""
        queue: asyncio.Queue[Change] = asyncio.Queue()
        self._followers.add(queue)
        try:
            yield queue
        finally:
            self._followers.discard(queue)

    def since(self, revision: int) -> tuple[Change, ...]:
        """The changes after a revision.

        Raises StatusError (410) if the history does not go back that far.
        """
        oldest = self._changes[0].revision if self._changes else self.revision + 1
        if revision + 1 < oldest and revision < self.revision:
            raise expired(f"too old resource version: {revision} ({oldest - 1})")
        return tuple(change for change in self._changes if change.revision > revision)

    # ---- inside

    @staticmethod
    def _key(resource: str, namespace: str, name: str) -> Key:
        return (namespace if BY_PLURAL[resource].namespaced else "", name)

    @staticmethod
    def _grace(pod: Body, grace: int | None) -> int:
        """As the real server: what has not been placed, and what has ended, needs no grace (registry/core/pod/strategy.go)."""
        if not pod["spec"].get("nodeName") or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return 0
        seconds: int = pod["spec"].get("terminationGracePeriodSeconds", 30) if grace is None else grace
        return seconds

    def _mark(self, resource: str, key: Key, body: Body, seconds: int) -> None:
        moment = datetime.fromtimestamp(datetime.now(UTC).timestamp() + seconds, UTC)
        marks = {"deletionTimestamp": timestamp(moment), "deletionGracePeriodSeconds": seconds}
        fresh = {**body, "metadata": {**body["metadata"], **marks}}
        if "generation" in fresh["metadata"]:
            fresh["metadata"]["generation"] += 1
        self._record("MODIFIED", resource, key, fresh)

    def _record(self, event: str, resource: str, key: Key, body: Body) -> Body:
        """Count a revision, keep or drop the object, tell everybody."""
        self.revision += 1
        previous = self._objects[resource].get(key)
        stored = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.revision)}}
        if event == "DELETED":
            self._objects[resource].pop(key, None)
        else:
            self._objects[resource][key] = stored
        change = Change(self.revision, event, resource, stored, previous)
        self._changes.append(change)
        for queue in self._followers:
            queue.put_nowait(change)
        return copy.deepcopy(stored)
