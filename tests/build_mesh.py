"""Istio objects and surveys for tests of the mesh and of findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_egress.model import Body, CallSite, Document, Finding, Host, MeshSettings, Survey, Workload
from kubectl_egress.scan import scan
from tests.build import NAMESPACE, config_maps, document, metadata

HOST = Host("httpbin.org")
API = "networking.istio.io/v1beta1"


def istio(kind: str, name: str, spec: Body, namespace: str = NAMESPACE, created: str = "", **more: Any) -> Document:
    """An Istio object; `created` is `09:30` of one and the same day."""
    head = metadata(name, namespace, **more)
    if created:
        head["creationTimestamp"] = f"2026-01-01T{created}:00Z"
    return document({"apiVersion": API, "kind": kind, "metadata": head, "spec": dict(spec)})


def entry(name: str = "httpbin", namespace: str = NAMESPACE, created: str = "", **spec: Any) -> Document:
    """The ServiceEntry of the article's demo 2, with what a test says otherwise; None takes a field out."""
    fields = {
        "hosts": ["httpbin.org"],
        "location": "MESH_EXTERNAL",
        "resolution": "DNS",
        "ports": [port(80, "HTTP"), port(443, "HTTPS")],
        **spec,
    }
    return istio("ServiceEntry", name, {k: v for k, v in fields.items() if v is not None}, namespace, created)


def port(number: int, protocol: str, **more: Any) -> dict[str, Any]:
    return {"number": number, "name": f"{protocol.lower()}-{number}", "protocol": protocol, **more}


def rule(name: str = "httpbin", namespace: str = NAMESPACE, created: str = "", **spec: Any) -> Document:
    """A DestinationRule for the host that says nothing else."""
    return istio("DestinationRule", name, {"host": "httpbin.org", **spec}, namespace, created)


def tls_on_80(**tls: Any) -> dict[str, Any]:
    """The traffic policy of the article's demo 3, or one with other TLS settings."""
    return {"portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "SIMPLE", **tls}}]}


def route(name: str = "httpbin", namespace: str = NAMESPACE, created: str = "", **spec: Any) -> Document:
    """A VirtualService that sends the host elsewhere."""
    elsewhere = [{"route": [{"destination": {"host": "elsewhere.example.com"}}]}]
    return istio("VirtualService", name, {"hosts": ["httpbin.org"], "http": elsewhere, **spec}, namespace, created)


def sidecar(name: str = "default", namespace: str = NAMESPACE, **spec: Any) -> Document:
    return istio("Sidecar", name, spec, namespace)


def survey_of(
    *bodies: Body,
    maps: Sequence[Body] = (),
    objects: Sequence[Document] = (),
    pods: Mapping[str, Sequence[Body]] | None = None,
    settings: MeshSettings | None = None,
    **more: Any,
) -> tuple[Survey, tuple[CallSite, ...]]:
    """A survey of workloads (`pods` by the workload's name), and what they call."""
    found = config_maps(*maps)
    workloads = tuple(
        Workload(document(body), tuple((pods or {}).get(body["metadata"]["name"], ()))) for body in bodies
    )
    survey = Survey(
        namespace=NAMESPACE,
        workloads=workloads,
        config_maps={ref: body for ref, body in found.items() if ref.kind == "ConfigMap"},
        secrets={ref: body for ref, body in found.items() if ref.kind == "Secret"},
        mesh_objects=tuple(objects),
        settings=settings or MeshSettings(known=True),
        **more,
    )
    return survey, tuple(site for workload in workloads for site in scan(workload.document, found))


def codes_of(findings: Sequence[Finding]) -> list[str]:
    return [finding.code for finding in findings]
