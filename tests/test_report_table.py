from __future__ import annotations

import pytest

from kubectl_egress.report.colour import diff_coloured, highlighted, painted
from kubectl_egress.report.table import counted, table


def test_a_table_without_rows_is_empty() -> None:
    assert table(("NAME", "HOST"), []) == ""


def test_columns_are_as_wide_as_their_widest_cell_and_end_without_blanks() -> None:
    assert table(("NAME", "HOST"), [("deployment/curl", "a.io"), ("x", "")]) == (
        "NAME              HOST\n"
        "deployment/curl   a.io\n"
        "x                 <none>\n"
    )  # fmt: skip


def test_control_characters_never_reach_the_terminal() -> None:
    assert table(("NAME",), [("a\x1b[2Jb\nc",)]) == "NAME\na [2Jb c\n"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 hosts"), (1, "1 host"), (2, "2 hosts")]
)  # fmt: skip
def test_counted(number: int, text: str) -> None:
    assert counted(number, "host") == text


def test_colour_only_when_told() -> None:
    assert painted("x", "red", False) == "x"
    assert highlighted("opaque", False) == "opaque"
    assert diff_coloured("+ a\n", False) == "+ a\n"


@pytest.mark.parametrize("text", ["opaque.example.com", "deployment/full", "fully", "un-named"])
def test_a_judgement_inside_a_name_is_not_coloured(text: str) -> None:
    assert highlighted(text, True) == text


def test_judgements_and_diffs_are_coloured_where_asked() -> None:
    assert highlighted("a   opaque   b", True) == "a   \x1b[33mopaque\x1b[0m   b"
    assert diff_coloured("+ a\n  - b\n- c\n", True) == "\x1b[32m+ a\x1b[0m\n  - b\n\x1b[31m- c\x1b[0m\n"
