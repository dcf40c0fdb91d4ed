from __future__ import annotations

import re

import pytest

from kubectl_egress.errors import EgressError
from kubectl_egress.findings import codes, explain, ignorable
from kubectl_egress.findings.row import Row
from kubectl_egress.findings.rows import ROWS
from kubectl_egress.model import Severity
from tests.findings_preflight_cases import SILENT, TRIGGERS

# docs: the names of the design, as a user types them after `explain`.
BLOCK = [
    "no-sidecar",
    "not-intercepted",
    "port-not-captured",
    "host-not-visible",
    "rule-shadowed",
    "entry-conflict",
    "route-conflict",
    "init-before-sidecar",
    "other-port",
    "two-ports",
    "host-aliased",
    "proxy-needs-host",
    "own-proxy",
    "own-trust",
    "client-certificate",
    "fails-open",
    "guard-cuts",
    "gitops-owned",
    "template-immutable",
    "not-rolled",
    "rollout-paused",
    "not-rewritable",
    "live-only",
    "no-permission",
]
WARN = [
    "https-redirect",
    "needs-http2",
    "old-protocol",
    "plain-callers",
    "shared-source",
    "secret-in-url",
    "looks-like-identifier",
    "sidecar-unread",
    "alias-refused",
    "ambient",
]


def test_every_code_of_the_design_is_there_once_with_its_severity() -> None:
    assert sorted(codes()) == sorted([*BLOCK, *WARN])
    for row in ROWS:
        assert row.code in (BLOCK if row.severity is Severity.BLOCK else WARN)


def test_every_row_has_a_case_that_triggers_it_and_one_that_does_not() -> None:
    assert set(TRIGGERS) == set(SILENT) == set(codes())
    assert all(TRIGGERS.values())
    assert all(SILENT.values())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)
def test_every_row_says_what_why_and_remedy(row: Row) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.code)
    assert row.title
    assert not row.title.endswith(".")
    for text in (row.what, row.why, row.remedy):
        assert text == text.strip()
        assert len(text) > 12
        assert "  " not in text


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)
def test_a_page_has_everything_of_its_row(row: Row) -> None:
    page = explain(row.code)
    words = " ".join(page.split())
    assert page.startswith(f"{row.code} ({row.severity}): {row.title}\n")
    for text in (row.what, row.why, row.remedy):
        assert text in words
    assert ("Yes:" in page) is row.ignorable is ignorable(row.code)
    assert ("No:" in page) is not row.ignorable
    assert all(len(line) <= 100 for line in page.splitlines())
    assert len(page.splitlines()) <= 30


def test_explain_takes_a_code_as_it_is_copied() -> None:
    assert explain(" No-Sidecar\n") == explain("no-sidecar")


@pytest.mark.parametrize(
    ("code", "word"),
    [("no-sidcar", "no-sidecar"), ("sidecar", "no-sidecar"), ("xyz", "there are: no-sidecar,"), ("", "there are:")],
)
def test_an_unknown_code_gets_those_that_are_spelled_like_it(code: str, word: str) -> None:
    with pytest.raises(EgressError, match="there is no finding") as caught:
        explain(code)
    assert word in caught.value.remedy
