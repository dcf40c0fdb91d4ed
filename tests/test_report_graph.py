from __future__ import annotations

import itertools
import json
import re
import struct
import zlib
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress.graph import Graph, Health
from kubectl_egress.model import Visibility
from kubectl_egress.report.graph import (
    graph_document,
    graph_dot,
    graph_html,
    graph_mermaid,
    graph_summary,
    graph_text,
    labels,
    order,
)
from kubectl_egress.report.graph.drawing import HEADS, LABELLED
from kubectl_egress.report.graph.labels import Curve, Place, places
from kubectl_egress.report.graph.layout import BOX, HEIGHT, Node, layout
from tests import browser
from tests.build_graph import EVERY_STATE, ONE, edge, graph_of, many

needs_browser = pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no Chromium on PATH")

EVIL = '</title><script>alert(1)</script>"]--&gt;{{7*7}}'


def test_nothing_is_called() -> None:
    nothing = graph_of()
    assert graph_text(nothing) == ""
    assert graph_summary(nothing) == "No external call was found in 0 workloads.\n"
    assert graph_document(nothing)["edges"] == []
    assert graph_mermaid(nothing) == "flowchart LR\n"
    assert "<svg" in graph_html(nothing)


def test_the_terminal_at_one_glance() -> None:
    assert graph_text(EVERY_STATE) == (
        "deployment/cart\n"
        "├━━▶ api.example.com       full          10.0/s    5.0% errors  p95 310ms   degraded, migrated\n"
        "├━━▶ payments.example.org  full           4.0/s   75.0% errors  p95 2100ms  failing, migrated\n"
        "└╌╌▶ hosts without a name  opaque    1.4 conn/s\n"
        "deployment/curl\n"
        "└━━▶ httpbin.org           full           5.0/s    0.0% errors  p95 12ms    migrated\n"
        "deployment/mailer\n"
        "├──▶ smtp.example.net      named     0.3 conn/s\n"
        "└──✕ tracker.example.net   blocked        0.9/s  100.0% errors              failing\n"
        "deployment/old\n"
        "└━━▶ httpbin.org           full           0.6/s    0.0% errors              2 IN CLEAR\n"
        "deployment/quiet\n"
        "└╌╌▶ never.example.com     opaque                                           blocked by own-trust\n"
        "deployment/unseen\n"
        "└··▶ dark.example.com      unknown\n"
    )
    assert graph_summary(EVERY_STATE) == "6 workloads, 7 hosts; 10 s from the proxies.\n"


def test_notes_that_do_not_fit_have_a_line_of_their_own() -> None:
    narrow = graph_text(EVERY_STATE, width=80)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "\n│    failing, migrated\n" in narrow
    assert "".join(narrow.split()).replace("│", "") == "".join(graph_text(EVERY_STATE).split())
    assert graph_text(EVERY_STATE, width=200) == graph_text(EVERY_STATE)


@pytest.mark.parametrize(
    ("codes", "health"),
    [
        ({"200": 1000}, Health.GOOD),
        ({"200": 999, "404": 1}, Health.DEGRADED),
        ({"200": 4, "0": 1}, Health.FAILING),
        ({"301": 5}, Health.GOOD),
        ({}, Health.IDLE),
    ],
)
def test_health_is_drawn_as_kiali_draws_it(codes: dict[str, int], health: Health) -> None:
    assert edge("a", "b.example.com", codes=codes).health is health


def test_bytes_are_not_called_good() -> None:
    found = edge("a", "b.example.com", Visibility.OPAQUE, connections=5)
    assert (found.health, found.error_share, found.p95) == (Health.UNSEEN, None, None)


def test_what_was_inferred_says_so() -> None:
    graph = graph_of(edge("a", "b.example.com", Visibility.OPAQUE, connections=5, inferred=True))
    assert "~0.5 conn/s" in graph_text(graph)
    assert "~: bytes without a name" in graph_summary(graph)
    assert "bytes without a name" in graph_html(graph)
    assert graph_document(graph)["edges"][0]["inferred"] is True


def test_the_document_is_whole_and_json() -> None:
    document = json.loads(json.dumps(graph_document(EVERY_STATE)))
    assert (document["apiVersion"], document["kind"]) == ("egress.kubectl/v1", "EgressGraph")
    first = document["edges"][0]
    assert first["workload"] == {"kind": "Deployment", "namespace": "shop", "name": "cart"}
    assert (first["rate"], first["errorShare"], first["p95Ms"]) == (10.0, 0.05, 310.0)


