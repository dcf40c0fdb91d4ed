"""What well-known applications call: for each, facts of its manifests, and the listing that a careful person would make."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubectl_egress import inspection
from kubectl_egress.cli.sources import survey_documents
from kubectl_egress.manifests import parse
from kubectl_egress.model import CallSite
from kubectl_egress.paths import kubectl_path
from kubectl_egress.scan import is_aside

CASES = sorted(Path(__file__).parent.glob("cases/*/in.yaml"))


def line(site: CallSite) -> str:
    """Workload, host, what to do about it, and where it stands."""
    what = "call" if site.rewritable and site.url.encrypted else "aside" if is_aside(site) else "by hand"
    what = what if site.url.encrypted or what == "aside" else "in clear"
    where = f"{site.object.kind.lower()}/{site.object.name} {kubectl_path(site.steps)}"
    return f"{site.workload.kind.lower()}/{site.workload.name} {site.host} {what} {where}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.parent.name)
def test_what_a_well_known_application_calls(case: Path) -> None:
    survey = survey_documents(parse(case.read_text(), case.name))
    listing = "".join(f"{line(site)}\n" for site in inspection.call_sites(survey))
    assert listing == case.with_name("listing.txt").read_text()


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 5
