"""From an offset in a YAML scalar's value to the offset in the file, for every style in which a scalar is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# Blanks and line breaks are all that folding and indentation change, so words stand in the file as in the value.
_WORD = re.compile(r"[^ \t\r\n\x85\u2028\u2029]+")
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")
_ESCAPES = {
    **{"0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b"},
    **{" ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029"},
}
_DOUBLE_QUOTED = re.compile(
    r"""(?P<pair>\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2})
    | \\(?:x(?P<x>[0-9A-Fa-f]{2})|u(?P<u>[0-9A-Fa-f]{4})|U(?P<U>[0-9A-Fa-f]{8}))
    | (?P<joined>\\\r?\n[ \t]*) | \\(?P<escape>.) | (?P<folded>[ \t]*(?:\r?\n[ \t]*)+) | (?P<plain>[^\\ \t\r\n]+|[ \t])""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Run:
    """Characters that stand in the file as they stand in the value."""

    value: int
    source: int
    length: int


def runs(source: str, style: str | None, value: str) -> tuple[Run, ...] | None:
    """Which parts of a scalar's value stand literally in its source, in order; None if the two do not fit together.

    `source` is the node's slice of the file: with anchor, tag, quotes or block header. Offsets count from its start.
    """
    begin = _PROPERTIES.match(source)
    start = begin.end() if begin else 0
    if style == '"':
        pieces = tuple(_double_quoted(source, start + 1, len(source) - 1))
        return _checked(pieces, value)
    if style in ("|", ">"):
        start = source.find("\n", start) + 1 or len(source)
    elif style == "'":
        start, source = start + 1, source[:-1]
    found = [(match.start(), match[0]) for match in _WORD.finditer(source, start)]
    if style == "'":
        found = [part for offset, word in found for part in _single_quoted(offset, word)]
    return _by_words(found, value)


def _single_quoted(offset: int, word: str) -> Iterator[tuple[int, str]]:
    """`it''s` is `it'` and `s`."""
    begin = 0
    for match in re.finditer("''", word):
        yield offset + begin, word[begin : match.start() + 1]
        begin = match.end()
    if word[begin:]:
        yield offset + begin, word[begin:]


def _by_words(words: Iterable[tuple[int, str]], value: str) -> tuple[Run, ...] | None:
    made: list[Run] = []
    position = 0
    for offset, word in words:
        position = _skip_blanks(value, position)
        if position == len(value) and word.startswith("#"):
            break  # a comment behind a block scalar
        if not value.startswith(word, position):
            return None
        made.append(Run(position, offset, len(word)))
        position += len(word)
    return tuple(made) if _skip_blanks(value, position) == len(value) else None


def _skip_blanks(value: str, position: int) -> int:
    word = _WORD.search(value, position)
    return word.start() if word else len(value)


def _double_quoted(source: str, start: int, end: int) -> Iterator[tuple[int, str, bool]]:
    """The value piece by piece: offset in the source, what it means, and whether it stands there literally."""
    for match in _DOUBLE_QUOTED.finditer(source, start, end):
        digits = match["x"] or match["u"] or match["U"]
        if match["plain"] is not None:
            yield match.start(), match[0], True
        elif match["pair"] is not None:
            yield match.start(), joined_surrogates(chr(int(match[0][2:6], 16)) + chr(int(match[0][8:], 16))), False
        elif digits:
            yield match.start(), chr(min(int(digits, 16), 0x10FFFF)), False
        elif match["folded"] is not None:
            yield match.start(), "\n" * (match[0].count("\n") - 1) or " ", False
        elif match["escape"] is not None:
            yield match.start(), _ESCAPES.get(match["escape"], ""), False


def joined_surrogates(text: str) -> str:
    """JSON writes one character above U+FFFF as two escapes; half of one is U+FFFD, as it is to Go."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _checked(pieces: tuple[tuple[int, str, bool], ...], value: str) -> tuple[Run, ...] | None:
    made: list[Run] = []
    position = 0
    for offset, text, literal in pieces:
        last = made[-1] if made else None
        if literal and last and last.value + last.length == position and last.source + last.length == offset:
            made[-1] = Run(last.value, last.source, last.length + len(text))
        elif literal:
            made.append(Run(position, offset, len(text)))
        position += len(text)
    return tuple(made) if "".join(text for _, text, _ in pieces) == value else None


# ---- what a plain scalar means --------------------------------------------------------------------------------------

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_BEGINS_OTHER = frozenset({"", *"+-.0123456789", *(word[0] for word in _WORDS if word)})
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9A-Fa-f_]+|[1-9][0-9_]*|0)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?")
# Only other readers of YAML 1.1 take these for something else than a string.
_OTHERWISE_READ = re.compile(
    r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?|[-+]?\.(?:inf|nan)|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*|[yn]|=|<<",
    re.IGNORECASE | re.DOTALL,
)


def plain_value(text: str) -> str | int | float | bool | None:
    """What an unquoted scalar means to kubectl, which reads YAML 1.1 as sigs.k8s.io/yaml does: no dates, no base 60."""
    if text[:1] not in _BEGINS_OTHER:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return _integer(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("-+")
    sign = -1 if text.startswith("-") else 1
    if digits.startswith("0") and digits[1:].isdigit():
        return sign * int(digits, 8)
    return sign * int(digits, 0)


def needs_quotes(text: str) -> bool:
    """Whether some reader takes the text, written without quotes, for something else than a string."""
    return not isinstance(plain_value(text), str) or bool(_OTHERWISE_READ.fullmatch(text))
