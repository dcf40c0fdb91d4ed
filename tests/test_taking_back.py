"""A run that fails over a host that was migrated before it: what it changed goes, and what it found stays, settings too."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, cast

import pytest

from kubectl_egress import inspection, mesh
from kubectl_egress.apply import Conditions, NotProvenError, migrate
from kubectl_egress.cluster import Cluster
from kubectl_egress.journal import from_config_map, journal_name
from kubectl_egress.model import Action, Body, Guard, Plan, Ref, Step, Survey, Wait
from kubectl_egress.plan import MigrationRequest, found_migrated, plan_migration, plan_undo
from tests.build import NAMESPACE, deployment, document
from tests.build_mesh import entry, rule
from tests.test_interruptions import Interrupted, every_wait_is_a_call
from tests.test_plan import HTTPBIN, World, curl

__all__ = ["every_wait_is_a_call"]

CURL, SHOP = (Ref("Deployment", NAMESPACE, name) for name in ("curl", "shop"))
ENTRY, ROUTE = (Ref(kind, NAMESPACE, mesh.object_name(HTTPBIN)) for kind in ("ServiceEntry", "VirtualService"))


class Guarded(World):
    """A world in which policies are read too."""

    def survey(self) -> Survey:
        found = super().survey()
        policies = tuple(document(body) for ref, body in self.objects.items() if ref.kind == "NetworkPolicy")
        services = tuple(document(body) for ref, body in self.objects.items() if ref.kind == "Service")
        return dataclasses.replace(found, policies=policies, mesh_objects=(*found.mesh_objects, *policies, *services))


def planned(world: World, **request: Any) -> Plan:
    seen = world.survey()
    asked = MigrationRequest(hosts=(HTTPBIN,), run="0000beef", by="ann@desk", started="2026-01-01T00:00:00", **request)
    return plan_migration(seen, inspection.call_sites(seen), (), asked)


def shop() -> Body:
    return deployment("shop", labels={"app": "shop"}, env={"API": "https://httpbin.org/x"})


def without_uids(world: World) -> dict[Ref, Any]:
    found = world.bodies()
    for body in found.values():
        del body["metadata"]["uid"]
    return found


def fails(world: World, **request: Any) -> str:
    """The remedy of a migration whose verification says no."""
    plan = planned(world, **request)
    assert any(step.action is Action.VERIFY for step in plan.steps)
    with pytest.raises(NotProvenError) as raised:
        migrate(plan, cast("Cluster", Interrupted(world, failing=True)), Conditions(), lambda _: None, lambda _: None)
    return raised.value.remedy


@pytest.mark.parametrize(
    "theirs", [(), (entry().body, rule().body)], ids=["objects of our own", "somebody's entry and rule"]
)
@pytest.mark.parametrize(
    "request_",
    [
        {"workloads": frozenset({SHOP})},
        {"workloads": frozenset({CURL}), "origination": {"route_timeout": "1s"}},
        {"workloads": frozenset({SHOP}), "origination": {"http2": True, "retries": 2}},
        {"workloads": frozenset({SHOP}), "origination": {"short_name": "bin"}, "guard": Guard()},
    ],
    ids=["another workload", "another setting", "another workload with settings", "a short name and a guard"],
)
def test_who_was_migrated_before_goes_on_as_before(
    theirs: tuple[Body, ...], request_: dict[str, Any], every_wait_is_a_call: None
) -> None:
    world = Guarded(curl(), shop(), *theirs)
    world.do(planned(world, workloads=frozenset({CURL})).steps)
    before = without_uids(world)
    assert fails(world, **request_) == "everything is as it was before"
    assert without_uids(world) == before


def test_a_host_that_was_known_by_name_is_again(every_wait_is_a_call: None) -> None:
    world = World(curl(), shop())
    world.do(planned(world, named=True).steps)
    before = without_uids(world)
    plan = planned(world)
    assert fails(world) == "everything is as it was before"
    assert without_uids(world) == before
    world.do(plan.steps[:-2])
    back = plan_undo(world.survey(), [HTTPBIN], frozenset({CURL, SHOP}), earlier=found_migrated(plan))
    written = [
        step.ref.kind for step in back.steps if step.ref and step.ref.kind in ("ServiceEntry", "DestinationRule")
    ]
    assert written == ["ServiceEntry", "DestinationRule"], "an entry without its rule leads to 443 in clear"


def test_who_gets_another_ca_and_fails_is_back_on_https(every_wait_is_a_call: None) -> None:
    world = World(curl())
    first = without_uids(world)
    world.do(planned(world).steps)
    remedy = fails(world, origination={"ca": "mine:ca.crt"})
    assert remedy == "httpbin.org: called over https:// again, as before it was first migrated"
    assert without_uids(world) == first


def test_what_a_failing_run_made_anew_for_others_is_whole() -> None:
    """Somebody deleted route and entry; the run that makes them anew ends while the route is half-way."""
    world = World(curl(), shop())
    world.do(planned(world, workloads=frozenset({CURL})).steps)
    before = without_uids(world)
    del world.objects[ROUTE], world.objects[ENTRY]
    plan = planned(world, workloads=frozenset({SHOP}))
    world.do(until_named(plan))
    assert mesh.is_passing(world.bodies()[ROUTE])
    world.do(plan_undo(world.survey(), [HTTPBIN], frozenset({SHOP}), earlier=found_migrated(plan)).steps)
    found = without_uids(world)
    lease = found[Ref("ConfigMap", NAMESPACE, journal_name(HTTPBIN))]["data"].pop("lease.json")
    assert lease
    assert found == before


def until_named(plan: Plan) -> tuple[Step, ...]:
    return plan.steps[: next(number for number, step in enumerate(plan.steps) if step.wait is Wait.NAMED)]


def test_what_somebody_changed_meanwhile_is_left_and_said(every_wait_is_a_call: None) -> None:
    world = World(curl())
    world.do(planned(world).steps)
    plan = planned(world, origination={"route_timeout": "1s"})
    world.do(plan.steps[:-2])
    world.objects[ROUTE]["spec"]["http"][0]["timeout"] = "7s"
    back = plan_undo(world.survey(), [HTTPBIN], frozenset(), earlier=found_migrated(plan))
    assert [finding.object for finding in back.findings] == [ROUTE]
    world.do(back.steps)
    assert world.bodies()[ROUTE]["spec"]["http"][0]["timeout"] == "7s"


def test_a_run_that_was_cut_short_is_none_to_go_back_to() -> None:
    world = World(curl())
    plan = planned(world)
    world.do(plan.steps[:3])
    again = planned(world)
    assert found_migrated(again) == {}
    assert found_migrated(plan) == {}
    world.do(again.steps)
    assert [one.phase for one in found_migrated(planned(world, origination={"retries": 1})).values()] == ["migrated"]
    assert (
        copy.copy(from_config_map(world.bodies()[Ref("ConfigMap", NAMESPACE, journal_name(HTTPBIN))])).phase
        == "migrated"
    )
