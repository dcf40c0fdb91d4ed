"""A `hostAliases` entry, added to a pod template in the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yaml.nodes import MappingNode, SequenceNode

from kubectl_egress import paths
from kubectl_egress.errors import ManifestError
from kubectl_egress.manifests.adding import add
from kubectl_egress.manifests.nodes import Node, child, compose, descend, objects_of
from kubectl_egress.manifests.splicing import check
from kubectl_egress.manifests.values import Values
from kubectl_egress.model import Body, Steps


def insert_host_alias(text: str, document_index: int, template_steps: Steps, ip: str, host: str) -> str:
    """The text with a `hostAliases` entry in a pod template's spec: lines are added, none is changed.

    It goes first: behind the line of `spec:`, or of `hostAliases:` where there is one already. Where that is written in
    flow style (or in JSON), it goes behind the opening bracket. ManifestError where there is no place.
    """
    objects = list(objects_of(compose(text, "")))
    steps = (*template_steps, "spec")
    entry = {"ip": ip, "hostnames": [host]}
    spec: Any = descend(objects, document_index, steps)
    existing: Any = child(spec, "hostAliases")
    key = _key_node(objects, document_index, steps if existing is None else (*steps, "hostAliases"))
    in_blocks = _is_block(spec, MappingNode) and (existing is None or _is_block(existing, SequenceNode))
    expected = _with_alias(text, objects, document_index, steps, entry)
    if not in_blocks or key is None or expected is None:
        if expected is None:
            line = spec.start_mark.line + 1 if spec is not None else 1
            raise ManifestError(
                f"line {line}: hostAliases cannot be added here by adding lines", "Write this pod spec in block style."
            )
        return add(text, document_index, expected[document_index])
    start = text.find("\n", key.end_mark.index) + 1
    added = _lines(spec, existing, ip, host)
    line_end = "\r\n" if text[:start].endswith("\r\n") else "\n"
    inserted = text[:start] + "".join(line + line_end for line in added) + text[start:]
    check(inserted, expected)
    return inserted


def _lines(spec: Node, existing: Node | None, ip: str, host: str) -> list[str]:
    inner = " " * _list_indent(spec)
    head = [] if existing is not None else [" " * spec.start_mark.column + "hostAliases:"]
    dash = " " * (spec.start_mark.column if existing is None else existing.start_mark.column)
    dash += inner if existing is None else ""
    address = f'"{ip}"' if ":" in ip else ip
    return [*head, f"{dash}- ip: {address}", f"{dash}  hostnames:", f"{dash}  {inner}- {host}"]


def _with_alias(text: str, objects: Sequence[Node], index: int, steps: Steps, entry: Body) -> list[Any] | None:
    """What the objects are to be; None where the spec or its aliases are nothing that could be added to."""
    expected = [Values(text, "").value(node) for node in objects]
    spec = paths.get(expected[index], steps)
    present = spec.get("hostAliases", []) if isinstance(spec, dict) else None
    if not isinstance(present, list):
        return None
    aliases = [entry, *present]
    expected[index] = paths.replaced(expected[index], (*steps, "hostAliases"), aliases)
    return expected


def _is_block(node: Node, kind: type[Any]) -> bool:
    return isinstance(node, kind) and not node.flow_style and bool(node.value)


def _key_node(objects: Sequence[Node], index: int, steps: Steps) -> Node | None:
    parent = descend(objects, index, steps[:-1])
    pairs = parent.value if isinstance(parent, MappingNode) else []
    return next((key for key, _ in pairs if key.value == steps[-1]), None)


def _list_indent(spec: Node) -> int:
    """How far this file indents a list under its key: none or two, mostly."""
    for key, value in spec.value:
        if _is_block(value, SequenceNode):
            return max(0, int(value.start_mark.column - key.start_mark.column))
    return 0
