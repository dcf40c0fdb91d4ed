"""What a cluster has that a user did not expect: one line what, one line remedy, nothing half done."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_egress.lab.client import Lab
from kubectl_egress.model import PatchOperation
from tests import build
from tests.scene import HOST, MESH_KINDS, Scene, until
from tests.warm import start_lab

pytestmark = pytest.mark.lab

LOOP = "while true; do curl -s -m 3 -o /dev/null {url}; sleep .2; done"
READS = ("get", "list", "watch")
WORKLOADS = ("namespaces", "pods", "deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs")
MESH = ("serviceentries", "destinationrules", "virtualservices", "sidecars", "envoyfilters")
RESOURCES = (*WORKLOADS, "configmaps", *MESH)


def rules(*granted: tuple[tuple[str, ...], tuple[str, ...]]) -> list[dict[str, str]]:
    return [{"verb": verb, "resource": one} for verbs, resources in granted for verb in verbs for one in resources]


PROXY = rules((("get", "create"), ("pods/portforward", "pods/exec")))
USERS = {
    "nobody": [],
    "no-mesh": [*rules((READS, (*WORKLOADS, "configmaps"))), *PROXY],
    "no-proxy": rules((READS, RESOURCES), (("create", "patch", "delete"), RESOURCES)),
    "no-exec": [
        *rules((READS, RESOURCES), (("create", "patch", "delete"), RESOURCES)),
        *rules((("get", "create"), ("pods/portforward",))),
    ],
    "reader": [*rules((READS, RESOURCES)), *PROXY],
    "half": [*rules((READS, RESOURCES), (("create", "patch", "delete"), ("configmaps", "destinationrules"))), *PROXY],
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with start_lab(users=USERS) as lab:
        yield lab


_number = itertools.count(1)


@pytest.fixture
def scene(shared: Lab) -> Iterator[Scene]:
    """A namespace of the test's own in a lab for all tests; its Deployment is gone afterwards."""
    with Scene(shared, f"bad-{next(_number)}") as found:
        yield found
        for kind, name in list(found.objects()):
            if kind == "Deployment":
                found.delete(kind, name)


@pytest.fixture
def calling(scene: Scene) -> Scene:
    """With a Deployment that calls the host."""
    call(scene)
    return scene


def call(scene: Scene, url: str = f"https://{HOST}/status/200", name: str = "caller", **rest: Any) -> None:
    command = ["sh", "-c", LOOP.format(url=url)]
    spec = {"terminationGracePeriodSeconds": 0, **rest}
    scene.create(build.deployment(name, scene.namespace, command=command, **spec))
    scene.rolled_out(name)


def refused(scene: Scene, *arguments: str, status: int = 1) -> tuple[str, str]:
    """The two last lines of what a command says that must fail and change nothing."""
    before = scene.versions()
    run = scene.egress(*arguments)
    assert run.status == status, run
    assert "Traceback" not in run.err
    assert scene.versions() == before, run
    what, remedy = run.err.splitlines()[-2:]
    assert what.startswith("error: "), run
    assert remedy.startswith("  "), run
    return what, remedy


# ---- what is not there ------------------------------------------------------------------------------------------------


def test_a_context_that_does_not_exist(scene: Scene) -> None:
    what, remedy = refused(scene, "inspect", "--context", "prod")
    assert what == "error: context was not found for specified context: prod"
    assert "lab, lab-nobody" in remedy


@pytest.mark.parametrize("command", ["inspect", f"migrate {HOST} -y", "verify", "undo --all -y"])
def test_a_namespace_that_does_not_exist(command: str, scene: Scene) -> None:
    scene.namespace, own = "nowhere", scene.namespace
    run = scene.egress(*command.split())
    scene.namespace = own
    assert run.status == 1
    assert run.err == 'error: namespaces "nowhere" not found\n  kubectl get namespaces lists them; give -n NAMESPACE\n'


def test_a_type_that_does_not_exist(scene: Scene) -> None:
    what, remedy = refused(scene, "inspect", "deplyo/caller")
    assert what == 'error: the server doesn\'t have a resource type "deplyo"'
    assert "kubectl api-resources" in remedy


def test_a_type_that_makes_no_pods(scene: Scene) -> None:
    what, remedy = refused(scene, "inspect", "service/caller", status=2)
    assert what == "error: services is not a type of workload"
    assert "deployments" in remedy


@pytest.mark.parametrize("command", ["inspect deploy/other", f"migrate {HOST} --workload deploy/other -y"])
def test_a_workload_that_does_not_exist(command: str, calling: Scene) -> None:
    what, remedy = refused(calling, *command.split())
    assert what == 'error: deployments.apps "other" not found'
    assert remedy == f"  kubectl get deployments -n {calling.namespace} lists what is there"


