"""The route that takes TLS connections past an entry which comes or goes, and what a sidecar's listeners say of it."""

from __future__ import annotations

import json
import time
from typing import Any, cast

import pytest

from kubectl_egress import mesh
from kubectl_egress.apply import passing as waiting_past
from kubectl_egress.cluster import Cluster
from kubectl_egress.errors import UnreachableError
from kubectl_egress.model import Action, Host, Outcome, ProxyUnread, Ref, Wait
from kubectl_egress.plan import plan_undo
from kubectl_egress.proxy import listeners
from tests import build
from tests.build import NAMESPACE
from tests.test_plan import HTTPBIN, World, curl, migration

ROUTE = Ref("VirtualService", NAMESPACE, mesh.object_name(HTTPBIN))
ENTRY = Ref("ServiceEntry", NAMESPACE, mesh.object_name(HTTPBIN))


def page(*matches: dict[str, Any]) -> str:
    chains = [{"filter_chain_match": match} for match in matches]
    return json.dumps({"configs": [{"name": "0.0.0.0_443", "active_state": {"listener": {"filter_chains": chains}}}]})


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("{}", False),
        (page(), False),
        (page({}), False),
        (page({"server_names": ["api.example.com"]}), False),
        (page({"server_names": ["httpbin.org"]}), True),
        (
            page({"server_names": ["httpbin.org"], "prefix_ranges": [{"address_prefix": "0.0.0.0", "prefix_len": 0}]}),
            True,
        ),
        (
            page(
                {
                    "server_names": ["httpbin.org"],
                    "prefix_ranges": [{"address_prefix": "192.0.2.255", "prefix_len": 32}],
                }
            ),
            False,
        ),
    ],
)
def test_whether_a_listener_takes_connections_to_a_host(text: str, taken: bool) -> None:
    assert listeners.takes(text, HTTPBIN) is taken


@pytest.mark.parametrize("text", ["", "[]", "not found", '{"configs": [1]}'])
def test_what_is_no_page_of_listeners(text: str) -> None:
    with pytest.raises(UnreachableError):
        listeners.takes(text, HTTPBIN)


def test_passing_and_settled_are_each_other_s_way_back() -> None:
    entry = mesh.service_entry(HTTPBIN, NAMESPACE, tls_ports=[8443])
    route = mesh.virtual_service(HTTPBIN, NAMESPACE)
    passing = mesh.passing(route, entry, HTTPBIN)
    assert [match["port"] for tls in passing["spec"]["tls"] for match in tls["match"]] == [443, 8443]
    assert passing["spec"]["http"] == route["spec"]["http"], "whoever still says http:// is not led elsewhere"
    before = mesh.before_entry(route, entry, HTTPBIN)
    assert (before["spec"].keys() - {"tls"}, before["spec"]["tls"]) == (
        route["spec"].keys() - {"http"},
        passing["spec"]["tls"],
    )
    assert mesh.is_passing(passing)
    assert mesh.is_passing(before)
    assert not mesh.is_passing(route)
    assert mesh.settled(route) == route
    assert mesh.settled(passing) == route
    assert mesh.adopt(mesh.settled(before), route) == route


def test_no_alias_is_the_address_that_no_connection_goes_to() -> None:
    taken: list[str] = []
    for _ in range(254):
        taken.append(mesh.alias_address(HTTPBIN, taken))
    route = mesh.passing(mesh.virtual_service(HTTPBIN, NAMESPACE), mesh.service_entry(HTTPBIN, NAMESPACE), HTTPBIN)
    assert route["spec"]["tls"][0]["match"][0]["destinationSubnets"] == ["192.0.2.255/32"]
    assert "192.0.2.255" not in taken


def kinds_of(steps: Any) -> list[tuple[str, Any]]:
    return [(str(one.action), one.ref.kind if one.ref else one.wait) for one in steps]


def test_a_run_that_ended_before_the_route_was_whole_goes_on_with_it() -> None:
    world = World(curl())
    steps = migration(world, HTTPBIN).steps
    cut = next(number for number, step in enumerate(steps) if step.wait is Wait.NAMED)
    world.do(steps[:cut])
    assert mesh.is_passing(world.bodies()[ROUTE])
    again = migration(world, HTTPBIN).steps
    assert kinds_of(again)[:4] == [
        ("wait", Wait.NAMED),
        ("update", "VirtualService"),
        ("wait", Wait.PROXIES),
        ("patch", "Deployment"),
    ]
    world.do(again)
    assert world.bodies()[ROUTE]["spec"] == mesh.virtual_service(HTTPBIN, NAMESPACE)["spec"]


def test_an_undo_that_ended_before_the_entry_was_gone_waits_again() -> None:
    world = World(curl())
    world.do(migration(world, HTTPBIN).steps)
    steps = plan_undo(world.survey(), [HTTPBIN]).steps
    cut = next(number for number, step in enumerate(steps) if step.wait is Wait.PAST)
    world.do(steps[:cut])
    left = kinds_of(plan_undo(world.survey(), [HTTPBIN]).steps)
    assert left[-5:] == [
        ("wait", Wait.PAST),
        ("delete", "ServiceEntry"),
        ("delete", "VirtualService"),
        ("delete", "DestinationRule"),
        ("delete", "ConfigMap"),
    ]
    assert ("update", "VirtualService") not in left


