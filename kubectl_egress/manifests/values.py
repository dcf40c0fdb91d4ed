"""The values that nodes have, as kubectl reads them."""

from __future__ import annotations

import json
from typing import Any

from yaml.nodes import ScalarNode, SequenceNode

from kubectl_egress.errors import ManifestError
from kubectl_egress.manifests.nodes import Node, is_merge, nested_error, template_error
from kubectl_egress.manifests.scalars import joined_surrogates, plain_value

# go-yaml refuses documents that consist of aliases for the most part; so do we, well before memory ends.
_MOST_NODES = 1_000_000


class Values:
    """The values of one object's nodes, as kubectl reads them; an alias shares the value of its anchor."""

    def __init__(self, text: str, file: str) -> None:
        self._text, self._file = text, file
        self._known: dict[int, tuple[Any, int]] = {}
        self._open: set[int] = set()

    def value(self, node: Node) -> Any:
        """The value of a node. ManifestError for what JSON cannot hold."""
        try:
            return self._sized(node)[0]
        except RecursionError as error:
            raise nested_error(self._file) from error

    def _sized(self, node: Node) -> tuple[Any, int]:
        """The value, and how many nodes it has with every alias counted in full."""
        known = self._known.get(id(node))
        if known is not None:
            return known
        if isinstance(node, ScalarNode):
            return scalar_value(node, self._text), 1
        if id(node) in self._open:
            raise self._error(node, "an anchor that contains itself")
        self._open.add(id(node))
        sized = self._sequence(node) if isinstance(node, SequenceNode) else self._mapping(node)
        self._open.discard(id(node))
        if sized[1] > _MOST_NODES:
            raise self._error(node, "too many aliases")
        self._known[id(node)] = sized
        return sized

    def _sequence(self, node: Node) -> tuple[Any, int]:
        entries = [self._sized(entry) for entry in node.value]
        return [value for value, _ in entries], 1 + sum(size for _, size in entries)

    def _mapping(self, node: Node) -> tuple[Any, int]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        total = 1
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                raise self._key_error(key_node)
            value, size = self._sized(value_node)
            total += size
            if is_merge(key_node):
                for source in value if isinstance(value, list) else [value]:
                    merged = {**source, **merged} if isinstance(source, dict) else merged
                continue
            key = _key(scalar_value(key_node, self._text))
            if key in own:
                raise self._error(key_node, f"the key {key!r} is there twice")
            own[key] = value
        return {**merged, **own}, total

    def _key_error(self, node: Node) -> ManifestError:
        start, end = node.start_mark.index, node.end_mark.index
        if "{{" in self._text[max(0, start - 1) : end + 1]:
            return template_error(self._text, self._file, start)
        return self._error(node, "a key that is not a string")

    def _error(self, node: Node, problem: str) -> ManifestError:
        return ManifestError(f"{self._file}:{node.start_mark.line + 1}: {problem}", "Mend the file.")


def _key(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def scalar_value(node: Node, text: str) -> str | int | float | bool | None:
    """What a scalar node means: quoted and block scalars are strings, and so is what the tag `!!str` says."""
    if node.style:
        return joined_surrogates(str(node.value)) if node.style == '"' else str(node.value)
    value = plain_value(node.value)
    if not isinstance(value, str) and _source(node, text).startswith(("!!str", "!!binary", "! ")):
        return str(node.value)
    return value


def _source(node: Node, text: str) -> str:
    source = text[node.start_mark.index : node.end_mark.index]
    return source.partition(" ")[2].lstrip() if source.startswith("&") else source
