from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubectl_egress.cluster import Cluster, ConnectionOptions, connect
from kubectl_egress.cluster.rollout import container_trouble, wait_gone, wait_rollout
from kubectl_egress.errors import EgressError, NotFoundError
from kubectl_egress.model import PatchOperation, Ref
from tests import build
from tests.fake_api import Answer, FakeApi, fake_api, listing, status
from tests.lab_api import RunningLab, running_lab

CURL = Ref("Deployment", "default", "curl", "apps/v1")
PATH = "/apis/apps/v1/namespaces/default/deployments"


def silent(_: str) -> None:
    return


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[RunningLab]:
    with running_lab(tmp_path) as running:
        yield running


@pytest.fixture
def cluster(lab: RunningLab) -> Iterator[Cluster]:
    connected = connect(ConnectionOptions(kubeconfig=str(lab.kubeconfig())))
    yield connected
    connected.close()


def pods(cluster: Cluster) -> list[Any]:
    return list(cluster.list("v1", "pods", "default"))


# ---- on the lab's API -----------------------------------------------------------------------------------------------


def test_a_rollout_is_waited_for_and_told_of(cluster: Cluster) -> None:
    cluster.create(build.deployment("curl", "default", spec={"replicas": 2}))
    said: list[str] = []
    wait_rollout(cluster, CURL, timeout=20, progress=said.append)
    assert said[-1] == 'deployment "curl" successfully rolled out'
    old = pods(cluster)
    steps = ("spec", "template", "spec", "containers", 0, "image")
    cluster.patch(CURL, [PatchOperation("replace", steps, "curlimages/curl:2")])
    wait_rollout(cluster, CURL, timeout=20, progress=silent)
    wait_gone(cluster, old, timeout=20, progress=silent)
    assert [one["spec"]["containers"][0]["image"] for one in pods(cluster)] == ["curlimages/curl:2"] * 2


def test_a_rollout_that_is_done_is_done_at_once(cluster: Cluster) -> None:
    cluster.create(build.deployment("curl", "default"))
    wait_rollout(cluster, CURL, timeout=20, progress=silent)
    started = time.monotonic()
    wait_rollout(cluster, CURL, timeout=0, progress=silent)
    assert time.monotonic() - started < 1


def test_pods_that_do_not_become_ready_end_in_an_error(lab: RunningLab, cluster: Cluster) -> None:
    lab.node.ready = lambda pod: False
    cluster.create(build.deployment("curl", "default"))
    with pytest.raises(EgressError, match=r"deployment/curl: the rollout was not done after 1s: Waiting for") as caught:
        wait_rollout(cluster, CURL, timeout=1, progress=silent)
    assert "kubectl describe deployment/curl -n default" in caught.value.remedy


def test_a_paused_rollout_is_refused_with_the_way_out(cluster: Cluster) -> None:
    cluster.create(build.deployment("curl", "default", spec={"paused": True}))
    with pytest.raises(EgressError, match="deployment/curl: the rollout is paused") as caught:
        wait_rollout(cluster, CURL, timeout=5, progress=silent)
    assert "kubectl rollout resume deployment/curl" in caught.value.remedy


def test_a_workload_that_is_deleted_meanwhile(lab: RunningLab, cluster: Cluster) -> None:
    lab.node.ready = lambda pod: False
    uid = cluster.create(build.deployment("curl", "default"))["metadata"]["uid"]
    threading.Timer(0.5, lambda: cluster.delete(CURL, uid=uid)).start()
    with pytest.raises(NotFoundError, match=r'deployments\.apps "curl"'):
        wait_rollout(cluster, CURL, timeout=10, progress=silent)


def test_terminating_pods_are_still_there(lab: RunningLab, cluster: Cluster) -> None:
    cluster.create(build.deployment("curl", "default"))
    wait_rollout(cluster, CURL, timeout=20, progress=silent)
    (old,) = pods(cluster)
    lab.node.hold_terminating = True
    ref = Ref("Pod", "default", old["metadata"]["name"], "v1")
    cluster.delete(ref, uid=old["metadata"]["uid"])
    said: list[str] = []
    with pytest.raises(EgressError, match=f"old pods are still there after 1s: {ref.name}"):
        wait_gone(cluster, [old], timeout=1, progress=said.append)
    assert said == ["Waiting for 1 old pod to be gone..."]
    lab.node.hold_terminating = False
    gone = {"metadata": {**old["metadata"], "uid": "somebody-else-s"}}
    wait_gone(cluster, [gone], timeout=1, progress=silent)


# ---- what does not come up ------------------------------------------------------------------------------------------


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path) as running:
        yield running


@pytest.fixture
def faulty(api: FakeApi, tmp_path: Path) -> Iterator[Cluster]:
    connected = connect(ConnectionOptions(kubeconfig=str(tmp_path / "config"), request_timeout="5s"))
    yield connected
    connected.close()


def rolling(**status: Any) -> dict[str, Any]:
    body = build.deployment("curl", "default")
    metadata = {"generation": 2, "resourceVersion": "1", "annotations": {"deployment.kubernetes.io/revision": "2"}}
    body["metadata"] |= metadata
    return {**body, "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, **status}}


def replica_set(revision: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"curl-{revision}",
            "labels": {"app": "curl", "pod-template-hash": f"hash-{revision}"},
            "annotations": {"deployment.kubernetes.io/revision": revision},
        }
    }


