from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from kubectl_egress import inspection, journal
from kubectl_egress.errors import EgressError
from kubectl_egress.findings.ports import towards
from kubectl_egress.model import Action, Body, Document, Host, Plan, Ref, Step, Survey, Wait, Workload
from kubectl_egress.plan import MigrationRequest, plan_migration, plan_undo
from kubectl_egress.secret_values import readable
from tests.build import NAMESPACE, config_map, container, deployment, document, workload
from tests.build_mesh import entry, rule
from tests.test_patches import applied

HTTPBIN = Host("httpbin.org")
OTHER = Host("api.example.com")
MESH = ("DestinationRule", "ServiceEntry", "VirtualService")


class World:
    """Objects by Ref, and plans done on them in the plainest way."""

    with_secrets = True

    def __init__(self, *bodies: Body) -> None:
        self.objects: dict[Ref, dict[str, Any]] = {}
        for body in bodies:
            self.create(body)

    def create(self, body: Body) -> None:
        made = copy.deepcopy(dict(body))
        made["metadata"] = {**made["metadata"], "uid": f"uid-{len(self.objects)}"}
        one = document(made)
        assert one.ref not in self.objects
        self.objects[one.ref] = made

    def do(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.action is Action.CREATE:
                assert step.after is not None
                self.create(step.after)
            elif step.action is Action.DELETE:
                assert step.ref is not None
                del self.objects[step.ref]
            elif step.patch:
                assert step.ref is not None
                self.objects[step.ref] = applied(self.objects[step.ref], step.patch)

    def survey(self) -> Survey:
        documents = [Document(ref, body) for ref, body in self.objects.items()]
        journals = [one for one in documents if journal.JOURNAL_LABEL in one.body["metadata"].get("labels", {})]
        maps = {one.ref: one.body for one in documents if one.ref.kind == "ConfigMap" and one not in journals}
        return Survey(
            namespace=NAMESPACE,
            workloads=tuple(Workload(one) for one in documents if one.ref.kind in ("Deployment", "CronJob", "Job")),
            config_maps=maps,
            secrets={
                one.ref: readable(one.body) for one in documents if one.ref.kind == "Secret" and self.with_secrets
            },
            with_secrets=self.with_secrets,
            mesh_objects=tuple(one for one in documents if one.ref.kind in MESH),
            journals=tuple(journals),
        )

    def bodies(self) -> dict[Ref, dict[str, Any]]:
        return copy.deepcopy(self.objects)


def migration(world: World, *hosts: Host, **request: Any) -> Plan:
    survey = world.survey()
    asked = MigrationRequest(hosts=hosts, run="r1", by="me", started="2026-01-01T00:00:00+00:00", **request)
    return plan_migration(survey, towards(inspection.call_sites(survey), hosts), (), asked)


def curl() -> dict[str, Any]:
    script = "while true; do\n  curl -s https://httpbin.org/status/200\n  sleep .2\ndone; "
    return deployment("curl", command=["sh", "-c", script])


def by_config_map() -> tuple[Body, Body]:
    text = "first=https://httpbin.org/a\nsecond=https://api.example.com:443/b\nthird=https://HTTPBIN.org/c\n"
    volumes = [{"name": "settings", "configMap": {"name": "settings"}}]
    mounted = container("shop", volumeMounts=[{"name": "settings", "mountPath": "/settings"}])
    return config_map("settings", {"app.properties": text}), deployment("shop", containers=[mounted], volumes=volumes)


# ---- nothing to do -----------------------------------------------------------------------------------------------


def test_a_host_that_nobody_calls_changes_no_workload() -> None:
    plan = migration(World(deployment("quiet", env={"API": "https://httpbin.org.evil.com"})), HTTPBIN)
    assert [step for step in plan.steps if step.action is Action.PATCH] == []


@pytest.mark.parametrize(("lost", "older"), [("labels", False), ("metadata", False), ("copy", False), ("labels", True)])
def test_a_copy_that_is_not_known_by_its_label_is_pointed_back_from_all_the_same(lost: str, older: bool) -> None:
    """Else the undo would take alias and mesh objects away from a workload that goes on reading `http://`."""
    settings, shop = by_config_map()
    world = World(settings, shop)
    world.do(migration(world, HTTPBIN).steps)
    (copied,) = (ref for ref in world.objects if ref.name.startswith("settings-"))
    if lost == "copy":
        del world.objects[copied]
    else:
        world.objects[copied]["metadata"]["labels"] = {}
    if lost == "metadata":
        world.objects[copied]["metadata"]["annotations"] = {}
    (kept,) = (body["data"] for body in world.objects.values() if journal.is_journal(body))
    if older:  # which has no copy's name
        kept["journal.json"] = kept["journal.json"].replace(copied.name, "")
    world.do(plan_undo(world.survey(), [HTTPBIN]).steps)
    assert world.objects[Ref("Deployment", NAMESPACE, "shop")]["spec"] == shop["spec"]


def test_a_second_run_has_nothing_to_do() -> None:
    world = World(curl())
    world.do(migration(world, HTTPBIN).steps)
    assert migration(world, HTTPBIN).steps == ()


def test_a_job_is_left_alone_since_its_template_cannot_be_changed() -> None:
    world = World(workload("Job", "once", env={"API": "https://httpbin.org"}))
    assert Action.PATCH not in {step.action for step in migration(world, HTTPBIN).steps}


def test_other_workloads_are_left_alone_when_one_is_named() -> None:
    world = World(curl(), deployment("shop", env={"API": "https://httpbin.org"}))
    only = frozenset({Ref("Deployment", NAMESPACE, "shop")})
    patched = [step.ref for step in migration(world, HTTPBIN, workloads=only).steps if step.action is Action.PATCH]
    assert patched == [Ref("Deployment", NAMESPACE, "shop")]


# ---- what is done, and in which order ------------------------------------------------------------------------------


def test_the_order_of_a_migration() -> None:
    steps = migration(World(curl()), HTTPBIN).steps
    assert [(str(step.action), step.ref.kind if step.ref else step.wait) for step in steps] == [
        ("create", "ConfigMap"),
        ("create", "DestinationRule"),
        ("create", "VirtualService"),
        ("create", "ServiceEntry"),
        ("wait", Wait.NAMED),
        ("update", "VirtualService"),
        ("wait", Wait.PROXIES),
        ("patch", "Deployment"),
        ("wait", "Deployment"),
        ("verify", None),
        ("update", "ConfigMap"),
    ]
    assert [step.order for step in steps] == list(range(1, len(steps) + 1))


def test_url_and_alias_are_one_patch_with_tests() -> None:
    body = curl()
    body["metadata"]["generation"] = 7
    [step] = [step for step in migration(World(body), HTTPBIN).steps if step.action is Action.PATCH]
    assert [(one.op, one.steps[-1]) for one in step.patch] == [
        ("test", "generation"),
        ("test", "name"),
        ("test", 2),
        ("replace", 2),
        ("add", "hostAliases"),
    ]
    [alias] = step.patch[-1].value
    assert alias["hostnames"] == ["httpbin.org"]
    assert alias["ip"].startswith("192.0.2.")


@pytest.mark.parametrize("gone", [(), ("ServiceEntry",)], ids=["the journal", "journal and entry"])
def test_a_host_keeps_its_alias_when_its_journal_is_lost(gone: tuple[str, ...]) -> None:
    """Or was never there: the objects and some callers are from Git. A second address would cut off the entry's 443."""
    world = World(curl())
    world.do(migration(world, HTTPBIN).steps)
    before = world.bodies()
    world.objects = {ref: body for ref, body in world.objects.items() if ref.kind not in ("ConfigMap", *gone)}
    with pytest.raises(EgressError, match="there is no journal of it") as raised:
        plan_undo(world.survey(), [HTTPBIN])
    assert "is there, so its journal was deleted, or it is from Git" in (raised.value.remedy or "")
    assert all(
        step.ref is None or step.ref.kind in gone
        for step in migration(world, HTTPBIN).steps
        if step.after and not journal.is_journal(step.after)
    )
    world.create(deployment("shop", env={"API": "https://httpbin.org/x"}))
    world.do(migration(world, HTTPBIN).steps)
    after = world.bodies()
    aliases = {
        alias["ip"]
        for ref, body in after.items()
        if ref.kind == "Deployment"
        for alias in body["spec"]["template"]["spec"]["hostAliases"]
    }
    [entry_] = [ref for ref in before if ref.kind == "ServiceEntry"]
    assert aliases == {before[entry_]["metadata"]["annotations"]["egress.kubectl/alias"]}
    assert after[entry_]["metadata"]["annotations"] == before[entry_]["metadata"]["annotations"]


def test_fail_open_leaves_out_the_alias_and_the_dot_and_nothing_else() -> None:
    closed = migration(World(curl()), HTTPBIN).steps
    opened = migration(World(curl()), HTTPBIN, fail_open=True).steps
    assert [(step.action, step.ref) for step in closed] == [(step.action, step.ref) for step in opened]
    [entry_of] = [step.after for step in opened if step.ref and step.ref.kind == "ServiceEntry"]
    assert entry_of is not None
    assert "endpoints" not in entry_of["spec"]
    assert "hostAliases" not in json.dumps([step.after for step in opened if step.action is Action.PATCH])


def test_two_hosts_are_one_patch_and_one_rollout_and_have_addresses_of_their_own() -> None:
    world = World(deployment("shop", env={"A": "https://httpbin.org", "B": "https://api.example.com"}))
    plan = migration(world, HTTPBIN, OTHER)
    assert [step.action for step in plan.steps].count(Action.PATCH) == 1
    assert [step.wait for step in plan.steps].count(Wait.ROLLOUT) == 1
    world.do(plan.steps)
    aliases = world.objects[Ref("Deployment", NAMESPACE, "shop")]["spec"]["template"]["spec"]["hostAliases"]
    assert len({alias["ip"] for alias in aliases}) == 2


def test_a_config_map_is_copied_and_never_changed() -> None:
    settings, shop = by_config_map()
    world = World(settings, shop)
    world.do(migration(world, HTTPBIN).steps)
    assert world.objects[Ref("ConfigMap", NAMESPACE, "settings")]["data"] == settings["data"]
    template = world.objects[Ref("Deployment", NAMESPACE, "shop")]["spec"]["template"]
    name = template["spec"]["volumes"][0]["configMap"]["name"]
    assert name.startswith("settings-")
    assert world.objects[Ref("ConfigMap", NAMESPACE, name)]["data"]["app.properties"] == (
        "first=http://httpbin.org/a\nsecond=https://api.example.com:443/b\nthird=http://HTTPBIN.org/c\n"
    )


def test_the_entry_of_demo_2_is_taken_over_and_given_back_as_it_was() -> None:
    by_hand = entry()
    world = World(curl(), by_hand.body)
    before = world.bodies()
    plan = migration(world, HTTPBIN)
    assert [step.action for step in plan.steps if step.ref == by_hand.ref] == [Action.UPDATE]
    [made] = [step.after for step in plan.steps if step.ref and step.ref.kind == "DestinationRule"]
    assert made is not None
    assert made["spec"]["exportTo"] == ["*"]
    world.do(plan.steps)
    ports = world.objects[by_hand.ref]["spec"]["ports"]
    assert [port.get("targetPort") for port in ports] == [443, None]
    world.do(plan_undo(world.survey(), [HTTPBIN]).steps)
    assert world.bodies() == before


def test_an_own_rule_that_fits_is_completed() -> None:
    by_hand = rule(trafficPolicy={"portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "SIMPLE"}}]})
    world = World(curl(), by_hand.body)
    before = world.bodies()
    world.do(migration(world, HTTPBIN).steps)
    tls = world.objects[by_hand.ref]["spec"]["trafficPolicy"]["portLevelSettings"][0]["tls"]
    assert tls["subjectAltNames"] == ["httpbin.org"]
    world.do(plan_undo(world.survey(), [HTTPBIN]).steps)
    assert world.bodies() == before


def test_a_cron_job_is_patched_and_not_waited_for() -> None:
    world = World(workload("CronJob", "nightly", env={"API": "https://httpbin.org"}))
    steps = migration(world, HTTPBIN).steps
    assert Wait.ROLLOUT not in {step.wait for step in steps}
    assert Action.PATCH in {step.action for step in steps}


def test_the_journal_holds_no_secret() -> None:
    world = World(deployment("shop", env={"API": "https://joe:hunter2@httpbin.org/?token=s3cret", "KEY": "abcdef"}))
    plan = migration(world, HTTPBIN)
    world.do(plan.steps)
    text = json.dumps([step.after for step in plan.steps if step.ref and step.ref.kind == "ConfigMap"])
    for secret in ("hunter2", "s3cret", "abcdef"):
        assert secret not in text
    assert (
        world.objects[Ref("Deployment", NAMESPACE, "shop")]["spec"]["template"]["spec"]["containers"][0]["env"][0][
            "value"
        ]
        == "http://joe:hunter2@httpbin.org/?token=s3cret"
    )


# ---- crashes: any prefix of the steps, then once on and once back -----------------------------------------------------


def prefixes() -> list[int]:
    return list(range(len(migration(scene(), HTTPBIN).steps) + 1))


def scene() -> World:
    settings, shop = by_config_map()
    return World(settings, shop, curl(), entry().body)


@pytest.mark.parametrize("count", prefixes())
def test_a_migration_that_stopped_anywhere_can_be_finished(count: int) -> None:
    whole, stopped = scene(), scene()
    whole.do(migration(whole, HTTPBIN).steps)
    stopped.do(migration(stopped, HTTPBIN).steps[:count])
    stopped.do(migration(stopped, HTTPBIN).steps)
    assert without_uids(stopped) == without_uids(whole)
    assert migration(stopped, HTTPBIN).steps == ()


@pytest.mark.parametrize("count", prefixes()[1:])
def test_a_migration_that_stopped_anywhere_can_be_undone(count: int) -> None:
    world = scene()
    before = world.bodies()
    world.do(migration(world, HTTPBIN).steps[:count])
    world.do(plan_undo(world.survey(), [HTTPBIN]).steps)
    assert world.bodies() == before


@pytest.mark.parametrize("count", range(10))
def test_an_undo_that_stopped_anywhere_can_be_finished(count: int) -> None:
    world = scene()
    before = world.bodies()
    world.do(migration(world, HTTPBIN).steps)
    steps = plan_undo(world.survey(), [HTTPBIN]).steps
    world.do(steps[:count])
    if count < len(steps):
        world.do(plan_undo(world.survey(), [HTTPBIN]).steps)
    assert world.bodies() == before


def without_uids(world: World) -> dict[Ref, Any]:
    def plain(body: Mapping[str, Any]) -> Any:
        metadata = {key: value for key, value in body["metadata"].items() if key != "uid"}
        return {**body, "metadata": metadata}

    return {ref: plain(body) for ref, body in world.objects.items()}


# ---- undo ----------------------------------------------------------------------------------------------------------


def test_undo_of_what_is_not_migrated_says_so() -> None:
    with pytest.raises(EgressError, match="not migrated in namespace"):
        plan_undo(World(curl()).survey(), [HTTPBIN])


def test_the_order_of_an_undo() -> None:
    world = World(curl())
    world.do(migration(world, HTTPBIN).steps)
    steps = plan_undo(world.survey(), [HTTPBIN]).steps
    assert [(str(step.action), step.ref.kind if step.ref else step.wait) for step in steps] == [
        ("update", "ConfigMap"),
        ("patch", "Deployment"),
        ("wait", "Deployment"),
        ("wait", Wait.NO_OLD_PODS),
        ("update", "VirtualService"),
        ("wait", Wait.PAST),
        ("delete", "ServiceEntry"),
        ("delete", "VirtualService"),
        ("delete", "DestinationRule"),
        ("delete", "ConfigMap"),
    ]


@pytest.mark.parametrize("first", [HTTPBIN, OTHER])
def test_one_of_two_hosts_is_undone_and_the_other_stays(first: Host) -> None:
    settings, shop = by_config_map()
    world = World(settings, shop)
    before = world.bodies()
    world.do(migration(world, HTTPBIN, OTHER).steps)
    world.do(plan_undo(world.survey(), [first]).steps)
    template = world.objects[Ref("Deployment", NAMESPACE, "shop")]["spec"]["template"]["spec"]
    name = template["volumes"][0]["configMap"]["name"]
    text = world.objects[Ref("ConfigMap", NAMESPACE, name)]["data"]["app.properties"]
    assert ("https://httpbin.org" in text, "https://api.example.com:443" in text) == (first == HTTPBIN, first == OTHER)
    second = OTHER if first == HTTPBIN else HTTPBIN
    world.do(plan_undo(world.survey(), [second]).steps)
    assert world.bodies() == before


def test_what_somebody_else_changed_is_left_alone_and_said() -> None:
    world = World(deployment("shop", env={"API": "https://httpbin.org/a", "B": "https://httpbin.org/b"}))
    world.do(migration(world, HTTPBIN).steps)
    env = world.objects[Ref("Deployment", NAMESPACE, "shop")]["spec"]["template"]["spec"]["containers"][0]["env"]
    env[0]["value"] = "http://elsewhere.example.com"
    plan = plan_undo(world.survey(), [HTTPBIN])
    world.do(plan.steps)
    env = world.objects[Ref("Deployment", NAMESPACE, "shop")]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [one["value"] for one in env] == ["http://elsewhere.example.com", "https://httpbin.org/b"]
    assert [finding.code for finding in plan.findings] == ["changed-since"]


def test_an_undo_that_would_leave_a_call_in_clear_is_refused() -> None:
    world = World(deployment("shop", env={"API": "https://httpbin.org/a"}))
    world.do(migration(world, HTTPBIN).steps)
    env = world.objects[Ref("Deployment", NAMESPACE, "shop")]["spec"]["template"]["spec"]["containers"][0]["env"]
    env[0]["value"] = "http://httpbin.org/a http://httpbin.org/b"
    with pytest.raises(EgressError, match="in clear; nothing was changed"):
        plan_undo(world.survey(), [HTTPBIN])


@pytest.mark.parametrize("value", ["http://httpbin.org/new", "see http://httpbin.org:80/", "ws://HTTPBIN.org."])
def test_an_undo_that_would_leave_a_new_call_in_clear_is_refused(value: str) -> None:
    """Somebody has seen how the others are written, and relies on the sidecar as they do."""
    world = World(deployment("shop", env={"API": "https://httpbin.org/a"}))
    world.do(migration(world, HTTPBIN).steps)
    env = world.objects[Ref("Deployment", NAMESPACE, "shop")]["spec"]["template"]["spec"]["containers"][0]["env"]
    env.append({"name": "NEW", "value": value})
    with pytest.raises(EgressError, match="in clear; nothing was changed"):
        plan_undo(world.survey(), [HTTPBIN])


def test_an_undo_leaves_what_was_in_clear_before() -> None:
    """A name that looks like a call, or a call that nobody has asked for."""
    env = {"API": "https://httpbin.org/a", "NAMESPACE": "http://httpbin.org/ns", "OTHER": "http://api.example.com:80/"}
    world = World(deployment("shop", env=env))
    before = world.bodies()
    world.do(migration(world, HTTPBIN).steps)
    world.do(migration(world, HTTPBIN).steps)
    assert journal.from_config_map(world.survey().journals[0].body).callers[0].plain == 1
    world.do(plan_undo(world.survey(), [HTTPBIN]).steps)
    assert world.bodies() == before


def test_who_calls_in_clear_and_was_never_migrated_is_named_before_the_mesh_forgets_the_host() -> None:
    world = World(deployment("shop", env={"API": "https://httpbin.org/a"}))
    world.do(migration(world, HTTPBIN).steps)
    assert plan_undo(world.survey(), [HTTPBIN]).findings == ()
    for name, key, value in (
        ("report", "URL", "http://httpbin.org/r"),
        ("identifier", "OIDC_ISSUER", "http://httpbin.org/"),
        ("encrypted", "URL", "https://httpbin.org/"),
    ):
        world.create(deployment(name, env={key: value}))
    plan = plan_undo(world.survey(), [HTTPBIN])
    assert [(one.code, one.severity, one.workload and one.workload.name) for one in plan.findings] == [
        ("plain-callers", "warn", "report")
    ]
    assert "leaves in clear" in plan.findings[0].message


def test_a_workload_added_later_is_undone_alone() -> None:
    world = World(curl())
    world.do(migration(world, HTTPBIN).steps)
    world.create(deployment("shop", env={"API": "https://httpbin.org"}))
    before = world.bodies()
    world.do(migration(world, HTTPBIN).steps)
    shop = Ref("Deployment", NAMESPACE, "shop")
    world.do(plan_undo(world.survey(), [HTTPBIN], frozenset({shop})).steps)
    assert world.bodies() == before


def test_journals_survive_the_way_through_text() -> None:
    settings, shop = by_config_map()
    world = World(settings, shop, entry().body)
    plan = migration(world, HTTPBIN)
    world.do(plan.steps)
    [kept] = world.survey().journals
    read = journal.from_config_map(kept.body)
    assert journal.to_text(read) == kept.body["data"][journal.KEY]
    assert read.phase == "migrated"
    assert dataclasses.replace(read, phase="x") != read


# ---- settings that say a call together ------------------------------------------------------------------------------


PAY = {"PAY_SCHEME": "https", "PAY_HOST": "httpbin.org", "PAY_PORT": "443"}


def pay_changed(name: str, value: str) -> World:
    """A migrated world in which somebody has set a variable anew."""
    world = World(deployment("shop", env=PAY))
    world.do(migration(world, HTTPBIN).steps)
    (body,) = (body for ref, body in world.objects.items() if ref.kind == "Deployment")
    entries = body["spec"]["template"]["spec"]["containers"][0]["env"]
    next(one for one in entries if one["name"] == name)["value"] = value
    return world


def test_scheme_and_port_change_in_one_patch_and_the_host_stays() -> None:
    world = World(deployment("shop", env=PAY))
    (step,) = (step for step in migration(world, HTTPBIN).steps if step.action is Action.PATCH)
    changed = {one.steps[-2:]: one.value for one in step.patch if one.op == "replace"}
    assert changed == {(0, "value"): "http", (2, "value"): "80"}
    world.do(migration(world, HTTPBIN).steps)
    assert migration(world, HTTPBIN).steps == ()


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("PAY_SCHEME", "https", {"PAY_SCHEME": "https", "PAY_PORT": "443"}),
        ("PAY_SCHEME", "tcp", {"PAY_SCHEME": "tcp", "PAY_PORT": "443"}),
        ("PAY_PORT", "8443", {"PAY_SCHEME": "https", "PAY_PORT": "8443"}),
        ("PAY_HOST", "api.example.com", {"PAY_SCHEME": "https", "PAY_PORT": "443", "PAY_HOST": "api.example.com"}),
    ],
)
def test_undo_puts_back_each_setting_that_is_still_as_it_was_made(name: str, value: str, left: dict[str, str]) -> None:
    world = pay_changed(name, value)
    plan = plan_undo(world.survey(), [HTTPBIN])
    assert [finding.code for finding in plan.findings] == ["changed-since"] * (value in ("tcp", "8443"))
    world.do(plan.steps)
    (body,) = (body for ref, body in world.objects.items() if ref.kind == "Deployment")
    assert body["spec"] == deployment("shop", env={**PAY, **left})["spec"]


def test_settings_stay_where_there_is_no_alias_by_which_their_pods_are_known() -> None:
    plan = migration(World(deployment("shop", env=PAY)), HTTPBIN, fail_open=True)
    assert Action.PATCH not in {step.action for step in plan.steps}
    assert {skip.site.entry for skip in plan.skipped} == {"PAY_SCHEME", "PAY_PORT"}
    assert all("without the alias" in skip.reason for skip in plan.skipped)


def test_a_scheme_before_a_variable_changes_and_comes_back_wherever_it_has_moved() -> None:
    body = deployment("shop", env={"HOST": "httpbin.org", "API": "see https://$(HOST)/a https://x.svc wss://$(HOST)/b"})
    world = World(body)
    world.do(migration(world, HTTPBIN).steps)
    entries = world.objects[Ref("Deployment", NAMESPACE, "shop")]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert entries[1]["value"] == "see http://$(HOST)/a https://x.svc ws://$(HOST)/b"
    assert migration(world, HTTPBIN).steps == ()
    entries[1]["value"] = entries[1]["value"].replace("see", "look at")
    world.do(plan_undo(world.survey(), [HTTPBIN]).steps)
    entries = world.objects[Ref("Deployment", NAMESPACE, "shop")]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert entries[1]["value"] == "look at https://$(HOST)/a https://x.svc wss://$(HOST)/b"


def test_undo_refuses_where_settings_would_go_on_calling_in_clear() -> None:
    with pytest.raises(EgressError, match="in clear; nothing was changed"):
        plan_undo(pay_changed("PAY_SCHEME", "HTTP").survey(), [HTTPBIN])
