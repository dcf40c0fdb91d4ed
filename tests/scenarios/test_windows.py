"""The windows that nobody looks at: what happens in them to a migration as it is by default, and to one without its precaution.

Callers of several hosts, side by side in one namespace, so that the same event meets them all: `closed` is migrated as it is
by default, `open` with `--fail-open`, and `bare` with `--fail-open` and without the wait that a test is about. What reaches a
host in clear is counted by host. A window in which `open` or `bare` leaks nothing would show nothing, so each stays open until
that has been seen, however long it takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest

from kubectl_egress import inspection
from kubectl_egress.apply import Conditions, carry_out
from kubectl_egress.cluster.survey import survey
from kubectl_egress.errors import EgressError
from kubectl_egress.lab.client import Lab
from kubectl_egress.mesh import API_VERSION
from kubectl_egress.model import Action, Body, Host, Outcome, PatchOperation, Plan, Steps, Wait
from kubectl_egress.plan import MigrationRequest, plan_migration, plan_undo
from tests import build
from tests.scene import MESH_KINDS, NATIVE, Scene, scene_in, until

pytestmark = pytest.mark.lab

HOSTS = {"closed": "httpbin.org", "open": "api.example.com", "bare": "api.example.org"}
PAIR = ("closed", "open")
YESTERDAY = 3600.0
FOR_EVER = 3600
TEMPLATE: Steps = ("spec", "template")
LOOP = "while true; do curl -s -m 2 -o /dev/null {}; sleep .2; done"
STUBBORN = "trap '' TERM; " + LOOP
"""Calls until it is killed."""


@pytest.fixture
def scene(shared_scene: Scene) -> Scene:
    return shared_scene


def url(name: str) -> str:
    return f"https://{HOSTS[name]}/status/200"


def deploy(scene: Scene, names: Sequence[str], script: str = LOOP, **template: Any) -> None:
    for name in names:
        spec = {"terminationGracePeriodSeconds": 0, "annotations": NATIVE, **template}
        command = ["sh", "-c", script.format(url(name))]
        scene.create(build.deployment(name, scene.namespace, command=command, **spec))
    for name in names:
        scene.rolled_out(name)


def migrate(scene: Scene, *names: str) -> None:
    def one(name: str) -> None:
        how = ["--fail-open"] if name != "closed" else []
        run = scene.egress("migrate", HOSTS[name], "-y", "--window", "3s", *how)
        assert run.status == 0, run

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, names))
    assert [in_clear(scene, name) for name in names] == [0] * len(names)


def undo(scene: Scene, *names: str) -> None:
    run = scene.egress("undo", *[HOSTS[name] for name in names], "-y")
    assert run.status == 0, run


def in_clear(scene: Scene, name: str) -> int:
    """Requests that reached the caller's host unencrypted."""
    return sum(scene.counters().clear_requests.get(HOSTS[name], {}).values())


def leaks(scene: Scene, name: str) -> None:
    until(lambda: in_clear(scene, name) > 2, f"{name} leaks", patience=60)


def served(scene: Scene, *names: str) -> None:
    """Wait until the hosts are reached again, over TLS."""
    scene.lab.reset()
    for name in names:
        until(lambda name=name: scene.counters().total(HOSTS[name]) > 0, f"{name} is served")  # type: ignore[misc]


def without(plan: Plan, *waits: Wait) -> Plan:
    return replace(plan, steps=tuple(step for step in plan.steps if step.wait is None or step.wait not in waits))


def silent(_: object) -> None:
    return


def carry_out_bare(scene: Scene, plan: Plan, tell: Callable[[Outcome], None] = silent, timeout: float = 60.0) -> None:
    carry_out(plan, scene.cluster, Conditions(timeout=timeout, window=1.0), tell)


def migration_plan(scene: Scene, name: str) -> Plan:
    """What a migration does, whatever is found, and without its verification."""
    seen = survey(scene.cluster)
    request = MigrationRequest(hosts=(Host(HOSTS[name]),), fail_open=name != "closed")
    plan = plan_migration(seen, inspection.call_sites(seen), (), request)
    return replace(plan, steps=tuple(one for one in plan.steps if one.action is not Action.VERIFY))


def undo_plan(scene: Scene, name: str) -> Plan:
    return plan_undo(survey(scene.cluster, live=False), [Host(HOSTS[name])])


# ---- while it migrates ------------------------------------------------------------------------------------------------


