"""What an API server does to a run in the middle: what is said, the exit status, and the state that is left behind."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from kubectl_egress.lab.client import Lab, start_lab
from kubectl_egress.model import PatchOperation, Ref
from tests import build
from tests.fault_proxy import Asked, Fault, FaultProxy, Rule
from tests.scene import HOST, NATIVE, Scene

pytestmark = pytest.mark.lab

CALLER = "caller"
LOOP = f"while true; do curl -s -m 3 -o /dev/null https://{HOST}/status/200; sleep .3; done"
NUMBERS = itertools.count()
DENIED = 'admission webhook "policy.example.com" denied the request: no clear text'


@pytest.fixture(scope="module")
def lab_and_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, FaultProxy]]:
    with start_lab() as lab, FaultProxy(lab.kubeconfig, tmp_path_factory.mktemp("proxy")) as proxy:
        yield lab, proxy


@pytest.fixture
def proxy(lab_and_proxy: tuple[Lab, FaultProxy]) -> FaultProxy:
    return lab_and_proxy[1]


@pytest.fixture
def scene(lab_and_proxy: tuple[Lab, FaultProxy]) -> Iterator[Scene]:
    """A namespace with a caller, whose runs go through the proxy."""
    lab, proxy = lab_and_proxy
    with Scene(lab, f"fault-{next(NUMBERS)}") as found:
        found.kubeconfig = proxy.kubeconfig
        template = {"command": ["sh", "-c", LOOP], "terminationGracePeriodSeconds": 0, "annotations": NATIVE}
        found.create(build.deployment(CALLER, found.namespace, **template))
        found.rolled_out(CALLER)
        yield found
        proxy.rule(found.namespace, None)
        found.delete("Deployment", CALLER)
        assert lab.counters().in_clear == 0
        assert not lab.counters().clear_bytes


def first_times(*faults: Fault, of: Callable[[Asked], bool] = lambda asked: asked.writes) -> Rule:
    """The first attempts of every such request fare so, and the next goes through."""
    seen: dict[tuple[str, str, bytes], int] = {}

    def rule(asked: Asked) -> Fault | None:
        if not of(asked):
            return None
        key = asked.method, asked.path, asked.body
        seen[key] = seen.get(key, 0) + 1
        return faults[seen[key] - 1] if seen[key] <= len(faults) else None

    return rule


def patches_caller(asked: Asked) -> bool:
    return asked.method == "PATCH" and asked.plural == "deployments"


def always(of: Callable[[Asked], bool], fault: Fault) -> Rule:
    return lambda asked: fault if of(asked) else None


def after_patch(then: Callable[[Asked], Fault | None]) -> Rule:
    """Nothing until the workload is patched, and then something."""
    patched: list[Asked] = []

    def rule(asked: Asked) -> Fault | None:
        if patches_caller(asked):
            patched.append(asked)
            return None
        return then(asked) if patched else None

    return rule


# ---- what a run survives: it ends as if nothing had been, and so does its undo ---------------------------------------------


def resets(scene: Scene) -> Rule:
    """Every write is cut off once before it is done, and once after."""
    return first_times(Fault(), Fault(passed_on=True))


def too_many_requests(scene: Scene) -> Rule:
    busy = Fault(status=429, reason="TooManyRequests", message="slow down", headers={"Retry-After": "1"})
    return first_times(busy, of=lambda asked: asked.writes and asked.plural != "configmaps")


def server_errors(scene: Scene) -> Rule:
    """Writes fail, once undone and once done; and so does what is read while something is waited for."""
    etcd = Fault(status=500, reason="InternalError", message="etcdserver: request timed out")
    away = Fault(status=503, reason="ServiceUnavailable", message="shutting down", passed_on=True)
    writes = first_times(etcd, away)
    reads = after_patch(first_times(etcd, of=lambda asked: asked.method == "GET" and not asked.subresource))
    return lambda asked: writes(asked) or reads(asked)


def conflicts(scene: Scene) -> Rule:
    """A quota's account, or an object that moves faster than the server can patch it."""
    text = "Operation cannot be fulfilled: the object has been modified"
    return first_times(
        Fault(status=409, reason="Conflict", message=text), of=lambda one: one.method in ("POST", "PATCH")
    )


def timeouts(scene: Scene) -> Rule:
    """No write is answered in time at first, and yet it is done later, beside the second attempt."""
    return first_times(Fault(delay=1.5, passed_on=True))


def slow_watches(scene: Scene) -> Rule:
    return always(lambda asked: asked.watches, Fault(delay=60, unharmed=True))


def cut_forwards(scene: Scene) -> Rule:
    """The ways to the proxies break off; the survey before has had its answer."""
    written: list[Asked] = []
    cuts = itertools.count()

    def rule(asked: Asked) -> Fault | None:
        written.extend([asked] if asked.writes else [])
        if written and asked.subresource == "portforward" and next(cuts) < 3:
            return Fault(cut_after=0.0)
        return None

    return rule


