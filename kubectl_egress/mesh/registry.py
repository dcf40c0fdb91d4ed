"""Which hosts the mesh itself serves, although their names look like any other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kubectl_egress.mesh.lookup import GROUP, covers, exported_to, of_kind, routes_for
from kubectl_egress.model import Document
from kubectl_egress.urls import external


def serving(documents: Iterable[Document]) -> tuple[Document, ...]:
    """The objects by which a mesh may serve hosts itself; mostly there are few or none."""
    return tuple(
        document
        for document in documents
        if str(document.body.get("apiVersion", "")).startswith(GROUP)
        and (
            _spec(document).get("location") == "MESH_INTERNAL"
            or (document.ref.kind == "VirtualService" and any(_targets(_spec(document))))
        )
    )


def served_inside(host: str, documents: Sequence[Document], namespace: str, cluster_domain: str) -> bool:
    """Whether calls from a namespace to `https://HOST` stay in the mesh.

    A ServiceEntry with `location: MESH_INTERNAL` names the host, or a VirtualService that sidecars use takes its TLS (or
    TCP) traffic to services of the cluster. A VirtualService with `http` routes alone does not: what the application
    encrypts passes it by, and leaves.
    """
    entries = [
        entry
        for entry in of_kind("ServiceEntry", documents)
        if exported_to(entry, namespace) and any(covers(name, host) for name in _spec(entry).get("hosts") or ())
    ]
    if entries:
        return all(_spec(entry).get("location") == "MESH_INTERNAL" for entry in entries)
    for route in routes_for(host, documents, namespace)[:1]:
        targets = list(_targets(_spec(route)))
        return bool(targets) and not any(external(_full(target, route), cluster_domain) for target in targets)
    return False


def _targets(spec: Mapping[str, Any]) -> Iterable[str]:
    for route in (*(spec.get("tls") or ()), *(spec.get("tcp") or ())):
        for one in route.get("route") or ():
            yield str((one.get("destination") or {}).get("host", ""))


def _full(target: str, route: Document) -> str:
    """A short name is a Service of the VirtualService's own namespace."""
    return target if "." in target else f"{target}.{route.ref.namespace}.svc"


def _spec(document: Document) -> Mapping[str, Any]:
    return document.body.get("spec") or {}
