"""Addresses: shown, patched, followed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubectl_egress.model import Steps
from kubectl_egress.paths import get, json_pointer, kubectl_path, replaced, walk_strings

BODY = {"a": [{"b": "x"}, "y"], "c.d": "z", "e": 1}


@pytest.mark.parametrize(
    ("steps", "path", "pointer"),
    [
        ((), "", ""),
        (
            ("spec", "containers", 0, "env", 1, "value"),
            ".spec.containers[0].env[1].value",
            "/spec/containers/0/env/1/value",
        ),
        (("data", "app.properties"), r".data.app\.properties", "/data/app.properties"),
        (("metadata", "labels", "a.b/c"), r".metadata.labels.a\.b/c", "/metadata/labels/a.b~1c"),
        (("a b", "c[0]", "$x", "@y", "{z}"), r".a\ b.c\[0\].\$x.\@y.\{z\}", "/a b/c[0]/$x/@y/{z}"),
        (("*",), r".\*", "/*"),
        (("~", "a~1"), ".~.a~1", "/~0/a~01"),
    ],
)
def test_both_spellings(steps: Steps, path: str, pointer: str) -> None:
    assert (kubectl_path(steps), json_pointer(steps)) == (path, pointer)


@pytest.mark.parametrize(("steps", "value"), [((), BODY), (("a", 0, "b"), "x"), (("c.d",), "z"), (("a", 1), "y")])
def test_get(steps: Steps, value: Any) -> None:
    assert get(BODY, steps) == value


@pytest.mark.parametrize("steps", [("x",), ("a", 2), ("a", -1), ("a", "b"), ("e", "f"), ("c.d", 0), ("a", 0, "b", 0)])
def test_get_of_nothing(steps: Steps) -> None:
    with pytest.raises(KeyError, match=r"\."):
        get(BODY, steps)


def test_replaced_shares_what_is_not_on_the_way() -> None:
    before = copy.deepcopy(BODY)
    after = replaced(BODY, ("a", 0, "b"), "new")
    assert after == {"a": [{"b": "new"}, "y"], "c.d": "z", "e": 1}
    assert before == BODY


def test_replaced_adds_a_key_or_at_the_end_of_a_list() -> None:
    assert replaced(BODY, ("f",), 2) == {**BODY, "f": 2}
    assert replaced(BODY, ("a", 2), 3)["a"] == [{"b": "x"}, "y", 3]


@pytest.mark.parametrize("steps", [("x", "y"), ("a", 3), ("a", 2, "b"), ("e", "f"), ("a", "b")])
def test_replaced_needs_a_way_there(steps: Steps) -> None:
    with pytest.raises(KeyError):
        replaced(BODY, steps, 1)


def test_walk_strings() -> None:
    assert list(walk_strings(BODY)) == [(("a", 0, "b"), "x"), (("a", 1), "y"), (("c.d",), "z")]
    assert list(walk_strings("x", ("p",))) == [(("p",), "x")]


values = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=4), values, max_size=4))
def test_every_string_is_where_it_is_said_to_be_and_can_be_replaced(body: dict[str, Any]) -> None:
    for steps, text in walk_strings(body):
        assert get(body, steps) == text
        changed = replaced(body, steps, "!")
        assert get(changed, steps) == "!"
        assert replaced(changed, steps, text) == body
