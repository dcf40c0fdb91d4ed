"""Migrations that cannot stand: undone by themselves, with everything as it was, and nothing in clear on the way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kubectl_egress import findings, inspection
from kubectl_egress.apply import Conditions, migrate
from kubectl_egress.cluster.survey import survey
from kubectl_egress.errors import EgressError
from kubectl_egress.mesh import API_VERSION
from kubectl_egress.model import Host, Outcome, PatchOperation, Plan, Steps, Survey, Wait
from kubectl_egress.plan import MigrationRequest, calling, plan_migration
from tests import build
from tests.scene import HOST, Scene, written

pytestmark = pytest.mark.lab

CALLER = "caller"
TEMPLATE: Steps = ("spec", "template", "metadata", "annotations")


@pytest.fixture
def scene(shared_scene: Scene) -> Scene:
    return shared_scene


def planned(scene: Scene) -> tuple[Plan, Conditions]:
    """What `migrate httpbin.org` decides, and how it would do it."""
    seen: Survey = survey(scene.cluster)
    sites = inspection.call_sites(seen)
    host = Host(HOST)
    found = findings.check(seen, sites, (host,))
    plan = plan_migration(seen, sites, found, MigrationRequest(hosts=(host,), run="test"))
    assert plan.steps
    assert not plan.blocked
    return plan, Conditions(timeout=60, window=10, calling=calling(seen, sites, plan.hosts))


def assert_nothing_in_clear(scene: Scene) -> None:
    assert scene.counters().in_clear == 0
    assert not scene.counters().clear_bytes


@pytest.mark.parametrize("certificate", ["wrong-host", "expired", "unknown-ca"])
def test_a_server_that_shows_a_bad_certificate(scene: Scene, certificate: str) -> None:
    """The proxy is as strict as the application was: it serves nothing, and the migration is taken back."""
    caller = scene.deploy(CALLER)
    caller.healthy()
    before = scene.state()
    plan, conditions = planned(scene)
    told: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        told.append(outcome)
        if outcome.step.wait is Wait.ROLLOUT and not scene.counters().failed_handshakes:
            # Connections that saw another certificate end: only a new handshake looks at it.
            scene.lab.set_certificate(HOST, certificate)

    reasons: list[EgressError] = []
    with pytest.raises(EgressError) as raised:
        migrate(plan, scene.cluster, conditions, tell, reasons.append)
    assert raised.value.exit_status == 3
    assert raised.value.message.startswith("failing: deployment/caller, httpbin.org")
    assert "everything is as it was before" in raised.value.remedy
    assert len(reasons) == 1
    assert scene.state() == before
    assert scene.counters().failed_handshakes[HOST] > 0
    scene.lab.set_certificate(HOST, "good")
    caller.healthy()
    assert_nothing_in_clear(scene)


def test_pods_that_cannot_live_with_http(scene: Scene) -> None:
    """The application refuses its new setting: the rollout fails, and the command takes everything back."""
    script = 'case "$API" in https:*) while true; do curl -s -o /dev/null "$API"; sleep .2; done;; esac; exit 1'
    probe = {"exec": {"command": ["sh", "-c", 'case "$API" in https:*) ;; *) exit 1;; esac']}}
    env = {"API": f"https://{HOST}/status/200"}
    scene.deploy(
        CALLER, containers=[build.container(CALLER, env=env, command=["sh", "-c", script], readinessProbe=probe)]
    )
    before = scene.state()
    run = scene.egress("migrate", HOST, "-y")
    assert run.status == 1, run
    assert "the rollout fails" in run.err
    assert "CrashLoopBackOff" in run.err
    assert "everything is as it was before" in run.err
    assert scene.state() == before
    assert_nothing_in_clear(scene)


def own_setting(scene: Scene) -> None:
    """A setting of the same container."""
    path: Steps = ("spec", "template", "spec", "containers", 0, "command", 2)
    old = scene.get("Deployment", CALLER)["spec"]["template"]["spec"]["containers"][0]["command"][2]
    scene.patch("Deployment", CALLER, PatchOperation("replace", path, old.replace("/status/200", "/status/204")))


def other_annotation(scene: Scene) -> None:
    """Something of the pod template that the migration does not touch."""
    annotations = {**scene.get("Deployment", CALLER)["spec"]["template"]["metadata"]["annotations"], "note": "mine"}
    scene.patch("Deployment", CALLER, PatchOperation("replace", TEMPLATE, annotations))


def object_of_the_same_name(scene: Scene) -> None:
    """The name that ours is to have."""
    spec = {"host": HOST, "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}}
    metadata = build.metadata(scene.mesh_object("DestinationRule"), scene.namespace)
    scene.create({"apiVersion": API_VERSION, "kind": "DestinationRule", "metadata": metadata, "spec": spec})


@pytest.mark.parametrize("change", [own_setting, other_annotation, object_of_the_same_name])
def test_somebody_changes_something_between_plan_and_patch(scene: Scene, change: Callable[[Scene], None]) -> None:
    caller = scene.deploy(CALLER)
    plan, conditions = planned(scene)
    change(scene)
    before = scene.state()
    with pytest.raises(EgressError) as raised:
        migrate(plan, scene.cluster, conditions, lambda _: None, lambda _: None)
    assert raised.value.exit_status == 1
    assert "since the plan was made" in raised.value.message
    assert "run the same command again" in raised.value.remedy
    assert scene.state() == before
    assert_nothing_in_clear(scene)
    assert caller.next(1)


def test_somebody_who_only_scales_is_no_reason_to_stop(scene: Scene) -> None:
    scene.deploy(CALLER)
    plan, conditions = planned(scene)
    scene.patch("Deployment", CALLER, PatchOperation("replace", ("spec", "replicas"), 2))
    migrate(plan, scene.cluster, conditions, lambda _: None, lambda _: None)
    spec = written(scene.get("Deployment", CALLER))["spec"]
    assert spec["replicas"] == 2
    assert f"http://{HOST}" in str(spec)
    assert_nothing_in_clear(scene)


# ---- taken back although somebody has changed something since ---------------------------------------------------------


def fails_after(scene: Scene, change: Callable[[Scene], None]) -> EgressError:
    """A migration that cannot be proven, of which somebody changes something when it has been rolled out."""
    plan, conditions = planned(scene)

    def tell(outcome: Outcome) -> None:
        if outcome.step.wait is Wait.ROLLOUT and not scene.counters().failed_handshakes:
            scene.lab.set_certificate(HOST, "wrong-host")
            change(scene)
            scene.rolled_out(CALLER)

    with pytest.raises(EgressError) as raised:
        migrate(plan, scene.cluster, conditions, tell, lambda _: None)
    scene.lab.set_certificate(HOST, "good")
    assert_nothing_in_clear(scene)
    return raised.value


def as_written(scene: Scene) -> str:
    return str(scene.state())


def test_what_somebody_changed_stays_and_the_rest_is_taken_back(scene: Scene) -> None:
    scene.deploy(CALLER).healthy()
    before = as_written(scene)

    def change(scene: Scene) -> None:
        own_setting(scene)
        other_annotation(scene)

    error = fails_after(scene, change)
    assert error.exit_status == 3
    assert "everything is as it was before" in error.remedy
    note = scene.get("Deployment", CALLER)["spec"]["template"]["metadata"]["annotations"].pop("note")
    assert note == "mine"
    assert as_written(scene).replace("/status/204", "/status/200").replace(", 'note': 'mine'", "") == before


def test_what_cannot_be_put_back_is_said_and_stays_closed(scene: Scene) -> None:
    """The URL is there twice now: which of them was ours nobody knows, and without the alias both would call in clear."""
    scene.deploy(CALLER).healthy()

    def change(scene: Scene) -> None:
        path: Steps = ("spec", "template", "spec", "containers", 0, "command", 2)
        old = scene.get("Deployment", CALLER)["spec"]["template"]["spec"]["containers"][0]["command"][2]
        scene.patch("Deployment", CALLER, PatchOperation("replace", path, f"# http://{HOST}/old\n{old}"))

    error = fails_after(scene, change)
    assert "and the undo stopped too: deployment/caller was changed since, and would go on calling" in error.message
    assert error.remedy == (
        f"write https://{HOST} there by hand, and run kubectl egress undo {HOST} -n {scene.namespace}"
    )
    spec = scene.get("Deployment", CALLER)["spec"]["template"]["spec"]
    assert spec["hostAliases"], "nothing was touched"
    assert_nothing_in_clear(scene)
    steps: Steps = ("spec", "template", "spec", "containers", 0, "command", 2)
    mended = spec["containers"][0]["command"][2].replace("http://", "https://")
    scene.patch("Deployment", CALLER, PatchOperation("replace", steps, mended))
    run = scene.egress("undo", HOST, "-y")
    assert run.status == 0, run
    assert "undone, but for what somebody else has changed since" in run.err
    assert not set(scene.objects()) - {("Deployment", CALLER)}
    assert "hostAliases" not in str(scene.get("Deployment", CALLER)["spec"])
    assert_nothing_in_clear(scene)


def test_settings_that_fail_go_and_who_was_migrated_before_goes_on(scene: Scene) -> None:
    """Another timeout, and another workload: the first one's requests go on under what it was migrated with."""
    caller = scene.deploy(CALLER, f"https://{HOST}/delay/0.3")
    scene.deploy("other", f"https://{HOST}/delay/0.3")
    scene.migrate("--workload", f"deploy/{CALLER}")
    before = scene.state()
    for workload in (CALLER, "other"):
        run = scene.egress(
            "migrate", HOST, "-y", "--route-timeout", "100ms", "--workload", f"deploy/{workload}", "--window", "10s"
        )
        assert run.status == 3, run
        assert "504 UT" in run.err
        assert "everything is as it was before" in run.err
        assert scene.state() == before
        caller.healthy()
    assert_nothing_in_clear(scene)
