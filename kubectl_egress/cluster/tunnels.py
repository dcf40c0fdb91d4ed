"""WebSockets through the API server: a pod's port as a socket, a command in a container."""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import json
from collections.abc import Container, Iterator, Sequence
from types import TracebackType
from typing import Any, cast
from urllib.parse import urlencode

from websocket import (
    ABNF,
    WebSocket,
    WebSocketBadStatusException,
    WebSocketConnectionClosedException,
    WebSocketException,
)

from kubectl_egress.cluster.refusals import refusal, unreachable
from kubectl_egress.cluster.sockets import open_socket
from kubectl_egress.cluster.transport import Transport
from kubectl_egress.errors import EgressError, UnreachableError
from kubectl_egress.model import Ref

_PORT_FORWARD = ("v4.channel.k8s.io",)
_EXEC = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDOUT, _STDERR, _STATUS = 1, 2, 3
_CHUNK = 1 << 16


class PortForward:
    """A connection to one port of a pod, as much of a socket as http.client needs.

    The subprotocol: channel 0 is the data, channel 1 an error in words; the first frame of each is the port's number.
    """

    def __init__(self, transport: Transport, pod: Ref, port: int, timeout: float) -> None:
        """Connect. ForbiddenError, NotFoundError, ApiError if the API server refuses; UnreachableError otherwise."""
        self._transport = transport
        self._opened = {0: False, 1: False}
        self._pending = b""
        self._ended = False
        self._stream = _Kept(_Received(self), _CHUNK)
        self._socket: Any = _connect(transport, pod, "portforward", {"ports": str(port)}, _PORT_FORWARD, timeout)

    def __enter__(self) -> PortForward:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def ended(self) -> bool:
        """Whether nothing more can come."""
        return self._ended and not self._pending

    def close(self) -> None:
        """End the connection."""
        self._ended, self._pending = True, b""
        _close(self._socket)

    def sendall(self, data: bytes) -> None:
        """Send to the pod."""
        try:
            self._socket.send(b"\0" + bytes(data), ABNF.OPCODE_BINARY)
        except (WebSocketException, OSError) as exception:
            raise unreachable(exception, self._transport.server) from exception

    def makefile(self, mode: str) -> io.BufferedReader:
        """What the pod sends, as a stream; it is one for all who ask, and each goes on where the last one stopped."""
        assert mode == "rb", mode
        return self._stream

    def receive(self, size: int) -> bytes:
        """Up to `size` bytes from the pod; empty at the end. UnreachableError with the kubelet's words if it failed."""
        while not self._pending and not self._ended:
            self._read_frame()
        taken, self._pending = self._pending[:size], self._pending[size:]
        return taken

    def _read_frame(self) -> None:
        try:
            opcode, data = self._socket.recv_data(control_frame=False)
        except WebSocketConnectionClosedException:
            self._ended = True
            return
        except (WebSocketException, OSError) as exception:
            raise unreachable(exception, self._transport.server) from exception
        if opcode == ABNF.OPCODE_CLOSE:
            self._ended = True
        if opcode != ABNF.OPCODE_BINARY or not data:
            return
        channel = data[0]
        if not self._opened.get(channel, True):
            self._opened[channel] = True
        elif channel == 0:
            self._pending += data[1:]
        else:
            raise UnreachableError(
                f"port-forward: {' '.join(data[1:].decode('utf-8', 'replace').split())}",
                "check that the container is running: kubectl get pod",
            )


