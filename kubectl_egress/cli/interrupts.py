"""Ctrl-C that is not lost: an interruption that some library swallowed is raised anew where work can stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# websocket-client's `close` has a bare `except`, and Python itself drops what is raised in a finalizer.
_asked = threading.Event()


@contextmanager
def listening() -> Iterator[None]:
    """Remember Ctrl-C in this block. Where SIGINT is ignored (`nohup`), or off the main thread, nothing changes."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked.clear()
    signal.signal(signal.SIGINT, _remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _asked.clear()


def _remember(number: int, frame: FrameType | None) -> None:
    _asked.set()
    signal.default_int_handler(number, frame)


def check() -> None:
    """Raise KeyboardInterrupt, once, for a Ctrl-C that has been swallowed."""
    if _asked.is_set():
        _asked.clear()
        raise KeyboardInterrupt
