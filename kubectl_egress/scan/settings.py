"""Calls whose scheme, host and port stand in settings of their own: `API_SCHEME`, `API_HOST`, `API_PORT`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from kubectl_egress.model import Edit, Ref, Steps, Url
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
_TLS_PORT, _CLEAR_PORT = "443", "80"


@dataclass(frozen=True, slots=True)
class Setting:
    """One name and value, and where the value stands."""

    name: str
    value: str
    object: Ref
    steps: Steps
    start: int = 0
    entry: str = ""
    section: str = ""
    """The key above it, or the section of INI, if it stands in a file."""
    inside: bool = False
    """Whether it stands in a file, and is not all of its string."""

    @property
    def place(self) -> tuple[Ref, Steps, int]:
        """Where the value stands."""
        return self.object, self.steps, self.start


@dataclass(frozen=True, slots=True)
class SplitCall:
    """A call that several settings say together; its URL's span is that of the host."""

    host: Setting
    url: Url
    names: tuple[str, ...]
    """The settings, as they are written."""
    subject: str
    """What their names have in common, after the section's: `payments api`; empty where they are named `scheme`, `host`."""
    parts: tuple[tuple[str, Setting, Edit], ...] = ()
    """Role, setting and edit of all that has to change together; empty where that cannot be said."""


def split_calls(settings: Iterable[Setting]) -> Iterator[SplitCall]:
    """The https, http, wss and ws calls that settings with a common beginning say: `API_SCHEME=https` beside `API_HOST`.

    Without a scheme, port 443 or `USE_HTTPS` says https. Hosts and ports alone (a database's) say nothing.
    """
    groups: dict[str, dict[str, list[Setting]]] = {}
    for setting in settings:
        stem, role = _role(setting.name)
        if role:
            groups.setdefault(stem, {}).setdefault(role, []).append(setting)
    for stem, group in groups.items():
        if "host" in group and (call := _call(stem, group)) is not None:
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


def _call(stem: str, group: Mapping[str, Sequence[Setting]]) -> SplitCall | None:
    host = next((one for one in reversed(group["host"]) if _HOST.fullmatch(one.value)), None)
    if host is None:
        return None
    last = {role: found[-1] for role, found in group.items()} | {"host": host}
    name, _, own_port = host.value.partition(":")
    port = own_port or (last["port"].value if "port" in last else "")
    scheme = last["scheme"].value.lower().removesuffix("://") if "scheme" in last else ""
    if not scheme and (port == _TLS_PORT or ("tls" in last and last["tls"].value.lower() in _TRUE)):
        scheme = "https"
    if scheme not in _SCHEMES:
        return None
    found = find_urls(f"{scheme}://{name}{':' + port if port else ''}/")
    if len(found) != 1:
        return None
    url = replace(found[0], start=host.start, end=host.start + len(host.value), edits=())
    sure = url.encrypted and "scheme" in last and all(len(each) == 1 for each in group.values())
    parts = tuple(_parts(last, name, own_port)) if sure else ()
    subject = " ".join((Name(host.section).words + stem).split())
    return SplitCall(host, url, tuple(setting.name for setting in last.values()), subject, parts)


def _parts(last: Mapping[str, Setting], name: str, own_port: str) -> Iterator[tuple[str, Setting, Edit]]:
    """What becomes of each setting, if it is sure that these are all; nothing where an own switch or two ports say more."""
    if "tls" in last or (own_port and "port" in last):
        return
    length = len(last["scheme"].value.lower().removesuffix("://"))
    scheme = last["scheme"].value[:length]
    yield "scheme", last["scheme"], Edit(0, scheme, scheme[:-1])
    if "port" in last:
        yield "port", last["port"], Edit(0, last["port"].value, _CLEAR_PORT)
    bare = name.removesuffix(".")
    if gone := last["host"].value[len(bare) :]:
        yield "host", last["host"], Edit(len(bare), gone, "")
