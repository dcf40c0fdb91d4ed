"""Where text goes: data to stdout, talk to stderr, colour to terminals alone."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from kubectl_egress.errors import EgressError, UsageError


def emit(text: str) -> None:
    """Data, to stdout."""
    _write(sys.stdout, text)


def say(text: str) -> None:
    """Talk, to stderr, after what stdout has to say."""
    _write(sys.stdout, "")
    _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    """A reader that has gone (`| head`) is no reason to stop half-way: what is left to say goes nowhere."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def coloured(stream: TextIO) -> bool:
    """Whether to colour what goes to the stream: a terminal that can, and NO_COLOR (no-color.org) empty or not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def animated(stream: TextIO) -> bool:
    """Whether what is there may be written over: a terminal that can."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def width(stream: TextIO) -> int | None:
    """The columns of the terminal; None where there is none, so that lines stay whole for grep."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def check_format(given: str, allowed: Sequence[str]) -> str:
    """The output format, if it is one of `allowed` (empty is the table); UsageError in kubectl's words."""
    if given and given not in allowed:
        listed = ",".join(sorted(allowed))
        raise UsageError(
            f'unable to match a printer suitable for the output format "{given}", allowed formats are: {listed}'
        )
    return given


def emit_document(document: Mapping[str, Any], form: str) -> None:
    """One document as `json` or `yaml`, to stdout."""
    if form == "json":
        import json

        emit(json.dumps(document, indent=4, ensure_ascii=False) + "\n")
    else:
        emit_yaml([document])


def emit_yaml(bodies: Sequence[Mapping[str, Any]]) -> None:
    """Several documents as YAML, to stdout."""
    from kubectl_egress.manifests import dump

    emit(dump(bodies))


def confirm(question: str, yes: bool) -> bool:
    """Whether the user agrees; `yes` is their answer beforehand. Without a terminal: EgressError, nothing is changed."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise EgressError("nothing was changed: there is no terminal to ask on", "add -y (--yes) to go ahead unasked")
    try:
        say(f"\n{question} [y/N] ")
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("\nInterrupted: nothing was changed.") from None
    if not answer.endswith("\n"):
        say("\n")
    return answer.strip().lower() in ("y", "yes")


def log_level(verbosity: int) -> None:
    """`-v`: from 4 on what is done, from 6 on what is asked of the API; to stderr."""
    import logging

    level = logging.DEBUG if verbosity >= 6 else logging.INFO if verbosity >= 4 else logging.WARNING
    logging.basicConfig(format="%(levelname).1s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("kubectl_egress").setLevel(level)


class Slow:
    """Says on a terminal what is being waited for, once that has taken a second; gone when it is over."""

    def __init__(self, stream: TextIO, text: str) -> None:
        import threading

        self._ticker = Ticker(stream)
        self._text = text
        self._lock = threading.Lock()
        self._shown = self._over = False
        self._timer = threading.Timer(1.0, self._begin)
        self._timer.daemon = True

    def __enter__(self) -> Slow:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._over = True
            self._ticker.end()

    def now(self, text: str) -> None:
        """What it has come to."""
        with self._lock:
            self._text = text
            if self._shown:
                self._ticker.now(text)

    def pause(self, act: Callable[[], None]) -> None:
        """Do something that may write to the same terminal."""
        with self._lock:
            self._ticker.end()
            act()

    def _begin(self) -> None:
        with self._lock:
            self._shown = not self._over
            if self._shown:
                self._ticker.now(self._text)


class Ticker:
    """Progress on a stream: on a terminal one line that is written over, elsewhere nothing but what is done."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = animated(stream)
        self._open = False

    def now(self, text: str) -> None:
        """What is being waited for; gone as soon as there is something else to say."""
        if self._live:
            columns = shutil.get_terminal_size().columns
            _write(self._stream, f"\r\x1b[K{text[: columns - 1]}")
            self._open = True

    def line(self, text: str) -> None:
        """Something that is done."""
        self.end()
        _write(self._stream, f"{text}\n")

    def end(self) -> None:
        """Take the line of progress away."""
        if self._open:
            _write(self._stream, "\r\x1b[K")
            self._open = False