def test_an_istiod_that_lags_while_it_migrates(scene: Scene, shared: Lab) -> None:
    """Without the waits, new pods call before any proxy knows the host; with them, even a migration that fails open does not."""
    deploy(scene, ("open", "bare"))
    shared.set_configuration_delay(YESTERDAY, "bare-")
    carry_out_bare(scene, without(migration_plan(scene, "bare"), Wait.NAMED, Wait.PROXIES))
    leaks(scene, "bare")
    shared.set_configuration_delay(5.0)
    migrate(scene, "open")


# ---- when it is migrated ----------------------------------------------------------------------------------------------

Mend = Callable[[], None]


@dataclass(frozen=True)
class Migrated:
    """A scene in which `closed` and `open` are migrated."""

    scene: Scene


@pytest.fixture(scope="module")
def migrated(shared: Lab) -> Iterator[Migrated]:
    with scene_in(shared) as scene:
        # As nearly everywhere, something else of the mesh listens on port 80: what passes it by is counted with its host.
        ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
        spec = {"hosts": ["shop.example.net"], "ports": ports, "resolution": "DNS", "exportTo": ["."]}
        metadata = build.metadata("something-else", scene.namespace)
        scene.create({"apiVersion": API_VERSION, "kind": "ServiceEntry", "metadata": metadata, "spec": spec})
        deploy(scene, PAIR)
        migrate(scene, *PAIR)
        yield Migrated(scene)


def lagging_istiod(scene: Scene) -> Mend:
    """A replica that has not heard of anything configures the next pods: rescheduled, scaled up, rolled."""
    for name in PAIR:
        scene.lab.set_configuration_delay(YESTERDAY, f"{name}-")
        scene.restart(name)
    return lambda: scene.lab.set_configuration_delay(0)


def proxy_restarts_alone(scene: Scene) -> Mend:
    """And asks the same replica."""
    for name in PAIR:
        scene.lab.set_configuration_delay(YESTERDAY, f"{name}-")
        scene.lab.kill_proxy(scene.pod(name), scene.namespace, stay_dead=False)
    return lambda: scene.lab.set_configuration_delay(0)


def injection_off(scene: Scene) -> Mend:
    """Somebody takes the label from the namespace, or the webhook is away: the next pods have no sidecar."""
    namespace = scene.cluster.resource("namespaces")
    ref = replace(scene.ref(namespace.kind, scene.namespace), namespace="")

    def inject(value: str) -> None:
        label: Steps = ("metadata", "labels", "istio-injection")
        scene.cluster.patch(ref, [PatchOperation("replace", label, value)])
        for name in PAIR:
            scene.restart(name)

    inject("disabled")
    return lambda: inject("enabled")


@pytest.mark.parametrize("event", [lagging_istiod, proxy_restarts_alone, injection_off])
def test_what_the_alias_is_worth(migrated: Migrated, event: Callable[[Scene], Mend]) -> None:
    scene = migrated.scene
    served(scene, *PAIR)
    mend = event(scene)
    leaks(scene, "open")
    assert in_clear(scene, "closed") == 0
    mend()
    served(scene, *PAIR)


SAID = {
    # Without the rule or the entry there is no cluster, and the route leads nowhere; without the route, the entry's own
    # cluster originates TLS too.
    ("DestinationRule",): {"closed": "failing", "open": "failing"},
    ("ServiceEntry",): {"closed": "failing", "open": "failing"},
    ("VirtualService",): {"closed": "verified", "open": "verified"},
    # Whichever shows first: the window ends with the leak.
    MESH_KINDS: {"closed": "failing or unconfigured", "open": "leaking"},
}


@pytest.mark.parametrize("gone", SAID)
def test_what_verify_says_when_somebody_deletes_objects(migrated: Migrated, gone: tuple[str, ...]) -> None:
    """And that nothing leaves in clear meanwhile, save where the alias was left out: then it is said."""
    scene, said = migrated.scene, SAID[gone]
    served(scene, *PAIR)
    deleted = [scene.delete(kind, f"egress-{HOSTS[name]}") for kind in reversed(gone) for name in said]
    runs = []

    def as_said() -> bool:
        """As soon as the proxies have heard of it."""
        runs.append(scene.egress("verify", "--window", "5s", "-o", "json"))
        verdicts = {item["workload"]["name"]: item["verdict"] for item in runs[-1].document()["items"]}
        return all(verdicts[name] in said[name].split(" or ") for name in said)

    until(as_said, f"verify says {json.dumps(said)}", patience=60)
    assert runs[-1].status == (0 if gone == ("VirtualService",) else 3)
    assert (in_clear(scene, "open") > 0) is (said["open"] == "leaking")
    assert in_clear(scene, "closed") == 0
    scene.put_back(*reversed(deleted))
    served(scene, *PAIR)


