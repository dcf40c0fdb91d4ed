"""The page for a change ticket: what it says first, and that nothing in it is markup or secret."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

from kubectl_egress.drift import Drift, Migration
from kubectl_egress.journal import CallerRecord, Journal, MeshRecord, SiteRecord
from kubectl_egress.mesh import guard_name
from kubectl_egress.model import Host, Ref
from kubectl_egress.plan import Command
from kubectl_egress.report.ticket import Ticket, ticket_document, ticket_html
from kubectl_egress.report.ticket_markdown import ticket_markdown
from tests.test_report_verify import CURL, GOOD, HTTPBIN, QUIET, compared

EVIL = "<script>alert(1)</script> | `x` *y*\x1b[31m\n# z"
RULE = MeshRecord(
    Ref("DestinationRule", "shop", "egress-httpbin.org", "networking.istio.io/v1"),
    None,
    {"spec": {"host": "httpbin.org"}},
)
ENTRY = MeshRecord(
    Ref("ServiceEntry", "shop", "own", "networking.istio.io/v1"), {"spec": {"ports": []}}, {"spec": {"ports": [80]}}
)


def site(ordinal: int) -> SiteRecord:
    return SiteRecord(CURL, ("spec", "x"), "curl", "", ordinal, 2, ())


JOURNAL = Journal(
    host=HTTPBIN,
    namespace="shop",
    phase="migrated",
    run="4711",
    by="me@here",
    started="2026-01-31T12:00:00+00:00",
    alias="192.0.2.7",
    mesh=(RULE, ENTRY),
    callers=(CallerRecord(CURL, (site(0), site(1))),),
)
TICKET = Ticket(
    namespace="shop",
    server="https://api",
    made="2026-01-31T13:00:00+00:00",
    migrations=(Migration(JOURNAL, (Drift("alias-lost", CURL, "it is gone", "put it back"),)),),
    verdicts=(replace(GOOD, pods=(compared(40, 4, 0.25),)), QUIET),
    verified=True,
    undo="kubectl egress undo httpbin.org -n shop",
    by_hand=(Command("first", "kubectl one"), Command("second", "kubectl two")),
)


class Text(HTMLParser):
    """The text of a page, and its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_verdicts_come_first_and_objects_last() -> None:
    for text in (ticket_markdown(TICKET), " ".join(Text(ticket_html(TICKET)).texts)):
        places = [
            text.index(word)
            for word in (
                "At a glance",
                "What changed",
                "Evidence",
                "Before and now",
                "The way back",
                "The objects, in full",
            )
        ]
        assert places == sorted(places)
        assert (
            text.index("Not verified: 1 silent, 1 verified")
            < text.index("statefulset/web")
            < text.index("deployment/curl")
        )
        assert text.index("kubectl one") < text.index("kubectl two")
        assert "2026-01-31 12:00:00 UTC" in text
        assert "alias-lost" in text
        assert "×2" in text, "two URLs in one field are one row"


def test_before_and_now_with_their_durations() -> None:
    assert (
        "| deployment/curl | httpbin.org | before | 100 connections in 7m | 1.0% | unknown | unknown |\n"
        "| deployment/curl | httpbin.org | now | 40 requests in 1s | 10.0% | 25.0% | 15 ms |\n"
    ) in ticket_markdown(TICKET)


def test_a_name_is_no_markup() -> None:
    evil = replace(JOURNAL, by=EVIL)
    bad = replace(QUIET, reason=EVIL)
    ticket = replace(TICKET, migrations=(Migration(evil, ()),), verdicts=(bad,), by_hand_trouble=EVIL)
    page = ticket_html(ticket)
    assert "<script>" not in page
    assert not re.search(r"https?://(?!api|httpbin\.org)[a-z]", page), "the page loads nothing"
    markdown = ticket_markdown(ticket)
    assert "<script>" not in markdown.replace("\\<script\\>", "")
    assert "\n# z" not in markdown
    assert "\x1b" not in markdown


def test_how_it_fails_is_said_of_each() -> None:
    for journal, word in (
        (JOURNAL, "closed"),
        (replace(JOURNAL, alias=""), "Fails open"),
        (replace(JOURNAL, alias="", named=True), "by name"),
    ):
        ticket = replace(TICKET, migrations=(Migration(journal, ()),))
        assert word.lower() in ticket_markdown(ticket).lower()
        assert word.lower() in ticket_html(ticket).lower()
    by_itself = frozenset(caller.workload for caller in JOURNAL.callers)
    guards = tuple(
        MeshRecord(
            Ref("NetworkPolicy", one.namespace, guard_name(JOURNAL.host, one)), None, {"metadata": {}, "spec": {}}
        )
        for one in by_itself
    )
    for journal, word in ((JOURNAL, "fails open"), (replace(JOURNAL, mesh=guards), "guarded")):
        ticket = replace(TICKET, migrations=(Migration(journal, (), passing=by_itself),), verdicts=())
        for text in (ticket_markdown(ticket).lower(), ticket_html(ticket).lower()):
            assert word in text
            assert "none leaves in clear" not in text


def test_nobody_asked() -> None:
    ticket = replace(TICKET, verdicts=(), verified=False)
    assert "Nobody asked the proxies." in ticket_markdown(ticket)
    assert "Nobody asked the proxies." in ticket_html(ticket)
    assert ticket_document(ticket)["verdicts"] == []


def test_another_port_goes_with_the_scheme() -> None:
    ticket = replace(TICKET, migrations=(Migration(replace(JOURNAL, host=Host("httpbin.org", 8443)), ()),))
    text = ticket_markdown(ticket)
    assert "https://httpbin.org:8443" in text
    assert "http://httpbin.org:8443" not in text
