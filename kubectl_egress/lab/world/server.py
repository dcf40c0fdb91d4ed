"""The servers behind every name of the outside world: port 443, which tells TLS from clear text, and port 80."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Any, cast

import trustme

from kubectl_egress.lab.world.certificates import ASKED_NAME, Certificate, client_name, server_context
from kubectl_egress.lab.world.http import BadRequestError, Request, answer, delay_of, read_request, response
from kubectl_egress.lab.world.ledger import Ledger

# The first byte of every TLS connection (RFC 8446, 5.1: ContentType handshake).
TLS_HANDSHAKE = 0x16
LONGEST_HEAD = 2**20
PLAIN_TO_HTTPS = b"The plain HTTP request was sent to HTTPS port\n"


class Servers:
    """All names on all ports; which one a connection means is told by the address that it came to."""

    def __init__(self, authority: trustme.CA, ledger: Ledger, *, ipv6: bool = False) -> None:
        self.ledger = ledger
        self.addresses: dict[str, str] = {}
        """By name."""
        self._names: dict[str, str] = {}
        """By address, of whichever family."""
        self._families = (socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,)
        self._authority = authority
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._connections: dict[asyncio.StreamWriter, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: set[int] = set()

    def add(
        self, name: str, address: str, certificate: Certificate = Certificate.GOOD, more: Sequence[str] = ()
    ) -> None:
        """One more name at its address, and at those of IPv6."""
        self.addresses[name] = address
        self._names.update(dict.fromkeys((address, *more), name))
        self.show(name, certificate)

    def show(self, name: str, certificate: Certificate, clients: str = "") -> None:
        """From now on show this certificate, ask for one of these CAs (PEM), and end the connections from before."""
        self._contexts[name] = server_context(name, certificate, self._authority, clients)
        for writer, whose in tuple(self._connections.items()):
            if whose == name:
                writer.close()

    def listen(self, ports: Sequence[int]) -> None:
        """Begin to serve the ports, at every address; 80 in clear, every other with TLS."""
        for port in ports:
            if port not in self._listening:
                self._listening.add(port)
                for family in self._families:
                    listener = socket.create_server(("", port), family=family, backlog=1024)
                    listener.setblocking(False)
                    self._spawn(self._accept(listener, port))

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket, port: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            self._spawn(self._serve(connection, port))

    async def _serve(self, connection: socket.socket, port: int) -> None:
        connection.setblocking(False)
        address = connection.getsockname()[0]
        name = self._names.get(address, address)
        try:
            first = await _peek(connection)
            if not first:
                connection.close()
            elif port != 80 and first[0] == TLS_HANDSHAKE:
                await self._serve_tls(connection, name, port)
            else:
                reader, writer = await _streams(connection, None)
                await self._converse(reader, writer, name, port, sni=None)
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError, ValueError):
            # The client broke off; what it sent until then has been counted.
            connection.close()

    async def _serve_tls(self, connection: socket.socket, name: str, port: int) -> None:
        context = self._contexts.get(name)
        if context is None:
            connection.close()
            return
        try:
            reader, writer = await _streams(connection, context)
        except (OSError, ssl.SSLError):
            self.ledger.failed_handshakes[name] += 1
            raise
        sni = getattr(writer.get_extra_info("ssl_object"), ASKED_NAME, "")
        await self._converse(reader, writer, name, port, sni=sni)

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, port: int, sni: str | None
    ) -> None:
        """Answer requests until one side ends; `sni`: None for clear text."""
        self._connections[writer] = name
        try:
            while (request := await self._next(reader, name, port, clear=sni is None)) is not None:
                if not await self._respond(writer, request, name, port, sni):
                    return
        finally:
            del self._connections[writer]
            writer.close()

    async def _next(self, reader: asyncio.StreamReader, name: str, port: int, *, clear: bool) -> Request | None:
        try:
            request = await read_request(reader)
        except BadRequestError as error:
            if clear:
                self.ledger.note_clear_bytes(name, port, int(error.args[0]))
                self.ledger.note(name, port, encrypted=False, request={"method": "", "path": "", "status": 0})
            return None
        if request is not None and clear:
            self.ledger.note_clear_bytes(name, port, request.size)
        return request

    async def _respond(
        self, writer: asyncio.StreamWriter, request: Request, name: str, port: int, sni: str | None
    ) -> bool:
        await asyncio.sleep(delay_of(request))
        misplaced = sni is None and port != 80
        status, body = (400, PLAIN_TO_HTTPS) if misplaced else answer(request, "http" if sni is None else "https", name)
        keep = request.keep_alive and not misplaced
        record = {
            "address": writer.get_extra_info("sockname")[0],
            "method": request.method,
            "path": request.target,
            "host": request.header("host"),
            "sni": sni or "",
            "client": "" if sni is None else client_name(writer.get_extra_info("ssl_object")),
            "headers": [list(pair) for pair in request.headers],
            "status": status,
        }
        self.ledger.note(name, port, encrypted=sni is not None, request=record)
        writer.write(response(status, body, head_only=request.method == "HEAD", keep_alive=keep))
        await writer.drain()
        return keep


async def _peek(connection: socket.socket) -> bytes:
    """The first byte, which stays where it is."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(connection, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(connection)
    return connection.recv(1, socket.MSG_PEEK)


async def _streams(
    connection: socket.socket, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LONGEST_HEAD)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=context)
    return reader, asyncio.StreamWriter(cast(asyncio.WriteTransport, transport), protocol, reader, loop)
