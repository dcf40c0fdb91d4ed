"""Colour, only when told: the caller knows whether a terminal reads, and whether NO_COLOR is set."""

from __future__ import annotations

import re

RESET = "\x1b[0m"
CODES = {"red": "\x1b[31m", "green": "\x1b[32m", "yellow": "\x1b[33m", "bold": "\x1b[1m"}

# The words that carry a judgement; everything else stays as it is.
WORDS = {
    "opaque": "yellow",
    "named": "yellow",
    "full": "green",
    "blocked": "red",
    "block": "red",
    "warn": "yellow",
    "verified": "green",
    "silent": "yellow",
    "unconfigured": "red",
    "failing": "red",
    "leaking": "red",
    "failed": "red",
}
_WORD = re.compile(rf"(?<![\w./-])({'|'.join(WORDS)})(?![\w./-])")


def painted(text: str, style: str, colour: bool) -> str:
    """The text in a style of `CODES`, or as it was."""
    return f"{CODES[style]}{text}{RESET}" if colour and text else text


def highlighted(text: str, colour: bool) -> str:
    """The words of judgement in their colours; widths have been settled before, since colours take no columns."""
    return _WORD.sub(lambda match: painted(match[1], WORDS[match[1]], True), text) if colour else text


def diff_coloured(text: str, colour: bool) -> str:
    """A unified diff with its added lines green and its removed ones red."""
    if not colour:
        return text
    return "".join(_diff_line(line) for line in text.splitlines(keepends=True))


def _diff_line(line: str) -> str:
    style = {"+": "green", "-": "red", "@": "bold"}.get(line[:1])
    body = line.rstrip("\n")
    return painted(body, style, True) + line[len(body) :] if style else line
