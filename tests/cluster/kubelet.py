"""The kubelet's endpoint, as far as the API server passes requests on to it: logs, exec, port-forward."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from aiohttp import web

from kubectl_egress.lab.api import channels
from kubectl_egress.lab.parts import Body, LabRefusal, Node, Store

# The kubelet's own names for exec's streams.
STREAMS = {"input": "stdin", "output": "stdout", "error": "stderr", "tty": "tty"}


class Kubelet:
    """An HTTPS server that only the API server reaches."""

    def __init__(self, store: Store, node: Node) -> None:
        self._store = store
        self._node = node
        self._runner: web.AppRunner | None = None

    async def start(self, address: str, port: int, tls: ssl.SSLContext) -> None:
        """Listen."""
        application = web.Application()
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        for method in ("GET", "POST"):
            application.router.add_route(method, "/exec/{namespace}/{pod}/{container}", self._exec)
            application.router.add_route(method, "/portForward/{namespace}/{pod}", self._forward)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port, ssl_context=tls).start()

    async def stop(self) -> None:
        """End, and whatever is under way."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _pod(self, request: web.Request) -> Body:
        namespace, name = request.match_info["namespace"], request.match_info["pod"]
        pod = self._store.get("pods", namespace, name)
        if pod is None:
            raise web.HTTPNotFound(text=f"pod {namespace}/{name} not found")
        return pod

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        streams = frozenset(ours for theirs, ours in STREAMS.items() if query.get(theirs) in ("1", "true"))
        container = request.match_info["container"]
        command = query.getall("command", [])
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise web.HTTPBadRequest(text="this node speaks WebSocket only")
        return await channels.execute(request, self._node, self._pod(request), container, command, streams)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        ports = [int(port) for port in request.query.getall("port", [])]
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise web.HTTPBadRequest(text="this node speaks WebSocket only")
        return await channels.forward(request, self._node, self._pod(request), ports)

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        query, pod = request.query, self._pod(request)
        tail = query.get("tailLines")
        output = self._node.logs(
            pod,
            request.match_info["container"],
            follow=query.get("follow") == "true",
            tail=None if tail is None else int(tail),
            previous=query.get("previous") == "true",
        )
        try:
            first = await anext(output, None)
        except (LabRefusal, FileNotFoundError) as error:
            raise web.HTTPNotFound(text=str(error)) from error
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):  # the reader has gone
            while first is not None:
                await response.write(first)
                first = await anext(output, None)
            await response.write_eof()
        return response
