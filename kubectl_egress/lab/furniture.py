"""What stands in the lab's cluster before anybody creates anything: Istio's own objects, and the way in."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from kubectl_egress.lab.parts import Body, Store

ISTIO_NAMESPACE = "istio-system"
CONTROL_PLANE_COMMAND = "/.lab/pilot-discovery"
VALUES = {
    "global": {
        "proxy": {"includeIPRanges": "*", "excludeIPRanges": "", "includeOutboundPorts": "", "excludeOutboundPorts": ""}
    }
}


def furnish(store: Store, outbound_mode: str) -> None:
    """Put istiod's Deployment, its Service and its configuration there."""
    store.create("configmaps", _config_map("istio", {"mesh": _mesh(outbound_mode), "meshNetworks": "networks: {}\n"}))
    values = {"values": json.dumps(VALUES), "config": "policy: enabled\n"}
    store.create("configmaps", _config_map("istio-sidecar-injector", values))
    store.create("services", _service())
    store.create("deployments", _deployment())


def _mesh(outbound_mode: str) -> str:
    return (
        "accessLogFile: /dev/stdout\n"
        "defaultConfig:\n  discoveryAddress: istiod.istio-system.svc:15012\n"
        f"outboundTrafficPolicy:\n  mode: {outbound_mode}\n"
        "rootNamespace: istio-system\ntrustDomain: cluster.local\n"
    )


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": ISTIO_NAMESPACE, "labels": {"app": "istiod", "istio.io/rev": "default"}}


def _config_map(name: str, data: Mapping[str, str]) -> Body:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(name), "data": dict(data)}


def _service() -> Body:
    ports = [{"name": "http-monitoring", "port": 15014, "protocol": "TCP", "targetPort": 15014}]
    spec = {"selector": {"app": "istiod"}, "ports": ports, "type": "ClusterIP"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata("istiod"), "spec": spec}


def _deployment() -> Body:
    container = {
        "name": "discovery",
        "image": "docker.io/istio/pilot",
        "command": [CONTROL_PLANE_COMMAND],
        "ports": [{"containerPort": 15014, "name": "http-monitoring", "protocol": "TCP"}],
    }
    labels = {"app": "istiod", "istio": "pilot", "istio.io/rev": "default", "sidecar.istio.io/inject": "false"}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "istiod"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, "restartPolicy": "Always"},
        },
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata("istiod"), "spec": spec}


def kubeconfig(port: int, certificate: bytes, tokens: Mapping[str, str]) -> str:
    """A kubeconfig (JSON, which is YAML too) whose current context is the first user's, in namespace default."""
    cluster = {
        "server": f"https://127.0.0.1:{port}",
        "certificate-authority-data": base64.b64encode(certificate).decode(),
    }
    names = list(tokens)
    contexts = [
        {
            "name": "lab" if name == names[0] else f"lab-{name}",
            "context": {"cluster": "lab", "user": name, "namespace": "default"},
        }
        for name in names
    ]
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}} for name, token in tokens.items()],
            "contexts": contexts,
            "current-context": "lab",
        },
        indent=2,
    )