def test_hosts_that_nobody_calls_and_what_may_have_been_meant(calling: Scene) -> None:
    what, remedy = refused(calling, "migrate", "httpbin.ogr", "-y")
    assert "calls httpbin.ogr" in what
    assert "did you mean httpbin.org?" in remedy
    what, remedy = refused(calling, "migrate", HOST, "api.example.com", "-y")
    assert "calls api.example.com, " in what
    assert remedy.strip() == f"external hosts that are called there: {HOST}; see kubectl egress inspect"
    what, remedy = refused(calling, "migrate", f"{HOST}:8443", "-y")
    assert "did you mean httpbin.org?" in remedy
    what, _ = refused(calling, "verify", "api.example.com")
    assert what.endswith("calls api.example.com")


def test_nothing_is_migrated(calling: Scene) -> None:
    what, remedy = refused(calling, "verify")
    assert what == f"error: nothing is migrated in namespace {calling.namespace}"
    assert remedy == "  give -n NAMESPACE for another namespace"
    assert refused(calling, "undo", "--all", "-y") == (what, remedy)
    what, _ = refused(calling, "undo", HOST, "-y")
    assert what == f"error: {HOST} is not migrated in namespace {calling.namespace}: there is no journal of it"


def test_without_a_terminal_nothing_is_changed_unless_yes_is_said(calling: Scene) -> None:
    what, remedy = refused(calling, "migrate", HOST)
    assert what == "error: nothing was changed: there is no terminal to ask on"
    assert remedy == "  add -y (--yes) to go ahead unasked"


# ---- what may not be done -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["inspect", f"migrate {HOST} -y", "verify"])
def test_who_may_see_no_workload_is_not_told_that_there_is_none(command: str, calling: Scene) -> None:
    what, remedy = refused(calling, *command.split(), "--context", "lab-nobody")
    assert what.startswith("error: may not list cronjobs.batch, daemonsets.apps, deployments.apps, ")
    assert "kubectl auth can-i list" in remedy
    assert f"-n {calling.namespace}" in remedy


def test_who_may_not_see_the_journals_is_not_told_that_nothing_is_migrated(calling: Scene) -> None:
    what, _ = refused(calling, "undo", "--all", "-y", "--context", "lab-nobody")
    assert what == f"error: may not list configmaps in namespace {calling.namespace}"


def test_who_may_not_see_the_mesh_objects_gets_a_finding(calling: Scene) -> None:
    run = calling.egress("inspect", "--context", "lab-no-mesh")
    assert run.status == 0
    lines = run.out.splitlines()
    [blocking] = [line for line in lines if line.startswith("block ")]
    assert "no-permission  may not list destinationrules.networking.istio.io, serviceentries" in blocking
    assert run.err.endswith("Next: kubectl egress explain no-permission\n")
    what, remedy = refused(calling, "migrate", HOST, "-y", "--context", "lab-no-mesh", status=3)
    assert what == "error: nothing was changed: no-permission stands in the way"
    assert "kubectl egress explain no-permission" in remedy


def test_who_may_not_ask_the_sidecars_gets_a_finding_and_no_wait(calling: Scene) -> None:
    started = time.monotonic()
    run = calling.egress("migrate", HOST, "-y", "--context", "lab-no-proxy")
    assert run.status == 3
    assert f"may not read the sidecars in namespace {calling.namespace}: neither port-forward nor exec" in run.out
    assert "1. create" not in run.out
    assert time.monotonic() - started < 20
    assert set(calling.objects()) == {("Deployment", "caller")}


def test_port_forward_alone_is_enough(calling: Scene) -> None:
    assert calling.egress("migrate", HOST, "-y", "--context", "lab-no-exec").status == 0
    assert calling.egress("undo", HOST, "-y", "--context", "lab-no-exec").status == 0


@pytest.mark.parametrize(
    ("user", "missing"),
    [
        ("reader", "may not create configmaps, destinationrules.networking.istio.io, serviceentries"),
        ("half", "may not create serviceentries.networking.istio.io, virtualservices.networking.istio.io"),
    ],
)
def test_who_may_not_write_all_is_told_before_anything_is_changed(calling: Scene, user: str, missing: str) -> None:
    before = calling.versions()
    run = calling.egress("migrate", HOST, "-y", "--context", f"lab-{user}")
    assert run.status == 3
    assert missing in " ".join(run.out.split())
    assert "error: nothing was changed: no-permission stands in the way" in run.err
    assert calling.versions() == before


def test_who_may_not_write_is_told_so_by_an_undo_too(calling: Scene) -> None:
    assert calling.egress("migrate", HOST, "-y").status == 0
    before = calling.versions()
    what, remedy = refused(calling, "undo", HOST, "-y", "--context", "lab-half")
    assert what.startswith("error: nothing was changed: may not patch deployments.apps, patch virtualservices")
    assert "kubectl auth can-i patch deployments.apps" in remedy
    assert calling.versions() == before


