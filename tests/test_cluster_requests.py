from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kubectl_egress.cluster import Cluster, ConnectionOptions, connect
from kubectl_egress.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnreachableError,
)
from kubectl_egress.model import PatchOperation, Ref
from tests.fake_api import Answer, FakeApi, fake_api, listing, status, write_kubeconfig
from tests.forward_proxies import load_balancer

PODS = "/api/v1/namespaces/shop/pods"
DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/curl"
CURL = Ref("Deployment", "shop", "curl", "apps/v1")
BUSY = status(429, "too many requests", "TooManyRequests")
AT_ONCE = {"Retry-After": "0"}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path) as running:
        yield running


@pytest.fixture
def cluster(api: FakeApi, tmp_path: Path) -> Iterator[Cluster]:
    connected = connect(ConnectionOptions(kubeconfig=str(tmp_path / "config"), request_timeout="2s"))
    yield connected
    connected.close()


def item(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}"}}


def busy(code: int = 429) -> Answer:
    return Answer(BUSY.body, code, AT_ONCE)


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, ApiError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (422, InvalidError),
        (500, ApiError),
    ],
)
def test_a_status_is_an_error_with_the_server_s_message(
    api: FakeApi, cluster: Cluster, code: int, error: type[ApiError]
) -> None:
    api.on("GET", DEPLOYMENT, status(code, "the server says no", "Because"))
    with pytest.raises(error) as caught:
        cluster.get(CURL)
    assert type(caught.value) is error
    assert (caught.value.message, caught.value.status, caught.value.reason) == ("the server says no", code, "Because")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("code", "message", "remedy"),
    [
        (403, 'configmaps "a" is forbidden: User "reader" cannot create resource', "ask for this permission"),
        (403, 'pods "a" is forbidden: exceeded quota: small, requested: pods=1', "kubectl describe resourcequota"),
        (403, 'admission webhook "policy.example.com" denied the request: no', "not a permission"),
        (422, "ValidatingAdmissionPolicy 'a' with binding 'b' denied request: no", "not a permission"),
        (
            400,
            'admission webhook "validation.istio.io" denied the request: configuration is invalid',
            "not a permission",
        ),
        (500, 'failed calling webhook "a.example.com": connection refused', "webhook does not answer"),
        (500, "etcdserver: no leader", "kubectl get --raw /readyz?verbose"),
    ],
)
def test_what_admission_refuses_is_no_permission_s_matter(
    api: FakeApi, cluster: Cluster, code: int, message: str, remedy: str
) -> None:
    api.on("GET", DEPLOYMENT, status(code, message))
    with pytest.raises(ApiError) as caught:
        cluster.get(CURL)
    assert remedy in caught.value.remedy


def test_an_answer_that_is_no_status_is_one_short_line(api: FakeApi, cluster: Cluster) -> None:
    api.on("GET", DEPLOYMENT, Answer("<html>\n" + "Bad Gateway " * 100, 502))
    with pytest.raises(ApiError, match="the server answered 502: <html> Bad Gateway") as caught:
        cluster.get(CURL)
    assert len(caught.value.message) < 300


def test_a_bare_404_has_kubectl_s_words(api: FakeApi, cluster: Cluster) -> None:
    api.on("GET", DEPLOYMENT, Answer("404 page not found", 404))
    with pytest.raises(NotFoundError, match="the server could not find the requested resource"):
        cluster.get(CURL)


# ---- retries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first", [busy(), busy(503), Answer(fault="reset"), Answer(fault="cut")], ids=["429", "503", "reset", "cut"]
)
def test_a_read_is_tried_again(api: FakeApi, cluster: Cluster, first: Answer) -> None:
    api.on("GET", DEPLOYMENT, first, Answer({"kind": "Deployment"}))
    assert cluster.get(CURL)["kind"] == "Deployment"
    assert len(api.asked("GET", DEPLOYMENT)) == 2


