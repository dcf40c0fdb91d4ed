"""The lab's control socket: one JSON object a line, there and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from kubectl_egress.lab.parts import LabRefusal

Answer = Callable[[Mapping[str, Any]], Awaitable[Any]]
LONGEST_LINE = 2**26


async def serve(path: Path, answer: Answer) -> asyncio.Server:
    """Listen on a unix socket; what `answer` refuses or cannot find goes back as an error."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                try:
                    reply: dict[str, Any] = {"result": await answer(json.loads(line))}
                except (LabRefusal, OSError, KeyError, ValueError) as error:
                    reply = {"error": str(error) or type(error).__name__}
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    # Under its name only when it listens: who waits for the name connects at once.
    beside = path.with_name(f".{path.name}")
    server = await asyncio.start_unix_server(converse, beside, limit=LONGEST_LINE)
    beside.replace(path)
    return server


class Line:
    """The asking end, for one question at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._lock = asyncio.Lock()

    async def ask(self, question: Mapping[str, Any]) -> Any:
        """The answer; LabRefusal with what the other end said against it."""
        async with self._lock:
            if self._streams is None:
                self._streams = await asyncio.open_unix_connection(self._path, limit=LONGEST_LINE)
            reader, writer = self._streams
            writer.write(json.dumps(question).encode() + b"\n")
            line = await reader.readline()
        if not line:
            raise LabRefusal("the other end has hung up")
        reply = json.loads(line)
        if "error" in reply:
            raise LabRefusal(reply["error"])
        return reply["result"]

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