def restarted_proxy(scene: Scene) -> Rule:
    """The sidecar ends and comes back while it is waited for."""
    kill = Fault(unharmed=True, act=lambda: scene.lab.kill_proxy(scene.pod(CALLER), scene.namespace, stay_dead=False))
    return first_times(kill, of=lambda asked: asked.method == "POST" and asked.plural == "destinationrules")


def evicted_pod(scene: Scene) -> Rule:
    """Every pod goes as soon as the rollout has begun."""

    def evict() -> None:
        for pod in scene.pods(CALLER):
            ref = Ref("Pod", scene.namespace, pod["metadata"]["name"], "v1")
            scene.cluster.delete(ref, uid=pod["metadata"]["uid"])

    once = first_times(Fault(unharmed=True, act=evict), of=lambda asked: asked.watches)
    return after_patch(once)


def autoscaler(scene: Scene) -> Rule:
    """Somebody scales between the plan and the patch, up and down again."""

    def scale() -> None:
        replicas = 3 - scene.get("Deployment", CALLER)["spec"]["replicas"]
        scene.patch("Deployment", CALLER, PatchOperation("replace", ("spec", "replicas"), replicas))

    return first_times(Fault(unharmed=True, act=scale), of=lambda asked: asked.writes and asked.plural == "configmaps")


def restarted_server(scene: Scene) -> Rule:
    """For some seconds nobody is there, from the middle of the rollout on."""
    began: list[float] = []

    def then(asked: Asked) -> Fault | None:
        began.append(time.monotonic())
        return Fault() if time.monotonic() - began[0] < 4 else None

    return after_patch(then)


SURVIVED = [
    resets,
    too_many_requests,
    server_errors,
    conflicts,
    timeouts,
    slow_watches,
    cut_forwards,
    restarted_proxy,
    evicted_pod,
    autoscaler,
    restarted_server,
]


@pytest.mark.parametrize("fault", SURVIVED)
def test_what_a_run_survives(scene: Scene, proxy: FaultProxy, fault: Callable[[Scene], Rule]) -> None:
    before = scene.state()
    timeout = ("--request-timeout", "1s") if fault is timeouts else ()
    for verb in ("migrate", "undo"):
        proxy.rule(scene.namespace, fault(scene))
        run = scene.egress(verb, HOST, "-y", *timeout)
        assert run.status == 0, run
        assert ("http://httpbin.org" in str(scene.get("Deployment", CALLER)["spec"])) is (verb == "migrate")
        assert "lease.json" not in str(scene.objects())
    assert scene.state() == before


# ---- what ends it: said in two lines, and everything as it was before ------------------------------------------------------


@dataclass(frozen=True)
class Ending:
    """What goes wrong, and what is said."""

    rule: Rule
    says: str
    """A regular expression for the end of what stands on stderr."""
    arguments: tuple[str, ...] = ()
    status: int = 1