class _Received(io.RawIOBase):
    """The bytes that a PortForward receives."""

    def __init__(self, source: PortForward) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.receive(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Kept(io.BufferedReader):
    """A stream that stays open when one answer has been read: it may hold the beginning of the next."""

    def close(self) -> None:
        """Nothing: the connection is the PortForward's to end."""


class PodHttp:
    """HTTP GETs to one port of a pod, over one connection for as long as the pod keeps it."""

    def __init__(self, transport: Transport, pod: Ref, port: int, timeout: float) -> None:
        """Connect; errors as of PortForward."""
        self._open = functools.partial(PortForward, transport, pod, port, timeout)
        self._forward = self._open()
        self._port = port

    def __enter__(self) -> PodHttp:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._forward.close()

    def get(self, path: str, accepted: Container[int] = (200,)) -> str:
        """The text at a path. UnreachableError for a status that is not accepted, or an answer that is cut off."""
        return self.get_all((path,), accepted)[path]

    def get_all(self, paths: Sequence[str], accepted: Container[int] = (200,)) -> dict[str, str]:
        """The texts by path; errors as of `get`.

        All are asked at once and answered one after another (RFC 9112 §9.3.2): a far API server costs one round trip.
        """
        texts: dict[str, str] = {}
        while waiting := [path for path in paths if path not in texts]:
            if self._forward.ended:
                self._forward = self._open()
            self._forward.sendall(b"".join(map(self._request, waiting)))
            for path in waiting:
                try:
                    texts[path] = self._answer(path, accepted)
                except http.client.RemoteDisconnected as exception:
                    # Who closes after an answer has not looked at the next question.
                    if path is waiting[0]:
                        raise self._cut_off(path, exception) from exception
                    self._forward.close()
                except http.client.HTTPException as exception:
                    raise self._cut_off(path, exception) from exception
                if self._forward.ended:
                    break
        return texts

    def _request(self, path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: localhost:{self._port}\r\n\r\n".encode()

    def _answer(self, path: str, accepted: Container[int]) -> str:
        # http.client's connection would close the socket before the body of a last answer is read.
        response = http.client.HTTPResponse(cast("Any", self._forward), method="GET")
        response.begin()
        text = response.read().decode("utf-8", "replace")
        if response.will_close:
            self._forward.close()
        if response.status not in accepted:
            raise UnreachableError(
                f"GET {path} on port {self._port} answered {response.status}: {' '.join(text.split())[:200]}",
                "check which program listens there",
            )
        return text

    def _cut_off(self, path: str, exception: http.client.HTTPException) -> UnreachableError:
        return UnreachableError(
            f"port {self._port} did not answer GET {path}: {type(exception).__name__}",
            "check that the container is running: kubectl get pod",
        )


def run_command(transport: Transport, pod: Ref, container: str, command: Sequence[str], timeout: float) -> str:
    """Run a command in a container and return what it writes to stdout.

    UnreachableError with its stderr if it fails; ForbiddenError, NotFoundError, ApiError if the API server refuses.
    """
    query = {"container": container, "command": list(command), "stdout": "true", "stderr": "true"}
    connection = _connect(transport, pod, "exec", query, _EXEC, timeout)
    received = {_STDOUT: bytearray(), _STDERR: bytearray(), _STATUS: bytearray()}
    try:
        for channel, data in _frames(connection):
            if channel in received:
                received[channel] += data
    except (WebSocketException, OSError) as exception:
        raise unreachable(exception, transport.server) from exception
    finally:
        _close(connection)
    failure = _failure(bytes(received[_STATUS]))
    if failure is not None:
        said = " ".join(received[_STDERR].decode("utf-8", "replace").split())
        raise UnreachableError(f"{command[0]}: {said or failure}", f"check the container {container} of the pod")
    return received[_STDOUT].decode("utf-8", "replace")


def _frames(connection: Any) -> Iterator[tuple[int, bytes]]:
    """The channels' data until the connection ends."""
    while True:
        try:
            opcode, data = connection.recv_data(control_frame=False)
        except WebSocketConnectionClosedException:
            return
        if opcode == ABNF.OPCODE_CLOSE:
            return
        if data:
            yield data[0], data[1:]


def _failure(status: bytes) -> str | None:
    """Why the command failed, by the Status on channel 3; None if it did not. No Status means that it was cut off."""
    try:
        document = json.loads(status)
    except ValueError:
        return "the connection ended before the command did"
    return None if document.get("status") == "Success" else str(document.get("message", "it failed"))


def _connect(
    transport: Transport,
    pod: Ref,
    subresource: str,
    query: dict[str, Any],
    protocols: Sequence[str],
    timeout: float,
) -> Any:
    """Open a WebSocket to a subresource of a pod.

    Not by the client's own function: it sends no header but the authorization, so impersonation would be lost.
    """
    try:
        socket = open_socket(transport.access, timeout)
    except OSError as exception:
        raise unreachable(exception, transport.server) from exception
    # websocket-client annotates only some of its methods.
    connection: Any = WebSocket(skip_utf8_validation=True)
    path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/{subresource}?{urlencode(query, doseq=True)}"
    url = "ws" + transport.server.removeprefix("http") + path
    headers = [f"{name}: {value}" for name, value in transport.headers()]
    connection.settimeout(timeout)
    try:
        connection.connect(
            url, header=headers, subprotocols=list(protocols), suppress_origin=True, redirect_limit=0, socket=socket
        )
    except WebSocketBadStatusException as exception:
        _close(connection)
        raise _refused(exception) from exception
    except (WebSocketException, OSError) as exception:
        _close(connection)
        raise unreachable(exception, transport.server) from exception
    return connection


def _refused(exception: WebSocketBadStatusException) -> EgressError:
    """The refusal of a handshake, which is a Status as of any other request."""
    return refusal(exception.status_code, cast("Any", exception).resp_body or b"")


def _close(connection: Any) -> None:
    """Close, without waiting for the other side's farewell."""
    with contextlib.suppress(WebSocketException, OSError):
        connection.shutdown()
