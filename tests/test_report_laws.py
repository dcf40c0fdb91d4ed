from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from kubectl_egress.report.diff import body_diff, text_diff

SECRET = "hunter2"
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a", "b: c", "x\ny\n", "https://a.io"])
KEYS = st.sampled_from(["name", "value", "env", "spec", "a.b/c"])
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
BODIES = st.dictionaries(KEYS, VALUES, max_size=4)


@given(BODIES)
def test_no_change_no_diff(body: dict[str, Any]) -> None:
    assert body_diff(body, body) == ""


@given(BODIES, BODIES)
@example({"env": [{"name": False}]}, {"env": [{"name": []}]})
def test_every_change_shows(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert (body_diff({"spec": before}, {"spec": after}) == "") == (before == after)


@given(st.lists(VALUES, max_size=3), BODIES, BODIES)
def test_a_neighbours_value_never_shows(others: list[Any], before: dict[str, Any], after: dict[str, Any]) -> None:
    def around(body: dict[str, Any]) -> dict[str, Any]:
        env = [{"name": "PASSWORD", "value": SECRET}, {"name": "CHANGED", "value": body}]
        return {"spec": {"password": SECRET, "others": others, "containers": [{"name": "c", "env": env}]}, "data": body}

    assert SECRET not in body_diff(around(before), around(after))


LINES = st.lists(st.sampled_from(["a: 1", "env:", "- name: X", "", "  b"]), max_size=6)


@given(LINES, LINES)
def test_a_secret_line_beside_a_change_never_shows(before: list[str], after: list[str]) -> None:
    texts = ["\n".join([f"  value: {SECRET}", *lines, f"password={SECRET}", ""]) for lines in (before, after)]
    assert SECRET not in text_diff(texts[0], texts[1], "a.yaml")