@pytest.mark.parametrize("ends", [1, 2, 3])
def test_a_handshake_that_ends_before_it_is_done(ends: int, api: FakeApi, tmp_path: Path) -> None:
    api.on("GET", DEPLOYMENT, Answer({"kind": "Deployment"}))
    with load_balancer(int(api.url.rpartition(":")[2]), ends) as between:
        write_kubeconfig(tmp_path / "config", f"https://{between.address}")
        with closing(connect(ConnectionOptions(kubeconfig=str(tmp_path / "config")))) as cluster:
            if ends < 3:
                assert cluster.get(CURL)["kind"] == "Deployment"
                return
            with pytest.raises(UnreachableError, match="tls: unexpected eof"):
                cluster.get(CURL)
            assert between.asked == [""] * 3


def test_a_read_is_not_tried_for_ever(api: FakeApi, cluster: Cluster) -> None:
    api.on("GET", DEPLOYMENT, busy())
    with pytest.raises(ApiError, match="too many requests"):
        cluster.get(CURL)
    assert len(api.asked("GET", DEPLOYMENT)) == 5
    api.on("GET", DEPLOYMENT, Answer(fault="reset"))
    with pytest.raises(UnreachableError):
        cluster.get(CURL)
    assert len(api.asked("GET", DEPLOYMENT)) == 5 + 3


def test_a_refusal_without_retry_after_is_final(api: FakeApi, cluster: Cluster) -> None:
    api.on("GET", DEPLOYMENT, status(503, "no"))
    with pytest.raises(ApiError):
        cluster.get(CURL)
    assert len(api.asked("GET", DEPLOYMENT)) == 1


def test_a_write_is_tried_again_only_where_nothing_can_have_been_done(api: FakeApi, cluster: Cluster) -> None:
    operations = [PatchOperation("remove", ("metadata", "labels"))]
    api.on("PATCH", DEPLOYMENT, busy(), Answer({"kind": "Deployment"}))
    cluster.patch(CURL, operations)
    assert len(api.asked("PATCH", DEPLOYMENT)) == 2
    for answer, error in ((busy(503), ApiError), (Answer(fault="reset"), UnreachableError)):
        api.requests.clear()
        api.on("PATCH", DEPLOYMENT, answer)
        api.on("DELETE", DEPLOYMENT, answer)
        with pytest.raises(error):
            cluster.patch(CURL, operations)
        with pytest.raises(error):
            cluster.delete(CURL, uid="1")
        assert len(api.requests) == 2


# ---- lists ----------------------------------------------------------------------------------------------------------


def test_pages_are_one_list_with_kind_and_version(api: FakeApi, cluster: Cluster) -> None:
    api.on("GET", PODS, listing("Pod", "v1", [item("a")], "next"), listing("Pod", "v1", [item("b")]))
    found = list(cluster.list("v1", "pods", "shop", label_selector="a=b", field_selector="c=d", limit=1))
    assert [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in found] == [
        ("v1", "Pod", "a"),
        ("v1", "Pod", "b"),
    ]
    first, second = (request.query for request in api.asked("GET", PODS))
    assert first == {"limit": "1", "labelSelector": "a=b", "fieldSelector": "c=d"}
    assert second == {**first, "continue": "next"}


def test_a_list_is_read_as_it_is_wanted(api: FakeApi, cluster: Cluster) -> None:
    api.on("GET", PODS, listing("Pod", "v1", [item("a")], "next"))
    next(iter(cluster.list("v1", "pods", "shop")))
    assert len(api.requests) == 1


def test_a_list_that_the_server_forgot_is_begun_anew_once(api: FakeApi, cluster: Cluster) -> None:
    gone = status(410, "the provided continue parameter is too old", "Expired")
    api.on(
        "GET",
        PODS,
        listing("Pod", "v1", [item("a")], "next"),
        gone,
        listing("Pod", "v1", [item("a"), item("b")], "again"),
        gone,
    )
    bodies = cluster.list("v1", "pods", "shop")
    assert [next(bodies)["metadata"]["name"], next(bodies)["metadata"]["name"]] == ["a", "b"]
    with pytest.raises(ApiError, match="too old"):
        next(bodies)
    assert [request.query.get("continue") for request in api.requests] == [None, "next", None, "again"]


def test_all_namespaces_and_cluster_wide_types(api: FakeApi, cluster: Cluster) -> None:
    api.on("GET", "/api/v1/pods", listing("Pod", "v1", []))
    api.on("GET", "/api/v1/namespaces", listing("Namespace", "v1", []))
    assert [*cluster.list("v1", "pods", None), *cluster.list("v1", "namespaces", None)] == []