def stuck(name: str, revision: str, reason: str, **state: Any) -> dict[str, Any]:
    made = build.pod(name, "default")
    waiting = {"waiting": {"reason": reason, "message": "Back-off\npulling image"}}
    status = {"name": "app", "restartCount": 5, "state": waiting, **state}
    made["metadata"] |= {"labels": {"app": "curl", "pod-template-hash": f"hash-{revision}"}}
    return {**made, "status": {"phase": "Pending", "containerStatuses": [status]}}


def serve(api: FakeApi, body: Any, *stuck_pods: Any) -> None:
    api.on("GET", f"{PATH}/curl", Answer(body))
    api.on("GET", PATH, Answer([]))
    sets = [replica_set("1"), replica_set("2")]
    api.on("GET", "/apis/apps/v1/namespaces/default/replicasets", listing("ReplicaSet", "apps/v1", sets))
    api.on("GET", "/api/v1/namespaces/default/pods", listing("Pod", "v1", stuck_pods))


def test_a_container_that_does_not_come_up_is_named_at_once(api: FakeApi, faulty: Cluster) -> None:
    serve(api, rolling(), stuck("curl-2-a", "2", "ImagePullBackOff"))
    message = r"the rollout fails: container app of pod curl-2-a: ImagePullBackOff \(Back-off pulling image\)"
    with pytest.raises(EgressError, match=message):
        wait_rollout(faulty, CURL, timeout=30, progress=silent)


def test_an_old_pod_s_trouble_is_its_own(api: FakeApi, faulty: Cluster) -> None:
    serve(api, rolling(), stuck("curl-1-a", "1", "ImagePullBackOff"))
    with pytest.raises(EgressError, match="the rollout was not done after 1s"):
        wait_rollout(faulty, CURL, timeout=1, progress=silent)


def test_pods_of_a_template_that_has_been_replaced_since_do_not_count(api: FakeApi, faulty: Cluster) -> None:
    """An undo rolls back what has failed: until the controller has seen that, the newest pods are the failed ones."""
    serve(api, rolling(observedGeneration=1), stuck("curl-2-a", "2", "ImagePullBackOff"))
    with pytest.raises(EgressError, match="the rollout was not done after 1s"):
        wait_rollout(faulty, CURL, timeout=1, progress=silent)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: small"},
            "the rollout fails: exceeded quota: small",
        ),
        (
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
            'the rollout fails: deployment "curl" exceeded its progress deadline',
        ),
    ],
)
def test_what_the_deployment_itself_says(
    api: FakeApi, faulty: Cluster, condition: dict[str, str], message: str
) -> None:
    serve(api, rolling(conditions=[condition]))
    with pytest.raises(EgressError, match=message):
        wait_rollout(faulty, CURL, timeout=30, progress=silent)


def test_a_condition_of_the_template_before_does_not_count(api: FakeApi, faulty: Cluster) -> None:
    old = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"}
    serve(api, rolling(observedGeneration=1, conditions=[old]))
    with pytest.raises(EgressError, match="Waiting for deployment spec update to be observed"):
        wait_rollout(faulty, CURL, timeout=1, progress=silent)


def test_an_api_server_that_is_away_for_a_moment_is_waited_for(api: FakeApi, faulty: Cluster) -> None:
    done = rolling(replicas=1, updatedReplicas=1, availableReplicas=1)
    serve(api, rolling())
    reset = Answer(fault="reset")
    api.on("GET", f"{PATH}/curl", Answer(rolling()), reset, reset, reset, reset, Answer(done))
    wait_rollout(faulty, CURL, timeout=30, progress=silent)
    assert len(api.asked("GET", f"{PATH}/curl")) == 6


def test_who_may_not_watch_looks_again(api: FakeApi, faulty: Cluster) -> None:
    done = rolling(replicas=1, updatedReplicas=1, availableReplicas=1)
    serve(api, rolling())
    api.on("GET", PATH, status(403, "deployments.apps is forbidden: may not watch", "Forbidden"))
    api.on("GET", f"{PATH}/curl", Answer(rolling()), Answer(done))
    wait_rollout(faulty, CURL, timeout=30, progress=silent)


@pytest.mark.parametrize(
    ("state", "trouble"),
    [
        ({"state": {"running": {}}}, ""),
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, ""),
        ({"state": {"waiting": {"reason": "ErrImagePull"}}}, ""),
        ({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 1}, ""),
        (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "restartCount": 2,
                "lastState": {"terminated": {"exitCode": 7}},
            },
            "container app of pod a-1: CrashLoopBackOff (exit code 7)",
        ),
        ({"state": {"waiting": {"reason": "InvalidImageName"}}}, "container app of pod a-1: InvalidImageName"),
        (
            {"state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'configmap "x" not found'}}},
            'container app of pod a-1: CreateContainerConfigError (configmap "x" not found)',
        ),
    ],
)
@pytest.mark.parametrize("field", ["containerStatuses", "initContainerStatuses"])
def test_which_states_are_trouble(field: str, state: dict[str, Any], trouble: str) -> None:
    body = {**build.pod("a-1"), "status": {field: [{"name": "app", **state}]}}
    assert container_trouble(body) == trouble
