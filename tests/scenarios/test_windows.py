"""The windows that nobody looks at: what happens in them to a migration as it is by default, and to one without its precaution.

Three callers of three hosts, side by side in one namespace, so that the same event meets them all: `closed` is migrated as it is
by default, `open` with `--fail-open`, and `bare` with `--fail-open` and without the wait that a test is about. What reaches a
host in clear is counted by host. A window in which `open` or `bare` leaks nothing would show nothing.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from kubectl_egress import inspection
from kubectl_egress.apply import Conditions, carry_out
from kubectl_egress.cluster.survey import survey
from kubectl_egress.errors import EgressError
from kubectl_egress.lab.client import Lab, start_lab
from kubectl_egress.mesh import API_VERSION
from kubectl_egress.model import Action, Host, Outcome, PatchOperation, Plan, Steps, Wait
from kubectl_egress.plan import MigrationRequest, plan_migration, plan_undo
from tests import build
from tests.scene import MESH_KINDS, NATIVE, Scene, until

pytestmark = pytest.mark.lab

HOSTS = {"closed": "httpbin.org", "open": "api.example.com", "bare": "api.example.org"}
NUMBERS = itertools.count()
YESTERDAY = 3600.0
TEMPLATE: Steps = ("spec", "template")
LOOP = "while true; do curl -s -m 2 -o /dev/null {}; sleep .2; done"
STUBBORN = "trap '' TERM; " + LOOP
"""Calls until it is killed."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with start_lab() as lab:
        yield lab


@pytest.fixture
def scene(shared: Lab) -> Iterator[Scene]:
    with Scene(shared, f"window-{next(NUMBERS)}") as found:
        yield found
        shared.set_configuration_delay(0)
        for kind in ("Deployment", "CronJob"):
            resource = found.cluster.resource_of(kind)
            for body in list(found.cluster.list(resource.api_version, resource.plural, found.namespace)):
                found.delete(kind, body["metadata"]["name"])
        for name in HOSTS:
            until(lambda name=name: not found.pods(name), f"the pods of {name} are gone")  # type: ignore[misc]
        shared.reset()


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
    for name in names:
        run = scene.egress(
            "migrate", HOSTS[name], "-y", "--window", "3s", *(["--fail-open"] if name != "closed" else [])
        )
        assert run.status == 0, run
    assert [in_clear(scene, name) for name in names] == [0] * len(names)


def undo(scene: Scene, *names: str) -> None:
    run = scene.egress("undo", *[HOSTS[name] for name in names], "-y")
    assert run.status == 0, run


def in_clear(scene: Scene, name: str) -> int:
    """Requests that reached the caller's host unencrypted."""
    return sum(scene.counters().clear_requests.get(HOSTS[name], {}).values())


def leaks(scene: Scene, name: str) -> None:
    until(lambda: in_clear(scene, name) > 2, f"{name} leaks")


def without(plan: Plan, wait: Wait) -> Plan:
    return replace(plan, steps=tuple(step for step in plan.steps if step.wait is not wait))


def silent(_: object) -> None:
    return


def carry_out_bare(scene: Scene, plan: Plan, tell: Callable[[Outcome], None] = silent, timeout: float = 60.0) -> None:
    carry_out(plan, scene.cluster, Conditions(timeout=timeout, window=1.0), tell)


def undo_plan(scene: Scene, name: str) -> Plan:
    return plan_undo(survey(scene.cluster, live=False), [Host(HOSTS[name])])


# ---- while it migrates ------------------------------------------------------------------------------------------------


def test_an_istiod_that_lags_while_it_migrates(scene: Scene, shared: Lab) -> None:
    """Without the wait, new pods call before any proxy knows the host; with it, even a migration that fails open does not."""
    deploy(scene, ("open", "bare"))
    shared.set_configuration_delay(5.0)
    seen = survey(scene.cluster)
    request = MigrationRequest(hosts=(Host(HOSTS["bare"]),), fail_open=True)
    plan = without(plan_migration(seen, inspection.call_sites(seen), (), request), Wait.PROXIES)
    carry_out_bare(scene, replace(plan, steps=tuple(one for one in plan.steps if one.action is not Action.VERIFY)))
    leaks(scene, "bare")
    migrate(scene, "open")


