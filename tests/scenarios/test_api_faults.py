"""What an API server does to a run in the middle: what is said, the exit status, and the state that is left behind."""

from __future__ import annotations

import itertools
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from kubectl_egress.lab.client import Lab
from kubectl_egress.model import PatchOperation, Ref
from tests import build
from tests.fault_proxy import Asked, Fault, FaultProxy, Rule
from tests.scene import HOST, MESH_KINDS, NATIVE, Scene
from tests.side_by_side import side_by_side
from tests.warm import start_lab

pytestmark = pytest.mark.lab

CALLER = "caller"
LOOP = f"while true; do curl -s -m 3 -o /dev/null https://{HOST}/status/200; sleep .3; done"
NUMBERS = itertools.count()
DENIED = 'admission webhook "policy.example.com" denied the request: no clear text'


@pytest.fixture(scope="module")
def lab_and_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, FaultProxy]]:
    with start_lab() as lab, FaultProxy(lab.kubeconfig, tmp_path_factory.mktemp("proxy")) as proxy:
        yield lab, proxy


@contextmanager
def calling(lab_and_proxy: tuple[Lab, FaultProxy]) -> Iterator[Scene]:
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
    return first_times(Fault(delay=3, passed_on=True))


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


def asks_sidecars(asked: Asked) -> bool:
    return asked.subresource in ("portforward", "exec")


def silent_sidecars(scene: Scene) -> Rule:
    """Nobody who is asked before the first write answers for some seconds, as a sidecar that has just started."""
    began: list[float] = []
    written: list[Asked] = []

    def rule(asked: Asked) -> Fault | None:
        written.extend([asked] if asked.writes else [])
        if written or not asks_sidecars(asked):
            return None
        began.append(time.monotonic())
        return Fault() if began[-1] - began[0] < 3 else None

    return rule


def leaving_pod(scene: Scene) -> Rule:
    """The pod goes between the survey's list of pods and the question to its sidecar."""
    [pod] = scene.pods(CALLER)
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]

    def evict() -> None:
        scene.cluster.delete(Ref("Pod", scene.namespace, name, "v1"), uid=uid)

    gone = itertools.chain([Fault(act=evict)], itertools.repeat(Fault()))
    return lambda asked: next(gone) if asks_sidecars(asked) and name in asked.path else None


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
    # The longest first.
    timeouts,
    server_errors,
    resets,
    too_many_requests,
    restarted_server,
    conflicts,
    slow_watches,
    silent_sidecars,
    leaving_pod,
    cut_forwards,
    restarted_proxy,
    evicted_pod,
    autoscaler,
]


def test_what_a_run_survives(lab_and_proxy: tuple[Lab, FaultProxy], subtests: pytest.Subtests) -> None:
    def run(fault: Callable[[Scene], Rule]) -> None:
        timeout = ("--request-timeout", "2s") if fault is timeouts else ()
        with calling(lab_and_proxy) as scene:
            before = scene.state()
            for verb in ("migrate", "undo"):
                lab_and_proxy[1].rule(scene.namespace, fault(scene))
                run = scene.egress(verb, HOST, "-y", *timeout)
                assert run.status == 0, run
                assert run.err.endswith(f"\n{HOST}: {'migrated' if verb == 'migrate' else 'as it was before'}.\n")
                assert not re.search("Traceback|rror:|^W |exception", run.err, re.MULTILINE), run.err
                assert ("http://httpbin.org" in str(scene.get("Deployment", CALLER)["spec"])) is (verb == "migrate")
                assert "lease.json" not in str(scene.objects())
            assert scene.state() == before

    side_by_side(subtests, ((fault.__name__, fault) for fault in SURVIVED), run)


# ---- what ends it: said in two lines, and everything as it was before ------------------------------------------------------


@dataclass(frozen=True)
class Ending:
    """What goes wrong, and what is said."""

    rule: Rule
    says: str
    """A regular expression for the end of what stands on stderr."""


def writes_of(*plurals: str) -> Callable[[Asked], bool]:
    return lambda asked: asked.writes and asked.plural in plurals


