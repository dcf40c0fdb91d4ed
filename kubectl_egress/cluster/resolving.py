"""The addresses of hosts, as the resolver of this machine says: a pod's own may say otherwise."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from queue import Empty, SimpleQueue
from socket import SOCK_STREAM, getaddrinfo

_THREADS = 16


def addresses_of(names: Iterable[str], seconds: float = 3.0) -> Mapping[str, frozenset[str]]:
    """The addresses of each name that resolves within `seconds` for all of them; the others are left out."""
    waiting: SimpleQueue[str] = SimpleQueue()
    wanted = tuple(dict.fromkeys(names))
    for name in wanted:
        waiting.put(name)
    answers: SimpleQueue[tuple[str, frozenset[str]]] = SimpleQueue()
    for _ in range(min(_THREADS, len(wanted))):
        # A resolver may take a minute to give up, and cannot be told to: threads that nobody waits for.
        threading.Thread(target=_resolve, args=(waiting, answers), daemon=True).start()
    found: dict[str, frozenset[str]] = {}
    deadline = time.monotonic() + seconds
    for _ in wanted:
        try:
            name, addresses = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        if addresses:
            found[name] = addresses
    return found


def _resolve(waiting: SimpleQueue[str], answers: SimpleQueue[tuple[str, frozenset[str]]]) -> None:
    while True:
        try:
            name = waiting.get_nowait()
        except Empty:
            return
        try:
            # With the final dot no search list is tried.
            found = getaddrinfo(f"{name}.", None, type=SOCK_STREAM)
        except (OSError, UnicodeError):
            found = []
        answers.put((name, frozenset(str(address[0]).partition("%")[0] for *_, address in found)))
