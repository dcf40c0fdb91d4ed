"""YAML as nodes that know their place in the text, one per Kubernetes object."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml
from yaml.error import MarkedYAMLError
from yaml.nodes import MappingNode, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from kubectl_egress.errors import ManifestError
from kubectl_egress.model import Steps

Node = Any
"""PyYAML's ScalarNode, SequenceNode or MappingNode; the library has no usable types for what they hold."""

_HELM_REMEDY = "Render it first (helm template … | kubectl egress … -f -), or change the URL in the chart's values."
_TEMPLATE_LINE = re.compile(r"^[ \t-]*\{\{", re.MULTILINE)

# libyaml is what kubectl's own reader (go-yaml) was translated from, and 16 times as fast as a reader in Python.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Quick(_Loader):  # type: ignore[misc]
    """Nodes without tags: what a plain scalar means is decided later, as kubectl decides it."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        return ""


class _Patient(yaml.SafeLoader):
    """Takes what kubectl takes and libyaml or PyYAML refuse: halves of a pair in JSON, an anchor that is set again."""

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        if not self.check_event(yaml.AliasEvent):
            self.anchors.pop(self.peek_event().anchor, None)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)


_REFUSED = ("while parsing a quoted scalar found invalid Unicode", "found duplicate anchor")


def compose(text: str, file: str) -> list[Node]:
    """The documents as nodes, which know their place in the text."""
    try:
        return _composed(text)
    except MarkedYAMLError as error:
        if "nesting depth" in str(error.problem):
            raise nested_error(file) from error
        mark = error.problem_mark or error.context_mark
        line = min(mark.line, text.count("\n")) + 1 if mark else 1
        raise _broken(text, file, line, str(error.problem or error.context)) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _broken(text, file, line, f"unacceptable character #x{error.character:04x}") from error
    except (ValueError, OverflowError) as error:
        raise _broken(text, file, 1, "an escape that is no character") from error
    except RecursionError as error:
        raise nested_error(file) from error


def _composed(text: str) -> list[Node]:
    try:
        if not text.startswith("\ufeff"):  # libyaml does not count a byte order mark
            return list(yaml.compose_all(text, _Quick))
    except MarkedYAMLError as error:
        if not f"{error.context} {error.problem}".startswith(_REFUSED):
            raise
    return list(yaml.compose_all(_spaced(text), _Patient))


def nested_error(file: str) -> ManifestError:
    """The error for a text that nobody can have meant."""
    return ManifestError(f"{file}:1: nested too deeply", "No Kubernetes object is nested like this.")


def _spaced(text: str) -> str:
    """JSON may be indented by tabs, YAML may not; no string of JSON holds one, so a blank can take its place."""
    if "\t" in text and text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        try:
            json.loads(text.removeprefix("\ufeff"))
        except ValueError:
            return text
        return text.replace("\t", " ")
    return text


def _broken(text: str, file: str, line: int, problem: str) -> ManifestError:
    # `{{` inside a string is nobody's template (Prometheus rules have it); at the broken place or first in a line it is.
    found = _TEMPLATE_LINE.search(text)
    before = sum(len(whole) for whole in text.splitlines(keepends=True)[: line - 1])
    start = found.start() if found else text.find("{{", before, text.find("\n", before) % (len(text) + 1))
    if start >= 0:
        return template_error(text, file, start)
    return ManifestError(f"{file}:{line}: not YAML: {problem}", "Mend the file; kubectl cannot read it either.")


def template_error(text: str, file: str, offset: int) -> ManifestError:
    """The error for a text that a template engine has yet to render, at an offset."""
    line = text.count("\n", 0, offset) + 1
    return ManifestError(f"{file}:{line}: a template that is not rendered yet ({{{{ … }}}})", _HELM_REMEDY)


def objects_of(nodes: Iterable[Node]) -> Iterator[Node]:
    """Every document, and in place of a List (as `kubectl get -o yaml` prints it) its items."""
    for node in nodes:
        entries = (
            {key.value: value for key, value in node.value}
            if isinstance(node, MappingNode) and _plain_keys(node)
            else {}
        )
        kind, items = entries.get("kind"), entries.get("items")
        if isinstance(kind, ScalarNode) and str(kind.value).endswith("List") and isinstance(items, SequenceNode):
            yield from items.value
        else:
            yield node


def _plain_keys(node: Node) -> bool:
    return all(isinstance(key, ScalarNode) for key, _ in node.value)


def is_merge(node: Node) -> bool:
    """Whether a key is `<<`, which takes the keys of another mapping in."""
    return bool(node.value == "<<" and not node.style)


def descend(objects: Sequence[Node], index: int, steps: Steps) -> Node | None:
    """The node at an address of an object; None if there is nothing."""
    node = objects[index] if index < len(objects) else None
    for step in steps:
        node = child(node, step)
    return node


def child(node: Node | None, step: str | int) -> Node | None:
    """The node one step further, also by a merge key; None if there is nothing."""
    if isinstance(node, SequenceNode) and isinstance(step, int):
        return node.value[step] if step < len(node.value) else None
    if not isinstance(node, MappingNode):
        return None
    for key, value in node.value:
        if isinstance(key, ScalarNode) and key.value == step and not is_merge(key):
            return value
    for key, value in node.value:
        if isinstance(key, ScalarNode) and is_merge(key):
            sources = value.value if isinstance(value, SequenceNode) else [value]
            found = next((node for node in (child(source, step) for source in sources) if node is not None), None)
            if found is not None:
                return found
    return None