UNDONE = r"  everything is as it was before"
ENDINGS = {
    "an admission webhook refuses the workload": Ending(
        always(patches_caller, Fault(status=403, reason="Forbidden", message=DENIED)),
        rf"error: {re.escape(DENIED)}\n{UNDONE}; a policy of the cluster refuses it, not a permission: .*",
    ),
    "an admission webhook refuses the entry": Ending(
        always(writes_of("serviceentries"), Fault(status=400, message=DENIED)),
        rf"error: {re.escape(DENIED)}\n{UNDONE}; a policy of the cluster refuses it, not a permission: .*",
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
        always(asks_sidecars, Fault()),
        r"error: nothing was changed: the sidecar of pod \S+ does not answer: .*\n  kubectl logs .*",
    ),
}


def test_what_ends_a_migration(lab_and_proxy: tuple[Lab, FaultProxy], subtests: pytest.Subtests) -> None:
    def run(ending: Ending) -> None:
        with calling(lab_and_proxy) as scene:
            before = scene.state()
            lab_and_proxy[1].rule(scene.namespace, ending.rule)
            run = scene.egress("migrate", HOST, "-y")
            assert run.status == 1, run
            assert re.search(ending.says + r"\n\Z", run.err), run.err
            assert "Traceback" not in run.err
            assert scene.state() == before

    side_by_side(subtests, ENDINGS.items(), run)


GOES_ON = r"kubectl egress undo httpbin\.org -n \S+ goes on from here"
LOGIN = r"You must be logged in to the server \(Unauthorized\)"


@dataclass(frozen=True)
class Undoing:
    """What goes wrong in an undo, what is said, and what is left: whether the caller is back, and which mesh objects."""

    rule: Callable[[], Rule]
    says: str
    back: bool
    mesh: frozenset[str] = frozenset(MESH_KINDS)


UNDOINGS = {
    "an admission webhook refuses the workload": Undoing(
        lambda: always(patches_caller, Fault(status=403, reason="Forbidden", message=DENIED)),
        rf"error: {re.escape(DENIED)}\n  a policy of the cluster refuses it, .*; {GOES_ON}",
        back=False,
    ),
    "who may patch workloads may not delete the entry": Undoing(
        lambda: always(writes_of("serviceentries"), Fault(status=403, reason="Forbidden", message="no")),
        rf"error: no\n  ask for this permission, .*; {GOES_ON}",
        back=True,
        mesh=frozenset({"DestinationRule", "ServiceEntry", "VirtualService"}),
    ),
    "a token that expires in the middle": Undoing(
        lambda: after_patch(lambda _: Fault(status=401, reason="Unauthorized", message="Unauthorized")),
        rf"error: {LOGIN}\n  log in again, .*; {GOES_ON}",
        back=True,
    ),
    "an answer that does not get better": Undoing(
        lambda: always(writes_of("destinationrules"), Fault(status=500, reason="InternalError", message="no leader")),
        rf"error: no leader\n  the message is the API server's; .*; {GOES_ON}",
        back=True,
        mesh=frozenset({"DestinationRule"}),
    ),
}


def test_what_ends_an_undo_and_the_next_one_goes_on(
    lab_and_proxy: tuple[Lab, FaultProxy], subtests: pytest.Subtests
) -> None:
    def run(undoing: Undoing) -> None:
        with calling(lab_and_proxy) as scene:
            before = scene.state()
            scene.migrate()
            lab_and_proxy[1].rule(scene.namespace, undoing.rule())
            run = scene.egress("undo", HOST, "-y")
            assert run.status == 1, run
            assert re.search(undoing.says + r"\n\Z", run.err), run.err
            lab_and_proxy[1].rule(scene.namespace, None)
            left = scene.state()
            assert (left["Deployment", CALLER] == before["Deployment", CALLER]) is undoing.back
            assert {kind for kind, _ in left if kind in MESH_KINDS} == undoing.mesh
            assert ("ConfigMap", f"kubectl-egress.{HOST}") in left
            scene.undo()
            assert scene.state() == before

    side_by_side(subtests, UNDOINGS.items(), run)


