"""Ctrl-C and kill -9 at every request and in every wait of a run, with objects made, taken over and copied: both ways lead on."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kubectl_egress import inspection
from kubectl_egress.apply import (
    Conditions,
    InterruptedMigrationError,
    NotProvenError,
    carry_out,
    knowing,
    migrate,
    old_pods,
    passing,
    transaction,
    waiting,
)
from kubectl_egress.cluster import Cluster
from kubectl_egress.errors import ConflictError, EgressError, InvalidError, NotFoundError
from kubectl_egress.journal import Lease, from_config_map, is_journal
from kubectl_egress.model import Action, Body, Judgement, Outcome, PatchOperation, Plan, Ref, Step, Verdict
from kubectl_egress.plan import MigrationRequest, plan_migration, plan_undo
from tests.build import container, deployment, secret
from tests.build_mesh import entry, rule
from tests.test_plan import HTTPBIN, OTHER, World, by_config_map, curl

RUN = importlib.import_module("kubectl_egress.apply.run")
"""The module; the package has a function of that name."""
LEASE = Lease("0000cafe", "joe@laptop", "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00")


class KilledError(BaseException):
    """Nothing of the run is done any more."""


class Interrupted:
    """A world behind the calls of a cluster; one of them, by its number, is interrupted before or after it is done."""

    def __init__(
        self,
        world: World,
        at: int | None = None,
        done: bool = False,
        by: type[BaseException] = KeyboardInterrupt,
        failing: bool = False,
    ) -> None:
        """`failing`: the verification says no."""
        self.world = world
        self.failing = failing
        self.transport = SimpleNamespace(before_retry=None)
        self.calls = 0
        self._at = at
        self._done = done
        self._by = by

    def _asked(self, do: Callable[[], None] = lambda: None) -> None:
        self.calls += 1
        if self._at is not None and self.calls > self._at and self._by is KilledError:
            raise KilledError
        hit = self.calls == self._at
        if not hit or self._done:
            do()
        if hit:
            raise self._by

    def wait(self, step: Step) -> Outcome:
        self._asked()
        return Outcome(step, True)

    def get(self, ref: Ref) -> Body:
        self._asked()
        return self._present(ref)

    def create(self, body: Body, **_: Any) -> Body:
        def do() -> None:
            metadata = body["metadata"]
            if any(self._names(ref, body["kind"], metadata) for ref in self.world.objects):
                raise ConflictError("there already", status=409)
            self.world.create(body)

        self._asked(do)
        return body

    def patch(self, ref: Ref, operations: Sequence[PatchOperation], **_: Any) -> Body:
        def do() -> None:
            try:
                self.world.do([Step(0, Action.PATCH, self._key(ref), "", patch=tuple(operations))])
            except (AssertionError, KeyError, ValueError) as error:
                raise InvalidError(f"the patch does not fit: {error!r}", status=422) from error

        self._asked(do)
        return self._present(ref)

    def delete(self, ref: Ref, **_: Any) -> None:
        self._asked(lambda: self.world.do([Step(0, Action.DELETE, self._key(ref), "")]))

    def _key(self, ref: Ref) -> Ref:
        self._present(ref)
        return next(one for one in self.world.objects if one == ref)

    def _present(self, ref: Ref) -> Body:
        if ref not in self.world.objects:
            raise NotFoundError("not found", status=404)
        return copy.deepcopy(self.world.objects[ref])

    @staticmethod
    def _names(ref: Ref, kind: str, metadata: Body) -> bool:
        return (ref.kind, ref.namespace, ref.name) == (kind, metadata["namespace"], metadata["name"])


WAITS = (
    (knowing, "for_name"),
    (waiting, "for_proxies"),
    (waiting, "for_rollout"),
    (old_pods, "for_old_pods"),
    (passing, "for_passing"),
)


@pytest.fixture
def every_wait_is_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(step: Step, _: Plan, cluster: Interrupted, *__: Any) -> Outcome:
        return cluster.wait(step)

    def verify(step: Step, plan: Plan, cluster: Interrupted, *rest: Any) -> Outcome:
        outcome = wait(step, plan, cluster, *rest)
        if cluster.failing:
            raise NotProvenError([Verdict(HTTPBIN, step.workloads[0], Judgement.FAILING, "", True, ())])
        return outcome

    for module, name in WAITS:
        monkeypatch.setattr(module, name, wait)
    monkeypatch.setattr(RUN, "_verified", verify)
    monkeypatch.setattr(transaction, "survey", lambda cluster, **_: cluster.world.survey())


def owned() -> World:
    """Callers of two hosts, one of which somebody has an entry and a rule for."""
    return World(curl(), *by_config_map(), *by_secret(), entry().body, rule().body)


def by_secret() -> tuple[Body, Body]:
    """A Secret with URLs of both hosts, and who reads it."""
    texts = {"A": "https://httpbin.org/a", "B": "https://api.example.com/b"}
    reader = container("bank", envFrom=[{"secretRef": {"name": "creds"}}])
    return secret("creds", texts), deployment("bank", containers=[reader])


def there(world: World, run: str = "0000beef") -> Plan:
    seen = world.survey()
    request = MigrationRequest(hosts=(HTTPBIN, OTHER), run=run, by="ann@desk", started="2026-01-01T00:00:00+00:00")
    return plan_migration(seen, inspection.call_sites(seen), (), request)


def back(world: World) -> Plan:
    seen = world.survey()
    return plan_undo(seen, [from_config_map(one.body).host for one in seen.journals], lease=LEASE)


def do(verb: str, plan: Plan, cluster: Interrupted) -> None:
    def undoing(error: EgressError) -> None:
        assert cluster.failing, f"what is interrupted is not undone: {error}"

    as_cluster = cast("Cluster", cluster)
    if verb == "undo":
        carry_out(plan, as_cluster, Conditions(), lambda _: None)
    else:
        migrate(plan, as_cluster, Conditions(), lambda _: None, undoing)


def without_uids(world: World) -> dict[Ref, Any]:
    found = world.bodies()
    for body in found.values():
        del body["metadata"]["uid"]
        if is_journal(body):
            del body["data"]  # names its run
    return found


def leads_on(world: World, before: World, migrated: World) -> None:
    """Once on and once back, each from here."""
    on = copy.deepcopy(world)
    do("migrate", there(on, "0000f00d"), Interrupted(on))
    assert without_uids(on) == without_uids(migrated)
    back_again = copy.deepcopy(world)
    do("undo", back(back_again), Interrupted(back_again))
    assert without_uids(back_again) == without_uids(before)


@pytest.mark.parametrize("by", [KeyboardInterrupt, KilledError], ids=["Ctrl-C", "kill -9"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("verb", ["migrate", "undo", "turned back"])
def test_a_run_that_ends_anywhere(verb: str, done: bool, by: type[BaseException], every_wait_is_a_call: None) -> None:
    before, migrated = owned(), owned()
    migrated.do(there(migrated).steps)
    points = 0
    while True:
        points += 1
        world = copy.deepcopy(migrated) if verb == "undo" else owned()
        cluster = Interrupted(world, points, done, by, failing=verb == "turned back")
        plan = back(world) if verb == "undo" else there(world)
        try:
            do(verb, plan, cluster)
        except InterruptedMigrationError as interruption:
            told, doing = interruption.progress.done, interruption.progress.plan
            assert [one.step for one in told] == list(doing.steps[: len(told)])
            # The plan of the way back begins behind the verification.
            first = 0 if doing is plan else next(step.order for step in plan.steps if step.action is Action.VERIFY)
            assert len(told) == points - 1 - first, "what was under way is not told as done"
            assert "lease.json" not in str(world.objects), "given back, so that the next run waits for nobody"
        except (KeyboardInterrupt, KilledError):
            assert by is KilledError or cluster.calls > len(plan.steps), "while the lease is given back"
        except NotProvenError as error:
            remedy = error.remedy
            break
        else:
            remedy = ""
            break
        leads_on(world, before, migrated)
    assert remedy == ("everything is as it was before" if verb == "turned back" else "")
    assert without_uids(world) == without_uids(migrated if verb == "migrate" else before)
    assert points > len(plan.steps)
    changed = {one.action for one in plan.steps}
    assert changed >= {Action.DELETE if verb == "undo" else Action.CREATE, Action.UPDATE, Action.PATCH, Action.WAIT}
