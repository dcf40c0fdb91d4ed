"""What `kubectl get` shows of the lab's objects."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from kubectl_egress.lab.api.channels import exit_status
from kubectl_egress.lab.api.pod_status import pod_status
from kubectl_egress.lab.api.requests import Form, form
from kubectl_egress.lab.api.resources import BY_PLURAL, RESOURCES
from kubectl_egress.lab.api.tables import duration, table

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def pod(status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    sidecar = {"name": "istio-proxy", "restartPolicy": "Always"}
    made = {"name": "p", "creationTimestamp": "2026-11-22T09:58:00Z", **metadata}
    return {"metadata": made, "spec": {"initContainers": [sidecar], "containers": [{"name": "c"}]}, "status": status}


STARTED = [{"name": "istio-proxy", "started": True, "ready": True, "state": {"running": {}}}]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (pod({"phase": "Running", "initContainerStatuses": STARTED}), "Running"),
        (pod({}), "Pending"),
        (pod({"phase": "Running"}, deletionTimestamp="2026-11-22T10:00:00Z"), "Terminating"),
        (
            pod({"phase": "Pending", "initContainerStatuses": [{"name": "istio-proxy", "state": {"waiting": {}}}]}),
            "Init:0/1",
        ),
        (
            pod(
                {
                    "phase": "Running",
                    "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
                }
            ),
            "CrashLoopBackOff",
        ),
        (
            pod({"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 2}}}]}),
            "ExitCode:2",
        ),
    ],
)
def test_the_status_of_a_pod(body: dict[str, Any], shown: str) -> None:
    assert pod_status(body) == shown


def test_a_sidecar_counts_as_a_container() -> None:
    status = {
        "phase": "Running",
        "initContainerStatuses": STARTED,
        "containerStatuses": [{"name": "c", "ready": False}],
    }
    shown = table(BY_PLURAL["pods"], [pod(status)], {}, now=NOW)
    assert shown["rows"][0]["cells"][:5] == ["p", "1/2", "Running", "0", "2m"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (3600, "60m"),
        (4 * 3600, "4h"),
        (8 * 3600, "8h"),
        (49 * 3600, "2d1h"),
        (10 * 86400, "10d"),
        (800 * 86400, "2y70d"),
        (-5, "<invalid>"),
    ],
)
def test_durations(seconds: int, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.plural)
def test_every_table_has_a_cell_for_every_column(resource: Any) -> None:
    template = {"spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {
        "containers": [],
        "template": template,
        "jobTemplate": {"spec": {"template": template}},
        "selector": {},
        "replicas": 1,
        "completions": 1,
        "schedule": "@daily",
        "suspend": False,
        "type": "ClusterIP",
    }
    body = {"metadata": {"name": "x", "creationTimestamp": "2026-11-22T09:59:00Z"}, "spec": spec}
    shown = table(resource, [body], {}, now=NOW)
    assert len(shown["rows"][0]["cells"]) == len(shown["columnDefinitions"])


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", Form()),
        ("application/json", Form()),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Form("Table")),
        ("application/vnd.kubernetes.protobuf,application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Form("PartialObjectMetadata")),
        ("application/json,application/json;as=Table;v=v1;g=meta.k8s.io", Form()),
    ],
)  # fmt: skip
def test_the_form_of_an_answer(accept: str, wanted: Form) -> None:
    assert form(accept, {}) == wanted


def test_the_exit_status_of_a_command() -> None:
    assert exit_status(0) == {"metadata": {}, "status": "Success"}
    assert exit_status(3)["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert exit_status(-9)["details"]["causes"] == [{"reason": "ExitCode", "message": "137"}]
