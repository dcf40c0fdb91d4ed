from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from kubectl_egress.apply import standing, waiting
from kubectl_egress.errors import EgressError
from kubectl_egress.model import Action, Body, Host, Plan, Ref, Step, Wait
from kubectl_egress.plan.guard import workload_patch
from tests import build

HOST = "httpbin.org"
ALIASES = [{"ip": "192.0.2.7", "hostnames": [HOST]}]
SHOP = Ref("Deployment", build.NAMESPACE, "shop", "apps/v1")


def shop(url: str, *aliases: Body) -> dict[str, Any]:
    more: dict[str, Any] = {"hostAliases": list(aliases)} if aliases else {}
    return build.deployment("shop", env={"API": url, "LEVEL": "info"}, **more)


BEFORE = shop(f"https://{HOST}/")
AFTER = shop(f"http://{HOST}/", *ALIASES)


def step(before: Body, after: Body) -> Step:
    return Step(1, Action.PATCH, SHOP, "", before, after, workload_patch(before, after))


MIGRATION, UNDO = step(BEFORE, AFTER), step(AFTER, BEFORE)


def template_with(**changes: Any) -> dict[str, Any]:
    """What was written, and something of somebody else's."""
    body = copy.deepcopy(AFTER)
    body["spec"]["template"]["spec"] |= changes
    return body


@pytest.mark.parametrize(
    ("done", "current"),
    [
        (MIGRATION, AFTER),
        (UNDO, BEFORE),
        (MIGRATION, template_with(hostAliases=[{"ip": "10.0.0.1", "hostnames": ["db"]}, *ALIASES])),
        (MIGRATION, template_with(hostAliases=[{"ip": "192.0.2.7", "hostnames": ["other", HOST]}])),
        (MIGRATION, shop(f"http://{HOST}/v2", *ALIASES)),
        (MIGRATION, template_with(containers=[])),
        (MIGRATION, {**AFTER, "spec": {**AFTER["spec"], "replicas": 7}}),
    ],
)
def test_what_others_have_added_or_changed_takes_nothing_back(done: Step, current: Body) -> None:
    standing.refuse_taken_back(done, current)
    standing.refuse_changed(done, current)


@pytest.mark.parametrize(
    ("done", "current", "says"),
    [
        (MIGRATION, BEFORE, f"the alias for {HOST} is not there"),
        (MIGRATION, shop(f"http://{HOST}/"), f"the alias for {HOST} is not there"),
        (MIGRATION, shop(f"http://{HOST}/", {"ip": "10.0.0.1", "hostnames": [HOST]}), "the alias"),
        (MIGRATION, shop(f"https://{HOST}/", *ALIASES), "env[0].value is as it was before"),
        (UNDO, AFTER, "env[0].value is as it was before"),
    ],
)
@pytest.mark.parametrize(
    ("refuse", "beginning", "remedy"),
    [
        (standing.refuse_taken_back, "deployment/shop was changed back by somebody else: ", "--show-managed-fields"),
        (standing.refuse_changed, "deployment/shop is not stored as it was written: ", "mutatingadmissionpolicies"),
    ],
)
def test_what_is_not_there_any_more(
    done: Step, current: Body, says: str, refuse: Callable[[Step, Body], None], beginning: str, remedy: str
) -> None:
    with pytest.raises(EgressError) as raised:
        refuse(done, current)
    assert raised.value.message.startswith(beginning)
    assert says in raised.value.message
    assert remedy in raised.value.remedy


def pod_of(body: Body, **spec: Any) -> dict[str, Any]:
    made = build.pod("shop-1", template=copy.deepcopy(body["spec"]["template"]))
    made["spec"] |= spec
    return made


def test_a_pod_that_was_made_without_the_alias() -> None:
    with pytest.raises(
        EgressError, match=r"pod shop-1 was made without the alias for httpbin\.org: without its sidecar"
    ):
        standing.refuse_unaliased(MIGRATION, [pod_of(AFTER), pod_of(AFTER, hostAliases=[])])


@pytest.mark.parametrize("pods", [[], [pod_of(AFTER)], [pod_of(BEFORE), pod_of(AFTER)]])
def test_pods_of_the_new_template_have_it_and_those_of_the_old_one_need_none(pods: list[Body]) -> None:
    standing.refuse_unaliased(MIGRATION, pods)
    standing.refuse_unaliased(UNDO, pods)


@pytest.mark.parametrize("second", [True, False])
def test_of_two_patches_a_rollout_is_held_against_the_one_before_it(
    second: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = copy.deepcopy(BEFORE)
    mounted["spec"]["template"]["metadata"]["annotations"] = {"sidecar.istio.io/userVolume": "{}"}
    steps = (
        step(BEFORE, mounted),
        Step(2, Action.WAIT, SHOP, "", wait=Wait.ROLLOUT),
        replace(step(mounted, AFTER), order=3),
        Step(4, Action.WAIT, SHOP, "", wait=Wait.ROLLOUT),
    )
    current = AFTER if second else mounted
    pods = [pod_of(current, hostAliases=[])]
    monkeypatch.setattr(waiting, "wait_rollout", lambda *_, **__: None)
    monkeypatch.setattr(waiting, "pods_of", lambda *_: {SHOP: pods})
    plan = Plan((Host(HOST),), build.NAMESPACE, steps)
    cluster: Any = SimpleNamespace(get=lambda _: current)
    awaited = steps[3 if second else 1]
    with pytest.raises(EgressError, match="was made without the alias") if second else nullcontext():
        waiting.for_rollout(awaited, plan, cluster, 1, lambda _: None)