# ---- when it is migrated ----------------------------------------------------------------------------------------------


def lagging_istiod(scene: Scene) -> None:
    """A replica that has not heard of anything configures the next pods: rescheduled, scaled up, rolled."""
    for name in ("closed", "open"):
        scene.lab.set_configuration_delay(YESTERDAY, f"{name}-")
        scene.restart(name)


def proxy_restarts_alone(scene: Scene) -> None:
    """And asks the same replica."""
    for name in ("closed", "open"):
        scene.lab.set_configuration_delay(YESTERDAY, f"{name}-")
        scene.lab.kill_proxy(scene.pod(name), scene.namespace, stay_dead=False)


def injection_off(scene: Scene) -> None:
    """Somebody takes the label from the namespace, or the webhook is away: the next pods have no sidecar."""
    namespace = scene.cluster.resource("namespaces")
    label: Steps = ("metadata", "labels", "istio-injection")
    ref = replace(scene.ref(namespace.kind, scene.namespace), namespace="")
    scene.cluster.patch(ref, [PatchOperation("replace", label, "disabled")])
    for name in ("closed", "open"):
        scene.restart(name)


def rolled_back(scene: Scene) -> None:
    """`kubectl rollout undo` after the undo: the template of yesterday, and nothing in the mesh that it was made for."""
    templates = {name: scene.get("Deployment", name)["spec"]["template"] for name in ("closed", "open")}
    undo(scene, *templates)
    assert [in_clear(scene, name) for name in templates] == [0, 0]
    for name, template in templates.items():
        scene.patch("Deployment", name, PatchOperation("replace", TEMPLATE, template))
        scene.rolled_out(name)


@pytest.mark.parametrize("event", [lagging_istiod, proxy_restarts_alone, injection_off, rolled_back])
def test_what_the_alias_is_worth(scene: Scene, event: Callable[[Scene], None]) -> None:
    deploy(scene, ("closed", "open"))
    migrate(scene, "closed", "open")
    event(scene)
    leaks(scene, "open")
    assert in_clear(scene, "closed") == 0


def test_a_container_that_starts_before_its_proxy(scene: Scene, shared: Lab) -> None:
    """The redirect stands before the first container: who is too early is refused, whatever its URL and its alias."""
    eager = "i=0; while true; do curl -s -m 2 -o /dev/null {}; i=$((i+1)); [ $i -gt 50 ] && sleep .2; done"
    deploy(scene, ("closed", "open"), eager, annotations={"sidecar.istio.io/nativeSidecar": "false"})
    migrate(scene, "closed", "open")
    for name in ("closed", "open"):
        scene.restart(name)
        until(lambda name=name: shared.counters().total(HOSTS[name]) > 0, f"{name} is served")  # type: ignore[misc]
    assert [in_clear(scene, name) for name in ("closed", "open")] == [0, 0]


SAID = {
    # Without the rule or the entry there is no cluster, and the route leads nowhere; without the route, the entry's own
    # cluster originates TLS too.
    ("DestinationRule",): {"closed": "failing", "open": "failing"},
    ("ServiceEntry",): {"closed": "failing", "open": "failing"},
    ("VirtualService",): {"closed": "verified", "open": "verified"},
    # Whichever shows first: the window ends with the leak.
    MESH_KINDS: {"closed": "failing or unconfigured", "open": "leaking"},
}


