"""What `verify --watch` and `--for` do while an API server is away: faults that a lab cannot time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubectl_egress.cli import verify_cluster
from kubectl_egress.cli.options import Connection, History
from kubectl_egress.cli.verify_cluster import Asked, wait_for, watched
from kubectl_egress.errors import EgressError, ForbiddenError, UnreachableError
from kubectl_egress.model import Verdict
from tests.test_report_verify import GOOD, QUIET

AWAY = UnreachableError("the API server is away")
ASKED = Asked((), "", "0s", Connection(), History())
Found = tuple[Verdict, ...]


def nothing(_: str) -> None:
    """Is said."""


class Closed:
    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the rounds answer so, the last answer for ever."""
    monkeypatch.setattr(verify_cluster, "PAUSE", 0.01)
    monkeypatch.setattr(verify_cluster, "connect", lambda _: Closed())

    def given(*found: Found | EgressError) -> None:
        rounds: Iterator[Found | EgressError] = itertools.chain(found, itertools.repeat(found[-1]))

        def answer(*_: Any) -> Found:
            one = next(rounds)
            if isinstance(one, EgressError):
                raise one
            return one

        monkeypatch.setattr(verify_cluster, "verdicts_of", answer)
        monkeypatch.setattr(verify_cluster, "_verdicts", answer)

    return given


def test_watching_outlives_a_server_that_is_away_once_it_went_well(answers: Callable[..., None]) -> None:
    answers((GOOD,), AWAY, AWAY, (QUIET,))
    said: list[str] = []
    seen = list(itertools.islice(watched(ASKED, said.append, said.append), 2))
    assert seen == [(GOOD,), (QUIET,)]
    assert said == ["the API server is away; trying again"] * 2


@pytest.mark.parametrize(
    "found", [(AWAY,), ((GOOD,), ForbiddenError("no", status=403)), ((GOOD,), EgressError("nothing is migrated"))]
)
def test_watching_ends_with_what_does_not_pass(found: tuple[Any, ...], answers: Callable[..., None]) -> None:
    answers(*found)
    with pytest.raises(EgressError):
        list(itertools.islice(watched(ASKED, nothing, nothing), 2))


def test_waiting_outlives_it_too_and_not_for_longer_than_it_may(answers: Callable[..., None]) -> None:
    answers(AWAY, (QUIET,), AWAY, (GOOD,))
    said: list[str] = []
    assert wait_for("verified", ASKED, "30s", said.append) == (GOOD,)
    assert said == [
        "the API server is away; trying again",
        "waiting for verified: silent",
        "the API server is away; trying again",
    ]
    answers(AWAY)
    with pytest.raises(UnreachableError):
        wait_for("verified", ASKED, "100ms", nothing)


def test_waiting_gives_what_there_is_when_the_time_is_up(answers: Callable[..., None]) -> None:
    answers((QUIET,))
    assert wait_for("verified", ASKED, "100ms", nothing) == (QUIET,)
