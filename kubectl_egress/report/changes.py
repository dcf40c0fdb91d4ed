"""What differs between two objects, as marked lines of YAML: nothing that stays the same, save the names above it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubectl_egress import manifests
from kubectl_egress.model import Body

_ABSENT: Any = object()

# What the API server keeps for itself; the same that kubectl leaves out of what it applies.
SERVER_FIELDS = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink")
SERVER_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a diff: `+`, `-` or a blank, and the text with its indentation."""

    mark: str
    text: str


def own_fields(body: Body) -> dict[str, Any]:
    """The object as its author wrote it: no status, none of the server's metadata."""
    metadata = {key: value for key, value in body.get("metadata", {}).items() if key not in SERVER_FIELDS}
    if annotations := metadata.pop("annotations", None):
        kept = {key: value for key, value in annotations.items() if key not in SERVER_ANNOTATIONS}
        if kept:
            metadata["annotations"] = kept
    rest = {key: value for key, value in body.items() if key not in ("metadata", "status")}
    head: dict[str, Any] = {key: rest.pop(key) for key in ("apiVersion", "kind") if key in rest}
    return {**head, **({"metadata": metadata} if metadata else {}), **rest}


def changes(before: Body, after: Body) -> list[Line]:
    """The lines that differ, each under the keys and the `name` that lead to it.

    Of a string of several lines only the lines that change are shown: its others may hold what is nobody's business.
    """
    return list(_mapping(before, after))


def whole(value: Any, mark: str) -> list[Line]:
    """A value with every line marked."""
    return [Line(mark, line) for line in manifests.dump([value]).splitlines() if line != "---"]


def _mapping(before: Body, after: Body) -> Iterator[Line]:
    for key in {**before, **after}:
        old, new = before.get(key, _ABSENT), after.get(key, _ABSENT)
        if old == new:
            continue
        inner = _inside(old, new)
        if inner is None:
            yield from [] if old is _ABSENT else whole({key: old}, "-")
            yield from [] if new is _ABSENT else whole({key: new}, "+")
        else:
            yield Line(" ", f"{key}:{' |' if isinstance(new, str) else ''}")
            # ruamel's and kubectl's style: the dashes of a list stand under its key
            yield from _indented(inner, "" if _is_list(new) else "  ")


def _inside(old: Any, new: Any) -> list[Line] | None:
    """The lines of a change within a value; None where the value changes as a whole."""
    if isinstance(old, Mapping) and isinstance(new, Mapping) and old and new:
        return list(_mapping(old, new))
    if _is_list(old) and _is_list(new) and old and new:
        return list(_list(old, new))
    if isinstance(old, str) and isinstance(new, str) and "\n" in old and "\n" in new:
        return list(_text(old, new)) or None
    return None


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _list(before: Sequence[Any], after: Sequence[Any]) -> Iterator[Line]:
    for old, new in _pairs(before, after):
        if old == new:
            continue
        name = _name(old) if old is not _ABSENT else None
        inner = _inside(old, new)
        if inner is None:
            yield from [] if old is _ABSENT else whole([old], "-")
            yield from [] if new is _ABSENT else whole([new], "+")
        elif name is not None and name == _name(new):
            yield Line(" ", f"- name: {name}")
            yield from _indented(inner, "  ")
        else:
            yield Line(" ", "- |" if isinstance(new, str) else "-")
            yield from _indented(inner, "  ")


def _pairs(before: Sequence[Any], after: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    old_names, new_names = [_name(item) for item in before], [_name(item) for item in after]
    if None not in old_names + new_names and len({*old_names}) == len(before) and len({*new_names}) == len(after):
        old, new = dict(zip(old_names, before, strict=True)), dict(zip(new_names, after, strict=True))
        yield from ((old.get(name, _ABSENT), new.get(name, _ABSENT)) for name in {**old, **new})
        return
    matcher = difflib.SequenceMatcher(None, [repr(item) for item in before], [repr(item) for item in after], False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        for offset in range(max(i2 - i1, j2 - j1) if tag != "equal" else 0):
            yield (
                before[i1 + offset] if i1 + offset < i2 else _ABSENT,
                after[j1 + offset] if j1 + offset < j2 else _ABSENT,
            )


def _name(item: Any) -> str | None:
    name = item.get("name") if isinstance(item, Mapping) else None
    return name if isinstance(name, str) else None


def _text(before: str, after: str) -> Iterator[Line]:
    old, new = before.splitlines(), after.splitlines()
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, False).get_opcodes():
        if tag != "equal":
            yield from (Line("-", line) for line in old[i1:i2])
            yield from (Line("+", line) for line in new[j1:j2])


def _indented(lines: Sequence[Line], indent: str) -> Iterator[Line]:
    return (Line(line.mark, indent + line.text) for line in lines)
