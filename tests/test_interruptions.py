"""Ctrl-C at every request and in every wait of a run: what is reported is what was done, nothing is held, and both ways lead on."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kubectl_egress.apply import Conditions, InterruptedMigrationError, carry_out, knowing, migrate, old_pods, waiting
from kubectl_egress.cluster import Cluster
from kubectl_egress.errors import ConflictError, EgressError, InvalidError, NotFoundError
from kubectl_egress.journal import Lease, from_config_map, is_journal
from kubectl_egress.model import Action, Body, Outcome, PatchOperation, Plan, Ref, Step
from kubectl_egress.plan import plan_undo
from tests.test_plan import HTTPBIN, OTHER, World, by_config_map, curl, migration

RUN = importlib.import_module("kubectl_egress.apply.run")
"""The module; the package has a function of that name."""
LEASE = Lease("0000cafe", "joe@laptop", "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00")


class Interrupted:
    """A world behind the calls of a cluster; one of them, by its number, is interrupted before or after it is done."""

    def __init__(self, world: World, at: int | None = None, done: bool = False) -> None:
        self.world = world
        self.transport = SimpleNamespace(before_retry=None)
        self.calls = 0
        self._at = at
        self._done = done

    def _asked(self, do: Callable[[], None] = lambda: None) -> None:
        self.calls += 1
        hit = self.calls == self._at
        if not hit or self._done:
            do()
        if hit:
            raise KeyboardInterrupt

    def wait(self, step: Step, *_: Any, **__: Any) -> Outcome:
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
        return {}

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


@pytest.fixture
def in_every_wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[Interrupted], None]:
    """Have all that a run waits for be a call of this cluster."""

    def patched(cluster: Interrupted) -> None:
        for module, name in (
            (waiting, "for_proxies"),
            (waiting, "for_rollout"),
            (knowing, "for_name"),
            (old_pods, "for_old_pods"),
            (RUN, "_verified"),
        ):
            monkeypatch.setattr(module, name, cluster.wait)

    return patched


def owned() -> World:
    return World(curl(), *by_config_map())


def there(world: World) -> Plan:
    return migration(world, HTTPBIN, OTHER)


def back(world: World) -> Plan:
    seen = world.survey()
    return plan_undo(seen, [from_config_map(one.body).host for one in seen.journals], lease=LEASE)


def do(verb: str, plan: Plan, cluster: Interrupted) -> None:
    def undoing(error: EgressError) -> None:
        raise AssertionError(f"what is interrupted is not undone: {error}")

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


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("verb", ["migrate", "undo"])
def test_ctrl_c_anywhere(verb: str, done: bool, in_every_wait: Callable[[Interrupted], None]) -> None:
    before, migrated = owned(), owned()
    migrated.do(there(migrated).steps)
    points = 0
    while True:
        points += 1
        world = owned() if verb == "migrate" else copy.deepcopy(migrated)
        cluster = Interrupted(world, points, done)
        in_every_wait(cluster)
        plan = there(world) if verb == "migrate" else back(world)
        try:
            do(verb, plan, cluster)
        except InterruptedMigrationError as interruption:
            told = interruption.progress.done
            assert [one.step for one in told] == list(plan.steps[: len(told)])
            assert len(told) == points - 1, "what was under way is not told as done"
            assert "lease.json" not in str(world.objects), "given back, so that the next run waits for nobody"
        except KeyboardInterrupt:
            assert cluster.calls > len(plan.steps), "while the lease is given back"
        else:
            break
        on = copy.deepcopy(world)
        on.do(there(on).steps)
        assert without_uids(on) == without_uids(migrated)
        world.do(back(world).steps)
        assert without_uids(world) == without_uids(before)
    assert points > len(plan.steps)
