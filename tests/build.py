"""Kubernetes objects for tests: what a test says nothing about has the value that a reader expects."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_egress import secret_values
from kubectl_egress.model import Body, Document, Ref

NAMESPACE = "test-ext-svc"
IMAGE = "curlimages/curl"


def metadata(name: str, namespace: str = NAMESPACE, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, **more}


def container(
    name: str = "app",
    *,
    env: Mapping[str, str] | Sequence[Body] = (),
    command: Sequence[str] = (),
    args: Sequence[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """A container; `env` is a mapping of plain values, or entries as they are."""
    entries = [{"name": key, "value": value} for key, value in env.items()] if isinstance(env, Mapping) else list(env)
    body: dict[str, Any] = {"name": name, "image": IMAGE}
    if command:
        body["command"] = list(command)
    if args:
        body["args"] = list(args)
    if entries:
        body["env"] = entries
    return body | more


def pod_template(
    name: str = "app",
    *,
    containers: Sequence[Body] | None = None,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    env: Mapping[str, str] | Sequence[Body] = (),
    command: Sequence[str] = (),
    args: Sequence[str] = (),
    **spec: Any,
) -> dict[str, Any]:
    """A pod template with one container of the same name, or with `containers`."""
    made = [container(name, env=env, command=command, args=args)] if containers is None else list(containers)
    head: dict[str, Any] = {"labels": {"app": name, **(labels or {})}}
    if annotations:
        head["annotations"] = dict(annotations)
    return {"metadata": head, "spec": {"containers": made, **spec}}


def workload(
    kind: str = "Deployment",
    name: str = "app",
    namespace: str = NAMESPACE,
    *,
    spec: Body | None = None,
    **template: Any,
) -> dict[str, Any]:
    """Any kind with a pod template; `spec` adds to the object's spec, the rest goes to `pod_template`."""
    pods = pod_template(name, **template)
    api_version = "batch/v1" if kind in ("Job", "CronJob") else "apps/v1"
    own: dict[str, Any]
    if kind == "CronJob":
        own = {"schedule": "@hourly", "jobTemplate": {"spec": {"template": pods}}}
    elif kind == "Job":
        own = {"template": pods}
    else:
        own = {"selector": {"matchLabels": {"app": name}}, "template": pods}
        own = own if kind == "DaemonSet" else {"replicas": 1, **own}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": metadata(name, namespace),
        "spec": {**own, **(spec or {})},
    }


def deployment(name: str = "app", namespace: str = NAMESPACE, **rest: Any) -> dict[str, Any]:
    """`deployment("shop", env={"API": "https://api.example.com"})`"""
    return workload("Deployment", name, namespace, **rest)


def config_map(name: str, data: Mapping[str, str], namespace: str = NAMESPACE, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(name, namespace),
        "data": dict(data),
        **more,
    }


def secret(name: str, data: Mapping[str, str], namespace: str = NAMESPACE, **more: Any) -> dict[str, Any]:
    """A Secret as the API has it; `data` is what its values mean."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(name, namespace),
        "type": "Opaque",
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
        **more,
    }


def pod(
    name: str = "app-1", namespace: str = NAMESPACE, *, ready: bool = True, template: Body | None = None, **more: Any
) -> dict[str, Any]:
    """A running pod of a template, as its sidecar injector leaves it."""
    made = template or pod_template(name.rpartition("-")[0] or name)
    spec = made["spec"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(name, namespace, **made.get("metadata", {})),
        "spec": {**spec, "containers": [*spec["containers"], {"name": "istio-proxy", "image": "istio/proxyv2"}]},
        "status": {
            "phase": "Running",
            "podIP": "10.244.0.10",
            "podIPs": [{"ip": "10.244.0.10"}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
        **more,
    }


def ref(body: Body) -> Ref:
    """What names an object."""
    head = body["metadata"]
    return Ref(body["kind"], head.get("namespace", ""), head["name"], body["apiVersion"])


def document(body: Body, file: str = "", line: int = 0, index: int = 0) -> Document:
    return Document(ref(body), body, file, line, index)


def config_maps(*bodies: Body) -> dict[Ref, Body]:
    """ConfigMaps, and Secrets, as `scan` takes them."""
    return {ref(body): secret_values.readable(body) if body["kind"] == "Secret" else body for body in bodies}
