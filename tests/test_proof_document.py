"""docs/proof.md is the one page on verdicts, drift and alerts; its tables are the code's."""

from __future__ import annotations

import re
from pathlib import Path

from kubectl_egress.drift import CODES
from kubectl_egress.model import Host, Judgement, Ref
from kubectl_egress.prometheus.answers import History
from kubectl_egress.prometheus.disagreement import STALE, disagreements
from kubectl_egress.report.dashboard import Watched, alert_rules

PAGE = (Path(__file__).parents[1] / "docs" / "proof.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its first two lines."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_every_verdict_has_a_row() -> None:
    assert {row[0].strip("`") for row in rows("Verdicts")} == {str(one) for one in Judgement}


def test_every_drift_has_its_row() -> None:
    assert {row[0].strip("`"): row[1] for row in rows("What has drifted")} == dict(CODES)


def test_every_alert_has_its_row() -> None:
    caller = Ref("Deployment", "shop", "curl", "apps/v1")
    [group] = alert_rules([Watched("shop", (Host("httpbin.org"),), (caller,))])["groups"]
    told = {row[0].strip("`"): row[2] for row in rows("Alerts")}
    assert set(told) == {rule["alert"] for rule in group["rules"]}
    for rule in group["rules"]:
        severity, _, after = told[rule["alert"]].partition(", ")
        assert severity == rule["labels"]["severity"]
        number, unit = re.match(r"(\d+)([mh])", rule["for"]).groups()  # type: ignore[union-attr]
        long = {"m": "minutes", "h": "hour"}[unit]
        assert after == (
            "at once" if number == "0" else f"after an {long}" if unit == "h" else f"after {number} {long}"
        )


def test_every_disagreement_has_its_row() -> None:
    pair = (Ref("Deployment", "shop", "curl", "apps/v1"), Host("httpbin.org"))
    found = [
        History(*pair, 300),
        History(*pair, 300, elsewhere=True),
        History(*pair, 300, counted=100, age=STALE + 1),
        History(*pair, 300, counted=1, age=1.0),
    ]
    words = [text.partition(":")[0] for one in found for text in disagreements(one, 100)]
    assert [row[0] for row in rows("What Prometheus adds")] == words


def test_its_pictures_are_there_and_small() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", PAGE)
    assert pictures
    for name in pictures:
        assert (Path(__file__).parents[1] / "docs" / name).stat().st_size < 100_000, name
