"""What stands in the cluster before a test: Istio's own objects as `istioctl` writes them, fitted to a stock Envoy."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from kubectl_egress.lab.istiod.bootstrap import wasm_module
from kubectl_egress.lab.istiod.envoy import PASSTHROUGH
from kubectl_egress.lab.istiod.telemetry import destination, http_loggers, tcp_loggers
from kubectl_egress.lab.istiod.workload import Identity
from tests.cluster.commands import WEBHOOK_PORT
from tests.cluster.mirror import APPLY, Api, ApiRefusalError
from tests.cluster.sidecar import METRICS_VARIABLES

SYSTEM = "istio-system"
TYPED_STRUCT = "type.googleapis.com/udpa.type.v1.TypedStruct"
GROUP = "networking.istio.io"
LONGEST_WAIT = 30.0
# The definitions are 30,000 lines: two seconds for the parser in Python.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def manifest(istioctl: Path) -> list[dict[str, Any]]:
    """Istio's own objects, in the order in which they may be created."""
    asked = subprocess.run([str(istioctl), "version", "--remote=false"], check=True, capture_output=True, text=True)
    command = [
        str(istioctl), "manifest", "generate", "--set", "profile=minimal",
        # What the tag says is what people, and the tool, take for istiod's version.
        "--set", f"tag={asked.stdout.split()[-1]}",
        "--set", f"values.base.validationURL=https://localhost:{WEBHOOK_PORT}/validate",
        "--set", f"values.istiodRemote.injectionURL=https://localhost:{WEBHOOK_PORT}/inject",
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}
    return [namespace, *filter(None, yaml.load_all(done.stdout, LOADER))]


def fitted(objects: Iterable[dict[str, Any]], outbound_mode: str) -> list[dict[str, Any]]:
    """The same for this cluster: no filters of Istio's own Envoy, istiod on the node's network, every object validated."""
    found = []
    for body in objects:
        kind, name = body["kind"], body["metadata"]["name"]
        if kind == "ConfigMap" and name == "istio":
            body["data"]["mesh"] = _mesh(body["data"]["mesh"], outbound_mode)
        elif kind == "Deployment":
            _on_the_node(body)
        elif kind == "ValidatingWebhookConfiguration":
            for webhook in body["webhooks"]:
                webhook.pop("objectSelector", None)
        if kind not in ("HorizontalPodAutoscaler", "PodDisruptionBudget"):
            found.append(body)
    return found


def _mesh(text: str, outbound_mode: str) -> str:
    mesh = yaml.safe_load(text) or {}
    mesh["accessLogFile"] = "/dev/stdout"
    mesh["outboundTrafficPolicy"] = {"mode": outbound_mode}
    (mesh.get("defaultProviders") or {}).pop("metrics", None)
    return yaml.safe_dump(mesh)


def _on_the_node(deployment: dict[str, Any]) -> None:
    deployment["spec"]["strategy"] = {"type": "Recreate"}
    spec = deployment["spec"]["template"]["spec"]
    spec["hostNetwork"] = True
    spec["terminationGracePeriodSeconds"] = 0
    for container in spec["containers"]:
        container.pop("ports", None)
        container.pop("resources", None)


def telemetry() -> list[dict[str, Any]]:
    """Istio's standard metrics from a stock Envoy: EnvoyFilters that add its stats access loggers."""
    identity = Identity(**{name: f"%ENVIRONMENT(METRICS_{name.upper()})%" for name in METRICS_VARIABLES})
    manager = "envoy.filters.network.http_connection_manager"
    http = {"name": manager, "typed_config": _hcm([_struct(one) for one in http_loggers(identity)])}
    tcp_destination = "%UPSTREAM_CLUSTER_RAW%"
    tcp_loggers_of = tcp_loggers(identity, tcp_destination, tcp_destination, "unknown")
    tcp = {"name": "envoy.filters.network.tcp_proxy", "typed_config": _tcp([_struct(one) for one in tcp_loggers_of])}
    passed = {"metadata": {"filter_metadata": destination(name=PASSTHROUGH)}}
    patches = [
        _patch("NETWORK_FILTER", {"listener": {"filterChain": {"filter": {"name": manager}}}}, http),
        _patch("NETWORK_FILTER", {"listener": {"filterChain": {"filter": {"name": tcp["name"]}}}}, tcp),
        _patch("HTTP_ROUTE", {"routeConfiguration": {"vhost": {"name": "allow_any"}}}, passed),
    ]
    return [_filter("stock-envoy-telemetry", patches)]


