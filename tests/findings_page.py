"""docs/findings.md, made from the catalogue: `python -m tests.findings_page > docs/findings.md`."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_egress.findings.row import Row
from kubectl_egress.findings.rows import ROWS
from kubectl_egress.model import Severity

INTRODUCTION = """# The findings

What a user has to know before a host is migrated, each with a code that stays. `kubectl egress inspect` shows them, with
`-o wide` in words, with `-o json` with their evidence; `kubectl egress explain CODE` prints what stands here. This page is made from the
catalogue; a test compares the two.

A finding that blocks stops a migration before anything is changed. `--ignore CODE` goes on in spite of it, where the table allows
that: never where something could leave in clear.
"""


def page() -> str:
    """The whole page."""
    return "\n".join((INTRODUCTION, *_table(), *(line for row in ROWS for line in _section(row))))


def _table() -> Iterator[str]:
    yield "| code | severity | `--ignore` | says that |"
    yield "| --- | --- | --- | --- |"
    for row in ROWS:
        ignore = "" if row.severity is not Severity.BLOCK else "yes" if row.ignorable else "no"
        yield f"| [`{row.code}`](#{row.code}) | {row.severity} | {ignore} | {_cell(row.title)} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _section(row: Row) -> Iterator[str]:
    yield f"## {row.code}\n"
    yield f"{_first(row.title)}.\n"
    for heading, text in (("What", row.what), ("Why", row.why), ("Remedy", row.remedy)):
        yield f"- **{heading}:** {text}"
    yield ""


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    print(page(), end="")
