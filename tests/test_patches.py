from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress.model import PatchOperation
from kubectl_egress.plan.patches import patch_between, reverted

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


def applied(body: Any, operations: tuple[PatchOperation, ...]) -> Any:
    """What an API server makes of a JSON patch, in the plainest way."""
    body = copy.deepcopy(body)
    for operation in operations:
        if not operation.steps:
            raise AssertionError("a patch of the whole object")
        holder = body
        for step in operation.steps[:-1]:
            holder = holder[step]
        last = operation.steps[-1]
        if operation.op == "test":
            assert holder[last] == operation.value
        elif operation.op == "remove":
            del holder[last]
        else:
            holder[last] = copy.deepcopy(operation.value)
    return body


@given(OBJECTS)
def test_no_difference_is_no_patch(body: dict[str, Any]) -> None:
    assert patch_between(body, body) == ()


@given(OBJECTS, OBJECTS)
def test_the_patch_leads_from_one_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert applied(before, patch_between(before, after)) == after


@given(OBJECTS, OBJECTS)
def test_every_value_that_goes_is_tested_first(before: dict[str, Any], after: dict[str, Any]) -> None:
    operations = patch_between(before, after)
    for previous, operation in zip((None, *operations), operations, strict=False):
        if operation.op in ("replace", "remove"):
            assert previous is not None
            assert (previous.op, previous.steps) == ("test", operation.steps)


@given(OBJECTS, OBJECTS)
def test_reverting_what_nobody_touched_is_the_identity(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert reverted(after, before, after) == (before, ())


@pytest.mark.parametrize(
    ("current", "before", "after", "expected", "conflicts"),
    [
        pytest.param({"a": 1}, {"a": 1}, {"a": 2}, {"a": 1}, (), id="already back"),
        pytest.param({"a": 2, "new": 1}, {"a": 1}, {"a": 2}, {"a": 1, "new": 1}, (), id="what others added stays"),
        pytest.param({"a": 3}, {"a": 1}, {"a": 2}, {"a": 3}, (("a",),), id="what others changed stays"),
        pytest.param(
            {"a": {"x": 1, "y": 9}}, {}, {"a": {"x": 1}}, {"a": {"y": 9}}, (), id="only our part of a new map goes"
        ),
        pytest.param(
            {"p": [{"n": 80, "t": 443}]},
            {"p": [{"n": 80}]},
            {"p": [{"n": 80, "t": 443}]},
            {"p": [{"n": 80}]},
            (),
            id="inside a list",
        ),
        pytest.param({}, {"a": 1}, {}, {"a": 1}, (), id="what we removed comes back"),
    ],
)
def test_reverted(current: Any, before: Any, after: Any, expected: Any, conflicts: Any) -> None:
    assert reverted(current, before, after) == (expected, conflicts)
