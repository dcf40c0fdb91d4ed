"""Settings inside a file's text, those of one object or section together: JSON, YAML, properties, INI."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from kubectl_egress.model import Ref, Steps
from kubectl_egress.scan.settings import ROLES, Setting

# `key: value`, `key = value`, `"key": "value",` in a line of its own.
_LINE = re.compile(
    r"""^(?P<indent>[ \t]*)(?:-[ \t]+)?["']?(?P<key>[\w.-]+)["']?[ \t]*[:=][ \t]*["']?(?P<value>[^\s"',#]*)["']?[ \t]*,?(?:[ \t]+#.*)?[ \t\r]*$""",
    re.MULTILINE,
)
_INDENT = re.compile(r"^[ \t]*(?=[^\s#;])(?P<section>\[[^\]\n]*\])?", re.MULTILINE)
_JSON = re.compile(r'(?P<string>"(?:[^"\\]|\\.)*")|(?P<mark>[{}\[\],:])|(?P<plain>[^\s{}\[\],:"]+)')
_ANYWHERE = Ref("", "", "")


@dataclass(slots=True)
class _Level:
    """One object of JSON, or one level of indentation, as far as it has been read."""

    depth: int
    section: str
    found: list[Setting] = field(default_factory=list)
    key: str = ""
    """The key whose value comes next, or whose mapping stands below."""
    of_object: bool = True


def settings_in(text: str, holder: Ref, steps: Steps, entry: str) -> Iterator[list[Setting]]:
    """The settings in a file's text, those of one object or section together."""
    lower = text.lower()
    if not any(word in lower for word in ROLES["host"]):
        return
    yield from _groups(text, holder, steps, entry)


# Stands for the name of a setting: a scheme before a host that Kubernetes puts in, `https://$(API_HOST)`.
SCHEME_BEFORE_VARIABLE = "://"
_SCHEME_BEFORE_VARIABLE = re.compile(r"(?<![A-Za-z0-9+.-])(?:https?|wss?)(?=://\$\([^()]+\))", re.IGNORECASE)


def values_of(text: str, name: str) -> tuple[tuple[int, str], ...]:
    """Where the values of the settings of one name stand in a file's text, and the values, in order."""
    if name == SCHEME_BEFORE_VARIABLE:
        return tuple((match.start(), match[0]) for match in _SCHEME_BEFORE_VARIABLE.finditer(text))
    return _by_name(text).get(name, ())


@lru_cache(8)
def _by_name(text: str) -> Mapping[str, tuple[tuple[int, str], ...]]:
    found: dict[str, list[tuple[int, str]]] = {}
    for group in _groups(text, _ANYWHERE, (), ""):
        for one in group:
            found.setdefault(one.name, []).append((one.start, one.value))
    return {name: tuple(sorted(values)) for name, values in found.items()}


def _groups(text: str, holder: Ref, steps: Steps, entry: str) -> Iterator[list[Setting]]:
    if text.lstrip().startswith("{"):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            yield from _objects(text, holder, steps, entry)
            return
    yield from _sections(text, holder, steps, entry)


def _objects(text: str, holder: Ref, steps: Steps, entry: str) -> Iterator[list[Setting]]:
    """Those of each object of a JSON text, the outer ones last; a string with an escape in it is none."""
    levels = [_Level(0, "", of_object=False)]
    for token in _JSON.finditer(text):
        level, mark = levels[-1], token["mark"]
        if mark in ("{", "["):
            levels.append(_Level(0, level.key or level.section, of_object=mark == "{"))
        elif mark in ("}", "]"):
            yield levels.pop().found
            levels[-1].key = ""
        elif mark == ",":
            level.key = ""
        elif not mark and level.of_object:
            value = token[0].strip('"')
            if not level.key:
                level.key = value
            elif "\\" not in value:
                start = token.start() + bool(token["string"])
                level.found.append(Setting(level.key, value, holder, steps, start, entry, level.section, inside=True))


def _sections(text: str, holder: Ref, steps: Steps, entry: str) -> Iterator[list[Setting]]:
    """Those of each level of indentation, as long as no line stands further to the left; a section of INI ends them all."""
    levels: list[_Level] = []
    ini = listed = ""
    lines = {match.start(): match for match in _LINE.finditer(text)}
    for start in _INDENT.finditer(text):
        depth = start.end() - start.start() if start["section"] is None else 0
        item = text.startswith("- ", start.end())
        while levels and (levels[-1].depth > depth or start["section"] or (item and levels[-1].depth >= depth)):
            closed = levels.pop()
            yield closed.found
            # a list may stand as far to the left as its key
            listed = closed.key if item and closed.depth == depth else listed
        ini = start["section"].strip("[] ") if start["section"] else ini
        listed = listed if item or levels else ""
        match = lines.get(start.start())
        if match is None:
            continue
        column = match.start("key") - match.start()
        if not levels or levels[-1].depth < column:
            levels.append(_Level(column, levels[-1].key if levels else listed or ini))
        level = levels[-1]
        level.key = match["key"] if not match["value"] else ""
        level.found.append(
            Setting(
                match["key"], match["value"], holder, steps, match.start("value"), entry, level.section, inside=True
            )
        )
    for left in levels:
        yield left.found
