"""A short name for a host: a Service that has no pods, and a route from its name to the host's subset."""

from __future__ import annotations

from typing import Any

from kubectl_egress.mesh.objects import API_VERSION, CLEAR_PORT, metadata_of, virtual_service
from kubectl_egress.model import AS_BEFORE, Body, Host, Origination


def short_service(name: str, namespace: str) -> Body:
    """The Service that makes the name resolve. It has no selector: without a sidecar, nobody answers.

    (A Service of type ExternalName would lead there in clear.)
    """
    ports = [{"name": "http", "port": CLEAR_PORT, "protocol": "TCP", "targetPort": CLEAR_PORT}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata_of(name, namespace), "spec": {"ports": ports}}


def short_route(
    name: str,
    host: Host,
    namespace: str,
    *,
    api_version: str = API_VERSION,
    origination: Origination = AS_BEFORE,
) -> Body:
    """The route from `http://NAME` to the rule's subset: the server gets its own name in Host, as in SNI.

    `NAME`, `NAME.NAMESPACE` and `NAME.NAMESPACE.svc.cluster.local` arrive (run on Istio 1.18, 1.24 and 1.31).
    """
    body = virtual_service(host, namespace, f"egress-{name}", api_version=api_version, origination=origination)
    (route,) = body["spec"]["http"]
    spec: dict[str, Any] = {
        **body["spec"],
        "hosts": [name],
        "http": [{**route, "rewrite": {"authority": str(host)}}],
    }
    return {**body, "spec": spec}
