"""Whether something else writes the object too, and would take a patch back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kubectl_egress import kinds
from kubectl_egress.findings.rewriting import owner
from kubectl_egress.findings.scope import Caller, Found, Scope, title
from kubectl_egress.model import Body, Document, Host, Ref

_ARGO_MANAGERS = ("argocd-controller", "argocd-application-controller")
_FLUX_KEEPS = ("IfNotPresent", "Ignore")


@dataclass(frozen=True, slots=True)
class Owner:
    """Who writes an object again and again, and where it is to be changed."""

    name: str
    """`Argo CD (shop)`"""
    when: str
    """What takes a patch back."""
    source: str
    """How its source is found."""


def gitops_owned(scope: Scope) -> Iterator[Found]:
    """Argo CD, Flux, Helm, kapp or an operator writes a caller, or a mesh object that would be taken over."""
    if not scope.survey.live:
        return
    for caller in scope.callers:
        body = caller.workload.document.body
        found = owner_of(body) or _operator(caller)
        if found:
            yield Found(
                f"{found.name} writes it too, and {found.when} takes the change back",
                f"change its source: {found.source}{_origin(body)}; kubectl egress migrate -f DIR --write edits manifests",
                caller.ref,
            )
        yield from _secrets(scope, caller)
    for namespace, host in scope.pairs:
        for kind in ("DestinationRule", "ServiceEntry"):
            document = scope.chosen(kind, host, namespace)
            found = owner_of(document.body) if document else None
            if document and found:
                yield from _taken_over(scope, host, namespace, document, found)


# Labels and annotations of those that renew a Secret without owning it.
_RENEWERS = {
    "reconcile.external-secrets.io/": "External Secrets",
    "secrets.hashicorp.com/": "the Vault Secrets Operator",
    "cert-manager.io/": "cert-manager",
    "sealedsecrets.bitnami.com/": "Sealed Secrets",
    "secrets-store.csi.k8s.io/managed": "the Secrets Store CSI driver",
    "replicator.v1.mittwald.de/replicated-from": "Kubernetes Replicator",
    "reflector.v1.k8s.emberstack.com/reflects": "Reflector",
}


def _secrets(scope: Scope, caller: Caller) -> Iterator[Found]:
    """Secrets with URLs of the hosts that something else renews by itself: a copy of one would keep what was."""
    told: set[Ref] = set()
    for site in caller.sites:
        hosts = scope.called(site) if site.rewritable and site.url.encrypted else ()
        body = scope.survey.source(site.object) if site.object.kind == "Secret" else None
        if not hosts or body is None or site.object in told:
            continue
        renewer = _renewer(body)
        if renewer:
            told.add(site.object)
            yield Found(
                f"{renewer} renews {title(site.object)}, and the copy that the pods would read keeps what is in it now",
                "change the URL where the Secret has it from, or move it from there into a ConfigMap",
                caller.ref,
                hosts[0],
                site.object,
            )


def _renewer(body: Body) -> str:
    """Who writes a Secret again and again: the owner that it names, or whoever leaves such marks; empty for nobody."""
    metadata = body.get("metadata") or {}
    for one in metadata.get("ownerReferences") or ():
        return f"{one.get('kind')} {one.get('name')}"
    marks = [*(metadata.get("labels") or {}), *(metadata.get("annotations") or {})]
    return next((name for prefix, name in _RENEWERS.items() if any(key.startswith(prefix) for key in marks)), "")


def _taken_over(scope: Scope, host: Host, namespace: str, document: Document, found: Owner) -> Iterator[Found]:
    for workload in scope.concerned(host, namespace):
        yield Found(
            f"{found.name} writes {title(document.ref)} too, and {found.when} takes back what is added to it",
            f"change its source: {found.source}{_origin(document.body)}; kubectl egress migrate -f DIR --write edits manifests",
            workload,
            host,
            document.ref,
        )


def _operator(caller: Caller) -> Owner | None:
    """The controller that an owner reference names, unless it is a workload itself."""
    maker = owner(caller)
    if maker is None or kinds.row(maker.kind, maker.api_version) is not None:
        return None
    group = maker.api_version.rpartition("/")[0]
    resource = f"{maker.kind.lower()}.{group}" if group else maker.kind.lower()
    return Owner(
        f"the operator behind {title(maker)}",
        "its next look at that",
        f"kubectl edit {resource}/{maker.name} -n {maker.namespace}",
    )


def _origin(body: Body) -> str:
    """Where Kustomize says that the manifest is (`buildMetadata: [originAnnotations]`)."""
    annotations = (body.get("metadata") or {}).get("annotations") or {}
    lines = (line.partition(": ") for line in str(annotations.get("config.kubernetes.io/origin", "")).splitlines())
    said = {key.strip(): value.strip() for key, _, value in lines}
    if not said.get("path"):
        return ""
    return f" ({said['path']} of {said['repo']})" if said.get("repo") else f" ({said['path']})"


def owner_of(body: Body) -> Owner | None:
    """Who applies the object again and again; None for kubectl and for what leaves no proof.

    `app.kubernetes.io/instance` proves nothing (Helm charts set it), nor does `app.kubernetes.io/managed-by` alone.
    """
    metadata = body.get("metadata") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if _tracked_by_argo(body, labels, annotations):
        app = str(annotations.get("argocd.argoproj.io/tracking-id", "")).partition(":")[0]
        app = app or str(labels.get("argocd.argoproj.io/instance", ""))
        source = f"argocd app get {app} names it" if app else "argocd app list names it"
        return Owner("Argo CD" + _quoted(app), "its next sync", source)
    for word, label in (("kustomization", "kustomize.toolkit.fluxcd.io"), ("helmrelease", "helm.toolkit.fluxcd.io")):
        name = labels.get(f"{label}/name")
        if name and _reconciled(word, annotations):
            space = labels.get(f"{label}/namespace", metadata.get("namespace", ""))
            return Owner(
                "Flux" + _quoted(name), "its next reconciliation", f"flux get {word} {name} -n {space} names it"
            )
    release = annotations.get("meta.helm.sh/release-name")
    if labels.get("app.kubernetes.io/managed-by") == "Helm" and release:
        space = annotations.get("meta.helm.sh/release-namespace", metadata.get("namespace", ""))
        return Owner(
            "Helm" + _quoted(release), "the next helm upgrade", f"helm get values {release} -n {space} shows its values"
        )
    if "kapp.k14s.io/app" in labels and not {"kapp.k14s.io/noop", "kapp.k14s.io/exists"} & set(annotations):
        return Owner(
            "kapp", "the next kapp deploy", f"kapp ls -n {metadata.get('namespace', '')} names its application"
        )
    return None


def _tracked_by_argo(body: Body, labels: Body, annotations: Body) -> bool:
    if annotations.get("argocd.argoproj.io/skip-reconcile") == "true":
        return False
    metadata = body.get("metadata") or {}
    tracking = str(annotations.get("argocd.argoproj.io/tracking-id", ""))
    # app:group/Kind:namespace/name; a copy of the object carries the original's, and is nobody's.
    if tracking and tracking.rpartition("/")[2] == metadata.get("name"):
        return True
    managers = {entry.get("manager") for entry in metadata.get("managedFields") or ()}
    named = {"argocd.argoproj.io/instance", "applications.argoproj.io/app-name"} & {*labels, *annotations}
    return bool(named) or not managers.isdisjoint(_ARGO_MANAGERS)


def _reconciled(word: str, annotations: Body) -> bool:
    """Whether Flux puts the object back; it can be told not to."""
    if word == "helmrelease":
        return bool(annotations.get("helm.toolkit.fluxcd.io/driftDetection") != "disabled")
    if annotations.get("kustomize.toolkit.fluxcd.io/reconcile") == "disabled":
        return False
    return annotations.get("kustomize.toolkit.fluxcd.io/ssa") not in _FLUX_KEEPS


def _quoted(name: str) -> str:
    return f" ({name})" if name else ""