# ---- while it is undone -----------------------------------------------------------------------------------------------


def test_a_template_that_is_scaled_up_and_rolled_back_while_it_is_undone_and_again_when_it_is(
    migrated: Migrated,
) -> None:
    """The undo waits for pods that somebody makes anew, and leaves the mesh objects to them; afterwards there are none."""
    scene = migrated.scene
    served(scene, *PAIR)
    templates = {name: scene.get("Deployment", name)["spec"]["template"] for name in PAIR}

    def roll_back(name: str) -> None:
        scene.patch("Deployment", name, PatchOperation("replace", TEMPLATE, templates[name]))
        scene.rolled_out(name)

    def undo_in_vain(name: str) -> None:
        def tell(outcome: Outcome) -> None:
            if outcome.step.action is Action.PATCH:
                # Of both ReplicaSets, as Deployments do it.
                scene.patch("Deployment", name, PatchOperation("replace", ("spec", "replicas"), 2))
            if outcome.step.wait is Wait.ROLLOUT:
                roll_back(name)

        plan = undo_plan(scene, name)
        wait = next(index for index, step in enumerate(plan.steps) if step.wait is Wait.NO_OLD_PODS)
        carry_out_bare(scene, replace(plan, steps=plan.steps[:wait]), tell)
        with pytest.raises(EgressError, match=rf"pod \S+ of deployment/{name} still calls http://, and is not gone"):
            carry_out_bare(scene, replace(plan, steps=plan.steps[wait:]), timeout=3.0)
        assert {(kind, f"egress-{HOSTS[name]}") for kind in MESH_KINDS} <= set(scene.objects())

    undo_in_vain("closed")
    undo_in_vain("open")
    undo(scene, *PAIR)
    assert [in_clear(scene, name) for name in PAIR] == [0, 0]
    for name in PAIR:
        roll_back(name)
    leaks(scene, "open")
    assert in_clear(scene, "closed") == 0
    scene.clear()


def test_a_template_that_is_rolled_back_in_between_and_nobody_waits(scene: Scene) -> None:
    """`kubectl rollout undo` when the undo's own rollout is done: what the wait is worth, and the alias without it."""
    names = ("closed", "bare")
    deploy(scene, names)
    migrate(scene, *names)
    for name in names:
        template = scene.get("Deployment", name)["spec"]["template"]

        def roll_back(outcome: Outcome, name: str = name, template: Body = template) -> None:
            if outcome.step.wait is Wait.ROLLOUT:
                scene.patch("Deployment", name, PatchOperation("replace", TEMPLATE, template))
                scene.rolled_out(name)

        carry_out_bare(scene, without(undo_plan(scene, name), Wait.NO_OLD_PODS), roll_back)
        assert not {(kind, f"egress-{HOSTS[name]}") for kind in MESH_KINDS} & set(scene.objects())
    leaks(scene, "bare")
    assert in_clear(scene, "closed") == 0


def test_a_container_that_starts_before_the_redirect(scene: Scene) -> None:
    """An init container: istio-init comes after it. That is why it is refused, and what the alias is for besides."""
    calls = "for i in 1 2 3; do curl -s -m 2 -o /dev/null {}; done; true"
    for name in PAIR:
        first = build.container("first", command=["sh", "-c", calls.format(url(name))])
        deploy(scene, (name,), initContainers=[first], annotations={"sidecar.istio.io/nativeSidecar": "false"})
        for how in ([], ["--fail-open"], ["--ignore", "init-before-sidecar"]):
            run = scene.egress("migrate", HOSTS[name], "-y", *how)
            assert run.status != 0, run
            assert "init-before-sidecar" in run.out + run.err
        carry_out_bare(scene, migration_plan(scene, name))
    assert in_clear(scene, "open") >= 3
    assert in_clear(scene, "closed") == 0
    served(scene, *PAIR)


