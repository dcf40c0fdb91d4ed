from __future__ import annotations

from pathlib import Path

from tests.what_is_found import page


def test_the_page_says_what_the_tables_say() -> None:
    found = (Path(__file__).parent.parent / "docs" / "what-is-found.md").read_text()
    assert found == page(), "python -m tests.what_is_found > docs/what-is-found.md"
