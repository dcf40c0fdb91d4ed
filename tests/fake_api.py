"""An API server over TLS that says what a test tells it to: refusals, resets, silence, pages; and pods with ports."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
import yaml
from aiohttp import WSMsgType, web

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a request."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    """`reset` before anything is said, `hang` for good, `cut` in the middle of the body."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    groups: tuple[str, ...] = ()


def status(code: int, message: str, reason: str = "") -> Answer:
    """A refusal as an API server says it."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return Answer(body, code)


def listing(kind: str, api_version: str, items: Sequence[Body], token: str = "") -> Answer:
    """One page of a list."""
    return Answer({"kind": f"{kind}List", "apiVersion": api_version, "metadata": {"continue": token}, "items": items})


class FakeApi:
    """Answers by (method, path), each list of answers in turn and its last one for ever; 404 for the rest."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[Answer]] = {}
        self.requests: list[Request] = []
        self.ports: dict[tuple[str, int], Callable[[str], tuple[int, str]]] = {}
        """By pod and port: what answers the GET of a path with a status and a text."""
        self.commands: Callable[[str, Sequence[str]], tuple[str, str]] | None = None
        """What a command in a pod writes: stdout, stderr; anything on stderr is a failure."""
        self.refused: dict[str, Answer] = {}
        """By subresource (portforward, exec), or by the path of one pod's: the refusal of its handshake."""
        self.at_once = 0
        """The most questions to a port that had come when the first of them was answered."""
        self.url = ""

    def on(self, method: str, path: str, *answers: Answer) -> None:
        """What to answer."""
        self.answers[(method, path)] = list(answers)

    def asked(self, method: str, path: str) -> list[Request]:
        """The requests for a path, in order."""
        return [request for request in self.requests if (request.method, request.path) == (method, path)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.requests.append(
            Request(
                request.method,
                request.path,
                dict(request.query),
                {name.lower(): value for name, value in request.headers.items()},
                json.loads(text) if text else None,
                tuple(request.headers.getall("Impersonate-Group", ())),
            )
        )
        subresource = request.path.rpartition("/")[2]
        if subresource in ("portforward", "exec"):
            return await self._tunnel(request, subresource)
        answers = self.answers.get((request.method, request.path), [status(404, "not here", "NotFound")])
        return await _give(request, answers.pop(0) if len(answers) > 1 else answers[0])

    async def _tunnel(self, request: web.Request, subresource: str) -> web.StreamResponse:
        if refusal := self.refused.get(request.path, self.refused.get(subresource)):
            return await _give(request, refusal)
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io", "v4.channel.k8s.io"))
        await socket.prepare(request)
        pod = request.path.split("/")[-2]
        if subresource == "exec":
            await self._command(socket, pod, request.query.getall("command"))
        else:
            await self._forward(socket, pod, int(request.query["ports"]))
        await socket.close()
        return socket

    async def _command(self, socket: web.WebSocketResponse, pod: str, command: Sequence[str]) -> None:
        assert self.commands is not None
        out, error = self.commands(pod, command)
        outcome = (
            {"status": "Failure", "message": "command terminated with exit code 1"} if error else {"status": "Success"}
        )
        for channel, text in ((1, out), (2, error), (3, json.dumps(outcome))):
            # In pieces, as a real server sends it.
            for start in range(0, len(text), 1000):
                await socket.send_bytes(bytes([channel]) + text[start : start + 1000].encode())

    async def _forward(self, socket: web.WebSocketResponse, pod: str, port: int) -> None:
        for channel in (0, 1):
            await socket.send_bytes(bytes([channel]) + port.to_bytes(2, "little"))
        serve = self.ports.get((pod, port))
        if serve is None:
            await socket.send_bytes(b"\x01error forwarding port: connection refused")
            return
        received = b""
        async for message in socket:
            if message.type is not WSMsgType.BINARY:
                return
            received += message.data[1:]
            self.at_once = max(self.at_once, received.count(b"\r\n\r\n"))
            while b"\r\n\r\n" in received:
                head, _, received = received.partition(b"\r\n\r\n")
                code, text = serve(head.split(b" ")[1].decode())
                await _respond(socket, code, text)
                if text in ("bye", "gone"):
                    return


async def _respond(socket: web.WebSocketResponse, code: int, text: str) -> None:
    """An HTTP/1.1 response in chunks, as Envoy's admin interface sends it; `bye` is the connection's last, and so is `gone`, which does not say so."""
    last = "connection: close\r\n" if text == "bye" else ""
    reply = f"HTTP/1.1 {code} X\r\n{last}transfer-encoding: chunked\r\n\r\n"
    if text:
        reply += f"{len(text.encode()):x}\r\n{text}\r\n"
    data = (reply + "0\r\n\r\n").encode()
    for start in range(0, len(data), 4096):
        await socket.send_bytes(b"\0" + data[start : start + 4096])


async def _give(request: web.Request, answer: Answer) -> web.StreamResponse:
    assert request.transport is not None
    if answer.fault == "reset":
        request.transport.abort()
    if answer.fault == "hang":
        await asyncio.sleep(60)
    if isinstance(answer.body, list) and request.query.get("watch"):
        return await _stream(request, answer.body)
    if answer.fault == "cut":
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"kind": ')
        request.transport.abort()
        return response
    if isinstance(answer.body, str):
        return web.Response(text=answer.body, status=answer.status, headers=answer.headers)
    return web.json_response(answer.body, status=answer.status, headers=answer.headers)


async def _stream(request: web.Request, events: Sequence[Any]) -> web.StreamResponse:
    """A watch: each event a line, in two pieces; a string as it is."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    for event in events:
        line = event if isinstance(event, str) else json.dumps({"type": event[0], "object": event[1]}) + "\n"
        for part in (line[:5], line[5:]):
            await response.write(part.encode())
            await asyncio.sleep(0)
    return response


class _Running:
    """The server on a thread with an event loop of its own."""

    def __init__(self, api: FakeApi, context: ssl.SSLContext) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(api, context), self._loop).result(10)

    async def _start(self, api: FakeApi, context: ssl.SSLContext) -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", api.handle)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        api.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _finish(self) -> None:
        await self._runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


@contextmanager
def fake_api(directory: Path, name: str = "127.0.0.1", *, demanding: bool = False) -> Iterator[FakeApi]:
    """Run one, with a certificate for `name`; `directory` gets `ca.pem` and a kubeconfig `config` for it.

    `demanding`: only who has a certificate of its CA is let in; `client.pem` and `client.key` are one.
    """
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    if demanding:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
        own = authority.issue_cert("me@lab.test")
        own.cert_chain_pems[0].write_to_path(str(directory / "client.pem"))
        own.private_key_pem.write_to_path(str(directory / "client.key"))
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    api = FakeApi()
    running = _Running(api, context)
    try:
        write_kubeconfig(directory / "config", api.url)
        yield api
    finally:
        running.stop()


def write_kubeconfig(path: Path, server: str, **user: Any) -> None:
    """A kubeconfig with the context `lab` (namespace `shop`), whose CA is `ca.pem` beside it; `user` replaces the token."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority": "ca.pem"}}],
        "users": [{"name": "me", "user": user or {"token": "s3cret"}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "me", "namespace": "shop"}}],
    }
    path.write_text(yaml.safe_dump(document))
