"""The API server: HTTP to a target and a verb, authorization, and the answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from kubectl_egress.lab.api import discovery
from kubectl_egress.lab.api.access import User, authorize, identify, review
from kubectl_egress.lab.api.defaults import NODE_NAME
from kubectl_egress.lab.api.editing import edit_of
from kubectl_egress.lab.api.reading import Lists, selection, watch
from kubectl_egress.lab.api.registry import Registry, check_identity
from kubectl_egress.lab.api.requests import (
    TABLE,
    Form,
    Target,
    deletion,
    dry_run,
    form,
    parsed,
    strict,
    target,
    verb,
    written,
)
from kubectl_egress.lab.api.resources import BY_PLURAL, groups
from kubectl_egress.lab.api.shapes import checked
from kubectl_egress.lab.api.status import StatusError, no_such_path
from kubectl_egress.lab.api.store import ObjectStore, timestamp
from kubectl_egress.lab.api.subresources import logs, scale_of, scaled, stream
from kubectl_egress.lab.api.tables import table
from kubectl_egress.lab.parts import Istiod, Node

Body = Mapping[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HEALTH = ("/healthz", "/livez", "/readyz")
_NAMESPACES = ("default", "kube-system", "istio-system")
_LARGEST_BODY = 3 * 1024 * 1024
"""What the real server takes."""


def _json(body: Any, status: int = 200, content_type: str = "application/json") -> web.Response:
    return web.Response(body=json.dumps(body).encode(), status=status, headers={"Content-Type": content_type})


class ApiServer:
    """An embedded Kubernetes API on a socket that is given.

    `tokens` maps bearer tokens to users (`access.ADMIN` may do everything). `start` furnishes the store with the namespaces
    default, kube-system and istio-system and the node, unless they are there.
    """

    def __init__(self, store: ObjectStore, node: Node, istiod: Istiod, *, tokens: Mapping[str, User]) -> None:
        self.registry = Registry(store, istiod)
        self._store = store
        self._node = node
        self._users = dict(tokens)
        self._lists = Lists(store)
        self._runner: web.AppRunner | None = None
        self._streams: set[asyncio.Task[Any]] = set()

    async def start(self, sock: socket.socket, ssl_context: ssl.SSLContext | None) -> None:
        """Serve on a bound socket; without a context, in clear."""
        self._furnish()

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guard(request, handler)

        application = web.Application(middlewares=[guard], client_max_size=_LARGEST_BODY)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.SockSite(self._runner, sock, ssl_context=ssl_context).start()

    async def stop(self) -> None:
        """End every stream and close the socket."""
        for task in tuple(self._streams):
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _furnish(self) -> None:
        for name in _NAMESPACES:
            if self._store.peek("namespaces", "", name) is None:
                self.registry.create(
                    BY_PLURAL["namespaces"], "", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}
                )
        if self._store.peek("nodes", "", NODE_NAME) is None:
            self._store.create("nodes", _node_object())

    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn refusals into Status answers."""
        try:
            return await handler(request)
        except StatusError as error:
            return _json(error.body(), error.code)
        except web.HTTPRequestEntityTooLarge:
            too_large = StatusError(413, "RequestEntityTooLarge", f"limit is {_LARGEST_BODY}")
            return _json(too_large.body(), 413)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path in _HEALTH:
            return web.Response(text="ok")
        user = identify(self._users, request.headers)
        if (document := self._document(path, request)) is not None:
            return document
        aim = target(path)
        word = verb(request.method, aim, request.query)
        if aim.resource.plural == "selfsubjectaccessreviews":
            # everybody may ask what he may do, as by the role system:basic-user.
            return _json(review(user, written(await request.read(), aim)), 201)
        authorize(user, aim.attributes(word))
        if aim.subresource in ("log", "exec", "portforward"):
            return await self._stream(request, aim)
        if word == "watch":
            return await self._watch(request, aim)
        return await self._object(request, aim, word, user)

    # ---- what the server says about itself

    def _document(self, path: str, request: web.Request) -> web.Response | None:
        """Version, discovery and OpenAPI; None for a path of objects."""
        if path == "/version":
            return _json(discovery.VERSION)
        if path.startswith("/openapi/"):
            return self._openapi(path)
        parts = path.strip("/").split("/")
        wants_all = "apidiscovery.k8s.io" in request.headers.get("Accept", "") and ";v=v2;" in request.headers["Accept"]
        if parts == ["api"]:
            found: Any = discovery.aggregated([""]) if wants_all else discovery.api_versions(request.host)
        elif parts == ["apis"]:
            found = discovery.aggregated(list(groups())) if wants_all else discovery.group_list()
        elif parts[0] == "api" and len(parts) == 2:
            found = discovery.resource_list("", parts[1])
        elif parts[0] == "apis" and len(parts) in (2, 3):
            found = discovery.group(parts[1]) if len(parts) == 2 else discovery.resource_list(parts[1], parts[2])
        else:
            return None
        if found is None:
            raise no_such_path()
        return _json(found, content_type=discovery.AGGREGATED if wants_all and len(parts) == 1 else "application/json")

    @staticmethod
    def _openapi(path: str) -> web.Response:
        if path == "/openapi/v2":
            return _json(discovery.openapi_v2())
        if path == "/openapi/v3":
            return _json(discovery.openapi_index())
        found = discovery.openapi(path.removeprefix("/openapi/v3/"))
        if found is None:
            raise no_such_path()
        return _json(found)

    # ---- objects

    async def _object(self, request: web.Request, aim: Target, word: str, user: User) -> web.Response:
        shape = form(request.headers.get("Accept", ""), request.query)
        if word == "get":
            found = self.registry.read(aim.resource, aim.namespace, aim.name)
            return _json(scale_of(found) if aim.subresource == "scale" else shape.one(aim, found))
        if word == "list":
            page = self._lists.page(aim, request.query)
            return _json(shape.many(aim, list(page.items), page.metadata))
        content = await request.read()
        if word == "create":
            body = checked(written(content, aim), aim.resource, strict=strict(request.query))
            namespace = aim.namespace or body["metadata"].get("namespace", "")
            stored = self.registry.create(aim.resource, namespace, body, dry_run=dry_run(request.query))
            return _json(shape.one(aim, stored), 201)
        if word in ("update", "patch"):
            return _json(self._changed(request, aim, word, content, shape))
        return self._deleted(request, aim, word, content, shape)

    def _changed(self, request: web.Request, aim: Target, word: str, content: bytes, shape: Form) -> Any:
        """The answer to a replace or a patch."""
        trial = dry_run(request.query)
        if word == "patch":
            edit = edit_of(request.content_type, parsed(content), aim, strict=strict(request.query))
        elif aim.subresource == "scale":
            scale = parsed(content)
            edit = lambda body: scaled(body, scale)  # noqa: E731  (one of three edits)
        else:
            body = checked(written(content, aim), aim.resource, strict=strict(request.query))
            check_identity(aim.resource, body, aim.namespace, aim.name)
            body["metadata"].setdefault("namespace", aim.namespace)
            edit = lambda _: body  # noqa: E731
        part = "status" if aim.subresource == "status" else ""
        stored = self.registry.change(aim.resource, aim.namespace, aim.name, edit, subresource=part, dry_run=trial)
        return scale_of(stored) if aim.subresource == "scale" else shape.one(aim, stored)

    def _deleted(self, request: web.Request, aim: Target, word: str, content: bytes, shape: Form) -> web.Response:
        options = deletion(content, request.query)
        if word == "deletecollection":
            selected = selection(aim, request.query)
            doomed = [body for body in self._store.view(aim.resource.plural, aim.namespace) if selected(body)]
            for body in doomed:
                self.registry.delete(
                    aim.resource, body["metadata"].get("namespace", ""), body["metadata"]["name"], options
                )
            return _json(shape.many(aim, doomed, {"resourceVersion": str(self._store.revision)}))
        body = self.registry.delete(aim.resource, aim.namespace, aim.name, options)
        still_there = self._store.peek(aim.resource.plural, aim.namespace, aim.name) is not None
        if (still_there and not options.dry_run) or aim.resource.kind == "Pod":
            return _json(shape.one(aim, body))
        details = {
            "name": aim.name,
            "group": aim.resource.group,
            "kind": aim.resource.plural,
            "uid": body["metadata"]["uid"],
        }
        details = {key: value for key, value in details.items() if value}
        return _json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})

    # ---- streams

    async def _stream(self, request: web.Request, aim: Target) -> web.StreamResponse:
        pod = self.registry.read(aim.resource, aim.namespace, aim.name)
        with _Held(self._streams):
            if aim.subresource == "log":
                return await logs(request, self._node, pod)
            return await stream(request, self._node, aim, pod)

    async def _watch(self, request: web.Request, aim: Target) -> web.StreamResponse:
        shape = form(request.headers.get("Accept", ""), request.query)
        events = watch(self._store, aim, request.query)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        headed = True
        with _Held(self._streams), contextlib.suppress(ConnectionError):
            async for event in events:
                shown = _watched(aim, shape, event.type, event.object, headed=headed)
                headed = False
                await response.write(json.dumps({"type": event.type, "object": shown}).encode() + b"\n")
        await response.write_eof()
        return response