def test_a_container_that_starts_before_its_proxy(scene: Scene, shared: Lab) -> None:
    """The redirect is there already: who is too early is refused, whatever its URL and its alias.

    Where it comes late, as Istio's CNI plugin may (its race with new pods), who is too early calls past the proxy.
    """
    eager = "i=0; while true; do curl -s -m 2 -o /dev/null {}; i=$((i+1)); [ $i -gt 50 ] && sleep .2; done"
    deploy(scene, PAIR, eager, annotations={"sidecar.istio.io/nativeSidecar": "false"})
    migrate(scene, *PAIR)
    for name in PAIR:
        scene.restart(name)
        until(lambda name=name: shared.counters().total(HOSTS[name]) > 0, f"{name} is served")  # type: ignore[misc]
    assert [in_clear(scene, name) for name in PAIR] == [0, 0]

    shared.hold_redirect(scene.namespace)
    for name in PAIR:
        scene.restart(name)
    leaks(scene, "open")
    assert in_clear(scene, "closed") == 0
    for name in PAIR:
        shared.restore_redirect(scene.pod(name), scene.namespace)
    shared.hold_redirect("")
    served(scene, *PAIR)


def test_pods_that_take_their_time_to_end(scene: Scene) -> None:
    """A long grace period: the old pods go on calling http:// while the new ones are ready already."""
    for name in HOSTS:
        scene.create(build.config_map(name, {"API": url(name)}, scene.namespace))
        container = build.container(
            name, command=["sh", "-c", STUBBORN.format("$API")], envFrom=[{"configMapRef": {"name": name}}]
        )
        grace = FOR_EVER if name == "bare" else 5
        deploy(scene, (name,), containers=[container], terminationGracePeriodSeconds=grace)
    migrate(scene, *HOSTS)
    undo(scene, *PAIR)
    assert [in_clear(scene, name) for name in PAIR] == [0, 0]
    carry_out_bare(scene, without(undo_plan(scene, "bare"), Wait.NO_OLD_PODS))
    leaks(scene, "bare")
    assert [in_clear(scene, name) for name in PAIR] == [0, 0]


def test_a_job_that_somebody_starts_from_a_migrated_cron_job(scene: Scene) -> None:
    """As `kubectl create job --from` makes it: the CronJob owns it, and does not control it."""
    names = ("closed", "bare")
    for name in names:
        template = build.pod_template(
            name, command=["sh", "-c", LOOP.format(url(name))], annotations=NATIVE, restartPolicy="Never"
        )
        spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}
        metadata = build.metadata(name, scene.namespace)
        scene.create({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec})
    migrate(scene, *names)
    for name in names:
        cron_job = scene.get("CronJob", name)
        owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": name, "uid": cron_job["metadata"]["uid"]}
        metadata = build.metadata(f"{name}-by-hand", scene.namespace, ownerReferences=[owner])
        spec = cron_job["spec"]["jobTemplate"]["spec"]
        scene.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})
        until(lambda name=name: scene.counters().total(HOSTS[name]) > 0, f"the Job of {name} calls")  # type: ignore[misc]
    carry_out_bare(scene, without(undo_plan(scene, "bare"), Wait.NO_OLD_PODS))
    leaks(scene, "bare")
    with pytest.raises(EgressError, match=r"pod \S+ of job/closed-by-hand still calls http://, and is not gone"):
        carry_out_bare(scene, undo_plan(scene, "closed"), timeout=3.0)
    assert scene.get("CronJob", "closed")["spec"]["jobTemplate"]["spec"]["template"]["spec"].get("hostAliases") is None
    assert {(kind, f"egress-{HOSTS['closed']}") for kind in MESH_KINDS} <= set(scene.objects())
    for name in names:
        scene.delete("Job", f"{name}-by-hand")
    undo(scene, "closed")
    assert in_clear(scene, "closed") == 0


def test_a_job_that_runs_while_its_cron_job_is_migrated(scene: Scene) -> None:
    """It keeps the old template and goes on over https; that it never calls http:// is no failure."""
    name = "closed"
    template = build.pod_template(
        name, command=["sh", "-c", LOOP.format(url(name))], annotations=NATIVE, restartPolicy="Never"
    )
    jobs = {"spec": {"template": template}}
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": jobs}
    metadata = build.metadata(name, scene.namespace)
    made = scene.create({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec})
    owner = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "name": name,
        "uid": made["metadata"]["uid"],
        "controller": True,
    }
    metadata = build.metadata(f"{name}-1", scene.namespace, ownerReferences=[owner])
    scene.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": jobs["spec"]})
    served(scene, name)
    migrate(scene, name)
    assert "hostAliases" in str(scene.get("CronJob", name)["spec"])
    served(scene, name)
    undo(scene, name)
    served(scene, name)
    assert in_clear(scene, name) == 0
