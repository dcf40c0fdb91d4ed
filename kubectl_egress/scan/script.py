"""Shell scripts in `command` and `args`: which string is one, and what in it is a comment."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from kubectl_egress.model import Body, Steps

SHELLS = frozenset({"sh", "bash", "ash", "dash", "zsh", "ksh", "busybox"})
_TAKES_SCRIPT = re.compile(r"-[A-Za-z]*c[A-Za-z]*")

# Quoted text, escaped characters and `$#` are skipped; a `#` begins a comment where a word may begin
# (POSIX Shell Command Language, 2.3 Token Recognition).
_TOKEN = re.compile(
    r"""(?<!<)<<(?![<&])(?P<tabs>-?)[ \t]*(?P<quote>["'\\]?)(?P<word>[A-Za-z_][\w.-]*) | (?P<line>\n)
    | '[^']*(?:'|\Z) | "(?:[^"\\]|\\.)*(?:"|\Z) | \\. | (?P<comment>(?:(?<=[\s;&|()])|\A)\#[^\n]*)""",
    re.VERBOSE | re.DOTALL,
)

_COMMENT_LINE = re.compile(r"^[ \t]*#.*", re.MULTILINE)


def script_index(container: Body) -> frozenset[Steps]:
    """The addresses, in a container, of the arguments that a shell runs: `sh -c SCRIPT`, wherever the shell stands."""
    arguments = [*_strings(container, "command"), *_strings(container, "args")]
    scripts: set[Steps] = set()
    for number, (_, text) in enumerate(arguments):
        if text.rpartition("/")[2] in SHELLS:
            rest = arguments[number + 1 :]
            option = next((i for i, (_, word) in enumerate(rest) if _TAKES_SCRIPT.fullmatch(word)), None)
            if option is not None and option + 1 < len(rest):
                scripts.add(rest[option + 1][0])
    return frozenset(scripts)


def _strings(container: Body, field: str) -> list[tuple[Steps, str]]:
    value = container.get(field)
    entries: Sequence[object] = value if isinstance(value, list) else []
    return [((field, number), entry) for number, entry in enumerate(entries) if isinstance(entry, str)]


def shell_comments(text: str) -> tuple[tuple[int, int], ...]:
    """The spans of the comments of a shell script; in a here-document, those of the file that it is the text of."""
    found: list[tuple[int, int]] = []
    waiting: list[tuple[str, bool]] = []
    ends: dict[str, list[int]] | None = None
    position = 0
    while match := _TOKEN.search(text, position):
        position = match.end()
        if match["comment"] is not None:
            found.append(match.span())
        elif match["word"] is not None:
            waiting.append((match["word"], bool(match["tabs"])))
            # a quoted word would else begin a string with its second quote
            position += bool(match["quote"]) and text.startswith(match["quote"], position)
        elif match["line"] is not None and waiting:
            ends = _ends(text) if ends is None else ends
            for word, tabs in waiting:
                end = _here_end(text, position, word, tabs, ends)
                found += [(position + a, position + b) for a, b in line_comments(text[position:end])]
                position = max(position, end)
            waiting = []
    return tuple(found)


def _ends(text: str) -> dict[str, list[int]]:
    """Where each line begins that is a single word; under a tab and that word, also those that tabs indent."""
    found: dict[str, list[int]] = {}
    for match in re.finditer(r"^\t*(?P<word>[A-Za-z_][\w.-]*)$", text, re.MULTILINE):
        found.setdefault("\t" + match["word"], []).append(match.start())
        if match.start() == match.start("word"):
            found.setdefault(match["word"], []).append(match.start())
    return found


def _here_end(text: str, start: int, word: str, tabs: bool, ends: Mapping[str, Sequence[int]]) -> int:
    """Where the here-document that begins at an offset ends; there, if no line says so: then it is none (`1 << x`)."""
    lines = ends.get("\t" + word if tabs else word, ())
    number = bisect_left(lines, start)
    if number == len(lines):
        return start
    end = text.find("\n", lines[number])
    return end if end >= 0 else len(text)


def line_comments(text: str) -> tuple[tuple[int, int], ...]:
    """The spans of the lines of a configuration file that are a comment: properties, YAML, INI, scripts."""
    return tuple(match.span() for match in _COMMENT_LINE.finditer(text))
