"""The lease in a journal: who holds it, who lives, who is dead; by what is seen to change, and never by comparing clocks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from kubectl_egress.apply import lease as leases
from kubectl_egress.apply.lease import HeldLeases, LeaseLostError, wait_free
from kubectl_egress.cluster import Cluster
from kubectl_egress.errors import ConflictError, InvalidError, NotFoundError, UnreachableError
from kubectl_egress.journal import LEASE_KEY, Journal, Lease, lease_of, lease_text, to_config_map
from kubectl_egress.model import Action, Body, Document, Host, Outcome, PatchOperation, Ref, Step
from tests import build

OURS = Lease("0000cafe", "joe@laptop", "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00")
THEIRS = Lease("0000beef", "ann@desk", "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00")
JOURNAL = Journal(Host("httpbin.org"), build.NAMESPACE, "migrating", OURS.run, OURS.by, OURS.since, "192.0.2.1")


class Server:
    """One journal, and whatever befalls it at the next request."""

    def __init__(self, lease: Lease | None = OURS) -> None:
        self.body: dict[str, Any] | None = dict(to_config_map(JOURNAL, lease))
        self.away = False
        self.moving = 0
        """How often the object moves while a patch is on its way."""
        self.patches = 0
        self.answering: Callable[[], None] = lambda: None
        """What happens between a patch and its answer, once."""

    def write(self, lease: Lease | None) -> None:
        self.body = dict(to_config_map(JOURNAL, lease))

    def get(self, ref: Ref) -> Body:
        if self.away:
            raise UnreachableError("nobody answers")
        if self.body is None:
            raise NotFoundError("gone", status=404)
        return self.body

    def patch(self, ref: Ref, operations: Sequence[PatchOperation]) -> Body:
        self.patches += 1
        if self.moving:
            self.moving -= 1
            raise ConflictError("the object has been modified", status=409)
        test, change = operations
        if self.get(ref)["data"].get(LEASE_KEY) != test.value:
            raise InvalidError("test failed", status=422)
        data = {**self.get(ref)["data"], LEASE_KEY: change.value}
        if change.op == "remove":
            del data[LEASE_KEY]
        self.body = {**self.get(ref), "data": data}
        stored = self.body
        answering, self.answering = self.answering, lambda: None
        answering()
        return stored

    @property
    def lease(self) -> Lease | None:
        return lease_of(self.body or {})


def as_cluster(server: Server) -> Cluster:
    return cast("Cluster", server)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(leases, "_now", made)
    return made


def held(server: Server) -> HeldLeases:
    """The leases of a run that has just written its journal."""
    found = HeldLeases(as_cluster(server))
    found.after(Outcome(Step(1, Action.CREATE, JOURNAL.ref, "", after=to_config_map(JOURNAL, OURS)), True))
    return found


WRITE = Step(2, Action.CREATE, Ref("ServiceEntry", build.NAMESPACE, "egress-httpbin.org"), "")
DELETE = Step(3, Action.DELETE, JOURNAL.ref, "", before={"metadata": {"uid": "1"}})


# ---- who comes second ---------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "EXPIRY", 0.4)
    monkeypatch.setattr(leases, "LOOK", 0.02)


def watch(server: Server) -> tuple[bool, list[str]]:
    lines: list[str] = []
    document = Document(JOURNAL.ref, server.get(JOURNAL.ref))
    return wait_free(as_cluster(server), [document], lambda _: None, lines.append), lines


CLOCKS = ["1970-01-01T00:00:00+00:00", "2999-12-31T23:59:59+00:00", "", "no time at all"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("renewed", CLOCKS)
def test_who_does_not_renew_is_dead_whatever_its_clock_says(renewed: str) -> None:
    waited, [line] = watch(Server(replace(THEIRS, renewed=renewed)))
    assert waited
    assert "run 0000beef of ann@desk is dead (silent for 0 s): its work is taken over" in line


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("renewed", CLOCKS)
def test_who_renews_lives_even_if_its_clock_runs_backwards(renewed: str) -> None:
    server = Server(replace(THEIRS, renewed=renewed))
    later = threading.Timer(0.1, lambda: server.write(replace(THEIRS, renewed="1969-12-31T00:00:00+00:00")))
    later.start()
    with pytest.raises(ConflictError, match=r"httpbin\.org is being migrated by ann@desk since \S+ \(run 0000beef\)"):
        watch(server)
    later.join()


def gives_back(server: Server) -> None:
    server.write(None)


def ends(server: Server) -> None:
    server.body = None


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("end", [gives_back, ends])
def test_who_ends_is_waited_for(end: Callable[[Server], None]) -> None:
    server = Server(THEIRS)
    later = threading.Timer(0.1, end, (server,))
    later.start()
    waited, [line] = watch(server)
    assert waited
    assert line == "kubectl-egress.httpbin.org: run 0000beef of ann@desk has ended"
    later.join()


def test_a_journal_that_nobody_holds_is_not_waited_for() -> None:
    assert watch(Server(None)) == (False, [])


# ---- who holds it -------------------------------------------------------------------------------------------------------


def test_a_run_that_is_awake_asks_nobody_before_a_write(clock: Clock) -> None:
    server = Server()
    run = held(server)
    run.before(WRITE)
    assert server.patches == 0
    run.release()
    assert server.lease is None, "given back"


def test_a_run_that_slept_and_was_not_missed_goes_on(clock: Clock) -> None:
    server = Server()
    run = held(server)
    clock.now += 3600
    run.before(WRITE)
    assert server.patches == 1
    assert server.lease is not None
    assert server.lease.run == OURS.run
    run.release()


def taken_over(server: Server) -> None:
    server.write(THEIRS)


@pytest.mark.parametrize(
    ("happens", "whose"),
    [(taken_over, "run 0000beef of ann@desk"), (gives_back, "another run"), (ends, "another run")],
)
def test_a_run_that_slept_while_another_one_took_over_writes_nothing_more(
    happens: Callable[[Server], None], whose: str, clock: Clock
) -> None:
    server = Server()
    run = held(server)
    happens(server)
    after = server.body
    clock.now += 3600
    for _ in range(2):
        with pytest.raises(LeaseLostError, match=f"{whose} has taken over {JOURNAL.ref.name}"):
            run.before(WRITE)
        with pytest.raises(LeaseLostError):
            run.check_known()
    run.release()
    assert server.body == after, "what is not ours is not given back"


@pytest.mark.parametrize(
    ("happens", "whose"),
    [(taken_over, "run 0000beef of ann@desk"), (gives_back, "another run"), (ends, "another run")],
)
def test_a_run_that_slept_over_the_answer_to_its_renewal_writes_nothing_more(
    happens: Callable[[Server], None], whose: str, clock: Clock
) -> None:
    """The answer is as old as the sleep: it is no sign that nobody has taken over since."""
    server = Server()
    run = held(server)

    def sleep() -> None:
        clock.now += 3600
        happens(server)

    server.answering = sleep
    clock.now += 5
    with pytest.raises(LeaseLostError, match=f"{whose} has taken over {JOURNAL.ref.name}"):
        run.before(WRITE)
    run.release()


def test_a_run_that_slept_over_the_answer_to_its_renewal_and_was_not_missed_goes_on(clock: Clock) -> None:
    server = Server()
    run = held(server)

    def sleep() -> None:
        clock.now += 3600

    server.answering = sleep
    clock.now += 5
    run.before(WRITE)
    assert server.patches == 2
    run.release()


@pytest.mark.parametrize("known", [True, False])
def test_a_run_that_slept_over_the_answer_to_its_journal_writes_nothing_more(known: bool, clock: Clock) -> None:
    """Also where an undo holds on to a journal whose answer was lost: nobody knows how long ago it was written."""
    server = Server()
    run = HeldLeases(as_cluster(server))
    created = Step(1, Action.CREATE, JOURNAL.ref, "", after=to_config_map(JOURNAL, OURS))
    run.before(created)
    clock.now += 3600
    taken_over(server)
    if known:
        run.after(Outcome(created, True))
    else:
        run.hold(JOURNAL.ref, to_config_map(JOURNAL, OURS))
    with pytest.raises(LeaseLostError):
        run.before(WRITE)
    run.release()


def test_a_run_that_slept_and_does_not_reach_the_server_writes_nothing(clock: Clock) -> None:
    server = Server()
    run = held(server)
    server.away = True
    clock.now += 3600
    with pytest.raises(UnreachableError, match="the journal could not be renewed: nobody answers"):
        run.before(WRITE)
    server.away = False
    run.before(WRITE)
    run.release()


def test_a_renewal_whose_answer_was_lost_is_no_loss(clock: Clock) -> None:
    server = Server()
    run = held(server)
    server.write(replace(OURS, renewed="2026-01-01T00:00:02+00:00"))
    clock.now += 5
    run.before(WRITE)  # finds that it is its own, and renews with the next beat
    clock.now += 1
    run.before(WRITE)
    run.release()
    assert server.lease is None


def test_a_renewal_that_meets_a_conflict_is_sent_again_at_once(clock: Clock) -> None:
    server = Server()
    run = held(server)
    server.moving = 1
    clock.now += 3600
    run.before(WRITE)
    assert server.patches == 2
    run.release()


@pytest.mark.parametrize("happens", [taken_over, gives_back])
def test_a_journal_that_is_another_run_s_now_is_not_deleted_by_a_second_attempt(
    happens: Callable[[Server], None], clock: Clock
) -> None:
    """Its uid is the same: whoever takes over writes into it."""
    server = Server()
    run = held(server)
    run.before(DELETE)
    run.check()
    happens(server)
    with pytest.raises(LeaseLostError):
        run.check()
    run.release()


def test_a_journal_that_is_deleted_already_was_deleted_by_the_first_attempt(clock: Clock) -> None:
    server = Server()
    run = held(server)
    run.before(DELETE)
    server.body = None
    run.check()
    run.after(Outcome(DELETE, True))
    run.check()
    run.release()


def test_the_lease_says_who_and_since_when_and_nothing_else() -> None:
    assert lease_text(OURS) == (
        '{"by": "joe@laptop", "renewed": "2026-01-01T00:00:00+00:00", "run": "0000cafe", '
        '"since": "2026-01-01T00:00:00+00:00"}'
    )