def test_an_undo_of_what_somebody_has_edited() -> None:
    """A host more in our route, a port without a protocol in our entry, and no ports at all: none of them stops it."""
    world = World(curl())
    world.do(migration(world, HTTPBIN).steps)
    world.objects[ROUTE]["spec"]["hosts"] = ["httpbin.org", "www.example.com"]
    world.objects[ENTRY]["spec"]["ports"] += [
        {"number": 9, "name": "x"},
        {"number": 8443, "name": "y", "protocol": "tls"},
    ]
    route = next(step.after for step in plan_undo(world.survey(), [HTTPBIN]).steps if step.ref == ROUTE)
    matches = [match for tls in (route or {})["spec"]["tls"] for match in tls["match"]]
    assert [(match["port"], match["sniHosts"]) for match in matches] == [
        (443, ["httpbin.org"]),
        (8443, ["httpbin.org"]),
    ]
    del world.objects[ENTRY]["spec"]["ports"]
    world.do(plan_undo(world.survey(), [HTTPBIN]).steps)
    assert {ref.kind for ref in world.bodies()} == {"Deployment"}


@pytest.mark.parametrize("others", [(), (Host("*.org"),)], ids=["its entry alone", "beside a wildcard's entry"])
def test_a_rule_is_there_as_long_as_its_entry_whichever_run_wrote_which(others: tuple[Host, ...]) -> None:
    """Known by name first, then migrated: the entry is the older one then, and without its rule it leads to 443 in clear."""
    wider = [mesh.service_entry(one, "elsewhere", "of-others", export_to=["*"]) for one in others]
    world = World(curl(), *wider)
    world.do(migration(world, HTTPBIN, named=True).steps)
    world.do(migration(world, HTTPBIN).steps)
    deleted = [
        step.ref.kind
        for step in plan_undo(world.survey(), [HTTPBIN]).steps
        if step.action is Action.DELETE and step.ref
    ]
    assert sorted(deleted[:-2]) == ["ServiceEntry", "VirtualService"]
    assert deleted[-2:] == ["DestinationRule", "ConfigMap"]


@pytest.mark.parametrize(
    "host", ["httpbin.org", "*.org"], ids=["its own entry, exported to all", "a wildcard's entry, exported to all"]
)
def test_where_another_entry_names_the_host_connections_stay_where_they_are(host: str) -> None:
    other = mesh.service_entry(Host(host), "elsewhere", "of-others", export_to=["*"])
    steps = migration(World(curl(), other), HTTPBIN).steps
    assert Wait.NAMED not in {step.wait for step in steps}
    written = [step.after for step in steps if step.action is Action.CREATE and step.ref == ROUTE]
    assert [mesh.is_passing(body or {}) for body in written] == [False]


# ---- the wait before an entry is deleted ----------------------------------------------------------------------------


class Sidecars:
    """What each pod's sidecar says of its listeners, look by look; the last for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pods: dict[str, list[str | ProxyUnread]]) -> None:
        self.asked: list[str] = []
        self.now = 0.0
        owner = Ref("Deployment", NAMESPACE, "curl")
        bodies = [build.pod(name) for name in pods]
        for body in bodies:
            if not pods[body["metadata"]["name"]]:
                body["spec"]["containers"] = body["spec"]["containers"][:-1]

        def page(_: object, pod: Ref, path: str) -> str | ProxyUnread:
            assert path == listeners.path(443)
            self.asked.append(pod.name)
            said = pods[pod.name]
            return said.pop(0) if len(said) > 1 else said[0]

        def sleep(seconds: float) -> None:
            self.now += seconds

        monkeypatch.setattr(waiting_past, "pods_of", lambda *_: {owner: bodies})
        monkeypatch.setattr(waiting_past, "read_page", page)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", sleep)

    def awaited(self) -> Outcome:
        world = World(curl())
        world.do(migration(world, HTTPBIN).steps)
        plan = plan_undo(world.survey(), [HTTPBIN])
        [step] = [one for one in plan.steps if one.wait is Wait.PAST]
        return waiting_past.for_passing(step, plan, cast("Cluster", None), 300.0, lambda _: None)


TAKES = page({"server_names": ["httpbin.org"]})
PAST = page({"server_names": ["httpbin.org"], "prefix_ranges": [{"address_prefix": "192.0.2.255", "prefix_len": 32}]})


def test_an_entry_is_deleted_when_no_sidecar_takes_connections_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sidecars = Sidecars(monkeypatch, {"one": [TAKES, TAKES, PAST], "two": [PAST], "bare": []})
    assert sidecars.awaited().message == ""
    assert sidecars.asked.count("one") == 3
    assert "bare" not in sidecars.asked, "it has no sidecar to wait for"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (TAKES, "one still takes TLS connections to httpbin.org"),
        (ProxyUnread(Ref("Pod", NAMESPACE, "one"), "it does not answer"), "one: it does not answer"),
    ],
)
def test_an_undo_does_not_fail_for_a_sidecar_that_does_not_hear(
    monkeypatch: pytest.MonkeyPatch, said: str | ProxyUnread, why: str
) -> None:
    sidecars = Sidecars(monkeypatch, {"one": [said]})
    outcome = sidecars.awaited()
    assert (outcome.done, outcome.message) == (True, f"not seen on every proxy in time: {why}")
    assert waiting_past.LONGEST <= sidecars.now < waiting_past.LONGEST + 1
