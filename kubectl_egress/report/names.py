"""How an object is named: `deployment/curl` in a table, `deployment.apps/curl` where a script reads it."""

from __future__ import annotations

from typing import Any

from kubectl_egress.model import Ref


def short_name(ref: Ref) -> str:
    """`deployment/curl`; with its group where Kubernetes has a kind of that name: `statefulset.apps.kruise.io/web`."""
    return f"{ref.kind.lower()}{'.' if ref.group else ''}{ref.group}/{ref.name}"


def resource_name(ref: Ref) -> str:
    """`deployment.apps/curl`, as `kubectl get -o name` has it; the core group has no name."""
    group = ref.api_version.rpartition("/")[0]
    return f"{ref.kind.lower()}.{group}/{ref.name}" if group else short_name(ref)


def reference(ref: Ref) -> dict[str, Any]:
    """The object's name in a document."""
    return {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name}