# ---- watches --------------------------------------------------------------------------------------------------------


def test_a_watch_gives_changes_until_it_is_cut_off(api: FakeApi, cluster: Cluster) -> None:
    events = [("ADDED", item("a")), ("BOOKMARK", {}), ("MODIFIED", item("a")), ("DELETED", item("a")), '{"type": "ADD']
    api.on("GET", PODS, Answer(events))
    found = list(cluster.watch("v1", "pods", "shop", resource_version="7", timeout=3))
    assert [kind for kind, _ in found] == ["ADDED", "MODIFIED", "DELETED"]
    assert api.requests[-1].query == {"watch": "true", "timeoutSeconds": "3", "resourceVersion": "7"}


def test_a_watch_from_too_long_ago_is_an_error_that_can_be_told(api: FakeApi, cluster: Cluster) -> None:
    api.on("GET", PODS, Answer([("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})]))
    with pytest.raises(ApiError, match="too old") as caught:
        list(cluster.watch("v1", "pods", "shop", resource_version="1"))
    assert caught.value.status == 410


def test_a_watch_that_is_forbidden(api: FakeApi, cluster: Cluster) -> None:
    api.on("GET", PODS, status(403, "pods is forbidden"))
    with pytest.raises(ForbiddenError, match="pods is forbidden"):
        list(cluster.watch("v1", "pods", "shop"))


# ---- writes ---------------------------------------------------------------------------------------------------------


def test_a_patch_is_rfc_6902_with_pointers(api: FakeApi, cluster: Cluster) -> None:
    api.on("PATCH", DEPLOYMENT, Answer({}))
    operations = [
        PatchOperation("test", ("metadata", "labels", "a/b~c"), None),
        PatchOperation("replace", ("spec", "list", 0, "value"), "x"),
        PatchOperation("remove", ("metadata", "labels")),
    ]
    cluster.patch(CURL, operations, dry_run=True)
    request = api.requests[-1]
    assert request.headers["content-type"] == "application/json-patch+json"
    assert request.query == {"fieldManager": "kubectl-egress", "dryRun": "All"}
    assert request.body == [
        {"op": "test", "path": "/metadata/labels/a~1b~0c", "value": None},
        {"op": "replace", "path": "/spec/list/0/value", "value": "x"},
        {"op": "remove", "path": "/metadata/labels"},
    ]


def test_a_delete_says_all_in_its_body(api: FakeApi, cluster: Cluster) -> None:
    api.on("DELETE", DEPLOYMENT, Answer({}))
    cluster.delete(CURL, uid="u-1", dry_run=True, grace_seconds=0, propagation="Foreground")
    assert api.requests[-1].query == {}
    assert api.requests[-1].body == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u-1"},
        "dryRun": ["All"],
        "gracePeriodSeconds": 0,
        "propagationPolicy": "Foreground",
    }


def test_a_create_goes_to_the_object_s_namespace_or_the_current_one(api: FakeApi, cluster: Cluster) -> None:
    for namespace in ("shop", "other"):
        api.on("POST", f"/api/v1/namespaces/{namespace}/configmaps", Answer({"kind": "ConfigMap"}, 201))
    for metadata in ({"name": "a"}, {"name": "a", "namespace": "other"}):
        cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    assert [request.path.split("/")[4] for request in api.requests] == ["shop", "other"]
    assert api.requests[0].query == {"fieldManager": "kubectl-egress", "fieldValidation": "Strict"}


# ---- resource types -------------------------------------------------------------------------------------------------

ISTIO = "/apis/networking.istio.io"


@pytest.mark.parametrize(
    ("versions", "expected"),
    [(["v1alpha3", "v1beta1", "v1"], "v1"), (["v1alpha3", "v1beta1"], "v1beta1"), (["v1alpha3"], "v1alpha3")],
)
def test_istio_s_kinds_go_under_the_version_that_is_served(
    api: FakeApi, cluster: Cluster, versions: list[str], expected: str
) -> None:
    api.on("GET", ISTIO, Answer({"kind": "APIGroup", "versions": [{"version": version} for version in versions]}))
    path = f"{ISTIO}/{expected}/namespaces/shop/serviceentries"
    api.on("POST", path, Answer({}, 201))
    for name in ("a", "b"):
        body = {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": name}}
        cluster.create(body)
    assert {request.body["apiVersion"] for request in api.asked("POST", path)} == {f"networking.istio.io/{expected}"}
    assert len(api.asked("GET", ISTIO)) == 1
    filters = next(one for one in cluster.mesh_resources() if one.kind == "EnvoyFilter")
    assert filters.api_version == "networking.istio.io/v1alpha3"


def test_a_cluster_without_istio(cluster: Cluster) -> None:
    with pytest.raises(NotFoundError, match="Istio is not installed"):
        cluster.get(Ref("ServiceEntry", "shop", "a", "networking.istio.io/v1"))


def test_who_may_not_ask_for_discovery_still_reads(api: FakeApi, cluster: Cluster) -> None:
    api.on("GET", ISTIO, status(403, "no"))
    assert cluster.mesh_resources()[0].api_version == "networking.istio.io/v1beta1"


def test_built_in_types_need_no_discovery(api: FakeApi, cluster: Cluster) -> None:
    words = ("deploy", "StatefulSet", "ds", "rs", "jobs.batch", "cj", "po", "cm", "ns")
    assert [cluster.resource(word).plural for word in words] == [
        "deployments",
        "statefulsets",
        "daemonsets",
        "replicasets",
        "jobs",
        "cronjobs",
        "pods",
        "configmaps",
        "namespaces",
    ]
    assert api.requests == []


def _resource(name: str, kind: str, short: str, scope: str = "Namespaced") -> dict[str, Any]:
    found = {"resource": name, "responseKind": {"kind": kind}, "scope": scope, "shortNames": [short]}
    return {**found, "singularResource": kind.lower()}


def test_other_types_are_found_by_aggregated_discovery(api: FakeApi, cluster: Cluster) -> None:
    def document(group: str, version: str, *resources: Any) -> Answer:
        items = [{"metadata": {"name": group}, "versions": [{"version": version, "resources": resources}]}]
        return Answer({"kind": "APIGroupDiscoveryList", "items": items})

    api.on("GET", "/api", document("", "v1", _resource("nodes", "Node", "no", "Cluster")))
    api.on("GET", "/apis", document("argoproj.io", "v1alpha1", _resource("rollouts", "Rollout", "ro")))
    for word in ("ro", "rollout", "rollouts.argoproj.io", "rollouts.v1alpha1.argoproj.io"):
        found = cluster.resource(word)
        assert (found.full_name, found.kind, found.namespaced) == ("rollouts.argoproj.io", "Rollout", True)
    assert cluster.resource("no").path("shop", "n1") == "/api/v1/nodes/n1"
    with pytest.raises(NotFoundError, match='the server doesn\'t have a resource type "ghost"'):
        cluster.resource("ghost")
    assert len(api.requests) == 2


def test_an_older_server_is_asked_group_by_group(api: FakeApi, cluster: Cluster) -> None:
    rollouts = {"name": "rollouts", "kind": "Rollout", "namespaced": True, "shortNames": ["ro"]}
    status_of = {"name": "rollouts/status", "kind": "Rollout", "namespaced": True}
    api.on("GET", "/api", Answer({"kind": "APIVersions", "versions": ["v1"]}))
    api.on("GET", "/api/v1", Answer({"groupVersion": "v1", "resources": []}))
    versions = [{"groupVersion": "argoproj.io/v1alpha1"}, {"groupVersion": "broken.test/v1"}]
    api.on("GET", "/apis", Answer({"kind": "APIGroupList", "groups": [{"versions": versions}]}))
    document = {"groupVersion": "argoproj.io/v1alpha1", "resources": [rollouts, status_of]}
    api.on("GET", "/apis/argoproj.io/v1alpha1", Answer(document))
    assert cluster.resource("ro").full_name == "rollouts.argoproj.io"
    found = cluster.resource_of("Rollout", "argoproj.io/v1alpha1")
    assert found.path("shop", "a") == "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/a"
    with pytest.raises(NotFoundError, match='no matches for kind "Ghost" in version "a/v1"'):
        cluster.resource_of("Ghost", "a/v1")
