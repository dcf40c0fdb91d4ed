from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kubectl_egress.cluster import Cluster, ConnectionOptions, connect
from kubectl_egress.cluster.secrets import Secrets
from kubectl_egress.cluster.settings import mesh_settings
from kubectl_egress.cluster.survey import Asking, pods_of, survey
from kubectl_egress.cluster.targets import parse_targets
from kubectl_egress.errors import ForbiddenError, NotFoundError, UsageError
from kubectl_egress.journal import CallerRecord, Journal, ReferenceRecord, SiteRecord, to_config_map
from kubectl_egress.model import Body, Denied, Host, MeshSettings, ProxyUnread, Ref
from tests import build
from tests.fake_api import Answer, FakeApi, fake_api, listing, status
from tests.lab_api import running_lab

ISTIO = "/apis/networking.istio.io"
MESH = ("serviceentries", "destinationrules", "virtualservices", "sidecars", "envoyfilters")
WORKLOADS = {
    "apps/v1": {
        "deployments": "Deployment",
        "statefulsets": "StatefulSet",
        "daemonsets": "DaemonSet",
        "replicasets": "ReplicaSet",
    },
    "batch/v1": {"jobs": "Job", "cronjobs": "CronJob"},
}


class Shop:
    """A namespace `shop` on a FakeApi: what is put there is what its lists give."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.put(
            "v1", "namespaces/shop", Answer({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "shop"}}), ""
        )
        for api_version, plurals in {**WORKLOADS, "v1": {"pods": "Pod", "configmaps": "ConfigMap"}}.items():
            for plural, kind in plurals.items():
                self.put(api_version, plural, listing(kind, api_version, []))
        api.on("GET", ISTIO, Answer({"versions": [{"version": "v1"}]}))
        for plural in MESH:
            self.mesh(plural, [])

    def put(self, api_version: str, plural: str, answer: Answer, scope: str = "namespaces/shop/") -> None:
        self.api.on("GET", f"/{'apis' if '/' in api_version else 'api'}/{api_version}/{scope}{plural}", answer)

    def has(self, kind: str, *bodies: Body) -> None:
        plurals = {"Pod": ("v1", "pods"), "ConfigMap": ("v1", "configmaps")}
        plurals |= {name: (version, plural) for version, rows in WORKLOADS.items() for plural, name in rows.items()}
        api_version, plural = plurals[kind]
        # As a real list has it: without the kind of its items.
        items = [{key: value for key, value in body.items() if key not in ("kind", "apiVersion")} for body in bodies]
        self.put(api_version, plural, listing(kind, api_version, items))

    def mesh(self, plural: str, items: Sequence[Body], scope: str = "") -> None:
        version = "v1alpha3" if plural == "envoyfilters" else "v1"
        kind = {"serviceentries": "ServiceEntry"}.get(plural, "Sidecar")
        answer = listing(kind, f"networking.istio.io/{version}", items)
        self.api.on("GET", f"{ISTIO}/{version}/{scope}{plural}", answer)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path) as running:
        yield running


@pytest.fixture
def shop(api: FakeApi) -> Shop:
    return Shop(api)


@pytest.fixture
def cluster(api: FakeApi, tmp_path: Path) -> Iterator[Cluster]:
    connected = connect(ConnectionOptions(kubeconfig=str(tmp_path / "config")))
    yield connected
    connected.close()


def owned(body: Body, kind: str, name: str) -> dict[str, Any]:
    metadata = {**body["metadata"], "ownerReferences": [{"kind": kind, "name": name, "controller": True}]}
    return {**body, "metadata": metadata}


def pod(name: str, kind: str, owner: str, **labels: str) -> dict[str, Any]:
    made = owned(build.pod(name, "shop"), kind, owner)
    made["metadata"] |= {"uid": f"uid-{name}", "managedFields": [{}], "labels": labels}
    return made


def names(found: Mapping[Ref, Sequence[Body]]) -> dict[str, list[str]]:
    return {f"{ref.kind}/{ref.name}": [one["metadata"]["name"] for one in pods] for ref, pods in found.items()}


# ---- workloads and pods ---------------------------------------------------------------------------------------------


def test_an_empty_namespace_is_an_empty_survey(shop: Shop, cluster: Cluster) -> None:
    found = survey(cluster)
    assert (found.namespace, found.workloads, found.mesh_objects, found.journals, found.live) == (
        "shop",
        (),
        (),
        (),
        True,
    )
    assert list(found.namespaces) == ["shop"]
    assert (found.denied, found.settings) == ((), MeshSettings())


def test_pods_find_their_workloads_through_replica_sets_and_jobs(shop: Shop, cluster: Cluster) -> None:
    shop.has("Deployment", build.deployment("curl", "shop"))
    shop.has("CronJob", build.workload("CronJob", "night", "shop"))
    shop.has("StatefulSet", build.workload("StatefulSet", "db", "shop"))
    bare = build.workload("ReplicaSet", "bare", "shop")
    shop.has("ReplicaSet", owned(build.workload("ReplicaSet", "curl-1", "shop"), "Deployment", "curl"), bare)
    shop.has("Job", owned(build.workload("Job", "night-1", "shop"), "CronJob", "night"))
    shop.has(
        "Pod",
        pod("curl-1-a", "ReplicaSet", "curl-1"),
        pod("night-1-a", "Job", "night-1"),
        pod("db-0", "StatefulSet", "db"),
        pod("bare-a", "ReplicaSet", "bare"),
        {**pod("night-0-a", "Job", "night-1"), "status": {"phase": "Succeeded"}},
        build.pod("alone", "shop"),
    )
    found = survey(cluster, live=False)
    assert names({workload.ref: workload.pods for workload in found.workloads}) == {
        "Deployment/curl": ["curl-1-a"],
        "StatefulSet/db": ["db-0"],
        "ReplicaSet/bare": ["bare-a"],
        "CronJob/night": ["night-1-a"],
    }
    assert all("managedFields" not in one["metadata"] for workload in found.workloads for one in workload.pods)
    assert found.workloads[0].document.body["kind"] == "Deployment"
    requests = [request.path for request in shop.api.requests]
    assert len(requests) <= 20, "one list for each type, and no request for each object"


def test_without_replica_sets_a_pod_s_own_labels_tell_its_deployment(shop: Shop, cluster: Cluster) -> None:
    shop.has("Deployment", build.deployment("curl", "shop"))
    shop.put("apps/v1", "replicasets", status(403, "replicasets.apps is forbidden"))
    shop.has("Pod", pod("curl-7d-a", "ReplicaSet", "curl-7d", **{"pod-template-hash": "7d"}))
    found = survey(cluster, parse_targets(["deploy"]), live=False)
    assert names({workload.ref: workload.pods for workload in found.workloads}) == {"Deployment/curl": ["curl-7d-a"]}
    assert Denied("list", "replicasets.apps", "shop", "replicasets.apps is forbidden") in found.denied


def test_one_target_is_asked_for_by_name_and_nothing_else_of_its_kind(shop: Shop, cluster: Cluster) -> None:
    shop.has("Deployment", build.deployment("curl", "shop"))
    found = survey(cluster, parse_targets(["deploy/curl"]), live=False)
    assert [workload.ref.name for workload in found.workloads] == ["curl"]
    path = "/apis/apps/v1/namespaces/shop/deployments"
    assert [request.query["fieldSelector"] for request in shop.api.asked("GET", path)] == ["metadata.name=curl"]
    assert not shop.api.asked("GET", "/apis/apps/v1/namespaces/shop/statefulsets")


def test_the_label_selector_goes_to_the_workloads_alone(shop: Shop, cluster: Cluster) -> None:
    survey(cluster, selector="app=a", live=False)
    asked = {request.path: request.query.get("labelSelector") for request in shop.api.requests}
    assert asked["/apis/apps/v1/namespaces/shop/deployments"] == "app=a"
    assert asked["/api/v1/namespaces/shop/pods"] is None


def test_targets_that_are_not_there(shop: Shop, cluster: Cluster) -> None:
    shop.has("Deployment", build.deployment("curl", "shop"))
    with pytest.raises(NotFoundError) as caught:
        survey(cluster, parse_targets(["deploy/curl", "deploy/x", "sts/y"]))
    assert caught.value.message == 'deployments.apps "x" not found; statefulsets.apps "y" not found'
    with pytest.raises(UsageError, match="pods is not a type of workload"):
        survey(cluster, parse_targets(["pod/a"]))


def test_a_namespace_that_is_not_there(shop: Shop, cluster: Cluster) -> None:
    shop.put("v1", "namespaces/shop", status(404, 'namespaces "shop" not found'), "")
    with pytest.raises(NotFoundError, match='namespaces "shop" not found') as caught:
        survey(cluster, parse_targets(["deploy/x"]))
    assert "kubectl get namespaces" in caught.value.remedy


# ---- permissions ----------------------------------------------------------------------------------------------------


def test_forbidden_workloads_are_a_value(shop: Shop, cluster: Cluster) -> None:
    shop.put("apps/v1", "deployments", status(403, "deployments.apps is forbidden"))
    shop.put("v1", "namespaces/shop", status(403, "namespaces is forbidden"), "")
    found = survey(cluster, parse_targets(["deploy/curl"]), live=False)
    assert found.workloads == ()
    assert Denied("list", "deployments.apps", "shop", "deployments.apps is forbidden") in found.denied
    assert Denied("get", "namespaces", "shop", "namespaces is forbidden") in found.denied


def test_credentials_that_do_not_count_are_an_error(shop: Shop, cluster: Cluster) -> None:
    shop.put("v1", "pods", status(401, "Unauthorized"))
    with pytest.raises(ForbiddenError, match="You must be logged in"):
        survey(cluster)


def test_mesh_objects_of_all_namespaces(shop: Shop, cluster: Cluster) -> None:
    shop.mesh("serviceentries", [{"metadata": {"name": "a", "namespace": "other"}}])
    found = survey(cluster, live=False)
    assert [one.ref for one in found.mesh_objects] == [Ref("ServiceEntry", "other", "a")]
    assert found.mesh_objects[0].ref.api_version == "networking.istio.io/v1"


def test_mesh_objects_close_by_where_all_namespaces_are_forbidden(shop: Shop, cluster: Cluster) -> None:
    shop.api.on("GET", f"{ISTIO}/v1/serviceentries", status(403, "cannot list at the cluster scope"))
    shop.mesh("serviceentries", [{"metadata": {"name": "a", "namespace": "shop"}}], "namespaces/shop/")
    shop.api.on("GET", f"{ISTIO}/v1/namespaces/istio-system/serviceentries", status(403, "not there"))
    found = survey(cluster, live=False)
    assert [one.ref.name for one in found.mesh_objects] == ["a"]
    denied = [one for one in found.denied if one.resource == "serviceentries.networking.istio.io"]
    assert [(one.namespace, one.message) for one in denied] == [
        ("", "cannot list at the cluster scope"),
        ("istio-system", "not there"),
    ]


def test_types_and_settings_that_are_not_there_hide_nothing(shop: Shop, cluster: Cluster) -> None:
    shop.put("batch/v1", "cronjobs", status(404, "the server could not find the requested resource"))
    shop.api.on(
        "GET", f"{ISTIO}/v1alpha3/envoyfilters", status(404, "the server could not find the requested resource")
    )
    found = survey(cluster, live=False)
    assert (found.denied, found.settings.known) == ((), False)


def test_forbidden_settings_are_a_value(shop: Shop, cluster: Cluster) -> None:
    system = "/api/v1/namespaces/istio-system/configmaps"
    shop.api.on("GET", f"{system}/istio", status(403, "configmaps is forbidden"))
    found = survey(cluster, live=False)
    assert found.denied == (Denied("get", "configmaps", "istio-system", "configmaps is forbidden"),)


def test_a_cluster_without_istio(shop: Shop, cluster: Cluster) -> None:
    shop.api.on("GET", ISTIO, status(404, "not here"))
    found = survey(cluster, live=False)
    assert [one.message for one in found.denied if "networking" in one.resource] == [
        "Istio is not installed: the server doesn't have the API group networking.istio.io"
    ]


# ---- ConfigMaps and settings ----------------------------------------------------------------------------------------


def test_config_maps_that_are_read_our_copies_and_our_journals(shop: Shop, cluster: Cluster) -> None:
    reads = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "read", "key": "a"}}}
    shop.has("Deployment", build.deployment("curl", "shop", env=[reads]))
    ours = {"app.kubernetes.io/managed-by": "kubectl-egress"}
    made = {name: build.config_map(name, {"a": "b"}, "shop") for name in ("read", "unread", "copy", "journal")}
    made["copy"]["metadata"]["labels"] = ours
    made["journal"]["metadata"]["labels"] = {**ours, "egress.kubectl/journal": "true"}
    shop.has("ConfigMap", *made.values())
    found = survey(cluster, live=False)
    assert sorted(ref.name for ref in found.config_maps) == ["copy", "read"]
    assert [one.ref for one in found.journals] == [Ref("ConfigMap", "shop", "journal")]


SECRETS = "/api/v1/namespaces/shop/secrets"


def with_secrets(shop: Shop) -> None:
    """A Deployment that names Secrets of every sort, and a journal that names two more."""
    names_them = [{"secretRef": {"name": name}} for name in ("read", "tls", "gone", "closed")]
    app = build.container("app", envFrom=names_them)
    shop.has("Deployment", build.deployment("curl", "shop", containers=[app]))
    site = SiteRecord(Ref("Secret", "shop", "original", "v1"), ("data", "url"), "app", "url", 0, 1, ())
    reference = ReferenceRecord(("spec",), "original", "Secret", "original-copy")
    caller = CallerRecord(Ref("Deployment", "shop", "curl", "apps/v1"), (site,), (reference,))
    journal = Journal(Host("httpbin.org"), "shop", "migrated", "r", "me", "now", "192.0.2.1", callers=(caller,))
    shop.has("ConfigMap", to_config_map(journal))
    for name in ("read", "original", "original-copy"):
        shop.api.on("GET", f"{SECRETS}/{name}", Answer(build.secret(name, {"url": "https://httpbin.org"}, "shop")))
    tls = build.secret("tls", {"tls.crt": "x"}, "shop", type="kubernetes.io/tls")
    shop.api.on("GET", f"{SECRETS}/tls", Answer(tls))
    shop.api.on("GET", f"{SECRETS}/gone", status(404, "not found"))
    shop.api.on("GET", f"{SECRETS}/closed", status(403, "secrets is forbidden"))


@pytest.mark.parametrize(
    ("which", "asked", "read"),
    [
        (Secrets.NONE, [], []),
        (Secrets.RECORDED, ["original", "original-copy"], ["original", "original-copy"]),
        (
            Secrets.NAMED,
            ["closed", "gone", "original", "original-copy", "read", "tls"],
            ["original", "original-copy", "read"],
        ),
    ],
)
def test_secrets_are_asked_for_one_by_one_where_that_is_wanted(
    shop: Shop, cluster: Cluster, which: Secrets, asked: list[str], read: list[str]
) -> None:
    with_secrets(shop)
    found = survey(cluster, live=False, secrets=which)
    assert shop.api.asked("GET", SECRETS) == []
    every = ("closed", "gone", "original", "original-copy", "read", "tls")
    assert [name for name in every for _ in shop.api.asked("GET", f"{SECRETS}/{name}")] == asked
    assert sorted(ref.name for ref in found.secrets) == read
    assert {body["data"]["url"] for body in found.secrets.values()} <= {"https://httpbin.org"}
    assert found.with_secrets is (which is Secrets.NAMED)
    denied = [Denied("get", "secrets", "shop", "secrets is forbidden")] if which is Secrets.NAMED else []
    assert [one for one in found.denied if one.resource == "secrets"] == denied


MESH_CONFIG = """
rootNamespace: mesh-root
outboundTrafficPolicy: {mode: REGISTRY_ONLY}
defaultConfig:
  proxyMetadata: {ISTIO_META_DNS_CAPTURE: "true", ISTIO_META_DNS_AUTO_ALLOCATE: true}
