"""The documents: what is made from tables is what they say, links lead somewhere, and commands are ones that can be typed."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from kubectl_egress.cli import app
from kubectl_egress.cli.words import in_order
from tests import findings_page, what_is_found

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
GRAMMAR = re.compile(r"[…\[\]|]")
"""What a command line has that shows a grammar and is not to be typed."""


@pytest.mark.parametrize(
    ("name", "made"),
    [("what-is-found", what_is_found.page), ("findings", findings_page.page)],
    ids=["what-is-found", "findings"],
)
def test_a_page_that_is_made_from_tables_says_what_they_say(name: str, made: Any) -> None:
    assert (ROOT / "docs" / f"{name}.md").read_text() == made(), f"python -m tests.{made.__module__.rpartition('.')[2]}"


# ---- links -----------------------------------------------------------------------------------------------------------


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(document: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    text = without_code((ROOT / document).read_text())
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / document.parent / path).resolve() if path else ROOT / document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_named_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    pages = {str(path) for path in DOCUMENTS if path.name != "README.md"}
    assert {page for page in pages if f"]({page})" not in text} == set()


# ---- commands --------------------------------------------------------------------------------------------------------


def typed(text: str) -> Iterator[str]:
    """Each command line of ours in fenced blocks and in code between words, without what its shell does with it."""
    fenced = re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))
    lines = [line for block in fenced for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    for line in (*lines, *spans):
        for found in re.findall(r"(?:^|[$;(:] ?)kubectl egress ([a-z][^;>#()]*)", line.strip()):
            yield found.strip()


@pytest.mark.parametrize("document", [one for one in DOCUMENTS if one.name != "CHANGELOG.md"], ids=str)
def test_commands_can_be_typed(document: Path) -> None:
    for line in typed((ROOT / document).read_text()):
        words = in_order(shlex.split(GRAMMAR.sub("", line)), COMMANDS)
        assert words[0] in COMMANDS, line
        # What is parsed and not run: unknown flags and values raise.
        COMMANDS[words[0]].make_context(words[0], words[1:])


def words_of_the_code() -> str:
    """Every string of the package, and the parts of those that are put together."""
    trees = (ast.parse(path.read_text()) for path in (ROOT / "kubectl_egress").rglob("*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree))
    return "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_errors_that_are_explained_are_ones_that_are_said() -> None:
    said = words_of_the_code()
    headings = re.findall(r"^### `([^`]+)`", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(headings) > 3
    for heading in headings:
        assert all(part.strip() in said for part in heading.split("…")), heading


def test_make_lists_what_the_documents_name() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    targets = set(re.findall(r"^  make (\S+)", listed, re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE))
        assert named <= targets, document
