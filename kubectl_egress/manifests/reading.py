"""Text to Documents."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from yaml.nodes import ScalarNode

from kubectl_egress.manifests.nodes import Node, compose, descend, objects_of
from kubectl_egress.manifests.scalars import runs
from kubectl_egress.manifests.values import Values, scalar_value
from kubectl_egress.model import Document, Ref, Steps

# At the beginning of a line it always parts two documents (YAML 1.1, 9.2), inside a block scalar too.
_MARKER = re.compile(r"^---[^\S\n]*(?:#.*)?$\n?", re.MULTILINE)
_KIND = re.compile(r"^(?:---.*|kind:.*|%.*|\.\.\..*)$", re.MULTILINE)
_DEFINITION = re.compile(r"kind:[ \t]*([\"']?)CustomResourceDefinition\1[ \t\r]*(?:#.*)?")


def parse(text: str, file: str) -> tuple[Document, ...]:
    """The Kubernetes objects of a YAML or JSON text; the items of a `kind: List` one by one; the rest is ignored.

    `Document.index` counts every document of the text, and each item of a List. ManifestError, with file and line,
    for broken YAML, for duplicate keys and for templates that are not rendered yet. CustomResourceDefinitions, most of
    the text of many a chart, are not read and not among the objects.
    """
    documents: list[Document] = []
    text = _without_definitions(text)
    for index, node in enumerate(objects_of(compose(text, file))):
        body = Values(text, file).value(node)
        reference = _reference(body)
        if reference is not None:
            documents.append(Document(reference, body, file, node.start_mark.line + 1, index))
    return tuple(documents)


def _reference(body: Any) -> Ref | None:
    if not isinstance(body, dict) or not isinstance(body.get("metadata"), dict):
        return None
    kind, api_version, metadata = body.get("kind"), body.get("apiVersion"), body["metadata"]
    name = metadata.get("name") or metadata.get("generateName")
    if not (isinstance(kind, str) and isinstance(api_version, str) and isinstance(name, str)):
        return None
    return Ref(kind, str(metadata.get("namespace") or ""), name, api_version)


def _without_definitions(text: str) -> str:
    """The text with an empty object, and as many lines, in place of each CustomResourceDefinition of its own."""
    if "CustomResourceDefinition" not in text:
        return text
    parts, position = [], 0
    for start, end in _documents(text):
        found = _KIND.findall(text, start, end)
        if len(found) == 1 and _DEFINITION.fullmatch(found[0]):
            parts += [text[position:start], "{}", "\n" * text.count("\n", start, end)]
            position = end
    return "".join([*parts, text[position:]])


def _documents(text: str) -> Iterator[tuple[int, int]]:
    """Where the documents of a text begin and end, without the markers between them."""
    start = 0
    for marker in _MARKER.finditer(text):
        yield start, marker.start()
        start = marker.end()
    yield start, len(text)


def value(text: str) -> Any:
    """What the first document of a YAML or JSON text says, be it an object or not. ManifestError for broken YAML."""
    node = next(iter(compose(text, "")), None)
    return None if node is None else Values(text, "").value(node)


def lines(text: str, addresses: Iterable[tuple[int, Steps]]) -> dict[tuple[int, Steps], int]:
    """The line, from 1, at which each address (document index, steps) begins; those that are not there are left out."""
    objects = list(objects_of(compose(_without_definitions(text), "")))
    found = ((address, descend(objects, *address)) for address in addresses)
    return {address: node.start_mark.line + 1 for address, node in found if node is not None}


def lines_at(text: str, places: Iterable[tuple[int, Steps, int]]) -> dict[tuple[int, Steps, int], int]:
    """The line, from 1, of each offset in a value (document index, steps, offset); where folding hides it, the value's first."""
    plain = _without_definitions(text)
    objects = list(objects_of(compose(plain, "")))
    found: dict[tuple[int, Steps], list[int]] = {}
    for index, steps, offset in places:
        found.setdefault((index, steps), []).append(offset)
    lines_of: dict[tuple[int, Steps, int], int] = {}
    for address, offsets in found.items():
        node = descend(objects, *address)
        if node is not None:
            lines_of |= {(*address, offset): line for offset, line in _lines_in(node, plain, sorted(set(offsets)))}
    return lines_of


def _lines_in(node: Node, text: str, offsets: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Each offset, in order, with its line."""
    line, start, end = node.start_mark.line + 1, node.start_mark.index, node.end_mark.index
    several = isinstance(node, ScalarNode) and node.end_mark.line > node.start_mark.line
    literal = (runs(text[start:end], node.style, str(scalar_value(node, text))) or ()) if several else ()
    begins = [run.value for run in literal]
    counted = start
    for offset in offsets:
        number = bisect_right(begins, offset) - 1
        if number >= 0:
            source = start + literal[number].source
            line += text.count("\n", counted, source)
            counted = source
        yield offset, line
