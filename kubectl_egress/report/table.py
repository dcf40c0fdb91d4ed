"""Columns as kubectl prints them: upper-case headers, three spaces between, nothing cut."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

GAP = "   "
NONE = "<none>"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows under their headers, each line ending in a newline; an empty cell reads `<none>`, no row gives ''."""
    return GrowingTable(headers).more(rows)


def fitted(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, spare: Sequence[str]) -> str:
    """The table without as many of its `spare` columns, from the first on, as it takes to fit into a terminal's width."""
    gone: list[str] = []
    while True:
        kept = [index for index, header in enumerate(headers) if header not in gone]
        text = table([headers[index] for index in kept], [[row[index] for index in kept] for row in rows])
        if width is None or len(gone) == len(spare) or max(map(len, text.splitlines()), default=0) <= width:
            return text
        gone.append(spare[len(gone)])


def hanging(text: str, indent: int, width: int | None) -> str:
    """A line, and where it is longer than the terminal its rest below, set in so far; no word is broken."""
    if width is None or len(text) <= width:
        return f"{text}\n"
    lines = textwrap.wrap(
        text,
        max(width, indent + 30),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
    return "".join(f"{line}\n" for line in lines)


class GrowingTable:
    """A table that is printed part by part: a column gets wider when a cell needs it, and stays so."""

    def __init__(self, headers: Sequence[str]) -> None:
        self._headers = headers
        self._widths: list[int] = []

    def more(self, rows: Sequence[Sequence[str]]) -> str:
        """The next lines, the headers before the first of all; '' where there are none."""
        if not rows:
            return ""
        cells = [[one_line(cell) or NONE for cell in row] for row in rows]
        if not self._widths:
            cells = [list(self._headers), *cells]
            self._widths = [0] * len(self._headers)
        self._widths = [max(width, *map(len, column)) for width, *column in zip(self._widths, *cells, strict=True)]
        return "".join(_line(row, self._widths) for row in cells)


def one_line(text: str) -> str:
    """The text without control characters, which could move the cursor of whoever reads the table."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 host`, `2 hosts`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
