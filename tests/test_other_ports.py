"""Hosts at another port than 443: what is written for them, whom `http://HOST` reaches then, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_egress import findings, inspection, mesh
from kubectl_egress.errors import EgressError
from kubectl_egress.findings.ports import towards
from kubectl_egress.journal import from_config_map, journal_name
from kubectl_egress.model import Action, Endpoint, Host, Ref, Survey, Upstream, Visibility
from kubectl_egress.plan import by_hand, calling, plan_undo
from kubectl_egress.plan.objects import wanted_objects
from kubectl_egress.visibility import visibility
from tests.build import NAMESPACE, config_map, container, deployment, document
from tests.build_mesh import entry, port, survey_of
from tests.test_plan import HTTPBIN, World, migration
from tests.test_report_inspection import POD, snapshot

ADMIN = Host("httpbin.org", 8443)
SHOP = Ref("Deployment", NAMESPACE, "shop")


def shop(**env: str) -> dict[str, Any]:
    return deployment("shop", env=env)


def environment(world: World) -> dict[str, str]:
    (one,) = world.objects[SHOP]["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in one["env"]}


def made(world: World, kind: str) -> Any:
    return next(body for ref, body in world.objects.items() if ref.kind == kind and mesh.is_ours(body))


# ---- what is written ------------------------------------------------------------------------------------------------


def test_port_80_leads_to_the_server_s_port_which_stays_open_beside_443() -> None:
    world = World(shop(API="https://httpbin.org:8443/x"))
    world.do(migration(world, ADMIN).steps)
    assert environment(world) == {"API": "http://httpbin.org/x"}
    assert made(world, "ServiceEntry")["spec"]["ports"] == [
        {"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8443},
        {"number": 443, "name": "https", "protocol": "HTTPS"},
        {"number": 8443, "name": "https-8443", "protocol": "HTTPS"},
    ]


def test_the_server_gets_its_port_in_host_as_before_and_a_short_name_gives_it_too() -> None:
    for route in (mesh.virtual_service(ADMIN, NAMESPACE), mesh.short_route("foo", ADMIN, NAMESPACE)):
        assert route["spec"]["http"][0]["rewrite"] == {"authority": "httpbin.org:8443"}
    assert "rewrite" not in mesh.virtual_service(HTTPBIN, NAMESPACE)["spec"]["http"][0]


def test_name_and_certificate_are_checked_by_name_whatever_the_port() -> None:
    assert mesh.destination_rule(ADMIN, NAMESPACE) == mesh.destination_rule(HTTPBIN, NAMESPACE)


def test_calls_of_the_same_name_at_443_stay_as_they_are() -> None:
    world = World(shop(API="https://httpbin.org:8443/x", OTHER="https://httpbin.org/y"))
    world.do(migration(world, ADMIN).steps)
    assert environment(world) == {"API": "http://httpbin.org/x", "OTHER": "https://httpbin.org/y"}


@pytest.mark.parametrize(
    "env",
    [
        {"A": "https://httpbin.org:8443/x", "B": "wss://HTTPBIN.org.:8443", "C": "http://httpbin.org/y"},
        {"A": "https\\://httpbin.org\\:8443/x https://httpbin.org/y"},
        {"PAY_SCHEME": "https", "PAY_HOST": "httpbin.org", "PAY_PORT": "8443"},
        {"PAY_SCHEME": "https://", "PAY_HOST": "httpbin.org.:8443"},
    ],
)
def test_there_and_back_changes_nothing(env: dict[str, str]) -> None:
    world = World(shop(**env))
    before = world.bodies()
    world.do(migration(world, ADMIN).steps)
    assert environment(world) != env
    assert "8443" not in str(environment(world))
    assert migration(world, ADMIN).steps == ()
    world.do(plan_undo(world.survey(), [ADMIN]).steps)
    assert world.bodies() == before


def test_a_config_map_s_copy_loses_the_port_and_the_original_keeps_it() -> None:
    reader = container("shop", envFrom=[{"configMapRef": {"name": "settings"}}])
    world = World(config_map("settings", {"a": "https://httpbin.org:8443/x"}), deployment("shop", containers=[reader]))
    before = world.bodies()
    world.do(migration(world, ADMIN).steps)
    texts = [each["data"]["a"] for ref, each in world.objects.items() if "a" in each.get("data", {})]
    assert texts == ["https://httpbin.org:8443/x", "http://httpbin.org/x"]
    world.do(plan_undo(world.survey(), [ADMIN]).steps)
    assert world.bodies() == before


def test_an_entry_of_somebody_else_s_gets_the_port() -> None:
    survey, _ = survey_of(shop(API="https://httpbin.org:8443/"), objects=[entry()])
    found = {one.ref.kind: one.after for one in wanted_objects(ADMIN, survey, (), (".",), fail_open=False)}
    ports = [(one["number"], one.get("targetPort")) for one in found["ServiceEntry"]["spec"]["ports"]]
    assert ports == [(80, 8443), (443, None), (8443, None)]


def test_a_port_that_callers_use_is_added_to_an_entry_of_somebody_else_s() -> None:
    survey, _ = survey_of(shop(API="https://httpbin.org/"), objects=[entry()])
    wanted = wanted_objects(HTTPBIN, survey, (), (".",), fail_open=False, tls_ports=[8443])
    (changed,) = (one.after for one in wanted if one.ref.kind == "ServiceEntry")
    assert changed["spec"]["ports"][2] == {"number": 8443, "name": "https-8443", "protocol": "HTTPS"}


@pytest.mark.parametrize(
    ("ports", "reason"),
    [
        ([port(80, "HTTP"), port(443, "HTTPS")], ""),
        ([port(80, "HTTP", targetPort=8443)], ""),
        ([port(80, "HTTP", targetPort=443)], "its port 80 goes to port 443"),
        ([port(8443, "HTTP")], "its port 8443 has protocol HTTP"),
        ([port(8443, "TLS", targetPort=9443)], "its port 8443 goes to port 9443"),
    ],
)
def test_what_of_somebody_else_s_fits(ports: list[Any], reason: str) -> None:
    said = mesh.fits(entry(ports=ports).body, ADMIN)
    assert reason in said if reason else said == ""


# ---- whom http://HOST reaches ---------------------------------------------------------------------------------------


def servers(survey: Survey) -> list[Host]:
    return [site.server for site in inspection.call_sites(survey)]


def test_http_is_443_until_something_leads_it_elsewhere() -> None:
    world = World(shop(API="https://httpbin.org:8443/x", OLD="http://httpbin.org/y"))
    assert servers(world.survey()) == [ADMIN, HTTPBIN]
    assert [site.server for site in towards(inspection.call_sites(world.survey()), [ADMIN])] == [ADMIN] * 2
    world.do(migration(world, ADMIN).steps)
    assert servers(world.survey()) == [ADMIN, ADMIN]
    assert [site.server for site in towards(inspection.call_sites(world.survey()), [HTTPBIN])] == [ADMIN] * 2
    world.do(plan_undo(world.survey(), [ADMIN]).steps)
    assert servers(world.survey()) == [ADMIN, HTTPBIN]


@pytest.mark.parametrize(
    ("objects", "server"),
    [
        ([entry(ports=[port(80, "HTTP", targetPort=8443)])], ADMIN),
        ([document(mesh.service_entry(ADMIN, NAMESPACE))], ADMIN),
        ([entry(ports=[port(80, "HTTP")])], HTTPBIN),
        ([entry(ports=[port(80, "HTTP", targetPort=443)])], HTTPBIN),
        ([entry(namespace="other", ports=[port(80, "HTTP", targetPort=8443)])], ADMIN),
        ([entry(namespace="other", exportTo=["."], ports=[port(80, "HTTP", targetPort=8443)])], HTTPBIN),
        ([entry(hosts=["api.example.com"], ports=[port(80, "HTTP", targetPort=8443)])], HTTPBIN),
    ],
)
def test_an_entry_says_where_http_leads(objects: list[Any], server: Host) -> None:
    survey, _ = survey_of(shop(OLD="http://httpbin.org/y"), objects=objects)
    assert servers(survey) == [server]


def test_a_caller_in_clear_is_named_with_the_port_that_it_will_reach() -> None:
    survey, sites = survey_of(
        shop(API="https://httpbin.org:8443/"), deployment("old", env={"A": "http://httpbin.org/"})
    )
    found = findings.check(survey, towards(sites, [ADMIN]), [ADMIN])
    (said,) = [one for one in found if one.code == "plain-callers"]
    assert said.workload is not None
    assert (said.workload.name, said.host) == ("old", ADMIN)
    assert said.message.endswith("and will over TLS, at port 8443")


def test_undo_names_who_calls_in_clear_and_was_never_migrated() -> None:
    world = World(shop(API="https://httpbin.org:8443/x"))
    world.do(migration(world, ADMIN).steps)
    world.create(deployment("old", env={"A": "http://httpbin.org/"}))
    found = plan_undo(world.survey(), [ADMIN]).findings
    assert [(one.code, one.workload and one.workload.name) for one in found] == [("plain-callers", "old")]
    assert "calls http://httpbin.org itself" in found[0].message


def test_an_undo_without_the_port_says_which_there_is() -> None:
    world = World(shop(API="https://httpbin.org:8443/x"))
    world.do(migration(world, ADMIN).steps)
    with pytest.raises(EgressError, match=r"httpbin\.org is not migrated") as raised:
        plan_undo(world.survey(), [HTTPBIN])
    assert raised.value.remedy == "migrated here: httpbin.org:8443"


def test_an_undo_that_would_leave_a_call_in_clear_is_refused() -> None:
    world = World(shop(API="https://httpbin.org:8443/x"))
    world.do(migration(world, ADMIN).steps)
    (one,) = world.objects[SHOP]["spec"]["template"]["spec"]["containers"]
    one["env"][0]["value"] += " http://httpbin.org/new"
    with pytest.raises(EgressError, match="in clear"):
        plan_undo(world.survey(), [ADMIN])


# ---- one port for each name -----------------------------------------------------------------------------------------


def test_two_ports_at_once_are_refused() -> None:
    world = World(shop(API="https://httpbin.org:8443/x", OTHER="https://httpbin.org/y"))
    with pytest.raises(
        EgressError, match=r"port 80 of httpbin.org can lead to one port of it alone, not to 443 and 8443"
    ):
        migration(world, ADMIN, HTTPBIN)


@pytest.mark.parametrize(("first", "second"), [(HTTPBIN, ADMIN), (ADMIN, HTTPBIN)])
@pytest.mark.parametrize("named", [False, True])
def test_the_second_port_of_a_name_is_refused(first: Host, second: Host, named: bool) -> None:
    world = World(shop(API="https://httpbin.org:8443/x", OTHER="https://httpbin.org/y"))
    world.do(migration(world, first, named=named).steps)
    before = world.bodies()
    for again in (False, True):
        with pytest.raises(EgressError, match=f"{first} is {'known by name' if named else 'migrated'}") as refused:
            migration(world, second, named=again)
        assert f"kubectl egress undo {first} first" in refused.value.remedy
    world.do(plan_undo(world.survey(), [first]).steps)
    world.do(migration(world, second).steps)
    assert world.bodies() != before


def test_two_runs_for_two_ports_want_the_same_lock() -> None:
    assert journal_name(ADMIN) == journal_name(HTTPBIN)
    world = World(shop(API="https://httpbin.org:8443/x", OTHER="https://httpbin.org/y"))
    made = [migration(world, host).steps[0] for host in (ADMIN, HTTPBIN)]
    assert [step.action for step in made] == [Action.CREATE, Action.CREATE]
    assert made[0].ref == made[1].ref
    assert [from_config_map(step.after or {}).host for step in made] == [ADMIN, HTTPBIN]


def test_our_entry_without_a_journal_is_not_led_elsewhere() -> None:
    world = World(shop(API="https://httpbin.org:8443/x"), mesh.service_entry(HTTPBIN, NAMESPACE))
    with pytest.raises(EgressError, match=r"egress-httpbin\.org leads port 80 of httpbin\.org to port 443"):
        migration(world, ADMIN)


@pytest.mark.parametrize(("host", "why"), [(Host("*.example.com", 8443), "wildcard"), (Host("a.org", 80), "port 80")])
def test_ports_that_cannot_be_had(host: Host, why: str) -> None:
    with pytest.raises(EgressError, match=why):
        migration(World(shop()), host)


def test_a_wildcard_may_be_known_by_name_at_any_port() -> None:
    assert migration(World(shop()), Host("*.example.com", 8443), named=True).steps


def ready(*bodies: Any, **more: Any) -> tuple[Host, ...]:
    survey, _ = survey_of(*bodies, **more)
    sites = inspection.call_sites(survey)
    return inspection.inspect(survey, sites, findings.check(survey, sites, None)).ready_hosts


def test_of_two_ports_neither_is_taken_without_being_named() -> None:
    other = {"X": "https://api.example.com/"}
    assert ready(shop(API="https://httpbin.org:8443/x", **other)) == (Host("api.example.com"), ADMIN)
    assert ready(shop(API="https://httpbin.org:8443/x", OTHER="https://httpbin.org/y", **other)) == (
        Host("api.example.com"),
    )


def test_once_one_is_migrated_it_is_ready_and_the_other_is_not() -> None:
    world = World(shop(API="https://httpbin.org:8443/x", OTHER="https://httpbin.org/y"))
    world.do(migration(world, HTTPBIN).steps)
    world.create(deployment("late", env={"A": "https://httpbin.org/z"}))
    survey = world.survey()
    sites = inspection.call_sites(survey)
    found = [one for one in findings.check(survey, sites, None) if one.code == "two-ports"]
    assert [one.host for one in found] == [ADMIN]


# ---- evidence -------------------------------------------------------------------------------------------------------


def test_calls_before_are_known_by_the_server_s_port() -> None:
    proxies = {
        POD: snapshot(Upstream("PassthroughCluster", None, endpoints=(Endpoint("1.2.3.4", 8443, connections=3),)))
    }
    pods = {"shop": [{"metadata": {"name": POD.name, "namespace": POD.namespace}}]}
    survey, sites = survey_of(shop(API="https://httpbin.org:8443/"), proxies=proxies, pods=pods)
    assert calling(survey, sites, [ADMIN]) == {(SHOP, frozenset({ADMIN}))}
    survey, sites = survey_of(shop(API="https://httpbin.org/"), proxies=proxies, pods=pods)
    assert calling(survey, sites, [HTTPBIN]) == frozenset()


def test_a_call_in_clear_at_another_port_is_seen_by_the_routes_of_that_port() -> None:
    _, (site,) = survey_of(shop(OLD="http://httpbin.org:8080/"))
    proxy = snapshot(Upstream("outbound|8443||httpbin.org", None))
    assert visibility(site.server, [proxy], [site]) is Visibility.OPAQUE


def test_the_way_back_by_hand_writes_the_port() -> None:
    world = World(shop(API="https://httpbin.org:8443/x"))
    world.do(migration(world, ADMIN).steps)
    survey = world.survey()
    journals = [from_config_map(one.body) for one in survey.journals]
    (edit,) = [one.line for one in by_hand(plan_undo(survey, [ADMIN]), journals, {}, {}) if "sed -E" in one.line]
    assert "https://httpbin.org:8443" in edit
