from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress.cluster.resources import BUILT_IN, ApiResource, find
from kubectl_egress.cluster.targets import Target, parse_targets, select
from kubectl_egress.errors import NotFoundError, UsageError


def known(word: str) -> ApiResource:
    found = find(BUILT_IN, word)
    if found is None:
        raise NotFoundError(f'the server doesn\'t have a resource type "{word}"')
    return found


@pytest.mark.parametrize(
    ("arguments", "targets"),
    [
        ([], ()),
        (["deploy"], (Target("deploy"),)),
        (["deploy,sts"], (Target("deploy"), Target("sts"))),
        (["deploy,,deploy"], (Target("deploy"),)),
        (["deploy", "a"], (Target("deploy", "a"),)),
        (["deploy", "a", "b", "a"], (Target("deploy", "a"), Target("deploy", "b"))),
        (["deploy,sts", "a"], (Target("deploy", "a"), Target("sts", "a"))),
        (["deploy/a"], (Target("deploy", "a"),)),
        (["deploy/a", "sts/b", "deploy/a"], (Target("deploy", "a"), Target("sts", "b"))),
        (["deploy/a,sts/b"], (Target("deploy", "a"), Target("sts", "b"))),
        (["deployments.v1.apps/a"], (Target("deployments.v1.apps", "a"),)),
    ],
)
def test_targets_are_read_as_kubectl_reads_them(arguments: list[str], targets: tuple[Target, ...]) -> None:
    assert parse_targets(arguments) == targets


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deploy", "sts/b"], "there is no need to specify a resource type as a separate argument"),
        (["deploy/a", "b"], "there is no need to specify a resource type as a separate argument"),
        (["deploy/a/b"], "may not have more than one slash"),
        (["deploy/"], "must have a single resource and name"),
        (["/a"], "must have a single resource and name"),
        ([""], "is empty"),
        (["deploy", ""], "is empty"),
    ],
)
def test_what_kubectl_refuses_is_refused_in_its_words(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_targets(arguments)


WORDS = st.text("abz.-", min_size=1, max_size=5)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_pairs_come_back_in_order_and_once(pairs: list[tuple[str, str]]) -> None:
    parsed = parse_targets([f"{word}/{name}" for word, name in pairs])
    assert [(target.word, target.name) for target in parsed] == list(dict.fromkeys(pairs))


@pytest.mark.parametrize(
    ("arguments", "selected"),
    [
        (["deploy"], {"Deployment": ()}),
        (["Deployment"], {"Deployment": ()}),
        (["deployments.apps", "a", "b"], {"Deployment": ("a", "b")}),
        (["deploy/a", "cj/c", "deployment/b"], {"Deployment": ("a", "b"), "CronJob": ("c",)}),
        (["rs,jobs"], {"ReplicaSet": (), "Job": ()}),
    ],
)
def test_types_are_found_by_every_name(arguments: list[str], selected: dict[str, tuple[str, ...]]) -> None:
    assert {one.row.kind: one.names for one in select(parse_targets(arguments), known)} == selected


@pytest.mark.parametrize("arguments", [[], ["all"]])
def test_nothing_and_all_mean_every_kind(arguments: list[str]) -> None:
    selected = select(parse_targets(arguments), known)
    assert [one.row.plural for one in selected] == [
        "deployments",
        "statefulsets",
        "daemonsets",
        "replicasets",
        "jobs",
        "cronjobs",
    ]


def test_a_type_that_makes_no_pods_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="services is not a type of workload"):
        select((Target("svc", "a"),), known)


def test_a_type_that_does_not_exist_is_said_in_kubectl_s_words() -> None:
    with pytest.raises(NotFoundError, match='the server doesn\'t have a resource type "deplyo"'):
        select((Target("deplyo"),), known)


def test_names_fit_neither_a_selector_nor_all_namespaces() -> None:
    with pytest.raises(UsageError, match="name cannot be provided when a selector is specified"):
        select((Target("deploy", "a"),), known, selector="app=a")
    with pytest.raises(UsageError, match="cannot be retrieved by name across all namespaces"):
        select((Target("deploy", "a"),), known, all_namespaces=True)
