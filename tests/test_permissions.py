from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kubectl_egress import findings
from kubectl_egress.cluster import Cluster, connect
from kubectl_egress.cluster.options import ConnectionOptions
from kubectl_egress.cluster.permissions import not_permitted
from kubectl_egress.errors import ForbiddenError
from kubectl_egress.model import Denied, Ref, Severity
from kubectl_egress.plan import MigrationRequest, permissions, plan_migration
from tests.build import NAMESPACE, config_map, deployment
from tests.build_mesh import HOST, entry, survey_of
from tests.fake_api import Answer, FakeApi, fake_api, status

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
SETTINGS = Ref("ConfigMap", NAMESPACE, "settings", "v1")
SHOP = Ref("Deployment", NAMESPACE, "shop", "apps/v1")
OTHER = Ref("Deployment", NAMESPACE, "other", "apps/v1")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path) as found:
        yield found


@pytest.fixture
def cluster(api: FakeApi, tmp_path: Path) -> Iterator[Cluster]:
    found = connect(ConnectionOptions(kubeconfig=str(tmp_path / "config")))
    yield found
    found.close()


def test_a_plan_asks_for_what_it_writes_and_for_the_way_back() -> None:
    settings = {"valueFrom": {"configMapKeyRef": {"name": "settings", "key": "API"}}}
    survey, sites = survey_of(
        deployment("shop", env=[{"name": "API", **settings}]),
        maps=[config_map("settings", {"API": "https://httpbin.org/"})],
        objects=[entry()],
    )
    plan = plan_migration(survey, sites, (), MigrationRequest(hosts=(HOST,), run="r"))
    asked = {(verb, ref.kind) for verb, ref in permissions(plan.steps)}
    assert asked == {
        *((verb, "ConfigMap") for verb in ("get", "create", "patch", "delete")),
        *((verb, kind) for kind in ("DestinationRule", "VirtualService") for verb in ("get", "create", "delete")),
        ("get", "ServiceEntry"),
        ("patch", "ServiceEntry"),
        ("get", "Deployment"),
        ("patch", "Deployment"),
    }
    assert permissions(()) == ()


def answer(allowed: bool) -> Answer:
    return Answer({"kind": "SelfSubjectAccessReview", "status": {"allowed": allowed}}, 201)


def asked_of(api: FakeApi) -> list[dict[str, str]]:
    return [one.body["spec"]["resourceAttributes"] for one in api.asked("POST", REVIEWS)]


def test_what_the_server_would_refuse(api: FakeApi, cluster: Cluster) -> None:
    api.on("POST", REVIEWS, answer(False))
    assert not_permitted(cluster, [("create", SETTINGS), ("patch", SHOP), ("patch", OTHER)]) == (
        Denied("create", "configmaps", NAMESPACE, ""),
        Denied("patch", "deployments.apps", NAMESPACE, ""),
    )
    any_deployment = {"namespace": NAMESPACE, "verb": "patch", "group": "apps", "resource": "deployments"}
    assert {"namespace": NAMESPACE, "verb": "create", "group": "", "resource": "configmaps"} in asked_of(api)
    assert any_deployment in asked_of(api)
    assert {**any_deployment, "name": "shop"} in asked_of(api)


def test_what_is_permitted_for_all_is_asked_once(api: FakeApi, cluster: Cluster) -> None:
    api.on("POST", REVIEWS, answer(True))
    assert not_permitted(cluster, [("patch", SHOP), ("patch", OTHER)]) == ()
    assert len(asked_of(api)) == 1


def test_what_is_permitted_by_name_is_permitted(api: FakeApi, cluster: Cluster) -> None:
    api.on("POST", REVIEWS, answer(False), answer(True), answer(True))
    assert not_permitted(cluster, [("patch", SHOP), ("patch", OTHER)]) == ()
    assert [one.get("name") for one in asked_of(api)] == [None, "shop", "other"]


@pytest.mark.parametrize(
    "said", [answer(True), status(404, "no such thing"), status(403, "nobody may ask"), status(503, "busy")]
)
def test_what_is_permitted_or_not_said_is_no_reason_to_stop(api: FakeApi, cluster: Cluster, said: Answer) -> None:
    api.on("POST", REVIEWS, said)
    assert not_permitted(cluster, [("create", SETTINGS)]) == ()


def test_credentials_that_do_not_count_stop_it(api: FakeApi, cluster: Cluster) -> None:
    api.on("POST", REVIEWS, status(401, "Unauthorized"))
    with pytest.raises(ForbiddenError):
        not_permitted(cluster, [("create", SETTINGS)])


@pytest.mark.parametrize(
    ("denied", "severity"),
    [
        (Denied("create", "serviceentries.networking.istio.io", NAMESPACE, ""), Severity.BLOCK),
        (Denied("patch", "deployments.apps", NAMESPACE, ""), Severity.BLOCK),
        (Denied("delete", "configmaps", NAMESPACE, ""), Severity.BLOCK),
        (Denied("get", "deployments.apps", NAMESPACE, ""), Severity.BLOCK),
        (Denied("get", "namespaces", NAMESPACE, "no"), Severity.WARN),
        (Denied("get", "configmaps", "istio-system", "no"), Severity.WARN),
        (Denied("list", "sidecars.networking.istio.io", "", "no"), Severity.WARN),
    ],
)
def test_what_may_not_be_written_blocks(denied: Denied, severity: Severity) -> None:
    survey, sites = survey_of(deployment("shop", env={"API": "https://httpbin.org/"}))
    [found] = findings.check(replace(survey, denied=(denied,)), sites, (HOST,))
    assert (found.code, found.severity) == ("no-permission", severity)
    assert found.message.startswith(f"may not {denied.verb} {denied.resource} in ")
    assert not found.message.endswith(" ")


def test_one_type_that_may_not_be_read_twice_is_named_once() -> None:
    survey, sites = survey_of(deployment("shop", env={"API": "https://httpbin.org/"}))
    denied = tuple(Denied("get", "configmaps", "istio-system", f"no {name}") for name in ("istio", "injector"))
    [found] = findings.check(replace(survey, denied=denied), sites, (HOST,))
    assert found.message == "may not get configmaps in namespace istio-system"
