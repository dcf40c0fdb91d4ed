"""Names that stand beside the credentials of an OAuth client: what they lead to, browsers are sent to as well."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from kubectl_egress.scan.naming import Name

_WORTH = re.compile(r"client|(?:app|application|consumer)[\W_]?(?:id|key|secret)|redirect|callback", re.IGNORECASE)
_CREDENTIAL = re.compile(
    r" (?P<stem>(?:\w+ )*?)(?:client(?: id| secret| key)?|(?:app|application|consumer)(?: key| secret)"
    r"|(?:redirect|redirection|callback) ur[li]) $"
)
_ABOUT = re.compile(r"(?:oauth2?|oidc|openid|sso|auth|app|web) $")

# Where only the application itself goes: what a provider offers to its servers.
_SERVERS = re.compile(
    r" (?:api|apis|rest|rpc|graphql|token|tokens|user ?info|profile|jwks?|keys?|certs?|introspect|introspection|revoke"
    r"|revocation|redeem|validate|discovery|well known|metadata|device|internal|backend|back ?channel|registration) "
)
_LEADS = re.compile(
    r"(?: \w+)*? (?:ur[li]|host|host ?name|endpoint|address|server|base|site|domain|authority|instance|provider) $"
)
_GENERAL = re.compile(
    r" (?:(?:base|root|site|server|instance|host|provider|idp|sso|o?auth2?|oidc|openid|web) )*"
    r"(?:ur[li]|host|host ?name|endpoint|address|server|base|domain|authority|instance|provider) $"
)

_TOKEN = re.compile(r"(?P<open>\{)|\}|(?<![\w.-])(?P<key>[A-Za-z_][\w.-]*)[\"']?[ \t]*[:=]")
_LINE = re.compile(
    r"^[ \t]*(?:(?P<section>\[[^\]\n\"']*\])|(?P<item>(?:-[ \t]+)*)(?:export[ \t]+)?"
    r"(?P<key>[\"']?(?P<name>[A-Za-z_][\w.-]*)[\"']?[ \t]*[:=]|<(?P<tag>[A-Za-z_][\w.-]*)>)?)",
    re.MULTILINE,
)


@dataclass(slots=True)
class _Mapping:
    """One mapping, list item or section of a text, as far as it has been read."""

    close: bool
    """Whether it is a part of the text, so that what stands in it belongs together."""
    stems: set[str] = field(default_factory=set)


def beside(name: Name, stems: Iterable[str], *, close: bool = False) -> bool:
    """Whether a name leads to where a client with such stems sends browsers, as far as its words say.

    `close`: whether the credentials and the name stand in one small mapping; in an environment, much stands together.
    """
    for stem in stems:
        for words in {name.words, Name(name.key).words}:
            rest = words.removeprefix(f" {stem}".rstrip()) if words.startswith(f" {stem}") else ""
            if rest and not _SERVERS.search(rest):
                if rest == " ":
                    return bool(stem)
                if (_LEADS if stem or close else _GENERAL).fullmatch(rest):
                    return True
    return False


def stems_of(names: Iterable[str]) -> frozenset[str]:
    """What stands before the words of a client's credentials: `GITLAB_OAUTH_CLIENT_ID` has `gitlab oauth ` and `gitlab `."""
    return frozenset(stem for name in names for stem in _stems(name))


@lru_cache(4096)
def _stems(name: str) -> tuple[str, ...]:
    if not _WORTH.search(name):
        return ()
    found = _CREDENTIAL.fullmatch(Name(name).words)
    if found is None or found[0] == " client ":
        return ()
    stem = found["stem"]
    shorter = _ABOUT.sub("", stem)
    return (stem,) if shorter == stem else (stem, shorter)


class Mappings:
    """The mappings of a text (YAML, JSON, properties, INI, XML, `export` lines), told by braces and by indentation."""

    def __init__(self, text: str) -> None:
        self._braces: list[tuple[int, _Mapping]] = []
        self._lines: list[tuple[int, _Mapping]] = []
        if _WORTH.search(text):
            self._read_braces(text)
            self._read_lines(text)

    def beside(self, name: Name, start: int) -> bool:
        """Whether the name of what stands at an offset is beside a client's credentials."""
        for events in (self._braces, self._lines):
            number = bisect_right(events, start, key=lambda event: event[0]) - 1
            if number >= 0 and beside(name, events[number][1].stems, close=events[number][1].close):
                return True
        return False

    def _read_braces(self, text: str) -> None:
        whole = text.lstrip().startswith("{")
        stack: list[_Mapping] = []
        nowhere = _Mapping(close=False)
        for token in _TOKEN.finditer(text):
            if token["key"] is not None:
                if stack:
                    stack[-1].stems.update(_stems(token["key"]))
                continue
            if token["open"]:
                stack.append(_Mapping(close=bool(stack) or not whole))
            elif stack:
                stack.pop()
            self._braces.append((token.end(), stack[-1] if stack else nowhere))

    def _read_lines(self, text: str) -> None:
        stack: list[tuple[int, _Mapping]] = []
        section = _Mapping(close=False)
        for line in _LINE.finditer(text):
            if not (line["key"] or line["section"]) and text[line.end() : line.end() + 1] in ("", "\n", "\r", "#"):
                continue
            if line["section"]:
                stack, section = [], _Mapping(close=True)
                continue
            depth = line.end("item") - line.start()
            column = line.start("item") - line.start() if line["item"] else depth
            while stack and (stack[-1][0] > column or (line["item"] and stack[-1][0] == depth)):
                stack.pop()
            if line["key"]:
                if not stack or stack[-1][0] < depth:
                    stack.append((depth, _Mapping(close=True) if depth else section))
                stack[-1][1].stems.update(_stems(line["name"] or line["tag"]))
            self._lines.append((line.start(), stack[-1][1] if stack else section))