def test_credentials_that_do_not_count(calling: Scene, tmp_path: Path) -> None:
    kubeconfig = yaml.safe_load(calling.lab.kubeconfig.read_text())
    for user in kubeconfig["users"]:
        user["user"] = {"token": "of-yesterday"}
    (tmp_path / "config").write_text(yaml.safe_dump(kubeconfig))
    for command in ("inspect", f"migrate {HOST} -y", "verify", "undo --all -y"):
        what, remedy = refused(calling, *command.split(), "--kubeconfig", str(tmp_path / "config"))
        assert what == "error: You must be logged in to the server (Unauthorized)"
        assert "log in again" in remedy


# ---- what is in the way ----------------------------------------------------------------------------------------------------


def test_a_pod_without_a_sidecar(scene: Scene) -> None:
    call(scene, labels={"sidecar.istio.io/inject": "false"})
    run = scene.egress("migrate", HOST, "-y")
    assert run.status == 3
    assert "block  no-sidecar  deployment/caller: " in run.out
    assert "1. create" not in run.out
    assert "fails closed" not in run.out
    assert set(scene.objects()) == {("Deployment", "caller")}
    what, remedy = refused(scene, "migrate", HOST, "-y", status=3)
    assert what == "error: nothing was changed: no-sidecar stands in the way"
    assert "kubectl egress explain no-sidecar" in remedy


def test_a_sidecar_that_does_not_answer(calling: Scene) -> None:
    pod = calling.pod("caller")
    calling.lab.kill_proxy(pod, calling.namespace)
    until(lambda: "is not running" in calling.egress("inspect").out, "inspect says that the sidecar is dead")
    before = calling.versions()
    run = calling.egress("migrate", HOST, "-y")
    assert run.status == 3, run
    assert f"block  no-sidecar  deployment/caller: the sidecar of pod {pod} is not ready" in run.out
    assert f"kubectl logs {pod} -c istio-proxy -n {calling.namespace} says why it is not" in run.out, run.out
    assert calling.versions() == before


def test_a_paused_rollout(calling: Scene) -> None:
    calling.patch("Deployment", "caller", PatchOperation("add", ("spec", "paused"), True))
    run = calling.egress("migrate", HOST, "-y")
    assert run.status == 3
    assert f"→ kubectl rollout resume deployment/caller -n {calling.namespace}" in run.out
    assert set(calling.objects()) == {("Deployment", "caller")}


def test_what_is_done_is_done_even_if_the_rollout_is_paused_since(calling: Scene) -> None:
    calling.migrate()
    calling.patch("Deployment", "caller", PatchOperation("add", ("spec", "paused"), True))
    run = calling.egress("migrate", HOST, "-y")
    assert run.status == 0, run
    assert run.out.startswith(f"{HOST}: nothing to do.\n")


def test_a_name_that_dns_does_not_know(scene: Scene) -> None:
    host = "gone.example.com"
    scene.lab.resolve(host, "")
    call(scene, f"https://{host}/")
    before = scene.state()
    started = time.monotonic()
    run = scene.egress("migrate", host, "-y")
    assert time.monotonic() - started < 40
    assert run.status == 1
    what, remedy = run.err.splitlines()[-2:]
    assert what.startswith(f"error: no address for {host} in 20 s: ")
    assert remedy == (
        "  everything is as it was before; check that the name is right, and that the cluster's DNS knows it"
    )
    assert scene.state() == before


def test_a_workload_that_was_never_migrated_is_unconfigured(calling: Scene) -> None:
    run = calling.egress("verify", HOST, "--window", "3s")
    assert run.status == 3
    assert "unconfigured" in run.out
    assert run.err == "Not verified: 1 unconfigured (1 workload, 1 host).\n"


def test_exit_code_3_while_something_is_left_to_migrate(calling: Scene) -> None:
    assert calling.egress("migrate", HOST, "--exit-code").status == 3
    assert set(calling.objects()) == {("Deployment", "caller")}


@pytest.mark.parametrize("dry_run", ["client", "server"])
def test_a_dry_run_changes_nothing_and_asks_nothing(dry_run: str, calling: Scene) -> None:
    before = calling.versions()
    run = calling.egress("migrate", HOST, f"--dry-run={dry_run}")
    assert run.status == 0, run
    assert run.err.endswith(f"Nothing was changed ({dry_run} dry run).\n")
    assert calling.versions() == before


def test_data_on_stdout_and_talk_on_stderr(calling: Scene) -> None:
    run = calling.egress("migrate", HOST, "-o", "yaml")
    assert run.status == 0
    assert [kind for kind in MESH_KINDS if f"kind: {kind}\n" in run.out] == list(MESH_KINDS)
    assert run.err == ""
    assert set(calling.objects()) == {("Deployment", "caller")}
