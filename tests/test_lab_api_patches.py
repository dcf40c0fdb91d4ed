"""The lab's patches: RFC 6902, RFC 7386, strategic merge."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress.lab.api.patches import equal, json_patch, merge_patch, strategic_patch
from kubectl_egress.lab.api.status import StatusError

# The first of each are no-ops; most of the others are the RFC's own examples (appendix A).
JSON_PATCHES: list[tuple[Any, list[dict[str, Any]], Any]] = [
    ({"a": 1}, [], {"a": 1}),
    ({"a": 1}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1}),
    ({"a": 1}, [{"op": "test", "path": "/a", "value": 1.0}], {"a": 1}),
    ({"a": {"b": [1]}}, [{"op": "test", "path": "", "value": {"a": {"b": [1]}}}], {"a": {"b": [1]}}),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
    ({"foo": ["a", "b"]}, [{"op": "add", "path": "/foo/1", "value": "x"}], {"foo": ["a", "x", "b"]}),
    ({"foo": ["a"]}, [{"op": "add", "path": "/foo/-", "value": ["b"]}], {"foo": ["a", ["b"]]}),
    ({"foo": ["a"]}, [{"op": "add", "path": "/foo/1", "value": "b"}], {"foo": ["a", "b"]}),
    ({"a": 1}, [{"op": "add", "path": "", "value": [2]}], [2]),
    ({"a": 1}, [{"op": "add", "path": "/a", "value": None}], {"a": None}),
    ({"a": [1, 2, 3]}, [{"op": "remove", "path": "/a/1"}], {"a": [1, 3]}),
    ({"a": "x"}, [{"op": "replace", "path": "/a", "value": "y"}], {"a": "y"}),
    # not by the RFC, but by the library that the real server uses
    ({}, [{"op": "replace", "path": "/a", "value": "y"}], {"a": "y"}),
    ({}, [{"op": "test", "path": "/a", "value": None}], {}),
    ({"a": [1, 2]}, [{"op": "test", "path": "/a/-1", "value": 2}], {"a": [1, 2]}),
    ({"a": [1, 2]}, [{"op": "add", "path": "/a/-1", "value": 3}], {"a": [1, 2, 3]}),
    ({"a": [1, 2]}, [{"op": "remove", "path": "/a/-1"}], {"a": [1]}),
    ({"a": [1, 2]}, [{"op": "replace", "path": "/a/01", "value": 3}], {"a": [1, 3]}),
    ({"a": ["x", "z"]}, [{"op": "replace", "path": "/a/0", "value": "y"}], {"a": ["y", "z"]}),
    ({"a": {"x": 1}, "b": {}}, [{"op": "move", "from": "/a/x", "path": "/b/y"}], {"a": {}, "b": {"y": 1}}),
    ({"a": [1, 2, 3]}, [{"op": "move", "from": "/a/0", "path": "/a/2"}], {"a": [2, 3, 1]}),
    ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
    ({"a/b": 1, "m~n": 2}, [{"op": "remove", "path": "/a~1b"}], {"m~n": 2}),
    ({"a/b": 1, "m~n": 2}, [{"op": "test", "path": "/m~0n", "value": 2}], {"a/b": 1, "m~n": 2}),
    ({"~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"~1": 10}),
    ({"": 1}, [{"op": "replace", "path": "/", "value": 2}], {"": 2}),
]


@pytest.mark.parametrize(("document", "operations", "wanted"), JSON_PATCHES)
def test_a_json_patch_gives_what_the_rfc_says(document: Any, operations: list[dict[str, Any]], wanted: Any) -> None:
    assert json_patch(document, operations) == wanted


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "test", "path": "/a", "value": True},
        {"op": "test", "path": "/a", "value": "1"},
        {"op": "test", "path": "/absent", "value": 1},
        {"op": "remove", "path": "/absent"},
        {"op": "replace", "path": "/absent/b", "value": 1},
        {"op": "replace", "path": "/list/3", "value": 1},
        {"op": "test", "path": "/absent/b", "value": None},
        {"op": "add", "path": "/absent/b", "value": 1},
        {"op": "add", "path": "/list/3", "value": 1},
        {"op": "add", "path": "/list/1.0", "value": 1},
        {"op": "test", "path": "/list/-9", "value": 1},
        {"op": "remove", "path": "/list/-"},
        {"op": "move", "from": "/object", "path": "/object/inside"},
        {"op": "add", "path": "no-slash", "value": 1},
        {"op": "unknown", "path": "/a"},
    ],
)
def test_an_operation_that_fails_leaves_everything_as_it_was(operation: dict[str, Any]) -> None:
    document = {"a": 1, "list": [1, 2], "object": {"b": 1}}
    with pytest.raises(StatusError) as caught:
        json_patch(document, [{"op": "add", "path": "/new", "value": 1}, operation])
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert caught.value.message == "the server rejected our request due to an error in our request"
    assert document == {"a": 1, "list": [1, 2], "object": {"b": 1}}


@pytest.mark.parametrize("patch", [{}, "text", [1], None])
def test_what_is_no_json_patch_is_a_bad_request(patch: Any) -> None:
    with pytest.raises(StatusError) as caught:
        json_patch({}, patch)
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("document", "patch", "wanted"),
    [
        ({"a": "b"}, {}, {"a": "b"}),
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_gives_what_the_rfc_says(document: Any, patch: Any, wanted: Any) -> None:
    assert merge_patch(document, patch) == wanted


POD = {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}, {"name": "b"}]}


@pytest.mark.parametrize(
    ("patch", "wanted"),
    [
        ({}, POD),
        ({"containers": [{"name": "b"}]}, POD),
        (
            {"containers": [{"name": "b", "image": "i"}]},
            {"containers": [POD["containers"][0], {"name": "b", "image": "i"}]},
        ),
        ({"containers": [{"name": "b", "$patch": "delete"}]}, {"containers": [POD["containers"][0]]}),
        ({"containers": [{"$patch": "replace"}, {"name": "c"}]}, {"containers": [{"name": "c"}]}),
        (
            {
                "$setElementOrder/containers": [{"name": "a"}],
                "containers": [{"name": "a", "env": [{"name": "Y", "value": "3"}, {"name": "Z", "value": "4"}]}],
            },
            {
                "containers": [
                    {
                        "name": "a",
                        "env": [
                            {"name": "X", "value": "1"},
                            {"name": "Y", "value": "3"},
                            {"name": "Z", "value": "4"},
                        ],
                    },
                    {"name": "b"},
                ]
            },
        ),
        ({"$patch": "replace", "volumes": []}, {"volumes": []}),
    ],
)
def test_a_strategic_patch_merges_lists_by_their_keys(patch: Any, wanted: Any) -> None:
    assert strategic_patch(POD, patch) == wanted


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab/~", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_every_document_passes_the_test_for_itself(document: Any) -> None:
    assert equal(json_patch(document, [{"op": "test", "path": "", "value": document}]), document)


@given(JSON, JSON)
def test_a_merge_patch_twice_is_a_merge_patch_once(document: Any, patch: Any) -> None:
    once = merge_patch(document, patch)
    assert merge_patch(once, patch) == once


@given(st.dictionaries(st.text("ab/~", min_size=1, max_size=3), JSON, min_size=1), st.data())
def test_what_is_added_can_be_removed(document: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.text("xyz/~", min_size=1, max_size=3).filter(lambda name: name not in document))
    path = "/" + name.replace("~", "~0").replace("/", "~1")
    added = json_patch(document, [{"op": "add", "path": path, "value": 1}])
    assert added == {**document, name: 1}
    assert json_patch(added, [{"op": "remove", "path": path}]) == document
