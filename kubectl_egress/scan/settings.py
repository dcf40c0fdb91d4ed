"""Calls whose scheme, host and port stand in settings of their own: `API_SCHEME`, `API_HOST`, `API_PORT`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from kubectl_egress.model import Ref, Steps, Url
from kubectl_egress.scan.naming import Name
from kubectl_egress.urls import find_urls

# The last words of a setting's name, and what it is then.
ROLES: Mapping[str, tuple[str, ...]] = {
    "scheme": ("scheme", "protocol", "proto"),
    "host": ("host", "hostname", "host name", "domain", "server", "addr", "address", "endpoint", "fqdn"),
    "port": ("port",),
    "tls": ("use https", "https", "https enabled", "enable https"),
}
_ROLE_OF = {words: role for role, names in ROLES.items() for words in names}
_SCHEMES = ("https", "http", "wss", "ws")
_HOST = re.compile(r"[\w.-]*\.[\w.-]*[A-Za-z][\w-]*\.?(?::[0-9]{1,5})?")
_TRUE = ("true", "1", "yes", "on")

# `key: value`, `key = value`, `"key": "value",` in a line of its own.
_LINE = re.compile(
    r"""^(?P<indent>[ \t]*)(?:-[ \t]+)?["']?(?P<key>[\w.-]+)["']?[ \t]*[:=][ \t]*["']?(?P<value>[^\s"',#]*)["']?[ \t]*,?(?:[ \t]+#.*)?[ \t\r]*$""",
    re.MULTILINE,
)
_INDENT = re.compile(r"^[ \t]*(?=[^\s#;])(?P<section>\[[^\]\n]*\])?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Setting:
    """One name and value, and where the value stands."""

    name: str
    value: str
    object: Ref
    steps: Steps
    start: int = 0
    entry: str = ""


@dataclass(frozen=True, slots=True)
class SplitCall:
    """A call that several settings say together; its URL's span is that of the host."""

    host: Setting
    url: Url
    names: tuple[str, ...]
    """The settings, as they are written."""


def split_calls(settings: Iterable[Setting]) -> Iterator[SplitCall]:
    """The https, http, wss and ws calls that settings with a common beginning say: `API_SCHEME=https` beside `API_HOST`.

    Without a scheme, port 443 or `USE_HTTPS` says https. Hosts and ports alone (a database's) say nothing.
    """
    groups: dict[str, dict[str, Setting]] = {}
    for setting in settings:
        stem, role = _role(setting.name)
        if role and not (role == "host" and not _HOST.fullmatch(setting.value)):
            groups.setdefault(stem, {})[role] = setting
    for group in groups.values():
        if "host" in group and (call := _call(group)) is not None:
            yield call


@lru_cache(4096)
def _role(name: str) -> tuple[str, str]:
    """What the settings of one call have in common, and which part of it a name stands for."""
    words = Name(name).words.split()
    for length in (2, 1):
        role = _ROLE_OF.get(" ".join(words[-length:]), "")
        if role and len(words) >= length:
            return " ".join(words[:-length]), role
    return "", ""


def _call(group: Mapping[str, Setting]) -> SplitCall | None:
    host = group["host"]
    name, _, own_port = host.value.partition(":")
    port = own_port or (group["port"].value if "port" in group else "")
    scheme = group["scheme"].value.lower().removesuffix("://") if "scheme" in group else ""
    if not scheme and (port == "443" or ("tls" in group and group["tls"].value.lower() in _TRUE)):
        scheme = "https"
    if scheme not in _SCHEMES:
        return None
    found = find_urls(f"{scheme}://{name}{':' + port if port else ''}/")
    if len(found) != 1:
        return None
    url = replace(found[0], start=host.start, end=host.start + len(host.value), edits=())
    return SplitCall(host, url, tuple(setting.name for setting in group.values()))


# ---- inside a file --------------------------------------------------------------------------------------------------


def settings_in(text: str, holder: Ref, steps: Steps, entry: str) -> Iterator[list[Setting]]:
    """The settings in a file's text, those of one object or section together: JSON, YAML, properties, INI."""
    if "host" not in text.lower() and not any(word in text.lower() for word in ROLES["host"]):
        return
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if found is not None:
            yield from _objects(found, text, holder, steps, entry)
            return
    yield from _sections(text, holder, steps, entry)


def _objects(value: Any, text: str, holder: Ref, steps: Steps, entry: str) -> Iterator[list[Setting]]:
    """Those of each object of a JSON text; a value stands where its key and it are written together."""
    spans: dict[tuple[str, str], int] = {
        (match["key"], match["value"]): match.start("value")
        for match in re.finditer(r'"(?P<key>[^"\\]*)"\s*:\s*"?(?P<value>[^"\\,}\s]*)', text)
    }
    stack = [value]
    while stack:
        current = stack.pop()
        inner = list(current.values()) if isinstance(current, dict) else current if isinstance(current, list) else []
        stack += reversed(inner)
        if isinstance(current, dict):
            found = {key: _plain(one) for key, one in current.items() if isinstance(one, str | int | bool)}
            yield [
                Setting(key, one, holder, steps, spans[key, one], entry)
                for key, one in found.items()
                if (key, one) in spans
            ]


def _plain(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sections(text: str, holder: Ref, steps: Steps, entry: str) -> Iterator[list[Setting]]:
    """Those of each level of indentation, as long as no line stands further to the left; a section of INI ends them all."""
    open_levels: list[tuple[int, list[Setting]]] = []
    lines = {match.start(): match for match in _LINE.finditer(text)}
    for start in _INDENT.finditer(text):
        depth = start.end() - start.start() if start["section"] is None else 0
        item = text.startswith("- ", start.end())
        while open_levels and (
            open_levels[-1][0] > depth or start["section"] or (item and open_levels[-1][0] >= depth)
        ):
            yield open_levels.pop()[1]
        match = lines.get(start.start())
        if match is None:
            continue
        level = match.start("key") - match.start()
        if not open_levels or open_levels[-1][0] < level:
            open_levels.append((level, []))
        setting = Setting(match["key"], match["value"], holder, steps, match.start("value"), entry)
        open_levels[-1][1].append(setting)
    for _, left in open_levels:
        yield left
