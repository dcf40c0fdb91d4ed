"""The journal as a lock: taken by its first write, renewed while a run works, given back; a silent holder has crashed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kubectl_egress.errors import ApiError, ConflictError, EgressError, InvalidError, NotFoundError, UnreachableError
from kubectl_egress.journal import LEASE_KEY, Lease, from_config_map, is_journal, lease_of, lease_text
from kubectl_egress.model import Action, Body, Document, Outcome, PatchOperation, Ref, Step, Steps

if TYPE_CHECKING:
    from kubectl_egress.cluster import Cluster

RENEW = 2.0
"""Seconds between two renewals."""
EXPIRY = 8.0
"""Seconds without a renewal after which a holder counts as crashed. Seen by whoever waits: clocks are not compared."""
LOOK = 0.5
LOST = "the other run goes on with it; look with kubectl egress verify"
ADDRESS: Steps = ("data", LEASE_KEY)


class LeaseLostError(EgressError):
    """Another run has taken over; nothing more may be written, and nothing taken back."""


class HeldLeases:
    """The leases that one run holds, from the first write of each journal to the last; one thread renews them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._leases: dict[Ref, Lease] = {}
        self._unsettled: dict[Ref, Lease] = {}
        """Taken or given back by a write that nobody has seen the answer of."""
        self._leaving: dict[Ref, Lease] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._renewed = _now()
        """When what made the oldest of them hold was sent: the answer may have waited for a process that stood still."""
        self._sent = self._renewed
        """When the last write was begun."""
        self._lost = ""
        self._trouble = ""
        self._renewing = 0
        """The thread that renews at this moment."""
        self._thread = threading.Thread(target=self._renew_always, daemon=True)

    def check(self) -> None:
        """Before each attempt of a write: what is held is still our own.

        LeaseLostError if another run has taken over, UnreachableError if this one may have been taken for dead.
        """
        if threading.get_ident() == self._renewing:
            return
        for _ in range(2):  # it may have been stopped in the middle of a renewal
            if self._leases and _now() - self._renewed > 2 * RENEW:
                # This process was stopped, or kept from the server.
                self._renew()
        self.check_known()
        if self._leases and _now() - self._renewed > EXPIRY:
            raise UnreachableError(f"the journal could not be renewed: {self._trouble or 'the answer came too late'}")
        for ref, lease in self._leaving.items():
            # Nobody renews it any more. Gone: as the attempt before would have it.
            with contextlib.suppress(NotFoundError):
                now = lease_of(self._cluster.get(ref))
                if now is None or now.run != lease.run:
                    raise LeaseLostError(_taken_over(ref, now), LOST)

    def check_known(self) -> None:
        """While something is waited for: LeaseLostError if it is known that another run has taken over."""
        if self._lost:
            raise LeaseLostError(self._lost, LOST)

    def before(self, step: Step) -> None:
        """Before a step that writes, errors as in `check`. A journal that it closes or deletes is renewed no more."""
        self.check()
        self._sent = _now()
        if step.ref in self._leases and _gives_back(step):
            with self._lock:
                lease = self._unsettled[step.ref] = self._leases.pop(step.ref)
            if step.action is Action.DELETE:  # a patch tests the text, which names its run
                self._leaving[step.ref] = lease
        taken = lease_of(step.after or {}) if _takes(step) else None
        if step.ref is not None and taken is not None:
            self._unsettled[step.ref] = taken

    def after(self, outcome: Outcome) -> None:
        """After a step that writes: a journal that was written with a lease is held from now on."""
        self._leaving.clear()
        self._unsettled.clear()
        step = outcome.step
        if outcome.done and step.ref is not None and step.after is not None and _takes(step):
            self.hold(step.ref, step.after, self._sent)

    def hold(self, journal: Ref, body: Body, since: float = float("-inf")) -> None:
        """Renew the lease in this journal of our own from now on; `since`: when it was sent, if that is known."""
        lease = lease_of(body)
        with self._lock:
            if lease is None or journal in self._leases:
                return
            self._renewed = min(self._renewed, since) if self._leases else since
            self._leases[journal] = lease
        if not self._thread.is_alive():
            self._thread.start()

    def release(self) -> None:
        """Give back what is held. Where that cannot be done, it expires."""
        self._ending.set()
        with self._lock:
            for ref, lease in () if self._lost else {**self._unsettled, **self._leases}.items():
                with contextlib.suppress(ApiError, UnreachableError):
                    self._cluster.patch(ref, [_is(lease), PatchOperation("remove", ADDRESS)])
            self._leases.clear()

    def _renew_always(self) -> None:
        while not self._ending.wait(RENEW):
            self._renew()

    def _renew(self) -> None:
        with self._lock:
            self._renewing = threading.get_ident()
            try:
                self._renew_each()
            finally:
                self._renewing = 0

    def _renew_each(self) -> None:
        sent = _now()
        for ref, lease in () if self._lost or self._ending.is_set() else tuple(self._leases.items()):
            renewed = replace(lease, renewed=datetime.now(UTC).isoformat(timespec="milliseconds"))
            operations = [_is(lease), PatchOperation("replace", ADDRESS, lease_text(renewed))]
            try:
                try:
                    self._cluster.patch(ref, operations)
                except ConflictError:  # it moved while the server patched it: the test guards what matters
                    self._cluster.patch(ref, operations)
            except (InvalidError, NotFoundError):
                self._lost = self._why_lost(ref, lease)
                return
            except (ApiError, UnreachableError) as error:
                self._trouble = error.message  # the server is busy or away: the next beat asks again
                return
            self._leases[ref] = renewed
        self._renewed = sent

    def _why_lost(self, ref: Ref, lease: Lease) -> str:
        """Whose the journal is now; empty where an answer of ours was lost, and it is still ours."""
        try:
            now = lease_of(self._cluster.get(ref))
        except NotFoundError:
            now = None
        except (ApiError, UnreachableError):
            return ""
        if now is not None and now.run == lease.run:
            self._leases[ref] = now
            return ""
        return _taken_over(ref, now)


