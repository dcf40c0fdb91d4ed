from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from kubectl_egress import inspection
from kubectl_egress.cluster import owners, projection
from kubectl_egress.cluster.proxies import has_proxy, is_running, not_running, pod_ref
from kubectl_egress.cluster.survey import is_leaving
from kubectl_egress.findings import check
from kubectl_egress.model import Body, Survey
from tests import build
from tests.findings_cases import Case
from tests.findings_preflight_cases import SILENT, TRIGGERS

RICH: dict[str, dict[str, Any]] = {
    "metadata": {"selfLink": "/api", "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:spec": {}}}]},
    "spec": {"nodeName": "node-1", "volumes": [{"name": "v"}], "hostAliases": [{"ip": "192.0.2.1"}]},
    "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready"}]},
}


class Kept(dict[str, Any]):
    """A mapping that fails the test when something reads a field that the projection drops."""

    def __init__(self, body: Mapping[str, Any], fields: projection.Fields, where: str = "") -> None:
        super().__init__(body)
        self._fields, self._where = fields, where

    def _below(self, key: str, value: Any) -> Any:
        assert key in self._fields, f"a check reads {self._where}.{key}: add it to projection.POD"
        below = self._fields[key]
        if below is None:
            return value
        if isinstance(value, list):
            return [Kept(entry, below, f"{self._where}.{key}[]") for entry in value]
        return Kept(value, below, f"{self._where}.{key}") if isinstance(value, Mapping) else value

    def __getitem__(self, key: str) -> Any:
        return self._below(key, super().__getitem__(key))

    def __contains__(self, key: object) -> bool:
        assert key in self._fields, f"a check asks for {self._where}.{key}: add it to projection.POD"
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        return self._below(key, super().get(key, default))

    def items(self) -> Any:
        raise AssertionError(f"a check reads everything below {self._where or 'the pod'}")

    values = items

    def __iter__(self) -> Iterator[str]:
        raise AssertionError(f"a check reads everything below {self._where or 'the pod'}")


def rich(pod: Body) -> dict[str, Any]:
    """The pod with fields that no check needs."""
    return {**pod, **{key: {**more, **pod.get(key, {})} for key, more in RICH.items()}}


def with_pods(survey: Survey, make: Callable[[Body], Body]) -> Survey:
    workloads = (replace(one, pods=tuple(make(pod) for pod in one.pods)) for one in survey.workloads)
    return replace(survey, workloads=tuple(workloads))


CASES = [
    pytest.param(one, id=f"{word} {code}: {one.name}")
    for word, cases in (("found", TRIGGERS), ("not found", SILENT))
    for code, found in cases.items()
    for one in found
]


@pytest.mark.parametrize("case", CASES)
def test_no_check_reads_what_is_dropped_and_none_misses_it(case: Case) -> None:
    survey, sites = case.make()
    whole = with_pods(survey, rich)
    expected = check(whole, sites, case.hosts, **case.options)
    watched = with_pods(whole, lambda pod: Kept(pod, projection.POD))
    assert check(watched, sites, case.hosts, **case.options) == expected
    assert check(with_pods(whole, projection.pod), sites, case.hosts, **case.options) == expected
    inspection.inspect(watched, sites, expected)


def test_what_the_edge_asks_of_a_pod_is_kept() -> None:
    body = build.pod("shop-1")
    body = {**rich(body), "metadata": {**body["metadata"]}}
    body["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "shop-7", "controller": True, "uid": "x"}]
    body["metadata"]["labels"]["pod-template-hash"] = "7"
    for pod in (Kept(body, projection.POD), projection.pod(body)):
        assert [pod_ref(pod).name, has_proxy(pod), is_running(pod), not_running(pod), is_leaving(pod)] == [
            pod_ref(body).name, has_proxy(body), is_running(body), not_running(body), is_leaving(body)
        ]  # fmt: skip
        assert [ref.name for ref in owners.pods_by_workload([pod], {})] == ["shop"]


def test_a_projection_keeps_names_and_no_more() -> None:
    slim = projection.pod(rich(build.pod("shop-1")))
    assert set(slim["metadata"]) == {"name", "namespace", "labels"}
    aliases = [{"ip": "192.0.2.1"}]  # whether a pod has the alias of its template, `list` asks
    assert slim["spec"] == {"containers": [{"name": "shop"}, {"name": "istio-proxy"}], "hostAliases": aliases}
    assert set(slim["status"]) == {"phase", "podIPs"}


def test_of_managers_the_names_are_kept() -> None:
    body = {"metadata": {"name": "a", "managedFields": [{"manager": "argocd-controller", "fieldsV1": {"f:x": {}}}]}}
    slim = projection.with_manager_names(body)
    assert slim == {"metadata": {"name": "a", "managedFields": [{"manager": "argocd-controller"}]}}
    assert projection.without_managers(body) == {"metadata": {"name": "a"}}
    assert projection.with_manager_names({"metadata": {"name": "a"}}) == {"metadata": {"name": "a"}}
