"""The controllers at work: after every change of the store, and every second for what time alone brings about."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

from kubectl_egress.lab.api.registry import Deletion, Registry
from kubectl_egress.lab.api.resources import BY_PLURAL
from kubectl_egress.lab.api.status import StatusError
from kubectl_egress.lab.api.store import ObjectStore
from kubectl_egress.lab.controllers import (
    cron_jobs,
    daemon_sets,
    deployments,
    garbage,
    jobs,
    replica_sets,
    stateful_sets,
)
from kubectl_egress.lab.controllers.ownership import Create, SetStatus, Update, Write, owned
from kubectl_egress.lab.parts import Istiod

_TICK = 1.0
_SETTLE = 0.005
"""Changes come in bursts; one pass answers several."""


class Controllers:
    """The controllers of the lab's cluster; pods that they create go through admission, as everybody's do."""

    def __init__(self, store: ObjectStore, istiod: Istiod) -> None:
        self._store = store
        self._registry = Registry(store, istiod)
        self._failures: dict[str, str] = {}
        """By the uid of who wanted it: why the last creation was refused."""

    async def run(self) -> None:
        """Work until cancelled."""
        with self._store.follow() as queue:
            while True:
                self.settle()
                try:
                    # wait_for may swallow a cancellation before Python 3.12.
                    async with asyncio.timeout(_TICK):
                        await queue.get()
                    await asyncio.sleep(_SETTLE)
                except TimeoutError:
                    continue
                while not queue.empty():
                    queue.get_nowait()

    def settle(self, now: datetime | None = None) -> None:
        """One pass over everything; its own writes are what the next pass answers."""
        moment = now or datetime.now(UTC)
        for writes in self._decisions(moment):
            for write in writes:
                self._do(write)

    def _decisions(self, now: datetime) -> Iterator[list[Write]]:
        """What each object needs, decided on the store as it is when its turn comes."""
        store = self._store
        for body in store.view("cronjobs"):
            yield list(cron_jobs.reconcile(body, owned(store, "jobs", body), now))
        for body in store.view("jobs"):
            yield list(jobs.reconcile(body, owned(store, "pods", body), now))
        for body in store.view("replicasets"):
            failure = self._failures.pop(body["metadata"]["uid"], "")
            yield list(replica_sets.reconcile(body, owned(store, "pods", body), now, failure))
        for body in store.view("deployments"):
            sets = owned(store, "replicasets", body)
            pods = [pod for item in sets for pod in owned(store, "pods", item)]
            yield list(deployments.reconcile(body, sets, pods, now))
        for body in store.view("statefulsets"):
            revisions = owned(store, "controllerrevisions", body)
            yield list(stateful_sets.reconcile(body, owned(store, "pods", body), revisions, now))
        for body in store.view("daemonsets"):
            revisions = owned(store, "controllerrevisions", body)
            yield list(daemon_sets.reconcile(body, owned(store, "pods", body), revisions, now))
        yield list(garbage.orphans(store))
        garbage.release(store)

    def _do(self, write: Write) -> None:
        """Carry out a decision; one that is refused or has been overtaken is made anew in the next pass."""
        try:
            self._carry_out(write)
        except StatusError as error:
            if isinstance(write, Create) and error.reason != "AlreadyExists":
                self._failures[write.owner] = error.message

    def _carry_out(self, write: Write) -> None:
        resource = BY_PLURAL[write.resource]
        metadata = write.body["metadata"]
        namespace = metadata.get("namespace", "")
        if isinstance(write, Create):
            self._registry.create(resource, namespace, write.body)
        elif isinstance(write, Update):
            self._registry.update(resource, write.body)
        elif isinstance(write, SetStatus):
            current = self._store.peek(write.resource, namespace, metadata["name"])
            if current is not None and current.get("status") != write.status:
                self._store.update(write.resource, {**current, "status": write.status})
        else:
            self._registry.delete(resource, namespace, metadata["name"], Deletion(uid=metadata["uid"]))
