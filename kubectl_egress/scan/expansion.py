"""`$(VAR)` in `env`, `command` and `args`, resolved as Kubernetes does, with where each part comes from."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from kubectl_egress.model import Url
from kubectl_egress.urls import find_urls

# `$$` is an escaped `$`; the name ends at the first `)` (k8s.io/kubernetes third_party/forked/golang/expansion).
_VARIABLE = re.compile(r"\$\$|\$\((?P<name>[^)]*)\)")
_ESCAPED = re.compile(r"\$\$(?P<name>(?!))?")
# Variables that double each other grow without bound; no environment is longer (Linux MAX_ARG_STRLEN is 128 KiB).
LONGEST = 1 << 20

_AUTHORITY_END = re.compile(r"[a-z]+\\?:\\?/\\?/[^/?#\\]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a resolved string: from its own text, or the value of one variable."""

    start: int
    """Offset in the resolved string."""
    source: int
    """Offset in the string before: of the text itself, or of the `$(VAR)`."""
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Expansion:
    """A string as the container sees it. A variable whose value is not known stays as it is written."""

    source: str
    text: str
    parts: tuple[Part, ...]

    def composed(self) -> tuple[Url, ...]:
        """The URLs whose scheme, host and port stand in no single setting, with their span in the source string.

        A URL that one variable holds whole is not one of them: it is found where that variable has its value.
        """
        if self.text == self.source:
            return ()
        literal = {url.start: url.host for url in find_urls(self.source)}
        return tuple(self._composed(literal))

    def _composed(self, literal: Mapping[int, object]) -> Iterator[Url]:
        starts = [part.start for part in self.parts]
        for url in find_urls(self.text):
            authority = _AUTHORITY_END.match(url.text)
            end = url.start + (authority.end() if authority else len(url.text))
            first = bisect_right(starts, url.start) - 1
            last = bisect_right(starts, end - 1) - 1
            part = self.parts[first]
            start = part.source if part.variable else part.source + url.start - part.start
            if (first == last and part.variable) or (not part.variable and literal.get(start) == url.host):
                continue
            source_end = self.parts[last + 1].source if last + 1 < len(self.parts) else len(self.source)
            yield replace(url, start=start, end=source_end, edits=())


def expand(text: str, values: Mapping[str, str | None]) -> Expansion:
    """Resolve the variables of a string; None stands for one that exists and whose value is not known."""
    if "$" not in text:
        return Expansion(text, text, (Part(0, 0),))
    parts: list[Part] = []
    pieces: list[str] = []
    length = position = 0
    last = text.rfind(")") + 1  # behind it, every `$(` would be looked at to the very end
    for match in (*_VARIABLE.finditer(text, 0, last), *_ESCAPED.finditer(text, last)):
        value = values.get(match["name"]) if match["name"] is not None else "$"
        if value is None or length + len(value) > LONGEST:
            continue
        before = text[position : match.start()]
        parts += (Part(length, position), Part(length + len(before), match.start(), match["name"] or ""))
        pieces += (before, value)
        length += len(before) + len(value)
        position = match.end()
    pieces.append(text[position:])
    return Expansion(text, "".join(pieces), (*parts, Part(length, position)))
