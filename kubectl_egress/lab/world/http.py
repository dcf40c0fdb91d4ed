"""HTTP as httpbin speaks it: a request off a stream, and the answer to it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from http.client import responses
from urllib.parse import parse_qsl, urlsplit

LONGEST_DELAY = 10.0


class BadRequestError(Exception):
    """What arrived is no HTTP request."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, whole."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    size: int
    """All its bytes."""
    version: str = "HTTP/1.1"

    def header(self, name: str) -> str:
        """The first header of that name, or nothing."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def keep_alive(self) -> bool:
        """Whether the connection goes on."""
        return self.version == "HTTP/1.1" and self.header("connection").lower() != "close"


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request; None at the end. Raises BadRequestError."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BadRequestError(len(error.partial)) from error
        return None
    except asyncio.LimitOverrunError as error:
        raise BadRequestError(error.consumed) from error
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        raise BadRequestError(len(head))
    headers = tuple((key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines))
    request = Request(words[0], words[1], headers, b"", len(head), words[2])
    body = await _read_body(reader, request)
    return Request(words[0], words[1], headers, body, len(head) + len(body), words[2])


async def _read_body(reader: asyncio.StreamReader, request: Request) -> bytes:
    if request.header("transfer-encoding").lower() == "chunked":
        body = b""
        while size := int((await reader.readline()).split(b";")[0].strip() or b"0", 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return body
    length = request.header("content-length")
    return await reader.readexactly(int(length)) if length.isdigit() else b""


def delay_of(request: Request) -> float:
    """How long `/delay/S` wants to wait."""
    words = urlsplit(request.target).path.split("/")
    if len(words) == 3 and words[1] == "delay" and words[2].replace(".", "", 1).isdigit():
        return min(float(words[2]), LONGEST_DELAY)
    return 0.0


def answer(request: Request, scheme: str, name: str) -> tuple[int, bytes]:
    """Status and JSON body: `/status/N` gives N, every other path says what arrived."""
    path = urlsplit(request.target).path
    words = path.split("/")
    if len(words) == 3 and words[1] == "status" and words[2].isdigit() and 100 < int(words[2]) < 600:
        return int(words[2]), b""
    if path == "/headers":
        return 200, _json({"headers": dict(request.headers)})
    if words[1] in ("", "get", "post", "put", "delete", "patch", "anything", "delay", "uuid", "ip"):
        return 200, _json(
            {
                "args": dict(parse_qsl(urlsplit(request.target).query)),
                "data": request.body.decode(errors="replace"),
                "headers": dict(request.headers),
                "method": request.method,
                "url": f"{scheme}://{request.header('host') or name}{request.target}",
            }
        )
    return 404, b""


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def response(status: int, body: bytes, *, head_only: bool, keep_alive: bool) -> bytes:
    """The bytes of an answer."""
    lines = [
        f"HTTP/1.1 {status} {responses.get(status, 'Unknown')}",
        "server: lab",
        *(() if keep_alive else ("connection: close",)),
        *(("content-type: application/json",) if body else ()),
        *(() if status in (204, 304) or status < 200 else (f"content-length: {len(body)}",)),
    ]
    if status in (301, 302, 303, 307, 308):
        lines.append("location: /get")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if head_only else body)
