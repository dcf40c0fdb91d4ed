"""The lab's controllers: passes over a store, pods that become ready when the test says so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubectl_egress.lab.api import Registry
from kubectl_egress.lab.api.registry import Deletion
from kubectl_egress.lab.api.resources import BY_PLURAL
from kubectl_egress.lab.api.schedule import schedule
from kubectl_egress.lab.api.store import ObjectStore
from kubectl_egress.lab.controllers import Controllers
from tests.lab_api import FakeIstiod

Body = Mapping[str, Any]


class Cluster:
    """A store with controllers, stepped by hand; pods run once `start` is called, and go once `reap` is."""

    def __init__(self) -> None:
        self.store = ObjectStore()
        self.registry = Registry(self.store, FakeIstiod())
        self.controllers = Controllers(self.store, FakeIstiod())
        self.now = datetime.now(UTC)
        self.registry.create(BY_PLURAL["namespaces"], "", {"kind": "Namespace", "metadata": {"name": "default"}})

    def create(self, plural: str, name: str, spec: Body) -> Body:
        row = BY_PLURAL[plural]
        body = {"kind": row.kind, "apiVersion": row.api_version(), "metadata": {"name": name}, "spec": spec}
        return self.registry.create(row, "default", body)

    def change(self, plural: str, name: str, **spec: Any) -> Body:
        return self.registry.change(
            BY_PLURAL[plural], "default", name, lambda body: {**body, "spec": {**body["spec"], **spec}}
        )

    def get(self, plural: str, name: str) -> Body:
        found = self.store.get(plural, "default", name)
        assert found is not None
        return found

    def settle(self) -> None:
        """Pass after pass, until nothing changes any more."""
        for _ in range(50):
            before = self.store.revision
            self.controllers.settle(self.now)
            if self.store.revision == before:
                return
        raise AssertionError("the controllers never come to rest")

    def start(self, *, phase: str = "Running", limit: int = 100) -> None:
        for pod in [pod for pod in self.pods() if not ready(pod)][:limit]:
            condition = {"type": "Ready", "status": str(phase == "Running")}
            self.store.patch_status(
                "pods", "default", pod["metadata"]["name"], {"phase": phase, "conditions": [condition]}
            )

    def reap(self) -> None:
        for pod in self.store.view("pods"):
            if pod["metadata"].get("deletionTimestamp"):
                self.store.remove("pods", "default", pod["metadata"]["name"])

    def pods(self) -> list[Body]:
        return [pod for pod in self.store.view("pods") if not pod["metadata"].get("deletionTimestamp")]

    def sizes(self) -> dict[str, int]:
        return {
            item["spec"]["template"]["spec"]["containers"][0]["image"]: item["spec"]["replicas"]
            for item in self.store.view("replicasets")
        }


def ready(pod: Body) -> bool:
    return any(item["status"] == "True" for item in pod["status"].get("conditions") or [])


def template(image: str = "v1", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": image}], **spec}}


def selected(image: str = "v1", **spec: Any) -> dict[str, Any]:
    return {"selector": {"matchLabels": {"app": "a"}}, "template": template(image), **spec}


def condition(body: Body, kind: str) -> tuple[str, str]:
    found = next(item for item in body["status"]["conditions"] if item["type"] == kind)
    return found["status"], found["reason"]


def test_a_rolling_update_never_has_too_few_or_too_many() -> None:
    cluster = Cluster()
    cluster.create("deployments", "a", selected(replicas=4))
    cluster.settle()
    assert condition(cluster.get("deployments", "a"), "Available") == ("False", "MinimumReplicasUnavailable")
    cluster.start()
    cluster.settle()
    assert condition(cluster.get("deployments", "a"), "Progressing") == ("True", "NewReplicaSetAvailable")
    cluster.change("deployments", "a", template=template("v2"))
    for _ in range(20):
        cluster.settle()
        pods = cluster.pods()
        assert len(pods) <= 5
        assert sum(map(ready, pods)) >= 3
        cluster.reap()
        cluster.start(limit=1)
    deployment = cluster.get("deployments", "a")
    assert cluster.sizes() == {"v1": 0, "v2": 4}
    assert deployment["status"]["updatedReplicas"] == deployment["status"]["availableReplicas"] == 4
    assert "unavailableReplicas" not in deployment["status"]
    assert deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"] == 2
    assert deployment["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "2"}


def test_a_bad_template_stops_and_going_back_brings_the_old_replica_set_forward() -> None:
    cluster = Cluster()
    cluster.create("deployments", "a", selected(replicas=2, progressDeadlineSeconds=60))
    cluster.settle()
    cluster.start()
    cluster.settle()
    cluster.change("deployments", "a", template=template("bad"))
    cluster.settle()
    assert cluster.sizes() == {"v1": 2, "bad": 1}
    cluster.now += timedelta(seconds=90)
    cluster.settle()
    assert condition(cluster.get("deployments", "a"), "Progressing") == ("False", "ProgressDeadlineExceeded")
    cluster.change("deployments", "a", template=template("v1"))
    cluster.settle()
    assert cluster.sizes() == {"v1": 2, "bad": 0}
    assert cluster.get("deployments", "a")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


def test_a_paused_deployment_is_scaled_but_not_rolled() -> None:
    cluster = Cluster()
    cluster.create("deployments", "a", selected())
    cluster.settle()
    cluster.change("deployments", "a", paused=True, template=template("v2"), replicas=3)
    cluster.settle()
    assert cluster.sizes() == {"v1": 3}
    assert condition(cluster.get("deployments", "a"), "Progressing") == ("Unknown", "DeploymentPaused")
    cluster.change("deployments", "a", paused=False)
    for _ in range(5):
        cluster.settle()
        cluster.start()
        cluster.reap()
    assert cluster.sizes() == {"v1": 0, "v2": 3}


def test_recreate_waits_for_the_last_old_pod_to_be_gone() -> None:
    cluster = Cluster()
    cluster.create("deployments", "a", selected(strategy={"type": "Recreate"}))
    cluster.settle()
    cluster.start()
    cluster.change("deployments", "a", template=template("v2"))
    cluster.settle()
    assert cluster.pods() == []
    assert cluster.sizes()["v2"] == 0
    cluster.reap()
    cluster.settle()
    assert len(cluster.pods()) == 1


def test_a_refused_pod_is_told_in_the_conditions() -> None:
    cluster = Cluster()
    spec = selected()
    spec["template"]["metadata"]["annotations"] = {"refuse": "yes"}
    cluster.create("deployments", "a", spec)
    cluster.settle()
    assert condition(cluster.get("deployments", "a"), "ReplicaFailure") == ("True", "FailedCreate")
    cluster.change("deployments", "a", template=template())
    cluster.settle()
    assert len(cluster.pods()) == 1


def test_what_a_deployment_owns_goes_with_it() -> None:
    cluster = Cluster()
    cluster.create("deployments", "a", selected())
    cluster.settle()
    cluster.registry.delete(BY_PLURAL["deployments"], "default", "a", Deletion())
    cluster.settle()
    cluster.reap()
    assert [cluster.store.view(plural) for plural in ("deployments", "replicasets", "pods")] == [(), (), ()]


def test_an_orphaned_replica_set_stays_and_a_foreground_delete_goes_last() -> None:
    cluster = Cluster()
    cluster.create("deployments", "a", selected())
    cluster.settle()
    cluster.registry.delete(BY_PLURAL["deployments"], "default", "a", Deletion(propagation="Orphan"))
    cluster.settle()
    (left,) = cluster.store.view("replicasets")
    assert len(cluster.pods()) == 1
    cluster.registry.delete(
        BY_PLURAL["replicasets"], "default", left["metadata"]["name"], Deletion(propagation="Foreground")
    )
    cluster.settle()
    assert len(cluster.store.view("replicasets")) == 1
    cluster.reap()
    cluster.settle()
    assert cluster.store.view("replicasets") == ()


def test_a_stateful_set_works_in_order_one_at_a_time() -> None:
    cluster = Cluster()
    cluster.create("statefulsets", "s", selected(replicas=3))
    for count in (1, 2, 3):
        cluster.settle()
        assert [pod["metadata"]["name"] for pod in cluster.pods()] == [f"s-{number}" for number in range(count)]
        cluster.start()
    cluster.settle()
    first = cluster.get("statefulsets", "s")["status"]
    assert first["currentRevision"] == first["updateRevision"]
    cluster.change("statefulsets", "s", template=template("v2"))
    for gone in (2, 1, 0):
        cluster.settle()
        assert {f"s-{number}" for number in range(3)} - {pod["metadata"]["name"] for pod in cluster.pods()} == {
            f"s-{gone}"
        }
        cluster.reap()
        cluster.settle()
        cluster.start()
    cluster.settle()
    status = cluster.get("statefulsets", "s")["status"]
    assert status["updatedReplicas"] == 3
    assert status["currentRevision"] == status["updateRevision"] != first["updateRevision"]


def test_a_partition_keeps_the_old_template_below_it() -> None:
    cluster = Cluster()
    cluster.create("statefulsets", "s", selected(replicas=2, podManagementPolicy="Parallel"))
    cluster.settle()
    cluster.start()
    cluster.settle()
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    cluster.change("statefulsets", "s", template=template("v2"), updateStrategy=strategy)
    for _ in range(3):
        cluster.settle()
        cluster.reap()
        cluster.start()
    cluster.store.remove("pods", "default", "s-0")
    cluster.settle()
    images = {pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in cluster.pods()}
    assert images == {"s-0": "v1", "s-1": "v2"}


def test_a_daemon_set_has_one_pod_and_replaces_it() -> None:
    cluster = Cluster()
    cluster.create("daemonsets", "d", selected())
    cluster.settle()
    cluster.start()
    cluster.settle()
    status = cluster.get("daemonsets", "d")["status"]
    assert status["numberAvailable"] == status["updatedNumberScheduled"] == status["desiredNumberScheduled"] == 1
    cluster.change("daemonsets", "d", template=template("v2"))
    cluster.settle()
    assert cluster.pods() == []
    cluster.reap()
    cluster.settle()
    assert [pod["spec"]["containers"][0]["image"] for pod in cluster.pods()] == ["v2"]


def test_a_job_ends_with_its_completions_and_keeps_its_pods() -> None:
    cluster = Cluster()
    cluster.create("jobs", "j", {"template": template(restartPolicy="Never"), "completions": 3, "parallelism": 2})
    cluster.settle()
    assert len(cluster.pods()) == 2
    cluster.start(phase="Succeeded")
    cluster.settle()
    assert cluster.get("jobs", "j")["status"]["succeeded"] == 2
    cluster.start(phase="Succeeded")
    cluster.settle()
    assert condition(cluster.get("jobs", "j"), "Complete") == ("True", "CompletionsReached")
    assert len(cluster.pods()) == 3


def test_a_job_that_fails_too_often_is_failed() -> None:
    cluster = Cluster()
    cluster.create("jobs", "j", {"template": template(restartPolicy="Never"), "backoffLimit": 1})
    cluster.settle()
    cluster.start(phase="Failed")
    cluster.settle()
    assert len(cluster.pods()) == 1
    cluster.now += timedelta(seconds=15)
    cluster.settle()
    assert len(cluster.pods()) == 2
    cluster.start(phase="Failed")
    cluster.settle()
    assert condition(cluster.get("jobs", "j"), "Failed") == ("True", "BackoffLimitExceeded")


def test_a_cron_job_starts_what_is_due_unless_it_is_suspended() -> None:
    cluster = Cluster()
    job = {"spec": {"template": template(restartPolicy="Never")}}
    cluster.create("cronjobs", "c", {"schedule": "* * * * *", "jobTemplate": job, "suspend": True})
    cluster.now += timedelta(minutes=2)
    cluster.settle()
    assert cluster.store.view("jobs") == ()
    cluster.change("cronjobs", "c", suspend=False, concurrencyPolicy="Forbid")
    cluster.settle()
    (first,) = cluster.store.view("jobs")
    cluster.now += timedelta(minutes=1)
    cluster.settle()
    assert [item["metadata"]["name"] for item in cluster.store.view("jobs")] == [first["metadata"]["name"]]
    cluster.start(phase="Succeeded")
    cluster.settle()
    assert len(cluster.store.view("jobs")) == 2


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("* * * * *", "2026-11-22T10:07"),
        ("*/5 * * * *", "2026-11-22T10:05"),
        ("30 9-17/4 * * *", "2026-11-22T09:30"),
        ("0 0 * * sun", "2026-11-22T00:00"),
        ("0 0 1 * fri", "2026-11-20T00:00"),
        ("@hourly", "2026-11-22T10:00"),
        ("0 0 1 jan *", None),
    ],
)
def test_schedules(text: str, last: str | None) -> None:
    until = datetime(2026, 11, 22, 10, 7, 30, tzinfo=UTC)  # a Sunday
    found = schedule(text).last(until - timedelta(days=7), until)
    assert (found.isoformat()[:16] if found else None) == last


@pytest.mark.parametrize("text", ["", "* * * *", "60 * * * *", "x * * * *", "*/0 * * * *", "5-1 * * * *"])
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(ValueError, match=r"fields|parse|between"):
        schedule(text)
