"""What Grafana's own types, of its foundation SDK, do not know of a dashboard: names, values, and what stands where."""

from __future__ import annotations

import enum
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

PLAIN = {str: (str,), int: (int,), float: (int, float), bool: (bool,), type(None): (type(None),)}


def strange(dashboard: Mapping[str, Any]) -> list[str]:
    """What is lost when Grafana's types read the dashboard, and what has a value that they do not allow; each by its path."""
    register_default_plugins()
    return [*_misfits(dashboard, Dashboard, "dashboard")]


def _misfits(value: Any, hint: Any, where: str) -> Iterator[str]:
    kind, inner = typing.get_origin(hint), typing.get_args(hint)
    if hasattr(value, "to_json"):
        yield from _fields(value, where)
    elif hint in (Any, object):
        return
    elif kind in (typing.Union, types.UnionType):
        tried = [[*_misfits(value, one, where)] for one in inner]
        yield from [] if [] in tried else tried[0]
    elif kind is typing.Literal or (isinstance(hint, type) and issubclass(hint, enum.Enum)):
        allowed = inner if kind is typing.Literal else [member.value for member in hint]
        if value not in allowed:
            yield f"{where}: {value!r} is none of {allowed}"
    elif kind in (list, dict):
        if not isinstance(value, kind):
            yield f"{where}: {value!r} is no {kind.__name__}"
            return
        for key, one in value.items() if kind is dict else enumerate(value):
            yield from _misfits(one, inner[-1], f"{where}[{key!r}]")
    elif hint in PLAIN:
        if not isinstance(value, PLAIN[hint]) or (isinstance(value, bool) and hint is not bool):
            yield f"{where}: {value!r} is no {hint.__name__}"
    elif not isinstance(value, dict):
        yield f"{where}: {value!r} is no {hint.__name__}"
    else:
        read = hint.from_json(value)
        yield from _lost(value, json.loads(json.dumps(read, cls=JSONEncoder)), where)
        yield from _fields(read, where)


def _fields(read: Any, where: str) -> Iterator[str]:
    for name, hint in typing.get_type_hints(type(read)).items():
        yield from _misfits(getattr(read, name), hint, f"{where}.{name}")


def _lost(given: Any, kept: Any, where: str) -> Iterator[str]:
    if isinstance(given, Mapping) and isinstance(kept, Mapping):
        for key, value in given.items():
            if key in kept:
                yield from _lost(value, kept[key], f"{where}.{key}")
            else:
                yield f"{where}.{key}: not known"
    elif isinstance(given, Sequence) and isinstance(kept, Sequence) and not isinstance(given, str):
        for number, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from _lost(one, other, f"{where}[{number}]")
    elif given != kept:
        yield f"{where}: {given!r} is read as {kept!r}"
