"""What a `curl -v` loop in a pod went through: every request that it made, from the container's logs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BEGINS = re.compile(rb"^\*\s+Trying ", re.MULTILINE)
_STATUS = re.compile(rb"^< HTTP/[\d.]+ (\d{3})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Calls:
    """Requests since the last count."""

    answered: int = 0
    """2xx."""
    failed: int = 0
    """Answered with another code, or not at all."""
    cut: int = 0
    """Under way when their pod was ended."""
    early: int = 0
    """Failed before the first answer in their pod: its sidecar was not ready yet, whatever they called."""

    def __add__(self, other: Calls) -> Calls:
        return Calls(
            self.answered + other.answered, self.failed + other.failed, self.cut + other.cut, self.early + other.early
        )


class CallLog:
    """Follows the log of one container name in all pods of a lab, those that are gone meanwhile included."""

    def __init__(self, directory: Path, container: str) -> None:
        self._directory = directory
        self._name = f"{container}.log"
        self._open: dict[Path, BinaryIO] = {}
        self._rest: dict[Path, bytes] = {}
        self._answered: set[Path] = set()

    def look(self) -> None:
        """Open what is new; a log that is open can be read after its pod is gone."""
        for path in self._directory.glob(f"pods/*/logs/{self._name}"):
            if path not in self._open:
                self._open[path] = path.open("rb")

    def count(self) -> Calls:
        """The requests that ended since the last call."""
        self.look()
        total = Calls()
        for path, stream in self._open.items():
            *whole, last = _requests(self._rest.get(path, b"") + stream.read())
            gone = not path.exists()
            self._rest[path] = b"" if gone else last
            for request in [*whole, last] if gone else whole:
                total += self._one(path, request, ended=gone and request is last)
        return total

    def _one(self, path: Path, request: bytes, *, ended: bool) -> Calls:
        status = _STATUS.search(request)
        if status and status[1].startswith(b"2"):
            self._answered.add(path)
            return Calls(answered=1)
        if not _BEGINS.match(request):
            return Calls()
        if status is None and ended:
            return Calls(cut=1)
        return Calls(failed=1) if path in self._answered else Calls(early=1)

    def close(self) -> None:
        """Close every log."""
        for stream in self._open.values():
            stream.close()


def _requests(text: bytes) -> list[bytes]:
    """The text of each request; the last may not be whole yet."""
    starts = [match.start() for match in _BEGINS.finditer(text)]
    if not starts:
        return [text]
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