"""
VALUES = {"global": {"proxy": {"includeIPRanges": "10.0.0.0/8", "excludeOutboundPorts": "80", "clusterDomain": "corp"}}}


@pytest.mark.parametrize(
    ("mesh", "values", "settings"),
    [
        (None, None, MeshSettings()),
        ("", "{}", MeshSettings(known=True)),
        ("a: [", "{}", MeshSettings()),
        ("- a", "{}", MeshSettings()),
        ("", "no json", MeshSettings()),
        (
            "",
            '{"global": {"proxy": {"excludeOutboundPorts": 80}}}',
            MeshSettings(exclude_outbound_ports="80", known=True),
        ),
        (
            MESH_CONFIG,
            json.dumps(VALUES),
            MeshSettings("mesh-root", "REGISTRY_ONLY", True, True, "", "80", "10.0.0.0/8", "", "corp", known=True),
        ),
    ],
)
def test_mesh_settings(mesh: str | None, values: str | None, settings: MeshSettings) -> None:
    one = None if mesh is None else build.config_map("istio", {"mesh": mesh})
    other = None if values is None else build.config_map("istio-sidecar-injector", {"values": values})
    assert mesh_settings(one, other) == settings


def test_injector_and_interception_are_read() -> None:
    mesh = build.config_map("istio", {"mesh": "defaultConfig:\n  interceptionMode: NONE\n"})
    values = json.dumps({"sidecarInjectorWebhook": {"enableNamespacesByDefault": True}})
    config = "defaultTemplates: [sidecar]\npolicy: disabled\ntemplates:\n  sidecar: |\n    policy: enabled\n"
    injector = build.config_map("istio-sidecar-injector", {"values": values, "config": config})
    assert mesh_settings(mesh, injector) == MeshSettings(
        interception_mode="NONE", inject_everywhere=True, injection_disabled=True, known=True
    )


def test_a_revision_s_tag_means_the_revision_that_injected_the_pods(shop: Shop, cluster: Cluster) -> None:
    metadata = {"name": "shop", "labels": {"istio.io/rev": "stable"}}
    shop.put("v1", "namespaces/shop", Answer({"kind": "Namespace", "metadata": metadata}), "")
    shop.has("StatefulSet", build.workload("StatefulSet", "db", "shop"))
    injected = pod("db-0", "StatefulSet", "db")
    injected["metadata"]["annotations"] = {"istio.io/rev": "1-31"}
    shop.has("Pod", injected)
    system = "/api/v1/namespaces/istio-system/configmaps"
    shop.api.on("GET", f"{system}/istio-1-31", Answer(build.config_map("istio-1-31", {"mesh": MESH_CONFIG})))
    shop.api.on("GET", f"{system}/istio-sidecar-injector-1-31", Answer(build.config_map("x", {"values": "{}"})))
    assert survey(cluster, live=False).settings.root_namespace == "mesh-root"


def test_settings_are_those_of_the_namespace_s_revision(shop: Shop, cluster: Cluster) -> None:
    metadata = {"name": "shop", "labels": {"istio.io/rev": "canary"}}
    shop.put("v1", "namespaces/shop", Answer({"kind": "Namespace", "metadata": metadata}), "")
    system = "/api/v1/namespaces/istio-system/configmaps"
    shop.api.on("GET", f"{system}/istio-canary", Answer(build.config_map("istio-canary", {"mesh": MESH_CONFIG})))
    shop.api.on("GET", f"{system}/istio-sidecar-injector-canary", Answer(build.config_map("x", {"values": "{}"})))
    found = survey(cluster, live=False)
    assert (found.settings.root_namespace, found.settings.known) == ("mesh-root", True)
    assert found.denied == ()


# ---- proxies --------------------------------------------------------------------------------------------------------


def test_running_sidecars_are_asked_and_others_are_not(shop: Shop, cluster: Cluster) -> None:
    shop.has("StatefulSet", build.workload("StatefulSet", "db", "shop"))
    running = {"phase": "Running", "containerStatuses": [{"name": "istio-proxy", "state": {"running": {}}}]}
    shop.has("Pod", {**pod("db-0", "StatefulSet", "db"), "status": running}, pod("db-1", "StatefulSet", "db"))
    found = survey(cluster, parse_targets(["sts"]))
    assert list(found.proxies) == [Ref("Pod", "shop", "db-0")]
    assert isinstance(found.proxies[Ref("Pod", "shop", "db-0")], ProxyUnread)
    assert survey(cluster, parse_targets(["sts"]), live=False).proxies == {}


@pytest.mark.parametrize(
    ("asking", "expected"),
    [
        (Asking(), ["a-0", "a-1", "a-2", "b-0"]),
        (Asking(sample=1), ["a-0", "b-0"]),
        (Asking(sample=2), ["a-0", "a-1", "b-0"]),
        (Asking(at_most=4), ["a-0", "a-1", "a-2", "b-0"]),
        (Asking(at_most=3), ["a-0", "b-0"]),
    ],
    ids=["all", "sample=1", "sample=2", "auto, few", "auto, many"],
)
def test_which_sidecars_of_several_are_asked(shop: Shop, cluster: Cluster, asking: Asking, expected: list[str]) -> None:
    shop.has("StatefulSet", *(build.workload("StatefulSet", name, "shop") for name in "ab"))
    running = {"phase": "Running", "containerStatuses": [{"name": "istio-proxy", "state": {"running": {}}}]}
    pods = [
        pod(f"{name}-{number}", "StatefulSet", name) for name, many in (("a", 3), ("b", 1)) for number in range(many)
    ]
    shop.has("Pod", *({**one, "status": running} for one in pods))
    shop.api.refused = {way: status(403, "no") for way in ("portforward", "exec")}
    assert sorted(ref.name for ref in survey(cluster, asking=asking).proxies) == expected


# ---- on the lab's API -----------------------------------------------------------------------------------------------


def test_a_survey_of_the_lab_s_api(tmp_path: Path) -> None:
    with running_lab(tmp_path) as lab:
        cluster = connect(ConnectionOptions(kubeconfig=str(lab.kubeconfig())))
        cluster.create(build.deployment("curl", "default"))
        curl = Ref("Deployment", "default", "curl", "apps/v1")
        for _ in range(100):
            if len(pods_of(cluster, [curl])[curl]) == 1:
                break
        found = survey(cluster, parse_targets(["deploy/curl"]))
        assert [(one.ref, len(one.pods)) for one in found.workloads] == [(curl, 1)]
        assert list(found.namespaces) == ["default"]
        everywhere = survey(cluster, all_namespaces=True)
        assert (everywhere.namespace, [one.ref for one in everywhere.workloads]) == ("", [curl])
        reader = connect(ConnectionOptions(kubeconfig=str(lab.kubeconfig("reader-token"))))
        denied = survey(reader, live=False).denied
        assert {"deployments.apps", "configmaps", "namespaces"} <= {one.resource for one in denied}
        cluster.close()
        reader.close()
