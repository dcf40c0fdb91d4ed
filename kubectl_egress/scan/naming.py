"""What a URL in a string is called: by the key, option or tag before it, else by the entry that holds the string."""

from __future__ import annotations

import re
from dataclasses import dataclass

# How far to look back for a name; more would make a long string cost its square.
_LINE = 240
_LINES = 32

_KEY = re.compile(
    r"""
    (?: (?P<key>[$@]?[\w./:-]*\w) ["'\]]* \s* (?:=>|:=|[:=]) [ \t]* (?:[\[\("'`|> \t-] | !\S+ )* # issuer: "https, --a=https
    | (?:^|[\s"'\[,])(?P<option>--?[\w.-]+) ["',]* [ \t]+ ["'`]?                                    # --issuer https
    | <(?P<tag>[\w:.-]+)[^<>]*> \s*                                                                 # <issuer>https
    | (?P<markup><!(?:DOCTYPE|ENTITY))[^<>]*                                                        # <!DOCTYPE x "https
    | (?P<contact>\(\+)                                                                             # (+https
    )\Z
    """,
    re.VERBOSE,
)
_ITEM = re.compile(r"[ \t]*-[ \t]+[\"']?\Z|[ \t]*[\"']\Z")
_PARENT = re.compile(r"[ \t]*(?:-[ \t]+)?[\"']?(?P<key>[$@]?[\w./:-]*\w)[\"']?[ \t]*:(?:[ \t]*[\[{|>&!].*|[ \t]*)\r?\Z")
_GENERAL = re.compile(r"(?:base|api|server)?[_.-]?(?:url|uri|href|value|address|endpoint|host|name)s?", re.IGNORECASE)

_PLURAL = re.compile(r"(?<=UR[IL])s\b|(?<=UR[IL])s(?=[A-Z])")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_APART = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Name:
    """A name as it is written, and in words."""

    written: str = ""
    own: str = ""
    """The key alone, where that of the mapping around it was put before it."""
    inside: bool = False
    """Whether it stands in the string itself, and is not that of what holds the string."""

    @property
    def key(self) -> str:
        """The name without what was put before it."""
        return self.own or self.written

    @property
    def words(self) -> str:
        """`GF_SERVER_ROOT_URL` and `serverRootURL` as ` server root url `, each word between blanks."""
        parted = _HUMP.sub(" ", _PLURAL.sub("", self.written))
        return f" {_APART.sub(' ', parted.lower()).strip()} "


def name_of(text: str, start: int, label: str = "", entry: str = "") -> Name:
    """The name of the URL at an offset of a string.

    `label`: the argument before the string, if that is an option; `entry`: the env entry or the key that holds it.
    """
    line = text.rfind("\n", max(0, start - _LINE), start) + 1
    before = text[max(line, start - _LINE) : start]
    found = _KEY.search(before)
    if found:
        written = found["key"] or found["option"] or found["tag"] or found["markup"] or found["contact"]
        parent = _parent(text, line, before) if _GENERAL.fullmatch(written) else ""
        return Name(f"{parent}.{written}" if parent else written, written, True)
    if _ITEM.fullmatch(before) and (parent := _parent(text, line, before)):
        return Name(parent, inside=True)
    return Name((label if start == 0 else "") or entry)


def _parent(text: str, line: int, before: str) -> str:
    """The key of the mapping, or of the list, in whose lines a line of YAML or JSON stands; empty if none is near."""
    depth = len(before) - len(before.lstrip(" \t"))
    item = before.lstrip(" \t").startswith("-")
    for _ in range(_LINES):
        if line <= 0:
            return ""
        end = line - 1
        line = text.rfind("\n", max(0, end - _LINE), end) + 1
        above = text[line:end]
        indent = len(above) - len(above.lstrip(" \t"))
        if not above.strip() or len(above) > _LINE:
            continue
        # a list may stand as far to the left as its key
        if indent < depth or (item and indent == depth and not above.lstrip(" \t").startswith("-")):
            found = _PARENT.fullmatch(above)
            return found["key"] if found else ""
    return ""
