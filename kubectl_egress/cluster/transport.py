"""HTTP to the API server over one pool of connections: retries where they are safe, refusals as errors."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning, ProtocolError

from kubectl_egress import __version__
from kubectl_egress.cluster.access import Access, pool
from kubectl_egress.cluster.refusals import causes, refusal, unreachable
from kubectl_egress.model import Body

_CONNECT_TIMEOUT = 15.0
# The API server itself gives up on an ordinary request after 60 s.
_READ_TIMEOUT = 65.0
_ATTEMPTS = 5
_LONGEST_PAUSE = 10.0
# Beside a Retry-After, also 5xx: as client-go, and for reads alone.
_BUSY_FOR_READS = frozenset({429, 500, 502, 503, 504})

Query = Mapping[str, str]


class Transport:
    """Sends requests as one user; any thread may use it."""

    def __init__(
        self,
        access: Access,
        headers: tuple[tuple[str, str], ...] = (),
        timeout: float | None = None,
        *,
        compressed: bool = True,
    ) -> None:
        """`headers` go with every request (impersonation); `timeout` is the limit of one request, None for the usual.

        `compressed`: whether answers may be.
        """
        if not access.verified:
            # kubectl is silent about insecure-skip-tls-verify, too.
            urllib3.disable_warnings(InsecureRequestWarning)
        self.access = access
        self.timeout = timeout
        self.before_retry: Callable[[], None] | None = None
        """Called before a write is sent again; what it raises ends the attempts."""
        self._headers = headers
        self._encoding = {"Accept-Encoding": "gzip"} if compressed else {}
        self._pool = pool(access)

    @property
    def server(self) -> str:
        """The API server's base address: `https://10.0.0.1:6443`."""
        return self.access.server

    def close(self) -> None:
        """Give all connections back."""
        self._pool.clear()

    def headers(self) -> list[tuple[str, str]]:
        """Who asks: credentials (renewed if they have expired) and impersonation."""
        token = self.access.authorization()
        authorization = [("Authorization", token)] if token else []
        return [*authorization, *self._headers, ("User-Agent", f"kubectl-egress/{__version__}")]

    def json(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Body:
        """Send a request and read the JSON object that it answers with.

        Raises ApiError (by status) for a refusal, UnreachableError where nobody answers.
        """
        attempt = 0
        renewed = False
        while True:
            attempt += 1
            pause: float | None
            renewal = self.access.renewal
            credential = renewal.current if renewal else None
            try:
                response = self._send(method, path, query or {}, body, content_type, accept, self._limits())
                data = response.data
            except HTTPError as exception:
                pause = _pause_after_failure(method, exception, attempt)
                if pause is None:
                    raise unreachable(exception, self.server) from exception
            else:
                if response.status < 300:
                    return _object(data, self.server)
                if response.status == 401 and renewal and credential and not renewed and renewal.instead_of(credential):
                    # Nothing was done, whatever was asked for; and connections have shown the old certificate.
                    renewed = True
                    self._pool.clear()
                    continue
                pause = _pause_after_answer(method, response.status, response.headers.get("Retry-After"), attempt)
                if pause is None:
                    raise refusal(response.status, data)
            time.sleep(pause)
            if method != "GET" and self.before_retry is not None:
                self.before_retry()

    def text(self, path: str, query: Query, *, longest: int = 2_000_000) -> str:
        """The text that a GET answers with (a container's log), up to `longest` bytes; errors as in `json`, not repeated."""
        try:
            response = self._send("GET", path, query, None, "", "*/*", self._limits())
            data = response.read(longest, decode_content=True)
            response.release_conn()
        except HTTPError as exception:
            raise unreachable(exception, self.server) from exception
        if response.status >= 300:
            raise refusal(response.status, data)
        return data.decode(errors="replace")

    @contextlib.contextmanager
    def lines(self, path: str, query: Query, seconds: float) -> Iterator[Iterator[bytes]]:
        """Open a watch and give its lines, as they come, for about `seconds`; errors as in `json`.

        The lines end where the server or a proxy on the way ends the connection.
        """
        limits = urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=seconds + 5)
        try:
            response = self._send("GET", path, query, None, "", "application/json", limits)
            if response.status >= 300:
                raise refusal(response.status, response.data)
        except HTTPError as exception:
            raise unreachable(exception, self.server) from exception
        try:
            yield _until_closed(response)
        finally:
            # A connection in mid-stream cannot be used again.
            response.close()
            response.release_conn()

    def _limits(self) -> urllib3.Timeout:
        if self.timeout is None:
            return urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=_READ_TIMEOUT)
        return urllib3.Timeout(connect=min(_CONNECT_TIMEOUT, self.timeout), read=self.timeout)

    def _send(
        self,
        method: str,
        path: str,
        query: Query,
        body: object,
        content_type: str,
        accept: str,
        limits: urllib3.Timeout,
    ) -> urllib3.BaseHTTPResponse:
        """One attempt; the answer's body is not read yet."""
        headers = urllib3.HTTPHeaderDict(self.headers())
        headers["Accept"] = accept
        if "watch" not in query:
            headers.update(self._encoding)
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body, ensure_ascii=False).encode()
        url = self.server + path + (f"?{urlencode(query)}" if query else "")
        return self._pool.request(
            method, url, body=data, headers=headers, timeout=limits, preload_content=False, redirect=False
        )


def _object(data: bytes, server: str) -> Body:
    """The JSON object of an answer."""
    try:
        document = json.loads(data)
    except ValueError as exception:
        raise unreachable(ValueError("the answer is not JSON: is this a Kubernetes API?"), server) from exception
    if not isinstance(document, dict):
        raise unreachable(ValueError("the answer is not an object: is this a Kubernetes API?"), server)
    return document


def _until_closed(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The lines of a stream until it ends, in whatever way."""
    try:
        yield from response
    except HTTPError:
        # A watch may end at any time; who watches begins anew from where it was.
        return


def _pause_after_failure(method: str, exception: HTTPError, attempt: int) -> float | None:
    """How long to wait before a request that got no answer is sent again; None if it must not be.

    A connection that was refused never carried the request; one that was reset may have, so only reads go again.
    """
    refused = any(isinstance(item, ConnectionRefusedError) for item in (exception.__cause__, exception.__context__))
    # In the handshake, a connection that ends is an error of TLS: a server that restarts, a load balancer before it.
    ended = isinstance(exception, ProtocolError) or any(isinstance(one, ssl.SSLEOFError) for one in causes(exception))
    reset = ended and method == "GET"
    return 0.2 * attempt if (refused or reset) and attempt < 3 else None


def _pause_after_answer(method: str, status: int, retry_after: str | None, attempt: int) -> float | None:
    """How long to wait before a request that was turned away is sent again; None if it must not be."""
    retryable = status == 429 or (method == "GET" and status in _BUSY_FOR_READS and retry_after is not None)
    if not retryable or attempt >= _ATTEMPTS:
        return None
    if retry_after is not None and retry_after.isdigit():
        return min(float(retry_after), _LONGEST_PAUSE)
    return min(0.25 * float(2**attempt), _LONGEST_PAUSE)
