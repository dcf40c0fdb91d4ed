"""Manifests: every byte that is not a URL stays."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubectl_egress.errors import ManifestError
from kubectl_egress.manifests import add, dump, insert_host_alias, lines, lines_at, parse, splice
from kubectl_egress.model import Body, Edit, Ref, Steps
from kubectl_egress.paths import walk_strings
from kubectl_egress.urls import find_urls

EXAMPLE = Path(__file__).parent.parent / "examples" / "curl.yaml"
HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n"


def all_edits(text: str) -> dict[tuple[int, Steps], list[Edit]]:
    """The edits that make every URL of every object `http://`."""
    found = {
        (document.index, steps): [edit for url in find_urls(value) for edit in url.edits]
        for document in parse(text, "a.yaml")
        for steps, value in walk_strings(document.body)
    }
    return {address: edits for address, edits in found.items() if edits}


def rewritten(text: str) -> str:
    return splice(text, all_edits(text))


# ---- parse ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "---\n---\n",
        "a: b\n",
        "- a\n",
        "just text\n",
        "kind: Kustomization\nresources: []\n",
        '{"apiVersion": "v1", "kind": "Pod"}',
        "apiVersion: v1\nkind: List\nitems: []\n",
    ],
)
def test_what_is_no_object_is_ignored(text: str) -> None:
    assert parse(text, "a.yaml") == ()


def test_documents_have_their_place() -> None:
    text = f"# first\n{HEAD}  x: y\n---\nother: true\n---\n{HEAD}  x: z\n"
    first, second = parse(text, "a.yaml")
    assert (first.ref, first.file, first.line, first.index) == (Ref("ConfigMap", "", "a"), "a.yaml", 2, 0)
    assert (second.line, second.index, second.body["data"]) == (10, 2, {"x": "z"})


def test_items_of_a_list_are_objects() -> None:
    item = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "%s", "namespace": "n"}, "data": {"u": "https://%s.b.c"}}'
    text = f'{{"apiVersion": "v1", "kind": "List", "items": [{item % ("a", "a")}, {item % ("b", "b")}]}}'
    assert [(d.ref.name, d.ref.namespace, d.index) for d in parse(text, "a.json")] == [("a", "n", 0), ("b", "n", 1)]
    assert rewritten(text) == text.replace("https", "http")


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("yes", True),
        ("off", False),
        ("0644", 420),
        ("0o644", 420),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1e3", 1000.0),
        ("~", None),
        ("2020-01-01", "2020-01-01"),
        ("22:22", "22:22"),
        ("1.2.3", "1.2.3"),
        ("y", "y"),
        ("-5", -5),
        ("0", 0),
        ("!!str 1", "1"),
        ("'yes'", "yes"),
        ("|-\n   12", "12"),
    ],
)
def test_plain_scalars_are_what_kubectl_takes_them_for(plain: str, value: Any) -> None:
    (document,) = parse(f"{HEAD}  x: {plain}\n", "a.yaml")
    assert document.body["data"]["x"] == value
    assert type(document.body["data"]["x"]) is type(value)


def test_anchors_and_merge_keys() -> None:
    text = f"{HEAD}  <<: &base {{x: 1, y: 2}}\n  y: 3\nother: [*base]\n"
    (document,) = parse(text, "a.yaml")
    assert document.body["data"] == {"x": 1, "y": 3}
    assert document.body["other"] == [{"x": 1, "y": 2}]


def test_json_may_be_indented_by_tabs() -> None:
    text = '{\n\t"apiVersion": "v1",\n\t"kind": "ConfigMap",\n\t"metadata": {"name": "a"},\n\t"data": {"u": "a\\thttps://b.c"}\n}\n'
    assert parse(text, "a.json")[0].body == json.loads(text)
    assert rewritten(text) == text.replace("https", "http")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [\n", "a.yaml:2: not YAML"),
        ("a: b\n\tc: d\n", "a.yaml:2: not YAML"),
        ("a: 'b\n", "a.yaml:2: not YAML"),
        ("x: 1\na: 1\na: 2\n", "a.yaml:3: the key 'a' is there twice"),
        ("a: *b\n", "a.yaml:1: not YAML: found undefined alias"),
        ("x: 1\na: {{ .Values.x }}\n", "a.yaml:2: a template that is not rendered"),
        ("a: 1\n{{- if .Values.x }}\nb: 2\n{{- end }}\n", "a.yaml:2: a template that is not rendered"),
        ('a: "{{ .x }}" {{ .y }}\n', "a.yaml:1: a template that is not rendered"),
        ("{a: b}: c\n", "a.yaml:1: a key that is not a string"),
        ("a: &a [*a]\n", "a.yaml:1: an anchor that contains itself"),
        ("a: \x01\n", "a.yaml:1: not YAML"),
        ('a: "\\U00110000"\n', "a.yaml:1: not YAML"),
        ("[" * 5000, "a.yaml:1: nested too deeply"),
        (f"{HEAD}  x: '{{{{ $labels.pod }}}}'\nb: [\n", "a.yaml:7: not YAML"),
    ],
)
def test_a_broken_file_has_one_line_and_a_remedy(text: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse(text, "a.yaml")
    assert caught.value.message.startswith(message)
    assert "\n" not in caught.value.message
    assert caught.value.remedy


def test_many_aliases_do_not_take_all_memory() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    with pytest.raises(ManifestError, match="too many aliases"):
        parse(text, "a.yaml")


def test_braces_in_strings_are_nobody_s_template() -> None:
    text = f'{HEAD}  rule: "{{{{ $labels.pod }}}}"\n  more: |\n    {{{{ $value }}}}\n'
    assert parse(text, "a.yaml")[0].body["data"]["more"] == "{{ $value }}\n"


DEFINITION = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: c}\nspec: {a: b}\n"


@pytest.mark.parametrize("marker", ["---\n", "--- # the next\n", "---\r\n"])
@pytest.mark.parametrize("before", ["", "---\n", "# about it\n---\n"])
def test_definitions_of_resources_are_counted_and_not_read(before: str, marker: str) -> None:
    text = f"{before}{DEFINITION}{marker}{HEAD}  x: https://a.b/\n{marker}{DEFINITION}---\n{HEAD}  x: z\n"
    plain = text.replace("CustomResourceDefinition", "SomethingElse")
    whole = [document for document in parse(plain, "a.yaml") if document.ref.kind == "ConfigMap"]
    assert list(parse(text, "a.yaml")) == whole
    assert [document.index for document in whole] == [1, 3]
    addresses = [(document.index, ("data", "x")) for document in whole]
    assert lines(text, addresses) == lines(plain, addresses)
    assert rewritten(text) == text.replace("https", "http")


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}  x: |\n    kind: CustomResourceDefinition\n",
        f"{HEAD}  x: 'CustomResourceDefinition'\n",
        f"%YAML 1.1\n---\n{HEAD}  x: CustomResourceDefinition\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n\n    kind: CustomResourceDefinition\n",
    ],
)
def test_what_only_speaks_of_a_definition_is_read(text: str) -> None:
    assert [document.ref.kind for document in parse(text, "a.yaml")] == ["ConfigMap"]


def test_an_anchor_may_be_set_again_and_characters_may_be_halved() -> None:
    (document,) = parse(f'{HEAD}  x: &a one\n  y: &a two\n  z: *a\n  e: "\\ud83d\\ude00"\n', "a.yaml")
    assert document.body["data"] == {"x": "one", "y": "two", "z": "two", "e": "\U0001f600"}


def test_what_is_nested_for_fun_is_refused_wherever_it_is_noticed() -> None:
    for depth in (600, 20_000):
        with pytest.raises(ManifestError, match="nested too deeply"):
            parse(f"{HEAD}  x: " + "[" * depth + "]" * depth, "a.yaml")


# ---- splice ---------------------------------------------------------------------------------------------------------


def test_no_edits_change_nothing() -> None:
    assert splice("not: [even yaml", {}) == "not: [even yaml"
    assert splice(f"{HEAD}  x: y\n", {(0, ("data", "x")): []}) == f"{HEAD}  x: y\n"


def test_the_article_s_script_keeps_its_trailing_blanks() -> None:
    text = EXAMPLE.read_text()
    assert rewritten(text) == text.replace("https://httpbin.org", "http://httpbin.org")
    assert "sleep .2  \n" in rewritten(text)


STYLES = [
    "  x: https://a.b/c # https://comment.b\n",
    "  x:   https://a.b:443/c\n",
    "  x: 'it''s https://a.b/''c'\n",
    "  x: 'https://a.b\n\n    https://b.c'\n",
    '  x: "https://a.b\\"c"\n',
    '  x: "a\\nhttps://a.b\\tc"\n',
    '  x: "a \\\n    https://a.b\n    b"\n',
    '  x: "\\u00e9\\x41 https://a.b \\U0001F600 https://b.c"\n',
    '  x: "https:\\/\\/a.b\\/c"\n',
    "  x: |\n    line https://a.b  \n      indented https://b.c\t\n\n\n",
    "  x: |+\n    https://a.b\n\n\n",
    "  x: |2-\n      https://a.b\n    b\n",
    "  x: |  # comment https://c.d\n    https://a.b\n  # https://comment.b\n",
    "  x: >-\n    folded https://a.b\n    more\n\n      https://b.c\n",
    "  x: multi\n    line https://a.b\n",
    "  x: &anchor https://a.b\n",
    "  x: !!str https://a.b\n",
    "  x: &anchor !!str 'https://a.b'\n",
    "  {x: https://a.b, 'y': \"https://b.c\"}\n",
    "  ? x\n  : https://a.b\n",
    "  x: [ 'https://a.b' , {y: https://b.c} ]\n",
    "      x:    https://a.b\n      y:\n      -   https://b.c\n      -  - https://c.d\n",
    "  ü: \U0001f600 https://a.b\n",
    '  x: "a\n    b https://a.b"   \n\n\n...\n',
    "  x: https://a.b",
]


@pytest.mark.parametrize("data", STYLES)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_only_urls_change(data: str, line_end: str, mark: str) -> None:
    text = mark + (HEAD + data).replace("\n", line_end)
    after = rewritten(text)
    values = [value for document in parse(after, "a.yaml") for _, value in walk_strings(document.body)]
    urls = [url for value in values for url in find_urls(value)]
    assert urls
    assert all(url.scheme == "http" for url in urls)
    planned = [edit for edits in all_edits(text).values() for edit in edits]
    assert len(text) - len(after) == sum(len(edit.old) - len(edit.new) for edit in planned)
    changed = [
        tag for tag in difflib.SequenceMatcher(None, text, after, autojunk=False).get_opcodes() if tag[0] != "equal"
    ]
    assert {text[tag[1] : tag[2]] for tag in changed} <= {"s", ":443"}
    assert all(url in text for url in ("https://comment.b", "https://c.d # x") if url in after)


def test_an_anchor_that_every_reader_wants_changed_is_changed_once() -> None:
    text = f"{HEAD}  x: &u https://a.b\n  y: *u\n"
    assert rewritten(text) == text.replace("https", "http")


def test_an_anchor_that_somebody_else_reads_is_left_alone() -> None:
    text = f"{HEAD}  x: &u https://a.b\n  y: *u\n"
    with pytest.raises(ManifestError, match="more than it should"):
        splice(text, {(0, ("data", "y")): [Edit(0, "https", "http")]})


@pytest.mark.parametrize(
    "data", ['  x: "\\x68ttps://a.b"\n', '  x: "htt\\\n    ps://a.b"\n', '  x: "https\\u003a//a.b:\\\n   443"\n']
)
def test_a_url_that_does_not_stand_there_literally_is_refused(data: str) -> None:
    text = HEAD + data
    assert all_edits(text)
    with pytest.raises(ManifestError, match="folded or escaped") as caught:
        rewritten(text)
    assert caught.value.remedy


@pytest.mark.parametrize("address", [(0, ("data",)), (0, ("data", "z")), (1, ("data", "x")), (0, ("data", "x", 0))])
def test_an_address_that_is_no_string_is_refused(address: tuple[int, Steps]) -> None:
    with pytest.raises(ManifestError, match="no string"):
        splice(f"{HEAD}  x: https://a.b\n", {address: [Edit(0, "https", "http")]})


def test_an_edit_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ManifestError):
        splice(f"{HEAD}  x: https://a.b\n", {(0, ("data", "x")): [Edit(1, "https", "http")]})


def test_lines() -> None:
    text = f"# c\n{HEAD}  x: y\n---\n{HEAD}  z: |\n    a\n"
    addresses: list[tuple[int, Steps]] = [(0, ("data", "x")), (1, ("data", "z")), (0, ("nothing",)), (7, ())]
    assert lines(text, addresses) == {addresses[0]: 6, addresses[1]: 12}


def test_the_lines_of_what_stands_in_a_value() -> None:
    values = (
        "  plain: https://a.x",
        "  block: |2",
        "    # one",
        "",
        "    url=https://b.x",
        "  folded: >-",
        "    https://c.x",
        "    https://d.x",
        '  quoted: "https://e.x',
        '    https://f.x"',
        '  escaped: "a\\nhttps://g.x"',
    )
    text = "\n".join(("apiVersion: x", "kind: CustomResourceDefinition", "---", HEAD + values[0], *values[1:], ""))
    (only,) = parse(text, "")
    names = [(key, name) for key, value in only.body["data"].items() for name in "abcdefg" if f"//{name}." in value]
    places: list[tuple[int, Steps, int]] = [
        (only.index, ("data", key), only.body["data"][key].index(f"https://{name}.x")) for key, name in names
    ]
    found = lines_at(text, places)
    assert [text.splitlines()[found[place] - 1] for place in places] == [line for line in values if "//" in line]
    assert lines_at(text, [(1, ("gone",), 0), (7, (), 0)]) == {}


# ---- host aliases ---------------------------------------------------------------------------------------------------

BEFORE = EXAMPLE.read_text()


def added_lines(before: str, after: str) -> list[str]:
    """What was added; fails if a line was removed or changed."""
    diff = list(difflib.ndiff(before.splitlines(keepends=True), after.splitlines(keepends=True)))
    assert not [line for line in diff if line.startswith("- ")]
    return [line[2:] for line in diff if line.startswith("+ ")]


def alias(text: str, ip: str = "192.0.2.1", host: str = "httpbin.org") -> str:
    return insert_host_alias(text, 0, ("spec", "template"), ip, host)


def test_an_alias_is_added_in_the_file_s_own_indentation() -> None:
    expected = [
        "      hostAliases:\n",
        "        - ip: 192.0.2.1\n",
        "          hostnames:\n",
        "            - httpbin.org\n",
    ]
    assert added_lines(BEFORE, alias(BEFORE)) == expected


def test_an_alias_joins_those_that_are_there() -> None:
    once = alias(BEFORE)
    twice = alias(once, "192.0.2.2", "b.example.com")
    assert len(added_lines(once, twice)) == 3
    (document,) = parse(twice, "a.yaml")
    found = document.body["spec"]["template"]["spec"]["hostAliases"]
    assert {entry["ip"]: entry["hostnames"] for entry in found} == {
        "192.0.2.1": ["httpbin.org"],
        "192.0.2.2": ["b.example.com"],
    }


def test_an_alias_with_flush_lists_crlf_and_a_byte_order_mark() -> None:
    text = "\ufeff" + (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n   template:\n      spec: # pods\n"
        "         # the containers\n         containers:\n         - name: a\n           image: b"
    ).replace("\n", "\r\n")
    after = alias(text, "100::1")
    assert added_lines(text, after) == [
        "         hostAliases:\r\n",
        '         - ip: "100::1"\r\n',
        "           hostnames:\r\n",
        "           - httpbin.org\r\n",
    ]
    assert after.startswith("\ufeff")
    assert not after.endswith("\n")


ALIAS = '{"ip": "192.0.2.7", "hostnames": ["httpbin.org"]}'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{containers: []}", f"{{hostAliases: [{ALIAS}], containers: []}}"),
        ("{}", f"{{hostAliases: [{ALIAS}]}}"),
        ("\n      containers: []\n      hostAliases: []", f"\n      containers: []\n      hostAliases: [{ALIAS}]"),
        (
            "\n      containers: []\n      hostAliases: [{ip: 1.1.1.1, hostnames: [a]}]  # ours",
            f"\n      containers: []\n      hostAliases: [{ALIAS}, {{ip: 1.1.1.1, hostnames: [a]}}]  # ours",
        ),
    ],
)
def test_an_alias_in_flow_style_goes_behind_the_bracket(before: str, after: str) -> None:
    text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  template:\n    spec: "
    assert alias(f"{text}{before}\n", "192.0.2.7") == f"{text}{after}\n"


def test_an_alias_in_json_keeps_to_its_lines() -> None:
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": {"template": {"spec": {"x": 1}}},
    }
    text = json.dumps(body, indent=4)
    after = alias(text, "192.0.2.7")
    assert json.loads(after)["spec"]["template"]["spec"]["hostAliases"] == [json.loads(ALIAS)]
    assert added_lines(text, after)[0] == '                "hostAliases": [\n'
    compact = json.dumps(body)
    assert alias(compact, "192.0.2.7") == compact.replace('{"x": 1}', f'{{"hostAliases": [{ALIAS}], "x": 1}}')


@pytest.mark.parametrize(
    "spec",
    [
        "\n      containers: []\n      hostAliases:\n",
        "\n",
        "*pod\n",
    ],
)
def test_an_alias_that_would_change_a_line_is_refused(spec: str) -> None:
    text = f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a}}\nx: &pod\n  containers: []\nspec:\n  template:\n    spec: {spec}"
    with pytest.raises(ManifestError) as caught:
        alias(text)
    assert caught.value.remedy


# ---- dump -----------------------------------------------------------------------------------------------------------


def test_dump_is_block_style_in_the_given_order() -> None:
    body = {
        "kind": "ServiceEntry",
        "apiVersion": "v1",
        "spec": {"hosts": ["a.b"], "addresses": ["192.0.2.1"], "ports": [{"number": 80}]},
    }
    assert dump([body, {"a": "yes"}]) == (
        "kind: ServiceEntry\napiVersion: v1\nspec:\n  hosts:\n  - a.b\n  addresses:\n  - 192.0.2.1\n  ports:\n"
        '  - number: 80\n---\na: "yes"\n'
    )


keys = st.text(min_size=1, max_size=8) | st.sampled_from(["on", "1", "~", "a.b/c", "<<", "=", "null"])
strings = st.text() | st.sampled_from(
    [
        "yes",
        "0644",
        "1e3",
        "12:30:45",
        "2020-01-01",
        "a: b",
        "# a",
        "- a",
        " a",
        "a\n",
        "a\n\n",
        "\n",
        "a\n b\n",
        "| a",
        "a \nb",
        "{{ x }}",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | strings,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.lists(values, min_size=1, max_size=3))
def test_what_was_dumped_is_read_as_it_was(found: list[Any]) -> None:
    bodies = [{"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "spec": value} for value in found]
    assert [document.body for document in parse(dump(bodies), "a.yaml")] == bodies


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abcd"), strings | st.text().map(lambda text: f"{text}https://a.b/x {text}"), min_size=1
    )
)
def test_a_splice_says_what_was_meant_or_refuses(data: dict[str, str]) -> None:
    body = {"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "data": data}
    for text in (dump([body]), json.dumps(body), json.dumps(body, indent=1)):
        assert [document.body for document in parse(text, "a.yaml")] == [body]
        found = all_edits(text)
        after = splice(text, found)
        assert len(text) - len(after) == sum(
            len(edit.old) - len(edit.new) for edits in found.values() for edit in edits
        )
        assert all(not all_edits(after) for _ in found)


# ---- add ------------------------------------------------------------------------------------------------------------

ENTRY = """\
# the partner's
apiVersion: networking.istio.io/v1beta1
kind: ServiceEntry
metadata:
  name: httpbin   # by hand