def test_languages_hold_every_edge_and_nothing_can_break_out() -> None:
    graph = graph_of(*EVERY_STATE.edges, edge(EVIL, "evil.example.com"))
    mermaid, dot = graph_mermaid(graph), graph_dot(graph)
    assert len(re.findall(r"^  w\d+ \S+\|", mermaid, re.MULTILINE)) == len(graph.edges)
    assert len(re.findall(r"^  w\d+ -> h\d+ ", dot, re.MULTILINE)) == len(graph.edges)
    assert "<script" not in mermaid
    assert '\\"]--' in dot
    assert dot.count("{") == dot.count("}")


class Page(HTMLParser):
    """What a page loads, and whether its elements are closed."""

    VOID = frozenset({"meta", "input", "link", "br", "path", "rect", "circle"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []
        self.scripts = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.loads += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("graph", [ONE, EVERY_STATE, many(40), graph_of(edge(EVIL, "evil.example.com"))])
def test_the_page_is_whole_loads_nothing_and_escapes_everything(graph: object) -> None:
    text = graph_html(graph)  # type: ignore[arg-type]
    page = Page(text)
    assert page.open == []
    assert page.loads == []
    assert page.scripts == 1
    assert "url(" not in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "default-src 'none'" in text


@pytest.mark.parametrize("hosts", [1, 2, 40, 200])
def test_no_box_lies_on_another(hosts: int) -> None:
    placed = layout(many(hosts))
    for column in (placed.workloads, placed.hosts):
        nodes: list[Node] = sorted(column.values(), key=lambda node: node.y)
        assert all(below.y - above.y >= HEIGHT for above, below in itertools.pairwise(nodes))
        assert all(0 <= node.y <= placed.height - HEIGHT for node in nodes)
    assert max(node.x for node in placed.workloads.values()) + BOX < min(node.x for node in placed.hosts.values())


def labels_of(graph: Graph) -> tuple[list[Curve], list[Place | None]]:
    curves = list(layout(graph).curves)
    return curves, places(curves, [150.0] * len(curves))


def test_every_label_of_every_state_has_room() -> None:
    assert None not in labels_of(EVERY_STATE)[1]
    assert "crowded" not in re.findall(r'class="label[^"]*"', graph_html(EVERY_STATE))


@given(st.sets(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=LABELLED))
def test_no_label_lies_on_another_or_on_a_box_and_each_is_on_its_own_curve(pairs: set[tuple[int, int]]) -> None:
    curves, found = labels_of(graph_of(*(edge(f"w{a}", f"h{b}.example.com") for a, b in sorted(pairs))))
    shown = [(curve, place) for curve, place in zip(curves, found, strict=True) if place]
    assert shown
    for (_, one), (_, other) in itertools.combinations(shown, 2):
        assert abs(one.x - other.x) >= 150 or abs(one.y - other.y) >= labels.HEIGHT
    for curve, place in shown:
        assert curve.x1 < place.x - 75
        assert place.x + 75 < curve.x2
        assert min(abs(curve.at(part / 512)[1] - place.y) for part in range(513) if near(curve, part, place)) < 2


def near(curve: Curve, part: int, place: Place) -> bool:
    return abs(curve.at(part / 512)[0] - place.x) < 2


ENDS = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwxyz")), min_size=1, unique=True)


@given(ENDS)
def test_columns_keep_everybody_and_cross_no_more_than_as_they_came(pairs: list[tuple[str, str]]) -> None:
    left, right = order.untangled(pairs)
    given_left, given_right = list(dict.fromkeys(a for a, _ in pairs)), list(dict.fromkeys(b for _, b in pairs))
    assert (sorted(left), sorted(right)) == (sorted(given_left), sorted(given_right))
    assert order.crossings(pairs, left, right) <= order.crossings(pairs, given_left, given_right)
    assert order.crossings(pairs, left, right) == sum(
        (left.index(a) - left.index(c)) * (right.index(b) - right.index(d)) < 0
        for (a, b), (c, d) in itertools.combinations(pairs, 2)
    )


def test_lines_that_need_not_cross_do_not() -> None:
    pairs = [("a", "w"), ("b", "v"), ("c", "u"), ("a", "v")]
    assert order.crossings(pairs, *order.untangled(pairs)) == 0
    assert order.crossings(pairs, ["a", "b", "c"], ["u", "v", "w"]) == 4


def test_nothing_is_told_by_colour_alone() -> None:
    assert len(set(HEADS.values())) == len(HEADS) == len(Visibility)
    page = graph_html(EVERY_STATE)
    assert "3 hosts · 1 failing · 1 degraded" in page
    assert "2 callers · 1 in clear" in page
    assert set(re.findall(r'class="sign"[^>]*>([^<]*)<', page)) == {"", "!", "×", "!!"}


def test_edges_touch_a_box_at_places_of_their_own() -> None:
    placed = layout(many(40))
    starts = [(curve.x1, curve.y1) for curve in placed.curves]
    ends = [(curve.x2, curve.y2) for curve in placed.curves]
    assert len(set(starts)) == len(starts)
    assert len(set(ends)) == len(ends)


# ---- in a browser ---------------------------------------------------------------------------------------------------


def pixels(file: Path) -> tuple[int, int, list[bytes]]:
    """Width, height and rows of a PNG with 8 bits, in RGB or RGBA."""
    body = file.read_bytes()
    width, height, depth, kind = struct.unpack(">IIBB", body[16:26])
    assert (depth, kind in (2, 6)) == (8, True)
    size = 3 if kind == 2 else 4
    compressed, at = b"", 8
    while at < len(body):
        (length,) = struct.unpack(">I", body[at : at + 4])
        if body[at + 4 : at + 8] == b"IDAT":
            compressed += body[at + 8 : at + 8 + length]
        at += length + 12
    raw, stride, rows = zlib.decompress(compressed), width * size, []
    previous = bytearray(stride)
    for number in range(height):
        start = number * (stride + 1)
        row = bytearray(raw[start + 1 : start + 1 + stride])
        for index in range(stride):
            left = row[index - size] if index >= size else 0
            corner = previous[index - size] if index >= size else 0
            row[index] = (row[index] + _predicted(raw[start], left, previous[index], corner)) & 255
        rows.append(bytes(row[index] for index in range(stride) if size == 3 or index % 4 != 3))
        previous = row
    return width, height, rows


def _predicted(filter_: int, left: int, above: int, corner: int) -> int:
    if filter_ == 4:
        guess = left + above - corner
        return min((left, above, corner), key=lambda value: abs(guess - value))
    return (0, left, above, (left + above) // 2)[filter_]


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_the_picture_has_its_colours_by_day_and_by_night(dark: bool, tmp_path: Path) -> None:
    page = tmp_path / "graph.html"
    page.write_text(graph_html(EVERY_STATE))
    browser.picture(page, tmp_path / "graph.png", 760, 420, dark=dark)
    width, height, rows = pixels(tmp_path / "graph.png")
    assert (width, height) == (760, 420)
    seen = {row[index : index + 3] for row in rows for index in range(0, len(row), 3)}
    ground, good, bad = ("14171a", "57c98a", "ff7b86") if dark else ("fbfbfa", "1a7f4b", "c6303e")
    assert rows[2][:3] == bytes.fromhex(ground)
    assert {bytes.fromhex(good), bytes.fromhex(bad)} <= seen


@needs_browser
def test_keys_move_hold_find_and_let_go(tmp_path: Path) -> None:
    script = """
<script>
const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
const lit = () => picture.querySelectorAll(".edge.lit .head").length;
const log = [];
nodes[0].focus(); log.push(nodes[0].dataset.key + " " + lit());
press("ArrowDown"); log.push(document.activeElement.dataset.key + " " + lit());
press("ArrowRight"); log.push(document.activeElement.dataset.key + " " + lit());
press("Enter"); log.push(document.activeElement.getAttribute("aria-pressed"));
press("/"); log.push(document.activeElement.id);
find.value = "smtp"; find.dispatchEvent(new Event("input"));
log.push(edges.filter(shown).map((one) => one.dataset.host).join());
press("Escape"); log.push(String(edges.filter((one) => !shown(one)).length));
document.querySelector("button[data-visibility=full]").click();
log.push(String(rows.filter(shown).length));
document.body.dataset.log = JSON.stringify(log);
</script>"""
    page = tmp_path / "graph.html"
    page.write_text(graph_html(EVERY_STATE).replace("</body>", f"{script}</body>"))
    said = re.search(r'data-log="([^"]*)"', browser.document_after(page))
    assert said is not None
    assert json.loads(said[1].replace("&quot;", '"')) == [
        "shop/Deployment/cart 3",
        "shop/Deployment/curl 1",
        "httpbin.org 2",
        "true",
        "find",
        "smtp.example.net,smtp.example.net",
        "0",
        "5",
    ]


@needs_browser
def test_it_prints(tmp_path: Path) -> None:
    page = tmp_path / "graph.html"
    page.write_text(graph_html(many(40)))
    browser.print_to(page, tmp_path / "graph.pdf")
    pdf = (tmp_path / "graph.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert len(pdf) > 10_000
