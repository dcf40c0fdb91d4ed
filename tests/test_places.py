"""Where URLs are written."""

from __future__ import annotations

import pytest

from kubectl_egress.errors import UsageError
from kubectl_egress.model import Document, Ref
from kubectl_egress.places import CONTAINER_PLACES, matches, parse_place, strings_at
from tests.build import container

ROLLOUT = Document(
    Ref("Rollout", "n", "a", "argoproj.io/v1alpha1"),
    {
        "spec": {
            "template": {"spec": {"containers": [{"env": [{"name": "A", "value": "x"}, {"name": "B", "value": 1}]}]}},
            "a.b": "y",
        }
    },
)


def test_a_container_s_strings() -> None:
    body = container(
        env={"A": "x"}, command=["sh", "-c"], args=["y"], livenessProbe={"exec": {"command": ["curl", "z"]}}
    )
    found = [(place.word, steps, text) for place in CONTAINER_PLACES for steps, text in matches(body, place.pattern)]
    assert found == [
        ("command", ("command", 0), "sh"),
        ("command", ("command", 1), "-c"),
        ("argument", ("args", 0), "y"),
        ("environment", ("env", 0, "value"), "x"),
        ("probe", ("livenessProbe", "exec", "command", 0), "curl"),
        ("probe", ("livenessProbe", "exec", "command", 1), "z"),
    ]


@pytest.mark.parametrize(
    "value", [None, "x", [], {"env": None}, {"env": [None, "x", {"name": "A"}]}, {"env": {"0": {"value": "x"}}}]
)
def test_nothing_matches_what_is_not_there(value: object) -> None:
    assert list(matches(value, ("env", "*", "value"))) == []


def test_a_row_of_path() -> None:
    place = parse_place("Rollout.argoproj.io:spec.template.spec.containers[*].env[*].value")
    assert place.concerns(ROLLOUT)
    assert list(strings_at(place, ROLLOUT.body)) == [
        (("spec", "template", "spec", "containers", 0, "env", 0, "value"), "x")
    ]


@pytest.mark.parametrize(
    "path", ["Rollout:.spec['a.b']", "Rollout:{.spec['a.b']}", "Rollout:$.spec['a.b']", "Rollout: spec.'a.b'"]
)
def test_spellings_of_a_path(path: str) -> None:
    assert list(strings_at(parse_place(path), ROLLOUT.body)) == [(("spec", "a.b"), "y")]


@pytest.mark.parametrize(
    ("path", "concerns"),
    [("Rollout:a", True), ("Rollout.argoproj.io:a", True), ("Rollout.b.c:a", False), ("Job:a", False)],
)
def test_which_objects_a_row_is_about(path: str, concerns: bool) -> None:
    assert parse_place(path).concerns(ROLLOUT) is concerns


@pytest.mark.parametrize(
    "text", ["", "spec.template", ":spec", "Rollout:", "Rollout:a[[", "Rollout:a[?(@.x", "Rollout:}"]
)
def test_a_path_that_does_not_parse(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_place(text)
    assert "--path" in caught.value.remedy
    assert "\n" not in caught.value.message
