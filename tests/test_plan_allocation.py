from __future__ import annotations

from typing import Any

import pytest

from kubectl_egress.cluster import projection
from kubectl_egress.model import MeshSettings
from kubectl_egress.plan import MigrationRequest, plan_migration
from kubectl_egress.plan.allocation import allocates
from tests.build import container, deployment, pod, pod_template
from tests.build_mesh import HOST, survey_of

ANNOTATION = "proxy.istio.io/config"
AS_JSON = '{"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true", "ISTIO_META_DNS_AUTO_ALLOCATE": "true"}}'
AS_YAML = "proxyMetadata:\n  ISTIO_META_DNS_AUTO_ALLOCATE: 'true'\n  ISTIO_META_DNS_CAPTURE: true\n"
NOT_ALLOCATED = "proxyMetadata:\n  ISTIO_META_DNS_CAPTURE: 'true'\n  ISTIO_META_DNS_AUTO_ALLOCATE: 'false'\n"
ON = MeshSettings(dns_capture=True, auto_allocate=True, known=True)
CAPTURED = MeshSettings(dns_capture=True, known=True)


def shop(annotation: str = "") -> dict[str, Any]:
    annotations = {ANNOTATION: annotation} if annotation else {}
    return deployment("shop", env={"API": "https://httpbin.org/"}, annotations=annotations)


def running(native: bool = False, **settings: str) -> dict[str, Any]:
    """A pod whose sidecar has these settings, as it is kept of what the server lists."""
    env = {f"ISTIO_META_{name}": value for name, value in settings.items()}
    proxy = container("istio-proxy", env={"OTHER": "of the proxy", **env})
    app = container("shop", env={"ISTIO_META_DNS_AUTO_ALLOCATE": "true", "PASSWORD": "secret"})
    body = pod("shop-1")
    spec = {"containers": [app], "initContainers": [proxy]} if native else {"containers": [app, proxy]}
    made = projection.pod({**body, "spec": spec})
    assert "secret" not in str(made)
    assert "of the proxy" not in str(made)
    return dict(made)


@pytest.mark.parametrize(
    ("annotation", "pods", "settings", "expected"),
    [
        ("", [], MeshSettings(known=True), False),
        ("", [running()], MeshSettings(known=True), False),
        ("", [], ON, True),
        ("", [], CAPTURED, False),
        (AS_JSON, [], MeshSettings(known=True), True),
        (AS_YAML, [], MeshSettings(known=True), True),
        (NOT_ALLOCATED, [], MeshSettings(known=True), False),
        ("proxyMetadata: {ISTIO_META_DNS_AUTO_ALLOCATE: 'true'}", [], CAPTURED, True),
        ("", [running(DNS_CAPTURE="true", DNS_AUTO_ALLOCATE="true")], MeshSettings(known=True), True),
        ("", [running(native=True, DNS_CAPTURE="true", DNS_AUTO_ALLOCATE="true")], MeshSettings(known=True), True),
        ("", [running(DNS_CAPTURE="true")], MeshSettings(known=True), False),
        ("", [running(), running(DNS_CAPTURE="true", DNS_AUTO_ALLOCATE="true")], MeshSettings(known=True), True),
        (NOT_ALLOCATED, [], ON, True),
    ],
)
def test_where_a_proxy_allocates_addresses(
    annotation: str, pods: list[dict[str, Any]], settings: MeshSettings, expected: bool
) -> None:
    survey, sites = survey_of(shop(annotation), pods={"shop": pods}, settings=settings)
    assert allocates(survey) is expected
    plan = plan_migration(survey, sites, (), MigrationRequest(hosts=(HOST,), run="r"))
    [entry] = [step.after for step in plan.steps if step.after and step.after["kind"] == "ServiceEntry"]
    alias = entry["metadata"]["annotations"]["egress.kubectl/alias"]
    assert entry["spec"].get("addresses") == ([alias] if expected else None)


def test_the_annotation_of_a_running_pod_counts_too() -> None:
    body = pod("shop-1", template=pod_template("shop", annotations={ANNOTATION: AS_YAML}))
    survey, _ = survey_of(shop(), pods={"shop": [projection.pod(body)]})
    assert allocates(survey)
