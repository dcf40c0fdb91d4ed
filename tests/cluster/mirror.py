"""The node's view of the API server: what it watches, kept in memory, and what it says about its pods."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

import aiohttp

from kubectl_egress.lab.parts import Body, StoreEvent

Key = tuple[str, str, str]
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
# What a pod's environment and volumes are made of, and what it may reach.
COLLECTIONS = {
    "configmaps": "/api/v1/configmaps",
    "secrets": "/api/v1/secrets",
    "namespaces": "/api/v1/namespaces",
    "networkpolicies": "/apis/networking.k8s.io/v1/networkpolicies",
    "pods": "/api/v1/pods",
}
GONE = 410
PAUSE = 0.2


class ApiRefusalError(Exception):
    """What the API server said no to, and with which status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """JSON requests to the API server."""

    def __init__(self, address: str, tls: ssl.SSLContext) -> None:
        self._address = address
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, limit=64))

    async def close(self) -> None:
        """Give the connections back."""
        await self._session.close()

    async def ask(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json", **query: str
    ) -> Any:
        """The answer's JSON, or its text where it is none. Raises ApiRefusalError, and aiohttp's errors."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type} if data else {}
        async with self._session.request(
            method, self._address + path, data=data, headers=headers, params=query
        ) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise ApiRefusalError(answer.status, text.strip())
            return json.loads(text) if "json" in answer.headers.get("Content-Type", "") else text

    async def ready(self, url: str) -> bool:
        """Whether a program of the control plane says that it is ready."""
        async with self._session.get(url) as answer:
            return answer.status == 200

    async def lines(self, path: str, **query: str) -> AsyncIterator[bytes]:
        """The lines of a watch, until the server ends it."""
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(self._address + path, params=query, timeout=timeout) as answer:
            if answer.status >= 400:
                raise ApiRefusalError(answer.status, await answer.text())
            buffer = b""
            async for chunk in answer.content.iter_any():
                *whole, buffer = (buffer + chunk).split(b"\n")
                for line in whole:
                    yield line


class Mirror:
    """Implements as much of `lab.parts.Store` as a node asks of it."""

    def __init__(self, api: Api, node: str) -> None:
        self._api = api
        self._selectors = {"pods": {"fieldSelector": f"spec.nodeName={node}"}}
        self._objects: dict[Key, Body] = {}
        self._listeners: list[asyncio.Queue[StoreEvent]] = []
        self._statuses: dict[tuple[str, str], Body] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for resource in COLLECTIONS:
                tasks.create_task(self._follow(resource))

    async def _follow(self, resource: str) -> None:
        while True:
            try:
                version = await self._list(resource)
                while True:
                    version = await self._watch(resource, version)
            except (ApiRefusalError, aiohttp.ClientError):
                # Too old a version, or a server that is just coming up: from the beginning.
                await asyncio.sleep(PAUSE)

    async def _list(self, resource: str) -> str:
        found = await self._api.ask("GET", COLLECTIONS[resource], **self._selectors.get(resource, {}))
        listed = {_key(resource, item): item for item in found["items"]}
        for key in [key for key in self._objects if key[0] == resource and key not in listed]:
            self._take("DELETED", key, self._objects[key])
        for key, body in listed.items():
            self._take("MODIFIED" if key in self._objects else "ADDED", key, body)
        return str(found["metadata"]["resourceVersion"])

    async def _watch(self, resource: str, version: str) -> str:
        query = {"watch": "true", "resourceVersion": version, **self._selectors.get(resource, {})}
        async for line in self._api.lines(COLLECTIONS[resource], **query):
            event = json.loads(line)
            body = event["object"]
            if event["type"] == "ERROR":
                raise ApiRefusalError(int(body.get("code") or GONE), str(body.get("message")))
            version = body["metadata"]["resourceVersion"]
            self._take(event["type"], _key(resource, body), body)
        return version

    def _take(self, kind: str, key: Key, body: Body) -> None:
        if kind == "DELETED":
            self._objects.pop(key, None)
        else:
            self._objects[key] = body
        for listener in self._listeners:
            listener.put_nowait(StoreEvent(kind, key[0], body))

    # ---- lab.parts.Store

    async def subscribe(self) -> AsyncIterator[StoreEvent]:
        """First an ADDED for everything that is there, then every change."""
        queue: asyncio.Queue[StoreEvent] = asyncio.Queue()
        for key, body in self._objects.items():
            queue.put_nowait(StoreEvent("ADDED", key[0], body))
        self._listeners.append(queue)
        while True:
            yield await queue.get()

    def get(self, resource: str, namespace: str, name: str) -> Body | None:
        """One object, if it is there."""
        return self._objects.get((resource, namespace, name))

    def list(self, resource: str, namespace: str | None = None) -> list[Body]:
        """All objects of a resource, of one namespace or of all."""
        return [body for key, body in self._objects.items() if key[0] == resource and namespace in (None, key[1])]

    def create(self, resource: str, body: Body) -> Body:
        """A node creates nothing."""
        raise NotImplementedError(resource, body["metadata"]["name"])

    def update(self, resource: str, body: Body) -> Body:
        """A node replaces nothing."""
        raise NotImplementedError(resource, body["metadata"]["name"])

    def delete(self, resource: str, namespace: str, name: str) -> None:
        """A node asks for no object to go."""
        raise NotImplementedError(resource, namespace, name)

    def patch_status(self, resource: str, namespace: str, name: str, status: Body) -> Body | None:
        """Merge into a pod's status, in the background: only the newest counts."""
        waiting = (namespace, name) in self._statuses
        self._statuses[namespace, name] = status
        if not waiting:
            self._background(self._write_status(resource, namespace, name))
        return self.get(resource, namespace, name)

    async def _write_status(self, resource: str, namespace: str, name: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/{resource}/{name}"
        while (status := self._statuses.get((namespace, name))) is not None:
            body = self.get(resource, namespace, name)
            if body is not None:
                # With its uid: another pod may have the name by now.
                patch = {"metadata": {"uid": body["metadata"]["uid"]}, "status": status}
                try:
                    await self._api.ask("PATCH", f"{path}/status", patch, content_type=MERGE)
                except ApiRefusalError as refusal:
                    # Gone, or another under its name: nothing to say any more. Everything else is the node's fault.
                    if refusal.status not in (404, 409) and "metadata.uid" not in str(refusal):
                        print(f"the status of pod {namespace}/{name} is refused: {refusal}", file=sys.stderr)
            if self._statuses.get((namespace, name)) is status:
                del self._statuses[namespace, name]

    def remove(self, resource: str, namespace: str, name: str) -> None:
        """Take a terminating pod away for good."""
        body = self.get(resource, namespace, name)
        if body is not None:
            self._background(self._remove(f"/api/v1/namespaces/{namespace}/{resource}/{name}", body["metadata"]["uid"]))

    async def _remove(self, path: str, uid: str) -> None:
        # In the body: beside one, the API server ignores the query.
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        try:
            await self._api.ask("DELETE", path, options)
        except ApiRefusalError as refusal:
            if refusal.status not in (404, 409):
                raise

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _key(resource: str, body: Mapping[str, Any]) -> Key:
    return resource, body["metadata"].get("namespace", ""), body["metadata"]["name"]