UNDONE = r"  everything is as it was before"
ENDINGS = {
    "an admission webhook refuses the workload": Ending(
        always(patches_caller, Fault(status=403, reason="Forbidden", message=DENIED)),
        rf"error: {re.escape(DENIED)}\n{UNDONE}; ask for this permission, .*",
    ),
    "an admission webhook refuses the entry": Ending(
        always(lambda asked: asked.plural == "serviceentries" and asked.writes, Fault(status=400, message=DENIED)),
        rf"error: {re.escape(DENIED)}\n{UNDONE}; the message is the API server's; .*",
    ),
    "validation refuses the workload": Ending(
        always(patches_caller, Fault(status=422, reason="Invalid", message="spec.template: Invalid value")),
        rf"error: spec\.template: Invalid value\n{UNDONE}; look at the object as it is now: .*",
    ),
    "validation refuses the journal": Ending(
        always(lambda asked: asked.writes, Fault(status=422, reason="Invalid", message="metadata.labels: no")),
        r"error: metadata\.labels: no\n  nothing was changed; look at the object as it is now: .*",
    ),
    "an answer that does not get better": Ending(
        always(patches_caller, Fault(status=500, reason="InternalError", message="etcdserver: no leader")),
        rf"error: etcdserver: no leader\n{UNDONE}; the message is the API server's; .*",
    ),
    "too many requests for ever": Ending(
        always(patches_caller, Fault(status=429, reason="TooManyRequests", message="slow down")),
        rf"error: slow down\n{UNDONE}; the API server is busy: .*",
    ),
    "no way to the proxies": Ending(
        always(lambda asked: asked.subresource in ("portforward", "exec"), Fault()),
        r"error: nothing was changed: the sidecar of pod \S+ does not answer: .*\n  kubectl logs .*",
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_what_ends_a_run(scene: Scene, proxy: FaultProxy, name: str) -> None:
    ending = ENDINGS[name]
    before = scene.state()
    proxy.rule(scene.namespace, ending.rule)
    run = scene.egress("migrate", HOST, "-y", *ending.arguments)
    assert run.status == ending.status, run
    assert re.search(ending.says + r"\n\Z", run.err), run.err
    assert "Traceback" not in run.err
    assert scene.state() == before


def test_a_token_that_expires_in_the_middle_and_another_one_that_goes_on(scene: Scene, proxy: FaultProxy) -> None:
    """It cannot be undone either: what was done stays, fails closed, and the way back is said."""
    before = scene.state()
    proxy.rule(scene.namespace, after_patch(lambda _: Fault(status=401, reason="Unauthorized", message="Unauthorized")))
    run = scene.egress("migrate", HOST, "-y")
    login = "You must be logged in to the server (Unauthorized)"
    assert run.status == 1, run
    assert run.err.endswith(
        f"error: {login}; and the undo stopped too: {login}\n"
        "  log in again, or choose another context or user: kubectl config get-contexts; "
        f"then kubectl egress undo {HOST} -n {scene.namespace} goes on with it\n"
    )
    assert "http://httpbin.org" in str(scene.get("Deployment", CALLER)["spec"])
    proxy.rule(scene.namespace, None)
    run = scene.egress("undo", HOST, "-y")
    assert run.status == 0, run
    assert re.search(r"kubectl-egress\.httpbin\.org: run \w{8} of .* is dead \(silent for 8 s\)", run.err)
    assert scene.state() == before


def test_a_rollout_that_passes_its_deadline(scene: Scene) -> None:
    """The application starts and never becomes ready."""
    probe = {"exec": {"command": ["sh", "-c", f"! grep -q {HOST} /etc/hosts"]}, "periodSeconds": 1}
    scene.patch("Deployment", CALLER, PatchOperation("replace", ("spec", "progressDeadlineSeconds"), 4))
    steps = ("spec", "template", "spec", "containers", 0, "readinessProbe")
    scene.patch("Deployment", CALLER, PatchOperation("add", steps, probe))
    scene.rolled_out(CALLER)
    before = scene.state()
    run = scene.egress("migrate", HOST, "-y")
    assert run.status == 1, run
    assert 'the rollout fails: deployment "caller" exceeded its progress deadline' in run.err
    assert "everything is as it was before" in run.err
    assert scene.state() == before


# ---- two at once -------------------------------------------------------------------------------------------------------


def started(scene: Scene, verb: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "kubectl_egress", verb, HOST, "-y", "-n", scene.namespace]
    environment = {"KUBECONFIG": str(scene.kubeconfig), "NO_COLOR": "1", "PATH": "/usr/bin:/bin"}
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


AT_WORK = r"error: httpbin\.org is being {} by \S+@\S+ since \S+\+00:00 \(run \w{{8}}\)\n  (?:nothing was changed; )?wait until"


@pytest.mark.parametrize("second", ["migrate", "undo"])
def test_who_comes_second_is_told_who_is_at_work(scene: Scene, proxy: FaultProxy, second: str) -> None:
    for verb, doing in (("migrate", "migrated"), ("undo", "undone")):
        reached = threading.Event()
        held = Fault(unharmed=True, delay=6.0)

        def rule(asked: Asked, reached: threading.Event = reached, held: Fault = held) -> Fault | None:
            if not patches_caller(asked) or reached.is_set():
                return None
            reached.set()
            return held

        proxy.rule(scene.namespace, rule)
        first = started(scene, verb)
        assert reached.wait(60)
        run = scene.egress(second, HOST, "-y")
        _, said = first.communicate(timeout=60)
        assert first.returncode == 0, said
        assert run.status == 1, run
        assert re.search(AT_WORK.format(doing), run.err), run.err


def test_of_two_that_planned_at_once_one_wins(scene: Scene, proxy: FaultProxy) -> None:
    """Both have seen that nothing is migrated; the second to write the journal finds it there."""
    # The first waits until the other one has written the same, and is at work.
    early, long = Fault(unharmed=True, delay=2.0), Fault(unharmed=True, delay=4.0)
    creates = itertools.count()

    def rule(asked: Asked) -> Fault | None:
        if asked.method == "POST" and asked.plural == "configmaps":
            return early if next(creates) == 0 else None
        return long if patches_caller(asked) else None

    proxy.rule(scene.namespace, rule)
    runs = [started(scene, "migrate"), started(scene, "migrate")]
    ended = [run.communicate(timeout=90) for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 1], ended
    [loser] = [said for run, (_, said) in zip(runs, ended, strict=True) if run.returncode]
    assert re.search(AT_WORK.format("migrated"), loser), loser
    assert "http://httpbin.org" in str(scene.get("Deployment", CALLER)["spec"])
    assert scene.egress("undo", HOST, "-y").status == 0
