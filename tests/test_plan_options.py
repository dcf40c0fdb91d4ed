"""What `migrate` is asked for beyond the same as before: retries, timeouts, HTTP/2, holding, names, other ports."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_egress import mesh
from kubectl_egress.cli.calls import duration
from kubectl_egress.drift import migrations
from kubectl_egress.errors import EgressError, UsageError
from kubectl_egress.inspection import inspect
from kubectl_egress.journal import AnnotationRecord, from_config_map, to_config_map
from kubectl_egress.model import AS_BEFORE, Action, Body, Host, MeshSettings, Origination, Plan
from kubectl_egress.plan import MigrationRequest, plan_migration, plan_undo
from kubectl_egress.plan.holding import PROXY_CONFIG, annotation_put_back, held, hold_edits
from kubectl_egress.urls import apply_edits, inverse
from tests.build import deployment, document, pod
from tests.build_mesh import HOST, entry, port, survey_of
from tests.findings_cases import IPV6

SETTING = "holdApplicationUntilProxyStarts"


def planned(
    *bodies: Body,
    objects: Any = (),
    pods: Any = None,
    settings: MeshSettings | None = None,
    live: bool = False,
    **request: Any,
) -> Plan:
    survey, sites = survey_of(*bodies, objects=objects, pods=pods, settings=settings, live=live)
    return plan_migration(survey, sites, (), MigrationRequest((HOST,), **request))


def shop(**template: Any) -> dict[str, Any]:
    return deployment("shop", **{"env": {"API": "https://httpbin.org/get"}, **template})


def made(plan: Plan, kind: str) -> Any:
    """The first object of the kind as the plan leaves it."""
    found = [step for step in plan.steps if step.ref and step.ref.kind == kind and step.after]
    return [step.after for step in found if step.ref == found[0].ref][-1]


# ---- route and rule -------------------------------------------------------------------------------------------------


def test_nothing_is_asked_of_the_sidecar_unless_somebody_asks() -> None:
    plan = planned(shop())
    route = made(plan, "VirtualService")["spec"]["http"][0]
    assert (route["retries"], "timeout" in route) == ({"attempts": 0}, False)
    policy = made(plan, "DestinationRule")["spec"]["trafficPolicy"]["portLevelSettings"][0]
    assert set(policy) == {"port", "tls"}


def test_what_is_asked_for_stands_in_route_rule_and_journal() -> None:
    asked: dict[str, Any] = {"retries": 3, "route_timeout": "1.5s", "http2": True}
    plan = planned(shop(), origination=asked)
    route = made(plan, "VirtualService")["spec"]["http"][0]
    assert route["retries"] == {"attempts": 3, "retryOn": "connect-failure,refused-stream"}
    assert route["timeout"] == "1.5s"
    rule = made(plan, "DestinationRule")["spec"]
    for policy in (rule["trafficPolicy"], rule["subsets"][0]["trafficPolicy"]):
        (settings,) = policy["portLevelSettings"]
        assert settings["connectionPool"] == {"http": {"h2UpgradePolicy": "UPGRADE"}}
        assert settings["tls"]["mode"] == "SIMPLE"
    assert from_config_map(made(plan, "ConfigMap")).origination == Origination(**asked)


def test_a_journal_of_an_earlier_version_asks_for_nothing() -> None:
    body = to_config_map(from_config_map(made(planned(shop()), "ConfigMap")))
    text = body["data"]["journal.json"].replace('"origination"', '"forgotten"').replace('"named"', '"forgotten too"')
    assert from_config_map({**body, "data": {"journal.json": text}}).origination == AS_BEFORE


@pytest.mark.parametrize(("text", "written"), [("1500ms", "1.5s"), ("15s", "15s"), ("2m", "120s"), ("3", "3s")])
def test_durations(text: str, written: str) -> None:
    assert duration(text) == written


def test_a_duration_that_is_none() -> None:
    with pytest.raises(UsageError, match="route-timeout"):
        duration("soon")


def test_other_ports_over_tls_are_in_the_entry() -> None:
    plan = planned(shop(env={"API": "https://httpbin.org/", "ADMIN": "https://httpbin.org:8443/x"}))
    ports = made(plan, "ServiceEntry")["spec"]["ports"]
    assert ports[2] == {"number": 8443, "name": "https-8443", "protocol": "HTTPS"}
    assert len(ports) == 3


# ---- hold -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"{SETTING}: true\n"),
        ("concurrency: 2", f"concurrency: 2\n{SETTING}: true\n"),
        (f"a: 1\n{SETTING}: false\nb: 2\n", f"a: 1\n{SETTING}: true\nb: 2\n"),
        ("{}", f'{{"{SETTING}": true}}'),
        ('{"concurrency": 2}', f'{{"{SETTING}": true, "concurrency": 2}}'),
        ("a: 1\n\n\n", f"a: 1\n{SETTING}: true\n"),
        (f'{{"{SETTING}": true}}', f'{{"{SETTING}": true}}'),
    ],
)
def test_hold_is_written_into_what_is_there(before: str, after: str) -> None:
    assert apply_edits(before, hold_edits(before)) == after
    assert apply_edits(after, inverse(hold_edits(before))) == before
    assert hold_edits(after) == ()


@pytest.mark.parametrize(
    "template", [{}, {"annotations": {"a": "b"}}, {"annotations": {PROXY_CONFIG: "concurrency: 2\n"}}]
)
def test_hold_is_put_back_as_it_was(template: dict[str, Any]) -> None:
    body = shop(**template)
    after, (record,) = held(body, "Deployment")
    assert annotation_put_back(after, "Deployment", record) == (body, "")
    assert annotation_put_back(body, "Deployment", record) == (body, "")
    assert held(after, "Deployment") == (after, ())


def test_an_annotation_that_somebody_changed_since_is_left() -> None:
    body = shop(annotations={PROXY_CONFIG: "theirs"})
    after, why = annotation_put_back(body, "Deployment", AnnotationRecord(PROXY_CONFIG, None, "ours", ()))
    assert after == body
    assert "somebody else" in why


# ---- mode named -----------------------------------------------------------------------------------------------------


def test_a_name_is_an_entry_and_a_journal() -> None:
    plan = planned(shop(), named=True)
    assert [(step.action, step.ref and step.ref.kind) for step in plan.steps] == [
        (Action.CREATE, "ConfigMap"),
        (Action.CREATE, "ServiceEntry"),
        (Action.WAIT, None),
        (Action.UPDATE, "ConfigMap"),
    ]
    spec = made(plan, "ServiceEntry")["spec"]
    assert [(one["number"], one["protocol"]) for one in spec["ports"]] == [(443, "HTTPS")]
    assert "endpoints" not in spec
    assert plan.steps[2].workloads[0].name == "shop"


def test_a_host_that_is_named_already_needs_nothing() -> None:
    assert planned(shop(), objects=[entry()], named=True).steps == ()


def test_an_entry_that_stands_in_the_way_of_a_name() -> None:
    with pytest.raises(EgressError, match="its port 443 is missing"):
        planned(shop(), objects=[entry(ports=[port(80, "HTTP")])], named=True)
    with pytest.raises(EgressError, match="its port 443 is TCP, not HTTPS"):
        planned(shop(), objects=[entry(ports=[port(443, "TCP")])], named=True)


def test_a_name_is_taken_back_and_can_become_a_migration() -> None:
    plan = planned(shop(), named=True)
    survey, sites = survey_of(
        shop(),
        objects=[document(made(plan, "ServiceEntry"))],
        journals=(document(to_config_map(from_config_map(plan.steps[-1].after or {}))),),
    )
    undone = plan_undo(survey, [HOST])
    assert [step.ref.kind for step in undone.steps if step.action is Action.DELETE and step.ref] == [
        "ServiceEntry",
        "ConfigMap",
    ]
    full = plan_migration(survey, sites, (), MigrationRequest((HOST,)))
    opened = from_config_map(made(full, "ConfigMap"))
    assert (opened.named, opened.alias, opened.mesh[0].before) == (False, mesh.alias_address(HOST), None)


def test_a_migrated_host_is_not_named() -> None:
    body = from_config_map(made(planned(shop()), "ConfigMap"))
    survey, sites = survey_of(shop(), journals=(document(to_config_map(body)),))
    with pytest.raises(EgressError, match="is migrated in namespace"):
        plan_migration(survey, sites, (), MigrationRequest((HOST,), named=True))


# ---- addresses ------------------------------------------------------------------------------------------------------


def test_an_address_is_one_host_s_alone() -> None:
    hosts = tuple(Host(f"h{number}.example.com") for number in range(60))
    survey, sites = survey_of(shop(env={f"A{n}": f"https://{host}/" for n, host in enumerate(hosts)}))
    plan = plan_migration(survey, sites, (), MigrationRequest(hosts))
    template = next(step.after for step in plan.steps if step.action is Action.PATCH)
    assert template is not None
    aliases = template["spec"]["template"]["spec"]["hostAliases"]
    assert len({one["ip"] for one in aliases}) == len(hosts)
    patches = [step for step in plan.steps if step.action is Action.PATCH]
    assert len(patches) == 1, "many hosts, one rollout"


def test_pods_with_ipv6_have_aliases_of_both_families_and_an_entry_that_claims_both() -> None:
    plan = planned(shop(), settings=MeshSettings(dns_capture=True, auto_allocate=True, known=True), **IPV6)
    body = next(step.after for step in plan.steps if step.action is Action.PATCH)
    assert body is not None
    addresses = [one["ip"] for one in body["spec"]["template"]["spec"]["hostAliases"]]
    assert addresses == ["192.0.2.48", mesh.alias_address_v6("192.0.2.48")]
    assert made(plan, "ServiceEntry")["spec"]["addresses"] == addresses
    assert "addresses" not in made(planned(shop(), **IPV6), "ServiceEntry")["spec"]
    journal = document(to_config_map(from_config_map(plan.steps[-1].after or {})))
    survey, _ = survey_of(body, journals=(journal,), **IPV6)
    undone = next(step.after for step in plan_undo(survey, [HOST]).steps if step.action is Action.PATCH)
    assert undone == shop()


def addresses_of(plan: Plan) -> list[str]:
    body = next(step.after for step in plan.steps if step.action is Action.PATCH)
    assert body is not None
    return [one["ip"] for one in body["spec"]["template"]["spec"]["hostAliases"]]


def test_where_nobody_knows_what_families_the_pods_will_have_the_alias_has_both() -> None:
    both = ["192.0.2.48", mesh.alias_address_v6("192.0.2.48")]
    pending = {**pod(), "status": {"phase": "Pending"}}
    assert addresses_of(planned(shop(), live=True)) == both, "no replicas, or a CronJob"
    assert addresses_of(planned(shop(), live=True, pods={"shop": [pending]})) == both
    assert addresses_of(planned(shop(), live=True, pods={"shop": [pod()]})) == both[:1], "IPv4 alone"


def test_a_family_that_pods_have_since_is_added_where_the_host_is_migrated() -> None:
    first = planned(shop(), live=True, pods={"shop": [pod()]})
    body = next(step.after for step in first.steps if step.action is Action.PATCH)
    journal = document(to_config_map(from_config_map(first.steps[-1].after or {})))
    survey, sites = survey_of(body or {}, journals=(journal,), live=True, **IPV6)
    [item] = inspect(survey, sites, ()).items
    assert item.fails_closed is False
    again = plan_migration(survey, sites, (), MigrationRequest((HOST,)))
    assert addresses_of(again) == ["192.0.2.48", mesh.alias_address_v6("192.0.2.48")]
    drifts = [one for one in migrations(survey, {}, None).drifts if one.object.kind == "Deployment"]
    assert [(one.code, "IPv6" in one.message) for one in drifts] == [("alias-lost", True)]


# ---- a short name ---------------------------------------------------------------------------------------------------


def test_a_short_name_is_a_service_without_pods_and_a_route() -> None:
    plan = planned(shop(), origination={"short_name": "foo"})
    service = made(plan, "Service")
    assert service["metadata"]["name"] == "foo"
    assert service["spec"] == {"ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80}]}
    route = next(step.after for step in plan.steps if step.ref and step.ref.name == "egress-foo")
    assert route is not None
    assert route["spec"]["hosts"] == ["foo"]
    (rule,) = route["spec"]["http"]
    assert rule["rewrite"] == {"authority": "httpbin.org"}
    assert rule["route"][0]["destination"]["subset"] == mesh.SUBSET
    kinds = [step.ref.kind for step in plan.steps if step.ref and step.action is Action.CREATE]
    assert kinds == ["ConfigMap", "DestinationRule", "VirtualService", "ServiceEntry", "Service", "VirtualService"]


def test_a_short_name_needs_no_caller_and_is_undone() -> None:
    idle = deployment("shop")
    plan = planned(idle, origination={"short_name": "foo"})
    assert [step.action for step in plan.steps if step.action in (Action.PATCH, Action.VERIFY)] == []
    last = {step.ref: step.after for step in plan.steps if step.ref and step.ref.kind != "ConfigMap" and step.after}
    written = list(last.values())
    journal = document(to_config_map(from_config_map(plan.steps[-1].after or {})))
    survey, sites = survey_of(idle, objects=[document(one) for one in written], journals=(journal,))
    assert plan_migration(survey, sites, (), MigrationRequest((HOST,))).steps == ()
    undone = [step.ref.name for step in plan_undo(survey, [HOST]).steps if step.action is Action.DELETE and step.ref]
    assert undone == [
        "egress-httpbin.org",
        "egress-foo",
        "foo",
        "egress-httpbin.org",
        "egress-httpbin.org",
        journal.ref.name,
    ]
