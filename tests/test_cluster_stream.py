from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kubectl_egress import cli
from kubectl_egress.cluster import Cluster, ConnectionOptions, connect
from kubectl_egress.cluster.stream import surveys
from kubectl_egress.cluster.survey import survey
from kubectl_egress.cluster.targets import parse_targets
from kubectl_egress.errors import EgressError
from kubectl_egress.model import Body, Survey
from tests import build
from tests.fake_api import Answer, FakeApi, fake_api, listing, status

ISTIO = "/apis/networking.istio.io"
PATHS = {
    "Deployment": "/apis/apps/v1/deployments",
    "StatefulSet": "/apis/apps/v1/statefulsets",
    "DaemonSet": "/apis/apps/v1/daemonsets",
    "ReplicaSet": "/apis/apps/v1/replicasets",
    "Job": "/apis/batch/v1/jobs",
    "CronJob": "/apis/batch/v1/cronjobs",
    "Pod": "/api/v1/pods",
    "ConfigMap": "/api/v1/configmaps",
    "Namespace": "/api/v1/namespaces",
}
# As etcd has them: the slash behind the namespace is greater than the hyphen.
SPACES = ("a-b", "a", "b")


def owned(body: Body, kind: str, name: str) -> Body:
    metadata = {**body["metadata"], "ownerReferences": [{"kind": kind, "name": name, "controller": True}]}
    return {**body, "metadata": metadata}


