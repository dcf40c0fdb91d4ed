"""Which pods an undo waits for: what was made from a migrated template, and what calls in clear that did not before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from kubectl_egress.apply import old_pods
from kubectl_egress.cluster import Cluster
from kubectl_egress.errors import EgressError
from kubectl_egress.model import Body, Outcome, Ref, Wait
from kubectl_egress.plan import plan_undo
from tests.build import NAMESPACE, container, deployment, document, pod_template
from tests.test_plan import HTTPBIN, World, by_config_map, migration

SHOP = document(deployment("shop")).ref
CALL, NAME = "https://httpbin.org/a", "http://httpbin.org/ns"
ALIAS = {"ip": "192.0.2.1", "hostnames": ["httpbin.org"]}


class Pods:
    """A namespace with these pods, and what the world holds."""

    def __init__(self, world: World, pods: Sequence[Body]) -> None:
        self._world = world
        self._pods = pods

    def get(self, ref: Ref) -> Body:
        return self._world.objects[ref]

    def list(self, *_: object, **__: object) -> Iterator[Body]:
        yield from self._pods


def pod(name: str, *urls: str, phase: str = "Running", **spec: Any) -> dict[str, Any]:
    env = {f"URL{number}": url for number, url in enumerate(urls)}
    template = pod_template(name, env=env, **spec)
    head = {"name": name, "namespace": NAMESPACE, "uid": name}
    return {"metadata": head, "spec": template["spec"], "status": {"phase": phase}}


def wait(monkeypatch: pytest.MonkeyPatch, pods: Sequence[Body], own: Sequence[str]) -> Outcome:
    """The wait of an undo of a workload that had one call, and a name that looks like one; its pods are `own`."""
    world = World(deployment("shop", env={"API": CALL, "XMLNS": NAME}))
    world.do(migration(world, HTTPBIN).steps)
    return waited(monkeypatch, world, pods, own)


def waited(monkeypatch: pytest.MonkeyPatch, world: World, pods: Sequence[Body], own: Sequence[str]) -> Outcome:
    """The wait of an undo of what is in a world; the pods of Deployment shop are `own`."""
    plan = plan_undo(world.survey(), [HTTPBIN])
    [step] = [one for one in plan.steps if one.wait is Wait.NO_OLD_PODS]

    def pods_of(*_: object) -> dict[Ref, tuple[Body, ...]]:
        return {SHOP: tuple(one for one in pods if one["metadata"]["name"] in own)}

    monkeypatch.setattr(old_pods, "pods_of", pods_of)
    cluster = cast("Cluster", Pods(world, pods))
    return old_pods.for_old_pods(step, plan, cluster, 0.0, lambda _: None)


@pytest.mark.parametrize(
    "there",
    [
        [],
        [pod("new", CALL, NAME)],
        # somebody else's, which was never ours
        [pod("new", CALL, NAME), pod("other", "http://httpbin.org/", "http://httpbin.org/b")],
        [pod("new", CALL, NAME), pod("done", "http://httpbin.org/a", NAME, phase="Succeeded")],
        [pod("new", "http://httpbin.org.example.com/", "http://api.httpbin.org/", CALL)],
    ],
)
def test_who_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, there: Sequence[Body]) -> None:
    assert wait(monkeypatch, there, ["new", "done"]).done


@pytest.mark.parametrize("lost", [False, True])
def test_a_pod_that_reads_a_copy_is_waited_for_whatever_became_of_the_copy(
    monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    world = World(*by_config_map())
    world.do(migration(world, HTTPBIN, fail_open=True).steps)
    (copied,) = (ref for ref in world.objects if ref.name.startswith("settings-"))
    if lost:
        world.objects[copied]["metadata"]["labels"] = {}
    volumes = [{"name": "settings", "configMap": {"name": copied.name}}]
    with pytest.raises(EgressError, match="pod old of deployment/shop still calls http://"):
        waited(monkeypatch, world, [pod("old", volumes=volumes)], ["old"])
    volumes = [{"name": "settings", "configMap": {"name": "settings"}}]
    assert waited(monkeypatch, world, [pod("new", volumes=volumes)], ["new"]).done


@pytest.mark.parametrize(
    ("there", "of"),
    [
        ([pod("new", CALL, NAME), pod("old", "http://httpbin.org/a", NAME)], " of deployment/shop"),
        ([pod("old", CALL, NAME, hostAliases=[ALIAS])], " of deployment/shop"),
        ([pod("old", containers=[container(args=["http://httpbin.org:80/a", NAME])])], " of deployment/shop"),
        # a copy that somebody has made, of which only the alias tells
        ([pod("copy", "http://httpbin.org/a", hostAliases=[ALIAS])], ""),
    ],
)
def test_who_is_waited_for(monkeypatch: pytest.MonkeyPatch, there: Sequence[Body], of: str) -> None:
    with pytest.raises(EgressError, match=rf"pod (old|copy){of} still calls http://, and is not gone") as raised:
        wait(monkeypatch, there, ["new", "old"])
    name = "old" if of else "copy"
    assert f"kubectl describe pod {name} -n {NAMESPACE} shows what keeps it" in raised.value.remedy


def test_what_ends_a_pod_of_a_job_is_the_job_s_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Job makes another pod in place of one that is deleted."""
    old = pod("old", "http://httpbin.org/a", NAME)
    old["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "nightly-1", "uid": "1", "controller": True}]
    with pytest.raises(EgressError, match="is not gone") as raised:
        wait(monkeypatch, [old], ["old"])
    assert f"kubectl delete job nightly-1 -n {NAMESPACE} ends it" in raised.value.remedy
