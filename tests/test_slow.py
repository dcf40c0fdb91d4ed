from __future__ import annotations

import io
import threading

import pytest

from kubectl_egress.cli.output import Slow


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class AtOnce:
    """A timer that rings when it is started."""

    daemon = False

    def __init__(self, _: float, ring: object) -> None:
        self._ring = ring

    def start(self) -> None:
        assert callable(self._ring)
        self._ring()

    def cancel(self) -> None:
        """Nothing is left to ring."""


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "Timer", AtOnce)
    monkeypatch.setenv("TERM", "xterm")


def test_nothing_is_said_of_what_is_over_at_once() -> None:
    stream = Terminal()
    with Slow(stream, "reading") as progress:
        progress.now("1 workload")
    assert stream.getvalue() == ""


def test_what_takes_long_is_said_and_taken_away(late: None) -> None:
    stream = Terminal()
    with Slow(stream, "reading") as progress:
        progress.now("2 workloads")
        progress.pause(lambda: stream.write("a row\n"))  # type: ignore[arg-type]
    assert stream.getvalue() == "\r\x1b[Kreading\r\x1b[K2 workloads\r\x1b[Ka row\n"


def test_a_pipe_is_told_nothing(late: None) -> None:
    stream = io.StringIO()
    with Slow(stream, "reading") as progress:
        progress.now("2 workloads")
    assert stream.getvalue() == ""