# ---- what is left for somebody to mend, and two at once: each by itself, and all of them at once -------------------------------


def token_that_expires(scene: Scene, proxy: FaultProxy) -> None:
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


PROBED = ("spec", "template", "spec", "containers", 0, "readinessProbe")
DEADLINE = ("spec", "progressDeadlineSeconds")


def deadline_of_a_rollout(scene: Scene, proxy: FaultProxy) -> None:
    """The application starts and never becomes ready."""
    probe = {"exec": {"command": ["sh", "-c", f"! grep -q {HOST} /etc/hosts"]}, "periodSeconds": 1}
    scene.patch("Deployment", CALLER, PatchOperation("add", PROBED, probe))
    scene.rolled_out(CALLER)
    scene.patch("Deployment", CALLER, PatchOperation("replace", DEADLINE, 4))
    before = scene.state()
    run = scene.egress("migrate", HOST, "-y")
    assert run.status == 1, run
    assert 'the rollout fails: deployment "caller" exceeded its progress deadline' in run.err
    assert "everything is as it was before" in run.err
    assert scene.state() == before


def image_that_is_gone(scene: Scene, proxy: FaultProxy) -> None:
    """New pods cannot be started: the registry has cleaned up, or the node may not pull any more."""
    name = "image"
    run_it = {"caller": f"#!/bin/sh\n{LOOP.replace(f'https://{HOST}/status/200', '$API')}\n"}
    scene.create(build.config_map(name, run_it, scene.namespace))
    mounted = build.container(
        name,
        command=["/image/caller"],
        env={"API": f"https://{HOST}/status/200"},
        volumeMounts=[{"name": name, "mountPath": "/image"}],
    )
    volumes = [{"name": name, "configMap": {"name": name, "defaultMode": 0o755}}]
    template = {"containers": [mounted], "volumes": volumes, "terminationGracePeriodSeconds": 0, "annotations": NATIVE}
    scene.create(build.deployment(name, scene.namespace, **template))
    scene.rolled_out(name)
    # The node has it in the volume of the pod that runs, and in no new one.
    scene.patch("ConfigMap", name, PatchOperation("replace", ("data",), {"something-else": ""}))
    before = scene.state()
    run = scene.egress("migrate", HOST, "-y", "--workload", f"deploy/{name}")
    assert run.status == 1, run
    assert re.search(
        r"error: deployment/image: the rollout fails: container image of pod \S+: ImagePullBackOff \(.*\)\n"
        rf"{UNDONE}; kubectl describe deployment/image -n \S+ .*\n\Z",
        run.err,
    ), run.err
    assert scene.state() == before
    scene.delete("Deployment", name)


def rollout_that_fails_in_an_undo(scene: Scene, proxy: FaultProxy) -> None:
    """The application cannot go back any more: the old pods stay, and so does all that they need."""
    before = scene.state()
    scene.migrate()
    probe = {"exec": {"command": ["grep", "-q", HOST, "/etc/hosts"]}, "periodSeconds": 1}
    scene.patch("Deployment", CALLER, PatchOperation("add", PROBED, probe))
    scene.rolled_out(CALLER)
    scene.patch("Deployment", CALLER, PatchOperation("replace", DEADLINE, 4))
    run = scene.egress("undo", HOST, "-y")
    assert run.status == 1, run
    assert re.search(
        r'error: deployment/caller: the rollout fails: deployment "caller" exceeded its progress deadline\n'
        rf"  kubectl describe deployment/caller -n \S+ and kubectl get pods -n \S+ show more; {GOES_ON}\n\Z",
        run.err,
    ), run.err
    assert set(MESH_KINDS) <= {kind for kind, _ in scene.objects()}
    scene.patch("Deployment", CALLER, PatchOperation("remove", PROBED))
    scene.patch("Deployment", CALLER, PatchOperation("replace", DEADLINE, 600))
    scene.undo()
    assert scene.state() == before


AT_WORK = r"error: httpbin\.org is being {} by \S+@\S+ since \S+\+00:00 \(run \w{{8}}\)\n  (?:nothing was changed; )?wait until"