def without_istio_s_own() -> list[dict[str, Any]]:
    """What istiod cannot be told to leave out: up to 1.18 its authentication filter, which only Istio's Envoy knows."""
    inbound, manager = {"context": "SIDECAR_INBOUND"}, "envoy.filters.network.http_connection_manager"
    network = {"listener": {"filterChain": {"filter": {"name": "istio_authn"}}}}
    http = {"listener": {"filterChain": {"filter": {"name": manager, "subFilter": {"name": "istio_authn"}}}}}
    removed = {"operation": "REMOVE"}
    patches = [
        {"applyTo": "NETWORK_FILTER", "match": inbound | network, "patch": removed},
        {"applyTo": "HTTP_FILTER", "match": inbound | http, "patch": removed},
    ]
    return [_filter("stock-envoy", patches)]


def _filter(name: str, patches: list[dict[str, Any]]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": SYSTEM}
    version = f"{GROUP}/v1alpha3"
    return {"apiVersion": version, "kind": "EnvoyFilter", "metadata": metadata, "spec": {"configPatches": patches}}


def _patch(applies_to: str, match: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    context = {"context": "SIDECAR_OUTBOUND"}
    return {"applyTo": applies_to, "match": context | match, "patch": {"operation": "MERGE", "value": value}}


def _hcm(loggers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    message = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    return {"@type": f"type.googleapis.com/{message}", "access_log": list(loggers)}


def _tcp(loggers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    message = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    return {"@type": f"type.googleapis.com/{message}", "access_log": list(loggers)}


def _struct(logger: dict[str, Any]) -> dict[str, Any]:
    """The logger in a form that istiod, which does not know its type, passes on.

    Without a filter for the type of the entry, which istiod 1.18 does not know: all is counted at a connection's end.
    """
    config = dict(logger["typed_config"])
    typed = {"@type": TYPED_STRUCT, "type_url": config.pop("@type"), "value": config}
    return {"name": logger["name"], "typed_config": typed}


def bootstrap_template(istios_own: str) -> str:
    """pilot-agent's template with the Wasm runtime, which makes `wasmcustom` a namespace of custom metrics."""
    code = {"local": {"inline_bytes": base64.b64encode(wasm_module()).decode()}}
    config = {"name": "metrics", "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": code}}
    message = "type.googleapis.com/envoy.extensions.wasm.v3.WasmService"
    extension = {
        "name": "envoy.bootstrap.wasm",
        "typed_config": {"@type": message, "singleton": True, "config": config},
    }
    marker = '"bootstrap_extensions": ['
    if marker not in istios_own:
        raise ValueError("pilot-agent's bootstrap template has no bootstrap_extensions")
    return istios_own.replace(marker, f"{marker}\n{json.dumps(extension)},", 1)


# ---- putting it there -----------------------------------------------------------------------------------------------


async def apply(api: Api, objects: Sequence[dict[str, Any]]) -> None:
    """Server-side apply, resource definitions first. Raises ApiRefusalError, TimeoutError."""
    definitions = [body for body in objects if body["kind"] == "CustomResourceDefinition"]
    rest = [body for body in objects if body["kind"] != "CustomResourceDefinition"]
    kinds: dict[str, dict[str, Any]] = {}
    for body in definitions:
        await _apply_one(api, kinds, body)
    for body in definitions:
        await _established(api, body["metadata"]["name"])
    for body in rest:
        await _apply_one(api, kinds, body)


async def _apply_one(api: Api, kinds: dict[str, dict[str, Any]], body: dict[str, Any]) -> None:
    version = body["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    if version not in kinds:
        listed = (await api.ask("GET", root))["resources"]
        kinds[version] = {one["kind"]: one for one in reversed(listed) if "/" not in one["name"]}
    resource = kinds[version][body["kind"]]
    metadata = body["metadata"]
    scope = f"/namespaces/{metadata['namespace']}" if resource["namespaced"] else ""
    path = f"{root}{scope}/{resource['name']}/{metadata['name']}"
    await api.ask("PATCH", path, body, content_type=APPLY, fieldManager="cluster-tests", force="true")


async def _established(api: Api, name: str) -> None:
    async with asyncio.timeout(LONGEST_WAIT):
        while True:
            body = await api.ask("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
            conditions = (body.get("status") or {}).get("conditions") or ()
            if any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
                return
            await asyncio.sleep(0.1)


async def webhooks_work(api: Api, namespace: str) -> bool:
    """Whether the API server reaches istiod's webhooks: it refuses an object by their word, and only by theirs."""
    served = await api.ask("GET", f"/apis/{GROUP}")
    version = served["preferredVersion"]["version"]
    # Right by the schema, whose word comes first.
    body = {
        "apiVersion": f"{GROUP}/{version}",
        "kind": "VirtualService",
        "metadata": {"name": "refused", "namespace": namespace},
        "spec": {"hosts": ["refused.example"], "http": [{"name": "leads-nowhere"}]},
    }
    try:
        await api.ask("POST", f"/apis/{GROUP}/{version}/namespaces/{namespace}/virtualservices", body, dryRun="All")
    except ApiRefusalError as refusal:
        return "denied the request" in str(refusal)
    return False
