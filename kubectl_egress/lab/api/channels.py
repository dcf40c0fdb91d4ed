"""Port-forward and exec over WebSocket: numbered channels, as `v4.channel.k8s.io` and `v5.channel.k8s.io` have them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from asyncio.subprocess import Process
from collections.abc import Mapping
from typing import Any

from aiohttp import WSMsgType, web

from kubectl_egress.lab.parts import LabRefusal, Node

Body = Mapping[str, Any]

FORWARD_PROTOCOLS = ("v4.channel.k8s.io", "portforward.k8s.io")
EXEC_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_CHUNK = 32 * 1024


async def _send(socket: web.WebSocketResponse, channel: int, data: bytes = b"") -> None:
    """Send a frame; nobody there is the reader's matter, which ends then."""
    with contextlib.suppress(ConnectionError):
        await socket.send_bytes(bytes([channel]) + data)


def _payload(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


# ---- port-forward ---------------------------------------------------------------------------------------------------


class _Forward:
    """One forwarded port: data on channel 2i, what went wrong on channel 2i+1."""

    def __init__(self, socket: web.WebSocketResponse, index: int, port: int) -> None:
        self._socket = socket
        self._port = port
        self._data, self._error = 2 * index, 2 * index + 1
        self._arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def announce(self) -> None:
        """The first frame of each channel names the port, little-endian."""
        for channel in (self._data, self._error):
            await _send(self._socket, channel, self._port.to_bytes(2, "little"))

    def take(self, data: bytes) -> None:
        """Bytes for the pod."""
        self._arrived.put_nowait(data)

    async def run(self, node: Node, pod: Body) -> None:
        """Forward until the pod closes its side."""
        try:
            reader, writer = await node.connect(pod, self._port)
        except (OSError, LabRefusal) as error:
            where = f"error forwarding port {self._port} to pod {pod['metadata']['uid']}"
            await _send(self._socket, self._error, f"{where}: {error}".encode())
            return
        writing = asyncio.create_task(self._write(writer))
        try:
            while data := await reader.read(_CHUNK):
                await _send(self._socket, self._data, data)
        except ConnectionError as error:
            await _send(self._socket, self._error, f"lost connection to pod: {error}".encode())
        finally:
            writing.cancel()
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writing

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(await self._arrived.get())
                await writer.drain()


async def forward(request: web.Request, node: Node, pod: Body, ports: list[int]) -> web.WebSocketResponse:
    """Answer a port-forward: until the client goes, or every port's connection has ended."""
    socket = web.WebSocketResponse(protocols=FORWARD_PROTOCOLS, compress=False, max_msg_size=0)
    await socket.prepare(request)
    forwards = [_Forward(socket, index, port) for index, port in enumerate(ports)]
    for one in forwards:
        await one.announce()
    running = asyncio.create_task(_run_all(forwards, node, pod))
    reading = asyncio.create_task(_dispatch(socket, forwards))
    try:
        await asyncio.wait([running, reading], return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel(running, reading)
    await socket.close()
    return socket


async def _run_all(forwards: list[_Forward], node: Node, pod: Body) -> None:
    await asyncio.gather(*(one.run(node, pod) for one in forwards))


async def _dispatch(socket: web.WebSocketResponse, forwards: list[_Forward]) -> None:
    async for message in socket:
        if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
            return
        data = _payload(message.data)
        # the error channels are the server's alone.
        if len(data) > 1 and data[0] % 2 == 0 and data[0] // 2 < len(forwards):
            forwards[data[0] // 2].take(data[1:])


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# ---- exec -----------------------------------------------------------------------------------------------------------


def exit_status(code: int) -> dict[str, Any]:
    """The Status on the error channel (client-go/tools/remotecommand, v4 error decoder)."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    shown = code if code > 0 else 128 - code
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {shown}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(shown)}]},
    }


def start_failure(message: str) -> dict[str, Any]:
    """The Status of a command that could not be started."""
    text = f"Internal error occurred: error executing command in container: {message}"
    details = {"causes": [{"message": f"error executing command in container: {message}"}]}
    status = {"status": "Failure", "message": text, "reason": "InternalError", "details": details, "code": 500}
    return {"metadata": {}, **status}


async def execute(
    request: web.Request, node: Node, pod: Body, container: str, command: list[str], streams: frozenset[str]
) -> web.WebSocketResponse:
    """Answer an exec; `streams` are those of stdin, stdout, stderr, tty that were asked for."""
    socket = web.WebSocketResponse(protocols=EXEC_PROTOCOLS, compress=False, max_msg_size=0)
    await socket.prepare(request)
    try:
        process = await node.exec(pod, container, command, stdin="stdin" in streams, tty="tty" in streams)
    except (OSError, LabRefusal) as error:
        await _send(socket, ERROR, json.dumps(start_failure(str(error))).encode())
        await socket.close()
        return socket
    # an empty frame on the lowest channel tells the client that the connection stands.
    await _send(socket, STDOUT)
    reading = asyncio.create_task(_feed(socket, process))
    printing = asyncio.create_task(_print(socket, process))
    try:
        await asyncio.wait([reading, printing], return_when=asyncio.FIRST_COMPLETED)
        if printing.done():
            await _send(socket, ERROR, json.dumps(exit_status(await process.wait())).encode())
    finally:
        await _cancel(reading, printing)
        await _end(process)
    await socket.close()
    return socket


async def _print(socket: web.WebSocketResponse, process: Process) -> None:
    """What the command writes, until it has ended."""
    pipes = ((STDOUT, process.stdout), (STDERR, process.stderr))
    await asyncio.gather(*(_pour(socket, channel, pipe) for channel, pipe in pipes if pipe is not None))
    await process.wait()


async def _pour(socket: web.WebSocketResponse, channel: int, pipe: asyncio.StreamReader) -> None:
    while data := await pipe.read(_CHUNK):
        await _send(socket, channel, data)


async def _feed(socket: web.WebSocketResponse, process: Process) -> None:
    """What the client sends, until it goes: input, and in v5 the end of it."""
    async for message in socket:
        if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
            return
        data = _payload(message.data)
        pipe = process.stdin
        if pipe is None or not data:
            continue
        with contextlib.suppress(ConnectionError):
            if data[0] == STDIN:
                pipe.write(data[1:])
                await pipe.drain()
            elif data[:2] == bytes([CLOSE, STDIN]):
                pipe.close()


async def _end(process: Process) -> None:
    """A command does not outlive its client."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
