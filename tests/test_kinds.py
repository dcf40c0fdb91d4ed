"""Kinds that make pods."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_egress import kinds
from kubectl_egress.kinds import KINDS, Hold
from tests.build import config_map, container, pod_template, workload


@pytest.mark.parametrize("kind", [row.kind for row in KINDS])
def test_every_kind_has_its_template_where_the_row_says(kind: str) -> None:
    body = workload(kind, env={"A": "b"})
    template = kinds.pod_template(body)
    assert template is not None
    assert template["spec"]["containers"][0]["env"] == [{"name": "A", "value": "b"}]


@pytest.mark.parametrize(
    "body", [{}, config_map("a", {}), {"kind": "Deployment"}, {"kind": "Job", "spec": {"template": "x"}}]
)
def test_no_template(body: dict[str, Any]) -> None:
    assert kinds.pod_template(body) is None


def test_rows_are_unique() -> None:
    names = [name for row in KINDS for name in row.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("deploy", "Deployment"),
        ("Deployment", "Deployment"),
        ("deployments.apps", "Deployment"),
        ("sts", "StatefulSet"),
        ("deployments.v1.apps", "Deployment"),
        ("cj", "CronJob"),
        ("jobs.batch", "Job"),
        ("rs", "ReplicaSet"),
        ("ds", "DaemonSet"),
    ],
)
def test_kubectl_s_names(word: str, kind: str) -> None:
    row = kinds.named(word)
    assert row is not None
    assert row.kind == kind


@pytest.mark.parametrize("word", ["", "pod", "deploys", "deployments.batch", "ConfigMap"])
def test_unknown_names(word: str) -> None:
    assert kinds.named(word) is None
    assert kinds.row(word) is None


def test_roles_of_containers() -> None:
    template = pod_template(
        containers=[container("main")],
        initContainers=[container("first"), container("proxy", restartPolicy="Always")],
    )
    assert [(steps, body["name"], role) for steps, body, role in kinds.containers(template)] == [
        (("spec", "initContainers", 0), "first", "init"),
        (("spec", "initContainers", 1), "proxy", "sidecar"),
        (("spec", "containers", 0), "main", "container"),
    ]


@pytest.mark.parametrize(
    "template", [{}, {"spec": None}, {"spec": {"containers": None}}, {"spec": {"containers": "x"}}]
)
def test_no_containers(template: dict[str, Any]) -> None:
    assert list(kinds.containers(template)) == []


def test_selectors() -> None:
    assert kinds.selector(workload("Deployment")) == {"matchLabels": {"app": "app"}}
    assert kinds.selector(workload("CronJob")) is None
    assert kinds.selector(config_map("a", {})) is None


@pytest.mark.parametrize(
    ("kind", "spec", "hold"),
    [
        ("Deployment", {}, Hold.NONE),
        ("Deployment", {"paused": True}, Hold.PAUSED),
        ("StatefulSet", {}, Hold.NONE),
        ("StatefulSet", {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}, Hold.NONE),
        (
            "StatefulSet",
            {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
            Hold.PARTITION,
        ),
        ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, Hold.ON_DELETE),
        ("DaemonSet", {"updateStrategy": {"type": "OnDelete"}}, Hold.ON_DELETE),
        ("ReplicaSet", {}, Hold.NO_ROLLOUT),
        ("Job", {}, Hold.IMMUTABLE),
        ("CronJob", {}, Hold.NEXT_RUN),
    ],
)
def test_what_holds_a_rollout(kind: str, spec: dict[str, Any], hold: Hold) -> None:
    assert kinds.hold(workload(kind, spec=spec)) is hold


LATE = {"type": "Progressing", "reason": "ProgressDeadlineExceeded"}
DEPLOYMENT = [
    ({}, False, "Waiting for deployment spec update to be observed..."),
    ({"observedGeneration": 1, "updatedReplicas": 3}, False, "Waiting for deployment spec update to be observed..."),
    ({"observedGeneration": 2, "updatedReplicas": 1}, False, "1 out of 3 new replicas have been updated..."),
    (
        {"observedGeneration": 2, "updatedReplicas": 3, "replicas": 4},
        False,
        "1 old replicas are pending termination...",
    ),
    (
        {"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 2},
        False,
        "2 of 3 updated replicas are available...",
    ),
    (
        {"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3},
        True,
        'deployment "app" successfully rolled out',
    ),
    ({"observedGeneration": 2, "conditions": [LATE]}, False, 'deployment "app" exceeded its progress deadline'),
]


@pytest.mark.parametrize(("status", "done", "words"), DEPLOYMENT)
def test_rollout_of_a_deployment(status: dict[str, Any], done: bool, words: str) -> None:
    body = workload("Deployment", spec={"replicas": 3}) | {"status": status}
    body["metadata"]["generation"] = 2
    said = kinds.rollout_done(body)
    assert said[0] is done
    assert said[1].endswith(words)
    assert bool(kinds.rollout_failed(body)) is ("deadline" in words)


@pytest.mark.parametrize(
    ("status", "done", "words"),
    [
        ({"observedGeneration": 1}, False, "Waiting for daemon set spec update to be observed..."),
        ({"observedGeneration": 2, "desiredNumberScheduled": 2}, False, "0 out of 2 new pods have been updated..."),
        (
            {"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1},
            False,
            "1 of 2 updated pods are available...",
        ),
        (
            {"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2},
            True,
            'daemon set "app" successfully rolled out',
        ),
    ],
)
def test_rollout_of_a_daemon_set(status: dict[str, Any], done: bool, words: str) -> None:
    body = workload("DaemonSet") | {"status": status}
    body["metadata"]["generation"] = 2
    assert kinds.rollout_done(body)[0] is done
    assert kinds.rollout_done(body)[1].endswith(words)


ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}


@pytest.mark.parametrize(
    ("strategy", "status", "done", "words"),
    [
        ({}, {}, False, "Waiting for statefulset spec update to be observed..."),
        ({}, {"observedGeneration": 2, "readyReplicas": 1}, False, "Waiting for 2 pods to be ready..."),
        (
            ROLLING,
            {"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 1},
            False,
            "1 out of 2 new pods have been updated...",
        ),
        (
            ROLLING,
            {"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 2},
            True,
            "2 new pods have been updated...",
        ),
        (
            {},
            {
                "observedGeneration": 2,
                "readyReplicas": 3,
                "updatedReplicas": 2,
                "updateRevision": "b",
                "currentRevision": "a",
            },
            False,
            "waiting for statefulset rolling update to complete 2 pods at revision b...",
        ),
        (
            {},
            {
                "observedGeneration": 2,
                "readyReplicas": 3,
                "currentReplicas": 3,
                "updateRevision": "b",
                "currentRevision": "b",
            },
            True,
            "statefulset rolling update complete 3 pods at revision b...",
        ),
        ({"type": "OnDelete"}, {}, True, "rollout status is only available for RollingUpdate strategy type"),
    ],
)
def test_rollout_of_a_stateful_set(strategy: dict[str, Any], status: dict[str, Any], done: bool, words: str) -> None:
    body = workload("StatefulSet", spec={"replicas": 3, "updateStrategy": strategy}) | {"status": status}
    body["metadata"]["generation"] = 2
    assert kinds.rollout_done(body)[0] is done
    assert kinds.rollout_done(body)[1].endswith(words)


@pytest.mark.parametrize("kind", ["ReplicaSet", "Job", "CronJob"])
def test_what_does_not_roll_is_done(kind: str) -> None:
    assert kinds.rollout_done(workload(kind))[0]