class _Held:
    """Keeps the running task in a set for as long as it streams, so that `stop` can end it."""

    def __init__(self, tasks: set[asyncio.Task[Any]]) -> None:
        self._tasks = tasks
        self._task = asyncio.current_task()

    def __enter__(self) -> None:
        if self._task is not None:
            self._tasks.add(self._task)

    def __exit__(self, *_: object) -> None:
        if self._task is not None:
            self._tasks.discard(self._task)


def _watched(aim: Target, shape: Form, kind: str, body: Body, *, headed: bool) -> Any:
    """The object of a watch event; only the first Table says its columns."""
    if kind == "ERROR":
        return body
    if kind == "BOOKMARK":
        body = {"kind": aim.resource.kind, **body}
        return table(aim.resource, [], body["metadata"], headed=headed) if shape.kind == TABLE else aim.served(body)
    if shape.kind == TABLE:
        metadata = {"resourceVersion": body["metadata"]["resourceVersion"]}
        return table(aim.resource, [aim.served(body)], metadata, shape.include, headed=headed)
    return shape.one(aim, body)


def _node_object() -> dict[str, Any]:
    now = timestamp()
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "the lab is ready",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    version = str(discovery.VERSION["gitVersion"])
    return {
        "metadata": {"name": NODE_NAME, "labels": {"kubernetes.io/hostname": NODE_NAME, "kubernetes.io/os": "linux"}},
        "spec": {},
        "status": {"conditions": [ready], "nodeInfo": {"kubeletVersion": version, "operatingSystem": "linux"}},
    }
