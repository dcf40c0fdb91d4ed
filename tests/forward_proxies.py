"""Proxies of an organisation, HTTP (CONNECT) and SOCKS5: they lead to this machine, whichever name is asked for, and remember what was asked."""

from __future__ import annotations

import contextlib
import itertools
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ForwardProxy(socketserver.ThreadingTCPServer):
    """`asked`: host:port of each connection; `credentials`: what came with each, empty for none."""

    daemon_threads = True

    def __init__(self, connection: type[_Connection]) -> None:
        super().__init__(("127.0.0.1", 0), connection)
        self.asked: list[str] = []
        self.credentials: list[str] = []

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.server_address[1]}"


class _Connection(socketserver.StreamRequestHandler):
    server: ForwardProxy

    def lead(self, host: str, port: int, accepted: bytes) -> None:
        """Say that it goes on, and hand on both ways until both have ended."""
        self.server.asked.append(f"{host}:{port}")
        with socket.create_connection(("127.0.0.1", port)) as far:
            self.wfile.write(accepted)
            back = threading.Thread(target=pump, args=(far, self.connection), daemon=True)
            back.start()
            pump(self.connection, far)
            back.join(10)


class _Tunnel(_Connection):
    """CONNECT; the credentials are its Proxy-Authorization."""

    def handle(self) -> None:
        host, _, port = self.rfile.readline().split()[1].decode().rpartition(":")
        lines = (line.decode().rstrip("\r\n").split(": ", 1) for line in iter(self.rfile.readline, b"\r\n"))
        headers = {name.lower(): value for name, value in lines}
        self.server.credentials.append(headers.get("proxy-authorization", ""))
        self.lead(host, int(port), b"HTTP/1.1 200 Connection established\r\n\r\n")


class _Socks(_Connection):
    """SOCKS5 (RFC 1928, 1929); the credentials are user:password."""

    def handle(self) -> None:
        _, methods = self.rfile.read(2)
        named = 2 in self.rfile.read(methods)
        self.wfile.write(bytes([5, 2 if named else 0]))
        self.server.credentials.append(self._login() if named else "")
        kind = self.rfile.read(4)[3]
        # A name (3), which is what the proxy is to look up, or an address.
        host = self._text() if kind == 3 else socket.inet_ntoa(self.rfile.read(4))
        port = self.rfile.read(2)
        self.lead(host, int.from_bytes(port, "big"), bytes([5, 0, 0, 1, 127, 0, 0, 1]) + port)

    def _login(self) -> str:
        self.rfile.read(1)
        given = f"{self._text()}:{self._text()}"
        self.wfile.write(bytes([1, 0]))
        return given

    def _text(self) -> str:
        return self.rfile.read(self.rfile.read(1)[0]).decode()


def _unready(port: int, ends: int) -> type[_Connection]:
    begun = itertools.count()

    class Unready(_Connection):
        def handle(self) -> None:
            if next(begun) < ends:
                self.rfile.read1(1 << 16)
                self.server.asked.append("")
            else:
                self.lead("", port, b"")

    return Unready


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Hand on what comes until it ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def connect_proxy() -> contextlib.AbstractContextManager[ForwardProxy]:
    """Run one that takes CONNECT."""
    return _running(_Tunnel)


def socks_proxy() -> contextlib.AbstractContextManager[ForwardProxy]:
    """Run one that speaks SOCKS5."""
    return _running(_Socks)


def load_balancer(port: int, ends: int) -> contextlib.AbstractContextManager[ForwardProxy]:
    """Run one before a port; of the first `ends` connections nothing is left after the client's hello."""
    return _running(_unready(port, ends))


@contextmanager
def _running(connection: type[_Connection]) -> Iterator[ForwardProxy]:
    proxy = ForwardProxy(connection)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join(10)
