"""Fields and items added to an object in its text: lines in block style, a splice where the file is written in flow style."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yaml.nodes import MappingNode, SequenceNode

from kubectl_egress.errors import ManifestError
from kubectl_egress.manifests.nodes import Node, child, compose, objects_of
from kubectl_egress.manifests.splicing import BY_HAND, check
from kubectl_egress.manifests.values import Values
from kubectl_egress.manifests.writing import dump
from kubectl_egress.model import Edit
from kubectl_egress.urls import apply_edits

_PRETTY = re.compile(r"[ \t]*\r?\n([ \t]*)")


def add(text: str, document_index: int, wanted: Any) -> str:
    """The text with what `wanted` has and its object lacks: nothing that stands there is changed.

    New items of a list come first, whatever their place in `wanted`. ManifestError where something would have to be
    changed or taken out, or where the layout leaves no place.
    """
    objects = list(objects_of(compose(text, "")))
    present = [Values(text, "").value(node) for node in objects]
    adding = _Adding(text, text.lstrip("\ufeff \t\r\n").startswith(("{", "[")), _list_offset(objects[document_index]))
    expected = list(present)
    edits: list[Edit] = []
    expected[document_index] = adding.merged(objects[document_index], present[document_index], wanted, edits)
    added = apply_edits(text, sorted(edits))
    check(added, expected)
    return added


def _list_offset(node: Node) -> int:
    """How far the object indents a list under its key: none or two, mostly."""
    pending = [node]
    while pending:
        found = pending.pop(0)
        if isinstance(found, MappingNode):
            for key, value in found.value:
                if isinstance(value, SequenceNode) and not value.flow_style and not found.flow_style and value.value:
                    return max(0, int(value.start_mark.column - key.start_mark.column))
                pending.append(value)
        elif isinstance(found, SequenceNode):
            pending += found.value
    return 0


@dataclass(frozen=True, slots=True)
class _Adding:
    """One text, and how it is written."""

    text: str
    json: bool
    offset: int

    def merged(self, node: Node, present: Any, wanted: Any, edits: list[Edit]) -> Any:
        """What the node will mean; the splices that bring it about go to `edits`."""
        if present == wanted:
            return present
        if isinstance(present, Mapping) and isinstance(wanted, Mapping) and isinstance(node, MappingNode):
            if not set(present) <= set(wanted):
                raise _refused(node)
            new = {key: value for key, value in wanted.items() if key not in present}
            kept = {key: self.merged(child(node, key), value, wanted[key], edits) for key, value in present.items()}
            if new:
                edits.append(self._into_mapping(node, new))
            return kept | new
        if isinstance(present, list) and isinstance(wanted, list | tuple) and isinstance(node, SequenceNode):
            return self._merged_list(node, present, list(wanted), edits)
        raise _refused(node)

    def _merged_list(self, node: Node, present: list[Any], wanted: list[Any], edits: list[Edit]) -> list[Any]:
        left = list(wanted)
        kept = []
        for number, item in enumerate(present):
            same = next(
                (one for one in left if one == item or (key_of(one) is not None and key_of(one) == key_of(item))), None
            )
            if same is None:
                raise _refused(node)
            left.remove(same)
            kept.append(self.merged(node.value[number], item, same, edits))
        if left:
            edits.append(self._into_sequence(node, left))
        return left + kept

    def _into_mapping(self, node: Node, new: Mapping[str, Any]) -> Edit:
        if node.flow_style:
            names = [json.dumps(key) if self.json else key for key in new]
            return self._flow(node, "{", [f"{name}: %s" for name in names], list(new.values()))
        keys = [key for key, _ in node.value]
        for key in keys[:2]:
            start = self._line_start(key)
            if start is not None:
                return self._block(start, key.start_mark.column, new)
        return self._block(self._line_after(node.value[0][1]), keys[0].start_mark.column, new)

    def _into_sequence(self, node: Node, items: Sequence[Any]) -> Edit:
        if node.flow_style:
            return self._flow(node, "[", ["%s"] * len(items), items)
        start = self._line_start(node)
        if start is None:
            raise _refused(node)
        return self._block(start, node.start_mark.column, list(items))

    def _line_start(self, node: Node) -> int | None:
        """Where the line of a node begins, if nothing stands before the node."""
        start = self.text.rfind("\n", 0, node.start_mark.index) + 1
        return start if self.text[start : node.start_mark.index].strip(" ") == "" else None

    def _line_after(self, node: Node) -> int:
        end = node.end_mark.index
        if end and self.text[end - 1] == "\n":
            return int(end)
        return self.text.find("\n", end) + 1 or len(self.text)

    def _block(self, at: int, column: int, value: Any) -> Edit:
        line_end = "\r\n" if "\r\n" in self.text else "\n"
        # The emitter indents a list that is the whole document as well.
        lines = dump([value], self.offset if isinstance(value, Mapping) else 0).rstrip("\n").split("\n")
        added = "".join(" " * column + line + line_end if line else line_end for line in lines)
        if at == len(self.text) and not self.text.endswith("\n"):
            added = line_end + added.removesuffix(line_end)
        return Edit(at, "", added)

    def _flow(self, node: Node, bracket: str, forms: Sequence[str], values: Sequence[Any]) -> Edit:
        """Behind the opening bracket: on lines of their own where the file does so, else in the same line."""
        at = self.text.index(bracket, node.start_mark.index) + 1
        pretty = _PRETTY.match(self.text, at)
        if pretty and node.value:
            line_end = "\r\n" if "\r\n" in self.text else "\n"
            indent = pretty[1]
            step = max(1, len(indent) - self._indent_of(node)) if " " in indent else 1
            parts = [
                form % json.dumps(value, indent=indent[:1] * step, ensure_ascii=False).replace("\n", "\n" + indent)
                for form, value in zip(forms, values, strict=True)
            ]
            return Edit(at, "", "".join(f"\n{indent}{part}," for part in parts).replace("\n", line_end))
        parts = [form % json.dumps(value, ensure_ascii=False) for form, value in zip(forms, values, strict=True)]
        return Edit(at, "", ", ".join(parts) + (", " if node.value else ""))

    def _indent_of(self, node: Node) -> int:
        start = self.text.rfind("\n", 0, node.start_mark.index) + 1
        line = self.text[start : node.start_mark.index + 1]
        return len(line) - len(line.lstrip())


def key_of(item: Any) -> Any:
    """What tells an item of a list from the others: a port's number, a port-level setting's, an address, or a name."""
    if not isinstance(item, Mapping):
        return None
    port = item.get("port")
    return item.get("number") or (port.get("number") if isinstance(port, Mapping) else None) or item.get("name")


def _refused(node: Node) -> ManifestError:
    line = node.start_mark.line + 1 if node is not None else 1
    return ManifestError(f"line {line}: it cannot be completed by adding to it alone", BY_HAND)