def test_what_verify_says_when_somebody_deletes_objects(scene: Scene) -> None:
    """And that nothing leaves in clear meanwhile, save where the alias was left out: then it is said."""
    # As nearly everywhere, something else of the mesh listens on port 80: what passes it by is counted with its host.
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    spec = {"hosts": ["shop.example.net"], "ports": ports, "resolution": "DNS", "exportTo": ["."]}
    metadata = build.metadata("something-else", scene.namespace)
    scene.create({"apiVersion": API_VERSION, "kind": "ServiceEntry", "metadata": metadata, "spec": spec})
    deploy(scene, ("closed", "open"))
    migrate(scene, "closed", "open")
    for gone, said in SAID.items():
        deleted = [scene.delete(kind, f"egress-{HOSTS[name]}") for kind in reversed(gone) for name in said]
        time.sleep(2)  # until the proxies have heard of it
        run = scene.egress("verify", "--window", "5s", "-o", "json")
        verdicts = {item["workload"]["name"]: item["verdict"] for item in run.document()["items"]}
        assert all(verdicts[name] in said[name].split(" or ") for name in said), (gone, run.out)
        assert run.status == (0 if gone == ("VirtualService",) else 3)
        assert (in_clear(scene, "open") > 0) is (said["open"] == "leaking")
        assert in_clear(scene, "closed") == 0
        scene.put_back(*reversed(deleted))


# ---- while it is undone -----------------------------------------------------------------------------------------------


def test_pods_that_take_their_time_to_end(scene: Scene) -> None:
    """A long grace period: the old pods go on calling http:// while the new ones are ready already."""
    for name in HOSTS:
        scene.create(build.config_map(name, {"API": url(name)}, scene.namespace))
        container = build.container(
            name, command=["sh", "-c", STUBBORN.format("$API")], envFrom=[{"configMapRef": {"name": name}}]
        )
        deploy(scene, (name,), containers=[container], terminationGracePeriodSeconds=6)
    migrate(scene, *HOSTS)
    undo(scene, "closed", "open")
    assert [in_clear(scene, name) for name in ("closed", "open")] == [0, 0]
    carry_out_bare(scene, without(undo_plan(scene, "bare"), Wait.NO_OLD_PODS))
    leaks(scene, "bare")
    assert [in_clear(scene, name) for name in ("closed", "open")] == [0, 0]


def test_a_job_that_somebody_starts_from_a_migrated_cron_job(scene: Scene) -> None:
    """As `kubectl create job --from` makes it: the CronJob owns it, and does not control it."""
    script = "for i in $(seq 30); do curl -s -m 2 -o /dev/null {}; sleep .2; done"
    for name in HOSTS:
        template = build.pod_template(
            name, command=["sh", "-c", script.format(url(name))], annotations=NATIVE, restartPolicy="Never"
        )
        spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}
        metadata = build.metadata(name, scene.namespace)
        scene.create({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec})
    migrate(scene, *HOSTS)
    for name in HOSTS:
        cron_job = scene.get("CronJob", name)
        owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": name, "uid": cron_job["metadata"]["uid"]}
        metadata = build.metadata(f"{name}-by-hand", scene.namespace, ownerReferences=[owner])
        spec = cron_job["spec"]["jobTemplate"]["spec"]
        scene.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})
        until(lambda name=name: scene.counters().total(HOSTS[name]) > 0, f"the Job of {name} calls")  # type: ignore[misc]
    carry_out_bare(scene, without(undo_plan(scene, "bare"), Wait.NO_OLD_PODS))
    leaks(scene, "bare")
    undo(scene, "closed")
    assert in_clear(scene, "closed") == 0


def test_a_template_that_is_rolled_back_while_it_is_undone(scene: Scene) -> None:
    """The undo waits for pods that somebody makes anew, and leaves the mesh objects to them."""
    deploy(scene, ("closed", "open"))
    migrate(scene, "closed", "open")
    for name in ("closed", "open"):
        migrated = scene.get("Deployment", name)["spec"]["template"]

        def tell(outcome: Outcome, name: str = name, migrated: Any = migrated) -> None:
            if outcome.step.wait is Wait.ROLLOUT:
                scene.patch("Deployment", name, PatchOperation("replace", TEMPLATE, migrated))
                scene.rolled_out(name)

        with pytest.raises(EgressError, match=rf"pod \S+ of deployment/{name} still calls http://, and is not gone"):
            carry_out_bare(scene, undo_plan(scene, name), tell, timeout=3.0)
        assert {(kind, f"egress-{HOSTS[name]}") for kind in MESH_KINDS} <= set(scene.objects())
    undo(scene, "closed", "open")
    assert [in_clear(scene, name) for name in ("closed", "open")] == [0, 0]
