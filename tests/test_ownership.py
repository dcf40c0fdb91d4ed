"""Whose an object is: by the keys that each tool leaves, and by those that tell it to keep out."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_egress.cluster import owners, projection
from kubectl_egress.findings import check
from kubectl_egress.findings.ownership import owner_of
from kubectl_egress.model import Finding, Ref, Severity
from tests.build import NAMESPACE, config_map, container, deployment, document, pod, pod_template
from tests.build_mesh import survey_of
from tests.findings_cases import owned

ARGO = {"argocd.argoproj.io/tracking-id": f"shop:apps/Deployment:{NAMESPACE}/shop"}
FLUX = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
FLUX_HELM = {"helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": "apps"}
HELM_LABEL = {"app.kubernetes.io/managed-by": "Helm"}
HELM = {"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": "prod"}

NOBODY: list[tuple[dict[str, str], dict[str, str], dict[str, Any]]] = [
    ({}, {}, {}),
    ({"app.kubernetes.io/instance": "shop"}, {}, {}),
    (HELM_LABEL, {}, {}),
    ({}, HELM, {}),
    ({}, {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:x/other"}, {}),
    ({}, ARGO | {"argocd.argoproj.io/skip-reconcile": "true"}, {}),
    (FLUX, {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}, {}),
    (FLUX, {"kustomize.toolkit.fluxcd.io/ssa": "Ignore"}, {}),
    (FLUX, {"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}, {}),
    (FLUX_HELM, {"helm.toolkit.fluxcd.io/driftDetection": "disabled"}, {}),
    ({"kapp.k14s.io/app": "1"}, {"kapp.k14s.io/noop": ""}, {}),
    ({"kapp.k14s.io/app": "1"}, {"kapp.k14s.io/exists": ""}, {}),
    ({}, {"config.kubernetes.io/origin": "path: a.yaml\n"}, {}),
    ({}, {}, {"managedFields": [{"manager": "kubectl-client-side-apply"}, {"manager": "kube-controller-manager"}]}),
]

SOMEBODY: list[tuple[dict[str, str], dict[str, str], dict[str, Any], str, str]] = [
    ({}, ARGO, {}, "Argo CD (shop)", "argocd app get shop"),
    ({"argocd.argoproj.io/instance": "shop"}, {}, {}, "Argo CD (shop)", "argocd app get shop"),
    ({"applications.argoproj.io/app-name": "shop"}, {}, {}, "Argo CD", "argocd app list"),
    ({}, {}, {"managedFields": [{"manager": "argocd-application-controller"}]}, "Argo CD", "argocd app list"),
    (FLUX, {}, {}, "Flux (apps)", "flux get kustomization apps -n flux-system"),
    (FLUX_HELM | HELM_LABEL, HELM, {}, "Flux (shop)", "flux get helmrelease shop -n apps"),
    (HELM_LABEL, HELM, {}, "Helm (shop)", "helm get values shop -n prod"),
    ({"kapp.k14s.io/app": "1"}, {}, {}, "kapp", "kapp ls"),
    (HELM_LABEL, ARGO | HELM, {}, "Argo CD (shop)", "argocd app get shop"),
]


@pytest.mark.parametrize(("labels", "annotations", "more"), NOBODY)
def test_what_proves_nothing_and_what_keeps_out(
    labels: dict[str, str], annotations: dict[str, str], more: dict[str, Any]
) -> None:
    assert owner_of(owned(labels, annotations, **more)) is None


@pytest.mark.parametrize(("labels", "annotations", "more", "name", "source"), SOMEBODY)
def test_who_writes_it_and_where_it_is_changed(
    labels: dict[str, str], annotations: dict[str, str], more: dict[str, Any], name: str, source: str
) -> None:
    found = owner_of(owned(labels, annotations, **more))
    assert found is not None
    assert found.name == name
    assert source in found.source


def findings(body: Any) -> list[Finding]:
    survey, sites = survey_of(body, maps=[config_map("x", {})], live=True)
    return [one for one in check(survey, sites, None) if one.code == "gitops-owned"]


def test_an_operator_is_named_by_what_it_is_told() -> None:
    reference = {"apiVersion": "shop.example.com/v1", "kind": "Shop", "name": "main", "controller": True}
    (found,) = findings(owned(ownerReferences=[reference]))
    assert "the operator behind Shop" in found.message
    assert f"kubectl edit shop.shop.example.com/main -n {NAMESPACE}" in found.remedy
    assert findings(owned(ownerReferences=[{**reference, "controller": False}])) == []


def test_kustomize_says_where_the_manifest_is() -> None:
    origin = {"config.kubernetes.io/origin": "path: base/shop.yaml\nrepo: https://git.example.com/shop\nref: main\n"}
    (found,) = findings(owned(FLUX, origin))
    assert "(base/shop.yaml of https://git.example.com/shop)" in found.remedy
    (found,) = findings(owned(FLUX, {"config.kubernetes.io/origin": "path: base/shop.yaml\n"}))
    assert "(base/shop.yaml)" in found.remedy


# ---- who else reads it ----------------------------------------------------------------------------------------------

READS = [{"name": "API", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "url"}}}]


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ([], ""),
        (["app"], ""),
        (["app", "b"], "deployment/b too"),
        (["a", "b", "c", "d", "e"], "deployment/a, deployment/b, deployment/c and 2 more too"),
    ],
)
def test_who_else_reads_a_config_map_is_said_and_stops_nothing(others: list[str], told: str) -> None:
    settings = config_map("settings", {"url": "https://httpbin.org/get"})
    readers = {Ref("ConfigMap", NAMESPACE, "settings"): tuple(Ref("Deployment", NAMESPACE, name) for name in others)}
    survey, sites = survey_of(deployment("app", env=READS), maps=[settings], live=True, readers=readers)
    found = [one for one in check(survey, sites, None) if one.code == "shared-source"]
    assert [(told in one.message, one.severity, one.object and one.object.name) for one in found] == (
        [(True, Severity.INFO, "settings")] if told else []
    )


def test_readers_are_known_by_their_pods_and_by_their_templates() -> None:
    volumes = [
        {"name": "v", "configMap": {"name": "settings"}},
        {"name": "e"},
        {"name": "s", "secret": {"secretName": "settings"}},
    ]
    mounted = pod("other-1", template=pod_template("other", volumes=volumes))
    kept = projection.pod(mounted)
    assert kept["sources"] == (("ConfigMap", "settings"), ("Secret", "settings"))
    assert "volumes" not in kept["spec"]
    found = owners.readers(
        {
            Ref("Deployment", NAMESPACE, "other"): [kept],
            Ref("Deployment", NAMESPACE, "none"): [projection.pod(pod("x"))],
        },
        [document(deployment("app", env=READS)), document(deployment("web", containers=[container(env=READS)]))],
    )
    assert {(key.kind, key.name): [one.name for one in refs] for key, refs in found.items()} == {
        ("ConfigMap", "settings"): ["app", "other", "web"],
        ("Secret", "settings"): ["other"],
    }
