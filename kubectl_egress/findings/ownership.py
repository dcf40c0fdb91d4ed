"""Whether something else writes the object too, and would take a patch back."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_egress import kinds
from kubectl_egress.findings.rewriting import owner
from kubectl_egress.findings.scope import Found, Scope, title
from kubectl_egress.model import Body, Document, Host

_ARGO_MANAGERS = ("argocd-controller", "argocd-application-controller")
_FLUX_KEEPS = ("IfNotPresent", "Ignore")


def gitops_owned(scope: Scope) -> Iterator[Found]:
    """Argo CD, Flux, Helm, kapp or an operator writes a caller, or a mesh object that would be taken over."""
    if not scope.survey.live:
        return
    for caller in scope.callers:
        found = owner_of(caller.workload.document.body)
        maker = owner(caller)
        if not found and maker and kinds.row(maker.kind) is None:
            found = f"the operator behind {title(maker)}"
        if found:
            yield Found(
                f"{found} writes it too, and will take the change back",
                "migrate its source: kubectl egress migrate -f DIR --write, then commit",
                caller.ref,
            )
    for namespace, host in scope.pairs:
        for kind in ("DestinationRule", "ServiceEntry"):
            document = scope.chosen(kind, host, namespace)
            found = owner_of(document.body) if document else ""
            if document and found:
                yield from _taken_over(scope, host, namespace, document, found)


def _taken_over(scope: Scope, host: Host, namespace: str, document: Document, found: str) -> Iterator[Found]:
    for workload in scope.concerned(host, namespace):
        yield Found(
            f"{found} writes {title(document.ref)} too, and will take back what is added to it",
            "migrate its source: kubectl egress migrate -f DIR --write, then commit",
            workload,
            host,
            document.ref,
        )


def owner_of(body: Body) -> str:
    """Who applies the object again and again, by name; empty for kubectl and for what leaves no proof.

    `app.kubernetes.io/instance` proves nothing (Helm charts set it), nor does `app.kubernetes.io/managed-by` alone.
    """
    metadata = body.get("metadata") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if _tracked_by_argo(body, labels, annotations):
        return "Argo CD" + _quoted(str(annotations.get("argocd.argoproj.io/tracking-id", "")).partition(":")[0])
    if _applied_by_flux(annotations) and "kustomize.toolkit.fluxcd.io/name" in labels:
        return "Flux" + _quoted(labels["kustomize.toolkit.fluxcd.io/name"])
    drift = annotations.get("helm.toolkit.fluxcd.io/driftDetection")
    if "helm.toolkit.fluxcd.io/name" in labels and drift != "disabled":
        return "Flux" + _quoted(labels["helm.toolkit.fluxcd.io/name"])
    if labels.get("app.kubernetes.io/managed-by") == "Helm" and "meta.helm.sh/release-name" in annotations:
        return "Helm" + _quoted(annotations["meta.helm.sh/release-name"])
    if "kapp.k14s.io/app" in labels and "kapp.k14s.io/noop" not in annotations:
        return "kapp"
    return ""


def _tracked_by_argo(body: Body, labels: Body, annotations: Body) -> bool:
    if annotations.get("argocd.argoproj.io/skip-reconcile") == "true":
        return False
    metadata = body.get("metadata") or {}
    tracking = str(annotations.get("argocd.argoproj.io/tracking-id", ""))
    # app:group/Kind:namespace/name; a copy of the object carries the original's, and is nobody's.
    if tracking and tracking.rpartition("/")[2] == metadata.get("name"):
        return True
    managers = {entry.get("manager") for entry in metadata.get("managedFields") or ()}
    return "argocd.argoproj.io/instance" in labels or not managers.isdisjoint(_ARGO_MANAGERS)


def _applied_by_flux(annotations: Body) -> bool:
    if annotations.get("kustomize.toolkit.fluxcd.io/reconcile") == "disabled":
        return False
    return annotations.get("kustomize.toolkit.fluxcd.io/ssa") not in _FLUX_KEEPS


def _quoted(name: str) -> str:
    return f" ({name})" if name else ""