def migrate_comes_second(scene: Scene, proxy: FaultProxy) -> None:
    comes_second(scene, proxy, "migrate")


def undo_comes_second(scene: Scene, proxy: FaultProxy) -> None:
    comes_second(scene, proxy, "undo")


def comes_second(scene: Scene, proxy: FaultProxy, second: str) -> None:
    """And is told who is at work."""
    for verb, doing in (("migrate", "migrated"), ("undo", "undone")):
        reached, ended = threading.Event(), threading.Event()
        # The first one goes on as soon as the second one has ended.
        held = Fault(unharmed=True, held=ended)

        def rule(asked: Asked, reached: threading.Event = reached, held: Fault = held) -> Fault | None:
            if not patches_caller(asked) or reached.is_set():
                return None
            reached.set()
            return held

        proxy.rule(scene.namespace, rule)
        first = scene.started(verb, HOST, "-y")
        assert reached.wait(60)
        run = scene.egress(second, HOST, "-y")
        ended.set()
        assert first.ended(60).status == 0
        assert run.status == 1, run
        assert re.search(AT_WORK.format(doing), run.err), run.err


def ctrl_c_while_the_server_is_busy(scene: Scene, proxy: FaultProxy) -> None:
    """It ends at once, whatever Retry-After says, and holds nothing: who goes on or back waits for nobody."""
    before, reached = scene.state(), threading.Event()

    def rule(asked: Asked) -> Fault | None:
        if not patches_caller(asked):
            return None
        reached.set()
        return Fault(status=429, reason="TooManyRequests", message="slow down", headers={"Retry-After": "8"})

    proxy.rule(scene.namespace, rule)
    run = scene.started("migrate", HOST, "-y")
    assert reached.wait(60)
    time.sleep(0.5)
    run.send_signal(signal.SIGINT)
    ended = run.ended(60)
    assert ended.status == 130, ended
    where = f"{HOST} -n {scene.namespace}"
    assert ended.err.endswith(
        "\nInterrupted after 7 of 11 steps. What was done stays as it is.\n"
        f"  go on:    kubectl egress migrate {where}\n  go back:  kubectl egress undo {where}\n"
    )
    proxy.rule(scene.namespace, None)
    assert "is dead" not in scene.undo().err
    assert scene.state() == before


def two_plan_at_once(scene: Scene, proxy: FaultProxy) -> None:
    """Both have seen that nothing is migrated; the second to write the journal finds it there."""
    # The first waits until the other one has written the same, and is at work.
    early, long = Fault(unharmed=True, delay=2.0), Fault(unharmed=True, delay=4.0)
    creates = itertools.count()

    def rule(asked: Asked) -> Fault | None:
        if asked.method == "POST" and asked.plural == "configmaps":
            return early if next(creates) == 0 else None
        return long if patches_caller(asked) else None

    proxy.rule(scene.namespace, rule)
    runs = [scene.started("migrate", HOST, "-y"), scene.started("migrate", HOST, "-y")]
    ended = [run.ended(90) for run in runs]
    assert sorted(run.status for run in ended) == [0, 1], ended
    [loser] = [run.err for run in ended if run.status]
    assert re.search(AT_WORK.format("migrated"), loser), loser
    assert "http://httpbin.org" in str(scene.get("Deployment", CALLER)["spec"])
    assert scene.egress("undo", HOST, "-y").status == 0


STORIES = [
    token_that_expires,
    undo_comes_second,
    migrate_comes_second,
    two_plan_at_once,
    ctrl_c_while_the_server_is_busy,
    deadline_of_a_rollout,
    image_that_is_gone,
    rollout_that_fails_in_an_undo,
]


def test_what_is_left_to_somebody(lab_and_proxy: tuple[Lab, FaultProxy], subtests: pytest.Subtests) -> None:
    def run(story: Callable[[Scene, FaultProxy], None]) -> None:
        with calling(lab_and_proxy) as scene:
            story(scene, lab_and_proxy[1])

    side_by_side(subtests, ((story.__name__, story) for story in STORIES), run)
