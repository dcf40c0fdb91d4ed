"""The laws of plans, where every ConfigMap is a Secret."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kubectl_egress.model import Host, Step
from tests.build import secret
from tests.test_plan import World, migration
from tests.test_plan_laws import ALL, ASKED, SECRET, SECRET_TEXTS, in_clear, migrated, undo, worlds

FEW = settings(max_examples=25)


def as_secrets(world: World) -> World:
    """The same workloads, which read the same from Secrets."""
    return World(*(_hidden(body) for body in world.objects.values()))


def _hidden(body: dict[str, Any]) -> dict[str, Any]:
    if body["kind"] == "ConfigMap":
        return secret(body["metadata"]["name"], body["data"])
    text = json.dumps(body).replace('"configMapRef"', '"secretRef"').replace('"configMapKeyRef"', '"secretKeyRef"')
    made: dict[str, Any] = json.loads(text.replace('"configMap": {"name"', '"secret": {"secretName"'))
    return made


@FEW
@given(worlds().map(as_secrets), st.permutations(ALL), st.permutations(ALL))
def test_hosts_may_be_migrated_and_undone_one_by_one_in_any_order(
    world: World, there: list[Host], back: list[Host]
) -> None:
    before, plain = world.bodies(), in_clear(world)
    for host in there:
        world.do(migration(world, host).steps)
    assert migration(world, *ALL).steps == ()
    for host in back:
        world.do(undo(world, [host]) if host in migrated(world) else [])
    assert world.bodies() == before
    assert in_clear(world) == plain


@FEW
@given(worlds().map(as_secrets), ASKED, st.data())
def test_a_run_that_stops_anywhere_can_be_finished_and_undone(
    world: World, hosts: list[Host], data: st.DataObject
) -> None:
    before = world.bodies()
    steps = migration(world, *hosts).steps
    world.do(steps[: data.draw(st.integers(0, len(steps)), "steps of the migration")])
    if data.draw(st.booleans(), "finished"):
        world.do(migration(world, *hosts).steps)
        assert migration(world, *hosts).steps == ()
    back = undo(world, migrated(world))
    world.do(back[: data.draw(st.integers(0, len(back)), "steps of the undo")])
    world.do(undo(world, migrated(world)))
    assert world.bodies() == before


@FEW
@given(worlds(SECRET_TEXTS).map(as_secrets), ASKED)
def test_no_value_stands_anywhere_but_in_secrets_at_any_step(world: World, hosts: list[Host]) -> None:
    told = {ref: str(body) for ref, body in world.objects.items()}

    def holds(steps: list[Step]) -> None:
        for step in steps:
            world.do([step])
            for ref, body in world.objects.items():
                # what a workload says itself, it goes on saying
                own = ref in told and SECRET in told[ref]
                assert own or SECRET not in str(ref) + str({**body, "data": ""} if ref.kind == "Secret" else body)

    holds(list(migration(world, *hosts).steps))
    holds(undo(world, migrated(world)))
