"""The values of Secrets in a text of manifests: where they stand, and the text without them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from yaml.nodes import MappingNode, ScalarNode

from kubectl_egress.errors import ManifestError
from kubectl_egress.manifests.nodes import Node, child, compose, objects_of

HIDDEN = "***"
_HEADER = re.compile(r"[|>][-+0-9]*[ \t]*(?:#.*)?\r?\n?")

Place = tuple[int, str, str]
"""Which object, field, and key."""


def secret_values_in(text: str) -> dict[Place, tuple[int, int]]:
    """Where the values of Secrets, and of their annotations, begin and end; nowhere in what is not YAML (a kustomization's files)."""
    found: dict[Place, tuple[int, int]] = {}
    try:
        objects = list(objects_of(compose(text, ""))) if "Secret" in text else []
    except ManifestError:
        return found
    for number, node in enumerate(objects):
        kind = child(node, "kind")
        if isinstance(kind, ScalarNode) and kind.value == "Secret":
            for field, key, value in _values(node):
                found[number, field, key] = (value.start_mark.index, value.end_mark.index)
    return found


def _values(node: Node) -> Iterator[tuple[str, str, Node]]:
    # `kubectl apply` keeps the whole object in an annotation
    fields = [(field, child(node, field)) for field in ("data", "stringData")]
    for field, held in [*fields, ("annotations", child(child(node, "metadata"), "annotations"))]:
        if isinstance(held, MappingNode):
            yield from ((field, str(key.value), value) for key, value in held.value)
        elif held is not None:
            yield field, "", held


def secrets_hidden(before: str | None, after: str) -> tuple[str | None, str]:
    """Two texts of a file line by line as they are, but for the values of Secrets: of these, no more than which differ."""
    old, new = secret_values_in(before or ""), secret_values_in(after)
    was = {place: (before or "")[start:end] for place, (start, end) in old.items()}
    now = {place: after[start:end] for place, (start, end) in new.items()}
    return _masked(before, old, was, now, "before") if before is not None else None, _masked(
        after, new, now, was, "after"
    )


def _masked(
    text: str, spans: dict[Place, tuple[int, int]], own: dict[Place, str], others: dict[Place, str], side: str
) -> str:
    hidden = {span: _hidden(own[place], others.get(place, own[place]), side) for place, span in spans.items()}
    parts, position = [], 0
    for start, end in sorted(hidden):
        if start >= position:  # else it stands in another's, by an anchor
            parts += [text[position:start], hidden[start, end]]
            position = end
    return "".join([*parts, text[position:]])


def _hidden(value: str, other: str, side: str) -> str:
    lines, others = value.splitlines(keepends=True), other.splitlines(keepends=True)
    same = [one == two for one, two in zip(lines, others, strict=True)] if len(lines) == len(others) else []
    return "".join(
        line if number == 0 and _HEADER.fullmatch(line) else _line(line, same[number] if same else value == other, side)
        for number, line in enumerate(lines)
    )


def _line(line: str, same: bool, side: str) -> str:
    text = line.rstrip("\r\n")
    indent = text[: len(text) - len(text.lstrip())]
    mark = "" if same else f" ({side})"
    return f"{indent}{HIDDEN}{mark}{line[len(text) :]}" if text.strip() else line
