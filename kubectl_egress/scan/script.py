"""Shell scripts in `command` and `args`: which string is one, and what in it is a comment."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kubectl_egress.model import Body, Steps

SHELLS = frozenset({"sh", "bash", "ash", "dash", "zsh", "ksh", "busybox"})
_TAKES_SCRIPT = re.compile(r"-[A-Za-z]*c[A-Za-z]*")

# Quoted text, escaped characters and `$#` are skipped; a `#` begins a comment where a word may begin
# (POSIX Shell Command Language, 2.3 Token Recognition).
_TOKEN = re.compile(
    r"""'[^']*(?:'|\Z) | "(?:[^"\\]|\\.)*(?:"|\Z) | \\. | (?P<comment>(?:(?<=[\s;&|()])|\A)\#[^\n]*)""",
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
    """The spans of the comments of a shell script."""
    return tuple(match.span() for match in _TOKEN.finditer(text) if match["comment"] is not None)


def line_comments(text: str) -> tuple[tuple[int, int], ...]:
    """The spans of the lines of a configuration file that are a comment: properties, YAML, INI, scripts."""
    return tuple(match.span() for match in _COMMENT_LINE.finditer(text))