def _taken_over(ref: Ref, now: Lease | None) -> str:
    whose = f"run {now.run} of {now.by}" if now else "another run"
    return f"{whose} has taken over {ref.name}: this run was not heard of for too long"


def _takes(step: Step) -> bool:
    """Whether the step writes a journal's lease, rather than leaving it as it was."""
    created = step.action is Action.CREATE and is_journal(step.after)
    return created or any(one.steps == ADDRESS and one.op in ("add", "replace") for one in step.patch)


def _gives_back(step: Step) -> bool:
    return step.action is Action.DELETE or PatchOperation("remove", ADDRESS) in step.patch


def _is(lease: Lease) -> PatchOperation:
    return PatchOperation("test", ADDRESS, lease_text(lease))


def _now() -> float:
    """Seconds that go on while a laptop sleeps, where the system has such a clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@contextlib.contextmanager
def holding(cluster: Cluster) -> Iterator[HeldLeases]:
    """The leases of a run; they are given back however it ends."""
    held = HeldLeases(cluster)
    cluster.transport.before_retry = held.check
    try:
        yield held
    finally:
        cluster.transport.before_retry = None
        held.release()


def wait_free(
    cluster: Cluster, journals: Iterable[Document], now: Callable[[str], None], line: Callable[[str], None]
) -> bool:
    """Return when no run is at work on these journals, as the survey read them; whether one had to be waited for.

    `now` is told what is waited for, `line` what came of it. ConflictError for a run that renews its lease: it lives.
    """
    waited = False
    for document in journals:
        first = lease_of(document.body)
        if first is not None:
            waited = True
            line(f"{document.ref.name}: {_outlived(cluster, document, first, now)}")
    return waited


def _outlived(cluster: Cluster, document: Document, first: Lease, now: Callable[[str], None]) -> str:
    """What became of the run that held the journal: it has ended, or it is dead. ConflictError if it lives."""
    until = time.monotonic() + EXPIRY
    while (left := until - time.monotonic()) > 0:
        now(f"{document.ref.name}: run {first.run} of {first.by} is at work, or dead: known in {left:.0f} s")
        time.sleep(LOOK)
        try:
            body = cluster.get(document.ref)
        except NotFoundError:
            return f"run {first.run} of {first.by} has ended"
        lease = lease_of(body)
        if lease is None:
            return f"run {first.run} of {first.by} has ended"
        if lease != first:
            raise at_work(body)
    return f"run {first.run} of {first.by} is dead (silent for {EXPIRY:.0f} s): its work is taken over"


def at_work(journal: Body) -> ConflictError:
    """What is said to whoever comes second; `journal` is the ConfigMap as it is now."""
    found, lease = from_config_map(journal), lease_of(journal)
    assert lease is not None, "a run at work holds a lease"
    doing = "undone" if found.phase == "undoing" else "migrated"
    name, namespace = journal["metadata"]["name"], journal["metadata"]["namespace"]
    return ConflictError(
        f"{found.host} is being {doing} by {lease.by} since {lease.since} (run {lease.run})",
        "wait until that run has ended, or end it with Ctrl-C where it runs, and run the command again; "
        f"kubectl get configmap {name} -n {namespace} -w shows it at work",
        status=409,
        reason="Conflict",
    )
