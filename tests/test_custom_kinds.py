"""Argo Rollouts, Knative Services and OpenKruise's workloads, in the shapes of their resource definitions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from kubectl_egress import kinds
from kubectl_egress.cluster import owners, projection
from kubectl_egress.cluster.resources import served_kinds
from kubectl_egress.cluster.targets import parse_targets, select
from kubectl_egress.errors import NotFoundError
from kubectl_egress.findings import check
from kubectl_egress.inspection import inspect
from kubectl_egress.kinds import CUSTOM_KINDS, Hold
from kubectl_egress.model import Body, Document, Finding, Ref, Severity
from kubectl_egress.plan.callers import change_caller
from kubectl_egress.report.names import short_name
from kubectl_egress.scan import scan
from tests.build import NAMESPACE, deployment, document, metadata, pod_template, workload
from tests.build_mesh import HOST, survey_of

URL = "https://httpbin.org/get"
KRUISE = "apps.kruise.io/v1alpha1"
ROWS = {(row.kind, row.group): row for row in CUSTOM_KINDS}


def custom(kind: str, api_version: str, status: Body | None = None, **spec: Any) -> dict[str, Any]:
    """A workload of a kind that a resource definition adds, as its controller has seen it."""
    body = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {**metadata("shop"), "generation": 3},
        "spec": {"replicas": 2, "template": pod_template("shop", env={"API": URL}), **spec},
        "status": {"observedGeneration": 3, **(status or {})},
    }
    return body


def rollout(status: Body | None = None, **spec: Any) -> dict[str, Any]:
    return custom("Rollout", "argoproj.io/v1alpha1", {"observedGeneration": "3", **(status or {})}, **spec)


def service(status: Body | None = None, **spec: Any) -> dict[str, Any]:
    return custom("Service", "serving.knative.dev/v1", status, **spec)


def clone_set(status: Body | None = None, **strategy: Any) -> dict[str, Any]:
    return custom("CloneSet", KRUISE, status, updateStrategy=strategy)


def kruise_sts(**strategy: Any) -> dict[str, Any]:
    return custom("StatefulSet", "apps.kruise.io/v1beta1", updateStrategy=strategy)


def kruise_ds(**strategy: Any) -> dict[str, Any]:
    return custom("DaemonSet", KRUISE, updateStrategy=strategy)


ALL = [rollout(), service(), clone_set(), kruise_sts(), kruise_ds()]


# ---- what they are --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ALL, ids=lambda body: body["apiVersion"] + body["kind"])
def test_their_templates_are_scanned_and_patched_like_any(body: dict[str, Any]) -> None:
    survey, sites = survey_of(body)
    (site,) = scan(document(body), {})
    assert site.rewritable
    changed = change_caller(survey.workloads[0], sites, {HOST: ("192.0.2.7",)}, {}).after["spec"]["template"]["spec"]
    assert changed["containers"][0]["env"] == [{"name": "API", "value": "http://httpbin.org/get"}]
    assert changed["hostAliases"] == [{"ip": "192.0.2.7", "hostnames": ["httpbin.org"]}]


@pytest.mark.parametrize(
    ("kind", "api_version"),
    [("Service", "v1"), ("Rollout", "example.com/v1"), ("CloneSet", "apps/v1"), ("StatefulSet", "example.com/v1")],
)
def test_others_of_the_same_name_are_none(kind: str, api_version: str) -> None:
    assert kinds.row(kind, api_version) is None
    assert kinds.pod_template({**rollout(), "kind": kind, "apiVersion": api_version}) is None


def test_kubernetes_own_come_first() -> None:
    for kind, group in (("StatefulSet", "apps"), ("DaemonSet", "apps")):
        found = kinds.row(kind)
        assert found is not None
        assert found.group == group


@pytest.mark.parametrize(
    ("word", "group"),
    [
        ("ro", "argoproj.io"),
        ("rollout", "argoproj.io"),
        ("rollouts.v1alpha1.argoproj.io", "argoproj.io"),
        ("ksvc", "serving.knative.dev"),
        ("services.serving.knative.dev", "serving.knative.dev"),
        ("clone", "apps.kruise.io"),
        ("asts", "apps.kruise.io"),
        ("statefulsets.apps.kruise.io", "apps.kruise.io"),
        ("sts", "apps"),
        ("daemonsets", "apps"),
    ],
)
def test_their_names(word: str, group: str) -> None:
    found = kinds.named(word)
    assert found is not None
    assert found.group == group


@pytest.mark.parametrize("word", ["service", "services", "svc"])
def test_a_service_is_kubernetes_own(word: str) -> None:
    assert kinds.named(word) is None


# ---- what holds pods back -------------------------------------------------------------------------------------------

HOLDS = [
    (rollout(), Hold.NONE),
    (rollout(strategy={"canary": {"steps": [{"setWeight": 20}, {"pause": {"duration": "1m"}}]}}), Hold.NONE),
    (rollout(strategy={"blueGreen": {"activeService": "a"}}), Hold.NONE),
    (rollout(paused=True), Hold.PAUSED),
    (rollout(strategy={"canary": {"steps": [{"setWeight": 20}, {"pause": {}}]}}), Hold.PROMOTION),
    (rollout(strategy={"blueGreen": {"autoPromotionEnabled": False}}), Hold.PROMOTION),
    (service(), Hold.NONE),
    (service(traffic=[{"latestRevision": True, "percent": 100}]), Hold.NONE),
    (service(traffic=[{"revisionName": "shop-1", "percent": 100}]), Hold.PINNED),
    (service(template={**pod_template(env={"API": URL}), "metadata": {"name": "shop-2"}}), Hold.PINNED),
    (clone_set(type="InPlaceIfPossible", partition=0), Hold.NONE),
    (clone_set(partition="0%"), Hold.NONE),
    (clone_set(partition="20%"), Hold.PARTITION),
    (clone_set(partition=1), Hold.PARTITION),
    (clone_set(paused=True), Hold.PAUSED),
    (clone_set(type="InPlaceOnly"), Hold.IN_PLACE),
    (kruise_sts(), Hold.NONE),
    (kruise_sts(type="OnDelete"), Hold.ON_DELETE),
    (kruise_sts(rollingUpdate={"partition": 2}), Hold.PARTITION),
    (kruise_sts(rollingUpdate={"podUpdatePolicy": "InPlaceOnly"}), Hold.IN_PLACE),
    (kruise_ds(rollingUpdate={"rollingUpdateType": "Surging"}), Hold.NONE),
    (kruise_ds(rollingUpdate={"paused": True}), Hold.PAUSED),
    (kruise_ds(rollingUpdate={"selector": {"matchLabels": {"a": "b"}}}), Hold.PARTITION),
]


@pytest.mark.parametrize(("body", "hold"), HOLDS)
def test_why_pods_keep_the_old_template(body: dict[str, Any], hold: Hold) -> None:
    assert kinds.hold(body) is hold
    survey, sites = survey_of(body, live=True)
    codes = {one.code for one in check(survey, sites, None) if one.severity is Severity.BLOCK}
    assert ("not-rolled" in codes) is (hold not in (Hold.NONE, Hold.PAUSED))
    assert ("rollout-paused" in codes) is (hold is Hold.PAUSED)


def test_a_template_that_a_rollout_borrows_is_not_waited_for() -> None:
    borrowing = rollout(workloadRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"})
    del borrowing["spec"]["template"]

    def found(name: str) -> list[Finding]:
        survey, sites = survey_of(deployment(name, env={"API": URL}), borrowing, live=True)
        return [one for one in check(survey, sites, None) if one.code == "not-rolled"]

    assert found("other") == []
    (one,) = found("web")
    assert one.object == Ref("Rollout", NAMESPACE, "shop")


@pytest.mark.parametrize(("aliases", "severities"), [(True, []), (False, [Severity.BLOCK]), (None, [Severity.WARN])])
def test_knative_has_to_allow_host_aliases(aliases: bool | None, severities: list[Severity]) -> None:
    survey, sites = survey_of(service(), deployment("web", env={"API": URL}), live=True, knative_aliases=aliases)
    found = [one for one in check(survey, sites, None) if one.code == "fails-open"]
    assert [one.severity for one in found] == severities
    assert all(one.workload == Ref("Service", NAMESPACE, "shop") for one in found)
    assert all("kubernetes.podspec-hostaliases" in one.remedy for one in found)
    assert [one for one in check(survey, sites, None, fail_open=True) if one.code == "fails-open"] == []


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_a_namesake_of_kubernetes_own_is_another_workload(kind: str) -> None:
    """Somebody who moves from one to the other has both for a while, of one name."""
    theirs = custom(kind, "apps.kruise.io/v1beta1")
    ours = workload(kind, "shop", env={"API": URL, "OTHER": "https://api.example.com"})
    survey, sites = survey_of(ours, theirs, live=True)
    assert [short_name(item.workload) for item in inspect(survey, sites, ()).items] == [
        f"{kind.lower()}/shop",
        f"{kind.lower()}/shop",
        f"{kind.lower()}.apps.kruise.io/shop",
    ]
    owner = {"kind": kind, "name": "shop", "controller": True}
    pods = [
        {"metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": [{**owner, "apiVersion": version}]}}
        for name, version in (("a", "apps/v1"), ("b", "apps.kruise.io/v1beta1"))
    ]
    grouped = owners.pods_by_workload(pods, {})
    assert [[pod["metadata"]["name"] for pod in grouped[one.ref]] for one in survey.workloads] == [["a"], ["b"]]
    ref = survey.workloads[1].ref
    assert Ref(**asdict(ref)) == ref != survey.workloads[0].ref


# ---- when a rollout is done -----------------------------------------------------------------------------------------

UP = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2, "updatedReadyReplicas": 2}
STABLE = {**UP, "currentPodHash": "b", "stableRS": "b", "phase": "Healthy"}
READY = {"latestCreatedRevisionName": "shop-2", "latestReadyRevisionName": "shop-2"}
CONDITIONS = [{"type": "ConfigurationsReady", "status": "True"}, {"type": "Ready", "status": "True"}]
NODES = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}

DONE = [
    rollout(STABLE),
    service({**READY, "conditions": CONDITIONS}),
    clone_set(UP),
    {**kruise_sts(), "status": {"observedGeneration": 3, **UP, "updateRevision": "b", "currentRevision": "b"}},
    {**kruise_ds(), "status": {"observedGeneration": 3, **NODES}},
]
WAITING = [
    (rollout({**STABLE, "observedGeneration": "2"}), "to be observed"),
    (rollout({**STABLE, "observedGeneration": "6f9c7d"}), "to be observed"),
    (rollout({**STABLE, "updatedReplicas": 1}), "1 out of 2 new replicas"),
    (rollout({**STABLE, "replicas": 3}), "1 old replicas"),
    (rollout({**STABLE, "availableReplicas": 1}), "1 of 2 updated"),
    (rollout({**STABLE, "stableRS": "a"}), "not the stable ones"),
    (rollout({**STABLE, "pauseConditions": [{"reason": "CanaryPauseStep"}]}), "until somebody promotes"),
    (service({**READY, "latestReadyRevisionName": "shop-1", "conditions": CONDITIONS}), "shop-2 is not ready"),
    (service({**READY, "conditions": [{"type": "Ready", "status": "Unknown"}]}), "shop-2 is not ready"),
    (clone_set({**UP, "updatedReplicas": 1}), "1 out of 2"),
    (clone_set({**UP, "replicas": 3}), "1 old pods"),
    (clone_set({**UP, "updatedReadyReplicas": 0}), "0 of 2"),
    ({**kruise_ds(), "status": {"observedGeneration": 3, **NODES, "updatedNumberScheduled": 1}}, "1 out of 2"),
]
FAILED = [
    (rollout({**STABLE, "phase": "Degraded", "message": "ProgressDeadlineExceeded"}), "ProgressDeadlineExceeded"),
    (rollout({**STABLE, "abort": True}), "aborted"),
    (
        service({**READY, "conditions": [{"type": "ConfigurationsReady", "status": "False", "message": "no image"}]}),
        "no image",
    ),
]


@pytest.mark.parametrize("body", DONE, ids=lambda body: body["apiVersion"] + body["kind"])
def test_a_rollout_that_is_done(body: dict[str, Any]) -> None:
    done, _ = kinds.rollout_done(body)
    assert done
    assert kinds.rollout_failed(body) == ""


@pytest.mark.parametrize(("body", "line"), WAITING)
def test_a_rollout_that_is_not_done(body: dict[str, Any], line: str) -> None:
    done, said = kinds.rollout_done(body)
    assert not done
    assert line in said
    assert kinds.rollout_failed(body) == ""


@pytest.mark.parametrize(("body", "line"), FAILED)
def test_a_rollout_that_will_not_be_done(body: dict[str, Any], line: str) -> None:
    assert kinds.rollout_done(body) == (False, kinds.rollout_failed(body))
    assert line in kinds.rollout_failed(body)


# ---- in a cluster ---------------------------------------------------------------------------------------------------


def group(name: str, *versions: str) -> Body:
    made = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": made, "preferredVersion": made[0]}


@pytest.mark.parametrize(
    ("groups", "served"),
    [
        ([], []),
        ([group("apps", "v1"), group("networking.istio.io", "v1")], []),
        ([group("argoproj.io", "v1alpha1")], ["argoproj.io/v1alpha1"]),
        ([group("serving.knative.dev", "v2", "v1")], ["serving.knative.dev/v1"]),
        ([group("apps.kruise.io", "v1beta1")], ["apps.kruise.io/v1beta1"] * 3),
    ],
)
def test_which_kinds_a_cluster_serves(groups: list[Body], served: list[str]) -> None:
    found = served_kinds({"groups": groups})
    assert [row.api_version for row in found] == served


def test_targets_mean_them_where_they_are_served() -> None:
    def nothing(word: str) -> Any:
        raise NotFoundError(f'the server doesn\'t have a resource type "{word}"')

    rows = served_kinds({"groups": [group("argoproj.io", "v1alpha1")]})
    (chosen,) = select(parse_targets(["ro/shop"]), nothing, more=lambda: rows)
    assert (chosen.row.kind, chosen.names) == ("Rollout", ("shop",))
    assert select((), nothing, more=lambda: rows)[-1].row.kind == "Rollout"
    with pytest.raises(NotFoundError, match="ksvc"):
        select(parse_targets(["ksvc/shop"]), nothing, more=lambda: rows)


def owned(kind: str, name: str, owner: str, owner_name: str, **more: Any) -> dict[str, Any]:
    reference = [{"kind": owner, "name": owner_name, "controller": True}]
    return {"kind": kind, "metadata": metadata(name, ownerReferences=reference, **more)}


def test_whose_the_pods_are() -> None:
    replica_set = owned("ReplicaSet", "shop-7f", "Rollout", "shop")
    assert not owners.is_workload("ReplicaSet", replica_set)
    assert not owners.is_workload("Deployment", owned("Deployment", "kn-1-deployment", "Revision", "kn-1"))
    assert owners.is_workload("Deployment", owned("Deployment", "web", "Shop", "main"))
    label = {"serving.knative.dev/service": "kn", "pod-template-hash": "1"}
    pods = [
        owned("Pod", "shop-7f-1", "ReplicaSet", "shop-7f"),
        owned("Pod", "kn-1-deployment-1-a", "ReplicaSet", "kn-1-deployment-1", labels=label),
        owned("Pod", "clone-a", "CloneSet", "clone"),
    ]
    found = owners.pods_by_workload(map(projection.pod, pods), owners.parents({"ReplicaSet": [replica_set]}))
    assert {(ref.kind, ref.name): len(pods) for ref, pods in found.items()} == {
        ("Rollout", "shop"): 1,
        ("Service", "kn"): 1,
        ("CloneSet", "clone"): 1,
    }


def test_manifests_of_them_are_read() -> None:
    from kubectl_egress.cli.sources import survey_documents

    core = Document(Ref("Service", NAMESPACE, "shop", "v1"), {"apiVersion": "v1", "kind": "Service", "spec": {}})
    survey = survey_documents([*(document(body) for body in ALL), core])
    assert [one.document.body for one in survey.workloads] == ALL