spec:
  hosts:
    - httpbin.org
  ports:
    - number: 80
      name: http
      protocol: HTTP
  resolution: DNS"""
WANTED: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1beta1",
    "kind": "ServiceEntry",
    "metadata": {"name": "httpbin", "annotations": {"a/b": "192.0.2.7"}},
    "spec": {
        "hosts": ["httpbin.org"],
        "ports": [
            {"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 443},
            {"number": 443, "name": "https", "protocol": "HTTPS"},
        ],
        "resolution": "DNS",
        "endpoints": [{"address": "httpbin.org."}],
    },
}
COMPLETED = """\
# the partner's
apiVersion: networking.istio.io/v1beta1
kind: ServiceEntry
metadata:
  annotations:
    a/b: 192.0.2.7
  name: httpbin   # by hand
spec:
  endpoints:
    - address: httpbin.org.
  hosts:
    - httpbin.org
  ports:
    - number: 443
      name: https
      protocol: HTTPS
    - number: 80
      targetPort: 443
      name: http
      protocol: HTTP
  resolution: DNS"""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_an_entry_is_completed_by_lines(line_end: str, mark: str, end: str) -> None:
    before = mark + ENTRY.replace("\n", line_end) + end.replace("\n", line_end)
    after = mark + COMPLETED.replace("\n", line_end) + end.replace("\n", line_end)
    assert add(before, 0, WANTED) == after
    assert add(after, 0, WANTED) == after


def test_an_entry_in_json_is_completed() -> None:
    body = {
        **WANTED,
        "metadata": {"name": "httpbin"},
        "spec": {**WANTED["spec"], "ports": [{"number": 80, "name": "http"}]},
    }
    del body["spec"]["endpoints"]
    after = json.loads(add(json.dumps(body, indent=2), 0, {**WANTED, "spec": {**WANTED["spec"]}}))
    assert after["spec"]["ports"][0] == WANTED["spec"]["ports"][1]
    assert after["spec"]["ports"][1] == WANTED["spec"]["ports"][0]
    assert after["metadata"] == WANTED["metadata"]


@pytest.mark.parametrize(
    "wanted",
    [
        {**WANTED, "kind": "Another"},
        {**WANTED, "spec": {**WANTED["spec"], "resolution": "NONE"}},
        {**WANTED, "spec": {**WANTED["spec"], "hosts": []}},
        {key: value for key, value in WANTED.items() if key != "spec"},
    ],
)
def test_what_would_have_to_be_changed_is_refused(wanted: Body) -> None:
    with pytest.raises(ManifestError):
        add(ENTRY, 0, wanted)


keys = st.text("abc", min_size=1, max_size=2)
trees = st.recursive(
    st.text("x:-# {}'\"1", max_size=4) | st.integers(0, 9) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def _less(value: Any, draw: Any) -> Any:
    """The value with some keys left out, so that adding has something to do."""
    if isinstance(value, dict):
        return {key: _less(inner, draw) for key, inner in value.items() if draw(st.booleans()) or len(value) == 1}
    return value


@settings(deadline=None)
@given(st.data(), st.dictionaries(keys, trees, min_size=1, max_size=4), st.sampled_from(["block", "json", "pretty"]))
def test_adding_says_what_was_meant_or_refuses(data: st.DataObject, wanted: dict[str, Any], style: str) -> None:
    present = _less(wanted, data.draw)
    if not present:
        return
    before = {
        "block": lambda: dump([present]),
        "json": lambda: json.dumps(present),
        "pretty": lambda: json.dumps(present, indent=2),
    }[style]()
    try:
        after = add(before, 0, wanted)
    except ManifestError:
        return
    assert add(after, 0, wanted) == after
    removed = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line.startswith("- ")]
    assert style != "block" or not removed or any("[" in line or "{" in line for line in removed)
