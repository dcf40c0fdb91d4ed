"""Columns as kubectl prints them: upper-case headers, three spaces between, nothing cut."""

from __future__ import annotations

from collections.abc import Sequence

GAP = "   "
NONE = "<none>"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows under their headers, each line ending in a newline; an empty cell reads `<none>`, no row gives ''."""
    if not rows:
        return ""
    cells = [list(headers), *([one_line(cell) or NONE for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    return "".join(_line(row, widths) for row in cells)


def one_line(text: str) -> str:
    """The text without control characters, which could move the cursor of whoever reads the table."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 host`, `2 hosts`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
