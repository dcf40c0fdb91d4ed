"""Objects of others for a host: what else may stand in a cluster beside the three that a migration writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kubectl_egress.mesh import SUBSET
from kubectl_egress.model import Body, Host

ROOT_NAMESPACE = "istio-system"
DISABLED = {"tls": {"mode": "DISABLE"}}
Place = Mapping[str, str]
Other = Callable[[Host, Place], Body]
"""The object for a host. The place: `namespace`, the caller's; `elsewhere`, another; `alias`; `address`, the host's own."""


def _object(kind: str, name: str, host: Host, namespace: str, spec: Mapping[str, Any]) -> Body:
    metadata = {"name": f"{name}-{host.name}", "namespace": namespace}
    return {"kind": kind, "metadata": metadata, "spec": dict(spec)}


def rule(
    *export_to: str, where: str = "namespace", pattern: str = "", policy: Mapping[str, Any] | None = None, **spec: Any
) -> Other:
    """A DestinationRule; without TLS, unless `policy` says something else."""

    def make(host: Host, place: Place) -> Body:
        own = {"host": pattern or host.name, "trafficPolicy": DISABLED if policy is None else dict(policy), **spec}
        shown = {"exportTo": [place.get(scope, scope) for scope in export_to]} if export_to else {}
        return _object("DestinationRule", "theirs", host, place.get(where, where), {**own, **shown})

    return make


def subset_without_tls(**spec: Any) -> dict[str, Any]:
    """What a rule needs to take our subset's name."""
    return {"subsets": [{"name": SUBSET, "trafficPolicy": DISABLED}], **spec}


def entry(where: str = "namespace", **spec: Any) -> Other:
    """A ServiceEntry of the host: HTTP on 80, HTTPS on 443, by DNS, unless `spec` says something else."""

    def make(host: Host, place: Place) -> Body:
        ports = [
            {"number": 80, "name": "http", "protocol": "HTTP"},
            {"number": 443, "name": "https", "protocol": "HTTPS"},
        ]
        full = {"hosts": [host.name], "location": "MESH_EXTERNAL", "resolution": "DNS", "ports": ports, **spec}
        return _object("ServiceEntry", "theirs", host, place.get(where, where), full)

    return make


def claims_the_alias(host: Host, place: Place) -> Body:
    """A ServiceEntry of another host, TCP on port 80, at the address to which the alias leads."""
    spec = {
        "hosts": [f"tcp-{host.name}"],
        "addresses": [place["alias"]],
        "location": "MESH_EXTERNAL",
        "resolution": "STATIC",
        "endpoints": [{"address": place["address"]}],
        "ports": [{"number": 80, "name": "tcp", "protocol": "TCP"}],
    }
    return _object("ServiceEntry", "claiming", host, place["namespace"], spec)


def route(where: str = "namespace", port: int = 80, **spec: Any) -> Other:
    """A VirtualService of the host that leads to one of its own ports."""

    def make(host: Host, place: Place) -> Body:
        to = [{"destination": {"host": host.name, "port": {"number": port}}}]
        full = {"hosts": [host.name], "http": [{"match": [{"port": 80}], "route": to}], **spec}
        return _object("VirtualService", "theirs", host, place.get(where, where), full)

    return make


def short_service(host: Host, place: Place) -> Body:
    """A Service that stands for a short name: without a selector, so that nobody is behind it."""
    ports = [{"name": "http", "port": 80}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "short", "namespace": place["namespace"]},
        "spec": {"ports": ports},
    }


def short_route(host: Host, place: Place) -> Body:
    """The route from the short name to our subset of the host."""
    to = {"destination": {"host": host.name, "subset": SUBSET, "port": {"number": 80}}}
    http = {"rewrite": {"authority": host.name}, "retries": {"attempts": 0}, "route": [to]}
    return _object("VirtualService", "short", host, place["namespace"], {"hosts": ["short"], "http": [http]})
