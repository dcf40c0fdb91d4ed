"""Diffs to read: of two objects, restricted to what changes, and of two texts of a file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_egress import urls
from kubectl_egress.model import Body
from kubectl_egress.report.changes import changes, own_fields, whole
from kubectl_egress.report.masking import line_shown

# Context lines that hold no value, or one that is a name: `env:`, `- name: API_URL`, `kind: Deployment`, `run: |-`.
_HARMLESS = re.compile(
    r"\s*(?:-\s+)*(?:(?:name|kind|apiVersion|namespace|key):\s+[\w./\"'-]+|[\w./\"'-]+:(?:\s*[|>][-+0-9]*)?|-{3})?\s*",
    re.ASCII,
)
_VALUES = ("data", "stringData", "binaryData")


def body_diff(before: Body | None, after: Body | None) -> str:
    """The lines that turn `before` into `after` as YAML, each marked `+`, `-` or a blank; '' if they are the same.

    None stands for an object that is not there: the other one is shown whole, a ConfigMap's values as their sizes.
    Of two objects only what differs is shown. A Secret's values never are, as with `kubectl diff`. Credentials in URLs and
    beside them are masked.
    """
    old = _own(before, after, "before")
    new = _own(after, before, "after")
    if old is not None and new is not None:
        lines = changes(old, new)
    else:
        lines = [*(whole(old, "-") if old is not None else []), *(whole(new, "+") if new is not None else [])]
    return "".join(line_shown(f"{line.mark} {line.text}\n") for line in lines)


def _own(body: Body | None, other: Body | None, side: str) -> dict[str, Any] | None:
    if body is None:
        return None
    own = own_fields(body)
    if own.get("kind") == "Secret":
        return {
            key: _hidden(value, (other or {}).get(key), side) if key in _VALUES else value for key, value in own.items()
        }
    if other is None and own.get("kind") == "ConfigMap":
        return {key: _sizes(value) if key in _VALUES else value for key, value in own.items()}
    return own


def _hidden(values: Any, others: Any, side: str) -> Any:
    """A Secret's keys; of the values no more than which differ."""
    if not isinstance(values, Mapping):
        return "***"
    known = others if isinstance(others, Mapping) else {}
    return {key: f"*** ({side})" if key in known and known[key] != value else "***" for key, value in values.items()}


def _sizes(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    return {key: f"<{len(str(value).encode())} bytes>" for key, value in values.items()}


def text_diff(before: str | None, after: str, name: str) -> str:
    """The unified diff of a file, with `a/` and `b/` names as git has them; None: the file is new.

    It is for reading: context lines that could hold a neighbour's value show as `***`, credentials in URLs too.
    """
    header = [f"--- {f'a/{name}' if before is not None else '/dev/null'}\n", f"+++ b/{name}\n"]
    lines = list(_hunks((before or "").splitlines(keepends=True), after.splitlines(keepends=True)))
    return urls.shown("".join(header)) + "".join(map(line_shown, lines)) if lines else ""


def _hunks(before: list[str], after: list[str]) -> Iterator[str]:
    for line in list(difflib.unified_diff(before, after, n=3))[2:]:
        ending = "" if line.endswith("\n") else "\n\\ No newline at end of file\n"
        yield (_context(line) if line.startswith(" ") else line) + ending


def _context(line: str) -> str:
    text = line.rstrip("\r\n")
    if _HARMLESS.fullmatch(text):
        return line
    indent = text[: len(text) - len(text.lstrip())]
    return f"{indent}***{line[len(text) :]}"
