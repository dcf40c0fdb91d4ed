"""A SOCKS5 proxy (RFC 1928, 1929) that leads to this machine, whichever name is asked for; it remembers what was asked."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.connect_proxy import pump


class SocksProxy(socketserver.ThreadingTCPServer):
    """`asked`: host:port of each connection; `credentials`: user:password of each, empty for none."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.asked: list[str] = []
        self.credentials: list[str] = []

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.server_address[1]}"


class _Connection(socketserver.StreamRequestHandler):
    server: SocksProxy

    def handle(self) -> None:
        _, methods = self.rfile.read(2)
        named = 2 in self.rfile.read(methods)
        self.wfile.write(bytes([5, 2 if named else 0]))
        self.server.credentials.append(self._login() if named else "")
        kind = self.rfile.read(4)[3]
        # A name (3), which is what the proxy is to look up, or an address.
        host = self._text() if kind == 3 else socket.inet_ntoa(self.rfile.read(4))
        port = int.from_bytes(self.rfile.read(2), "big")
        self.server.asked.append(f"{host}:{port}")
        with socket.create_connection(("127.0.0.1", port)) as far:
            self.wfile.write(bytes([5, 0, 0, 1, 127, 0, 0, 1]) + port.to_bytes(2, "big"))
            back = threading.Thread(target=pump, args=(far, self.connection), daemon=True)
            back.start()
            pump(self.connection, far)
            back.join(10)

    def _login(self) -> str:
        self.rfile.read(1)
        given = f"{self._text()}:{self._text()}"
        self.wfile.write(bytes([1, 0]))
        return given

    def _text(self) -> str:
        return self.rfile.read(self.rfile.read(1)[0]).decode()


@contextmanager
def socks_proxy() -> Iterator[SocksProxy]:
    """Run one."""
    proxy = SocksProxy()
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join(10)
