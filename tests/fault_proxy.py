"""A proxy before an API server, through which a test lets the tool speak: what passes is seen, and may go wrong."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import trustme

LEASE = "/data/lease.json"
_NAMESPACE = re.compile(r"/namespaces/([^/]+)/([^/]+)(?:/([^/]+))?(?:/([^/]+))?")


@dataclass(frozen=True)
class Asked:
    """One request of the tool."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    head: bytes = field(repr=False)

    def _part(self, number: int) -> str:
        match = _NAMESPACE.search(self.path)
        return (match and match[number]) or ""

    @property
    def namespace(self) -> str:
        return self._part(1)

    @property
    def plural(self) -> str:
        return self._part(2)

    @property
    def name(self) -> str:
        return self._part(3)

    @property
    def subresource(self) -> str:
        return self._part(4)

    @property
    def watches(self) -> bool:
        return "watch" in self.query

    @property
    def asks(self) -> bool:
        """Whether it is a question that is put as an object: what would be permitted."""
        return self.path.endswith("reviews")

    @property
    def writes(self) -> bool:
        """Whether it changes an object, renewals of a lease apart."""
        return self.method in ("POST", "PATCH", "DELETE") and not (self.subresource or self.renews or self.asks)

    @property
    def renews(self) -> bool:
        """Whether it renews a lease and does nothing else."""
        operations = self._operations()
        return bool(operations) and [(one["op"], one["path"]) for one in operations] == [
            ("test", LEASE),
            ("replace", LEASE),
        ]

    @property
    def releases(self) -> bool:
        """Whether it gives a lease back."""
        return any(one["op"] == "remove" and one["path"] == LEASE for one in self._operations())

    def _operations(self) -> list[dict[str, Any]]:
        return list(json.loads(self.body)) if self.method == "PATCH" else []


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request. By itself: it is neither passed on nor answered, and the connection is reset."""

    status: int = 0
    """Answer this, in place of a reset."""
    message: str = ""
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    passed_on: bool = False
    """Let the server do it before."""
    delay: float = 0.0
    """Seconds before anything happens."""
    cut_after: float | None = None
    """Pass on and answer, but cut the connection after so many seconds."""
    unharmed: bool = False
    """Pass on and answer as ever, after `delay` and `act`."""
    act: Callable[[], None] = lambda: None
    """Done at that moment."""
    held: threading.Event | None = None
    """Nothing before this is set."""


Rule = Callable[[Asked], Fault | None]


class FaultProxy:
    """Forwards to a lab's API server; use it in a `with`. One connection carries one request."""

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        server = urlsplit(cluster["server"])
        self._upstream = (str(server.hostname), int(server.port or 443))
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        self._authority = trustme.CA()
        self._loop = asyncio.new_event_loop()
        self._rules: dict[str, Rule] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        started = asyncio.run_coroutine_threadsafe(self._start(), self._loop)
        self._thread.start()
        port = started.result(10)
        # As kubectl, the tool sends its credentials over TLS alone.
        certificate = base64.b64encode(self._authority.cert_pem.bytes()).decode()
        cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": certificate}
        config["clusters"][0]["cluster"] = cluster
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.touch(0o600)
        self.kubeconfig.write_text(json.dumps(config))

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def rule(self, namespace: str, rule: Rule | None) -> None:
        """What happens to the requests for a namespace; None: nothing any more."""
        if rule is None:
            self._rules.pop(namespace, None)
        else:
            self._rules[namespace] = rule

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(_cancelled(asyncio.all_tasks(self._loop)))
        self._loop.close()

    async def _start(self) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("127.0.0.1").configure_cert(context)
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        return int(server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            asked = await _read(reader)
            rule = self._rules.get(asked.namespace)
            fault = rule(asked) if rule is not None else None
            await self._answer(asked, fault, reader, writer)
        writer.close()

    async def _answer(
        self, asked: Asked, fault: Fault | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if fault is None:
            await self._pass_on(asked, reader, writer)
            return
        await asyncio.sleep(fault.delay)
        while fault.held is not None and not fault.held.is_set():
            await asyncio.sleep(0.05)
        if fault.unharmed or fault.cut_after is not None:
            await asyncio.to_thread(fault.act)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._pass_on(asked, reader, writer), fault.cut_after)
            return
        if fault.passed_on:
            await self._do(asked)
        await asyncio.to_thread(fault.act)
        if fault.status:
            writer.write(_status(fault))
            await writer.drain()
        else:
            writer.transport.abort()

    async def _connect(self, asked: Asked) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self._upstream, ssl=self._tls)
        writer.write(asked.head + asked.body)
        await writer.drain()
        return reader, writer

    async def _do(self, asked: Asked) -> None:
        """Let the server do it, and keep its answer."""
        reader, writer = await self._connect(asked)
        await reader.read()
        writer.close()

    async def _pass_on(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, sink = await self._connect(asked)
        back = asyncio.ensure_future(_pump(reader, sink))
        try:
            await _pump(upstream, writer)
        finally:
            back.cancel()
            sink.close()


async def _cancelled(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    method, address, _ = lines[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    body = await reader.readexactly(int(headers.get("content-length") or 0))
    if "upgrade" not in headers:
        kept = [line for line in lines[:-2] if not line.lower().startswith("connection:")]
        head = "\r\n".join([*kept, "Connection: close", "", ""]).encode("latin-1")
    parts = urlsplit(address)
    return Asked(method, parts.path, dict(parse_qsl(parts.query)), body, head)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


def _status(fault: Fault) -> bytes:
    body = json.dumps(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": fault.message,
            "reason": fault.reason,
            "code": fault.status,
        }
    ).encode()
    own = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"HTTP/1.1 {fault.status} X", *(f"{key}: {value}" for key, value in {**own, **fault.headers}.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
