"""Whether a container is ready, asked from inside its pod's network."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from kubectl_egress.lab import kernel
from kubectl_egress.lab.parts import Body

TIMEOUT = 3.0


def loopback(address: str) -> str:
    """Where programs of a pod with this first address listen for themselves."""
    return "::1" if ":" in address else "127.0.0.1"


async def connect(
    namespaces: kernel.Namespaces, address: str, port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect from inside the network namespace; ConnectionError or OSError if nobody listens."""

    def dial() -> socket.socket:
        return socket.create_connection((address, port), TIMEOUT)

    # A socket belongs to the namespace in which it was made, whoever uses it.
    connection = await kernel.within(kernel.Namespaces(namespaces.net), dial)
    connection.setblocking(False)
    return await asyncio.open_connection(sock=connection)


async def http_status(namespaces: kernel.Namespaces, address: str, port: int, path: str) -> int:
    """The status of a GET; 0 if there is no answer."""
    try:
        reader, writer = await connect(namespaces, address, port)
    except OSError:
        return 0
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {_authority(address, port)}\r\nConnection: close\r\n\r\n".encode())
        line = (await asyncio.wait_for(reader.readline(), TIMEOUT)).split()
        return int(line[1]) if len(line) > 1 and line[1].isdigit() else 0
    except (OSError, TimeoutError):
        return 0
    finally:
        writer.close()


def _authority(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _port(container: Body, port: int | str) -> int:
    if isinstance(port, int):
        return port
    named = {entry.get("name"): entry["containerPort"] for entry in container.get("ports") or ()}
    return int(named.get(port, port if port.isdigit() else 0))


async def ask(
    container: Body, namespaces: kernel.Namespaces, address: str, execute: Callable[[list[str]], Awaitable[int]]
) -> bool:
    """One try of the container's readinessProbe; True where it has none."""
    probe = container.get("readinessProbe") or {}
    if "httpGet" in probe:
        target = probe["httpGet"]
        status = await http_status(
            namespaces, target.get("host") or address, _port(container, target["port"]), target.get("path") or "/"
        )
        return 200 <= status < 400
    if "tcpSocket" in probe:
        try:
            _, writer = await connect(namespaces, address, _port(container, probe["tcpSocket"]["port"]))
        except OSError:
            return False
        writer.close()
        return True
    if "exec" in probe:
        return await execute(list(probe["exec"]["command"])) == 0
    return True