class Cluster3:
    """Three namespaces on a FakeApi, each list in pages of two."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        for kind in PATHS:
            self.has(kind)
        api.on("GET", ISTIO, Answer({"versions": [{"version": "v1"}]}))
        for plural in ("serviceentries", "destinationrules", "virtualservices", "sidecars"):
            api.on("GET", f"{ISTIO}/v1/{plural}", listing("X", "networking.istio.io/v1", []))
        api.on("GET", f"{ISTIO}/v1alpha3/envoyfilters", listing("X", "networking.istio.io/v1", []))

    def has(self, kind: str, *bodies: Body) -> None:
        version = {"a": "v1", "b": "batch/v1"}.get(PATHS[kind][5:6], "apps/v1")
        items = [{**body, "metadata": {**body["metadata"], "uid": f"{kind}{body['metadata']}"}} for body in bodies]
        pages = [items[start : start + 2] for start in range(0, max(1, len(items)), 2)]
        answers = [
            listing(kind, version, page, str(number) if number < len(pages) else "")
            for number, page in enumerate(pages, 1)
        ]
        self.api.on("GET", PATHS[kind], *answers, answers[0])

    def everything(self) -> None:
        def each(make: Any) -> Sequence[Body]:
            return [body for space in SPACES for body in make(space)]

        reads = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "read", "key": "a"}}}]
        self.has("Namespace", *({"metadata": {"name": space}} for space in sorted(SPACES)))
        self.has("Deployment", *each(lambda s: [build.deployment("curl", s, env=reads), build.deployment("web", s)]))
        self.has(
            "ReplicaSet", *each(lambda s: [owned(build.workload("ReplicaSet", "curl-1", s), "Deployment", "curl")])
        )
        self.has("Pod", *each(lambda s: [owned(build.pod(f"curl-1-{n}", s), "ReplicaSet", "curl-1") for n in "ab"]))
        self.has(
            "ConfigMap", *each(lambda s: [build.config_map("other", {}, s), build.config_map("read", {"a": s}, s)])
        )

    def asked(self, kind: str) -> int:
        return len(self.api.asked("GET", PATHS[kind]))


def empty_admin(asked: list[str], path: str) -> tuple[int, str]:
    """A sidecar that has done nothing yet."""
    asked.append(path)
    if path.startswith("/config_dump"):
        return 404, "not found in config dump"
    return 200, "" if path.startswith("/stats") else "{}"


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Cluster3]:
    with fake_api(tmp_path) as api:
        yield Cluster3(api)


@pytest.fixture
def cluster(three: Cluster3, tmp_path: Path) -> Iterator[Cluster]:
    connected = connect(ConnectionOptions(kubeconfig=str(tmp_path / "config")))
    yield connected
    connected.close()


def shown(found: Survey) -> list[tuple[str, str, list[str], list[str]]]:
    return [
        (
            one.ref.namespace,
            one.ref.name,
            [pod["metadata"]["name"] for pod in one.pods],
            [str(ref.name) for ref in found.config_maps if ref.namespace == one.ref.namespace],
        )
        for one in found.workloads
    ]


def test_namespace_by_namespace_in_the_order_of_the_server(three: Cluster3, cluster: Cluster) -> None:
    three.everything()
    found = list(surveys(cluster))
    assert [shown(one) for one in found] == [
        [(space, "curl", ["curl-1-a", "curl-1-b"], ["read"]), (space, "web", [], ["read"])] for space in SPACES
    ]
    assert [list(one.namespaces) for one in found] == [[space] for space in SPACES]
    assert all((one.live, one.namespace, one.proxies) == (True, "", {}) for one in found)


def test_together_they_say_what_one_survey_says(three: Cluster3, cluster: Cluster) -> None:
    three.everything()
    parts = [row for one in surveys(cluster) for row in shown(one)]
    three.everything()
    whole = survey(cluster, all_namespaces=True, live=False)
    assert sorted(row[:3] for row in parts) == sorted(row[:3] for row in shown(whole))


def test_each_list_is_read_once_whatever_is_in_it(three: Cluster3, cluster: Cluster) -> None:
    three.everything()
    list(surveys(cluster))
    assert {kind: three.asked(kind) for kind in PATHS} == {
        "Deployment": 3, "StatefulSet": 1, "DaemonSet": 1, "ReplicaSet": 2, "Job": 1, "CronJob": 1,
        "Pod": 3, "ConfigMap": 3, "Namespace": 2,
    }  # fmt: skip
    asked = [(request.path, request.query.get("continue")) for request in three.api.requests]
    assert len(asked) == len(set(asked)), "no page is asked for twice"
    settings = "/api/v1/namespaces/istio-system/configmaps/"
    assert not [path for path, _ in asked if "/namespaces/" in path and not path.startswith(settings)]


def test_the_first_namespace_is_there_before_the_last_page_is_asked_for(three: Cluster3, cluster: Cluster) -> None:
    three.has("Deployment", *(build.deployment(f"d{number:02}", f"n{number:02}") for number in range(20)))
    stream = surveys(cluster)
    assert next(stream).workloads[0].ref.namespace == "n00"
    assert three.asked("Deployment") < 5
    stream.close()  # type: ignore[attr-defined]


def test_replica_sets_of_their_own_are_read_where_there_are_some(three: Cluster3, cluster: Cluster) -> None:
    three.has("ReplicaSet", build.workload("ReplicaSet", "bare", "b"))
    bare = listing("ReplicaSet", "apps/v1", [build.workload("ReplicaSet", "bare", "b", env={"A": "https://x.example"})])
    three.api.on("GET", "/apis/apps/v1/namespaces/b/replicasets", bare)
    (found,) = surveys(cluster)
    assert [(one.ref.kind, one.document.body["spec"]["replicas"]) for one in found.workloads] == [("ReplicaSet", 1)]


def test_an_empty_cluster_is_one_empty_survey(three: Cluster3, cluster: Cluster) -> None:
    (found,) = surveys(cluster)
    assert (found.workloads, found.denied) == ((), ())


def test_what_may_not_be_listed_is_said_of_every_namespace(three: Cluster3, cluster: Cluster) -> None:
    three.everything()
    three.api.on("GET", PATHS["Pod"], status(403, "pods is forbidden"))
    three.api.on("GET", PATHS["CronJob"], status(404, "the server could not find the requested resource"))
    found = list(surveys(cluster))
    assert [[denied.resource for denied in one.denied] for one in found] == [["pods"]] * 3
    three.everything()
    three.api.on("GET", PATHS["Pod"], status(403, "pods is forbidden"))
    three.api.on("GET", PATHS["Deployment"], status(403, "deployments is forbidden"))
    (empty,) = surveys(cluster, parse_targets(["deploy"]))
    assert [denied.resource for denied in empty.denied] == ["deployments.apps", "pods"]


def test_one_namespace_whose_sidecars_may_not_be_asked_costs_the_others_nothing(
    three: Cluster3, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three.everything()
    three.has("Deployment", *(build.deployment("curl", space, env={"API": "https://httpbin.org/"}) for space in SPACES))
    started = [{"name": "istio-proxy", "ready": True, "state": {"running": {}}}]
    pods = [owned(build.pod(f"curl-1-{space}", space), "ReplicaSet", "curl-1") for space in SPACES]
    three.has("Pod", *({**one, "status": {**one["status"], "containerStatuses": started}} for one in pods))
    asked: list[str] = []
    for space in ("a-b", "b"):
        three.api.ports[(f"curl-1-{space}", 15000)] = partial(empty_admin, asked)
    for way in ("portforward", "exec"):
        refusal = status(403, f'User "ann" cannot create resource "pods/{way}" in the namespace "a"')
        three.api.refused[f"/api/v1/namespaces/a/pods/curl-1-a/{way}"] = refusal
    assert cli.main(["inspect", "-A", "-o", "json", "--kubeconfig", str(tmp_path / "config")]) == 0
    report = json.loads(capsys.readouterr().out)
    seen = {item["workload"]["namespace"]: item["visibility"] for item in report["items"]}
    assert seen == {"a-b": "opaque", "a": "unknown", "b": "opaque"}
    denied = [one for one in report["findings"] if one["message"].startswith("may not read the sidecars")]
    assert [(one["code"], one["evidence"][0]["object"]["name"]) for one in denied] == [("no-permission", "curl-1-a")]
    assert 'cannot create resource "pods/portforward" in the namespace "a"' in denied[0]["message"]
    assert {one["workload"]["namespace"]: one["proxies"] for one in report["passthrough"]} == {"a-b": 1, "a": 0, "b": 1}
    assert {path for path in asked if "active_clusters" in path} == {
        "/config_dump?resource=dynamic_active_clusters&name_regex=.*(Cluster|httpbin[.]org)"
    }, "of a large mesh, only what is called is read"


def test_a_list_in_another_order_is_refused_and_not_misread(three: Cluster3, cluster: Cluster) -> None:
    three.has("Deployment", *(build.deployment("web", space) for space in ("a", "b", "c")))
    three.has("Pod", *(build.pod("web-1", space) for space in ("a", "c", "b")))
    with pytest.raises(EgressError, match="list of pods is not in the order of its namespaces") as caught:
        list(surveys(cluster))
    assert "-n NAMESPACE" in caught.value.remedy


def test_a_list_that_is_begun_anew_has_nothing_twice_and_nothing_late(three: Cluster3, cluster: Cluster) -> None:
    bodies = [build.deployment("web", space) for space in ("a", "b", "c", "d")]
    items = [{**one, "metadata": {**one["metadata"], "uid": one["metadata"]["namespace"]}} for one in bodies]
    late = build.deployment("late", "a")
    pages = [
        listing("Deployment", "apps/v1", items[:2], "1"),
        status(410, "too old"),
        listing("Deployment", "apps/v1", [items[0], late, *items[1:]]),
    ]
    three.api.on("GET", PATHS["Deployment"], *pages)
    found = [one.ref for part in surveys(cluster) for one in part.workloads]
    assert [(ref.namespace, ref.name) for ref in found] == [(space, "web") for space in "abcd"]
