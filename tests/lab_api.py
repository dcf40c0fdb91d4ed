"""An API server on loopback for tests, with a node of memory and an istiod that lets everything pass but what is marked."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import trustme
import yaml

from kubectl_egress.lab.api import ADMIN, ApiServer, ObjectStore, Rule, User
from kubectl_egress.lab.controllers import Controllers
from kubectl_egress.lab.parts import LabRefusal, ProxyConfiguration

Body = Mapping[str, Any]
Result = TypeVar("Result")

USERS = {
    "admin-token": ADMIN,
    "reader-token": User("reader", (Rule("get", "deployments", "default"), Rule("list", "pods", "default"))),
}


class FakeIstiod:
    """Marks what it injects; refuses what asks for it by an annotation or by the resolution that is no modelled one."""

    def admit(self, body: Body) -> None:
        if (body.get("spec") or {}).get("resolution") == "DYNAMIC_DNS":
            raise LabRefusal("resolution DYNAMIC_DNS is not modelled")

    def inject(self, pod: Body, namespace: Body) -> Body:
        annotations = pod["metadata"].get("annotations") or {}
        if annotations.get("refuse"):
            raise LabRefusal("a pod that asks to be refused")
        if annotations.get("sidecar"):
            spec = {
                **pod["spec"],
                "initContainers": [{"name": "istio-proxy", "image": "proxy", "restartPolicy": "Always"}],
            }
            return {**pod, "spec": spec}
        return pod

    def bootstrap(self, pod: Body, directory: str, *, mark: int | None) -> Body:
        raise AssertionError("the API server does not bootstrap proxies")

    def configuration(self, pod: Body, objects: Sequence[Body]) -> ProxyConfiguration:
        raise AssertionError("the API server does not configure proxies")


class FakeNode:
    """Runs pods in name only: they are ready as soon as they are seen, and gone as soon as they are to go.

    `ready` decides which pods become ready; `finish` gives the phase of those that end. Port 8080 of every pod echoes, port
    8081 says `bye` and closes; a command is run by the machine's own shell.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.ready: Callable[[Body], bool] = lambda pod: True
        self.finish: Callable[[Body], str] = lambda pod: ""
        self.hold_terminating = False
        self._servers: list[asyncio.Server] = []
        self._ports: dict[int, int] = {}

    async def start(self) -> None:
        for port, serve in ((8080, _echo), (8081, _bye)):
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            self._servers.append(server)
            self._ports[port] = server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        for server in self._servers:
            server.close()

    async def run(self) -> None:
        async for event in self._store.subscribe():
            if event.resource == "pods" and event.type != "DELETED":
                self._sync(event.object)

    def _sync(self, pod: Body) -> None:
        metadata = pod["metadata"]
        if self._store.peek("pods", metadata["namespace"], metadata["name"]) is None:
            return
        if metadata.get("deletionTimestamp"):
            if not self.hold_terminating:
                self._store.remove("pods", metadata["namespace"], metadata["name"])
            return
        phase = self.finish(pod) or "Running"
        ready = phase == "Running" and self.ready(pod)
        names = [item["name"] for item in pod["spec"]["containers"]]
        status = {
            "phase": phase,
            "podIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [
                {"name": name, "ready": ready, "restartCount": 0, "state": {"running": {}}} for name in names
            ],
        }
        self._store.patch_status("pods", metadata["namespace"], metadata["name"], status)

    async def connect(self, pod: Body, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if port not in self._ports:
            raise ConnectionRefusedError(f"dial tcp4 127.0.0.1:{port}: connect: connection refused")
        return await asyncio.open_connection("127.0.0.1", self._ports[port])

    async def exec(self, pod: Body, container: str, command: Sequence[str], *, stdin: bool, tty: bool) -> Process:
        return await asyncio.create_subprocess_exec(*command, stdin=PIPE if stdin else None, stdout=PIPE, stderr=PIPE)

    async def logs(
        self, pod: Body, container: str, *, follow: bool, tail: int | None, previous: bool
    ) -> AsyncIterator[bytes]:
        if previous:
            raise FileNotFoundError("it never ran before")
        lines = [f"{container} line {number}\n".encode() for number in range(5)]
        for line in lines if tail is None else lines[len(lines) - tail :]:
            yield line


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _bye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(65536)
    writer.write(b"bye")
    await writer.drain()
    writer.close()


class RunningLab:
    """The server in a thread of its own; `call` runs something on its loop."""

    def __init__(self, directory: Path) -> None:
        self.store = ObjectStore()
        self.node = FakeNode(self.store)
        self.server = ApiServer(self.store, self.node, FakeIstiod(), tokens=USERS)
        self.controllers = Controllers(self.store, FakeIstiod())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: list[asyncio.Task[None]] = []
        authority = trustme.CA()
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(self._context)
        self.authority = directory / "ca.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        self.url = ""
        self.directory = directory

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def start(self) -> None:
        self._thread.start()
        self.call(self._start())

    async def _start(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        await self.node.start()
        await self.server.start(listening, self._context)
        self._tasks = [asyncio.create_task(self.node.run()), asyncio.create_task(self.controllers.run())]

    def stop(self) -> None:
        self.call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.node.stop()
        await self.server.stop()

    def kubeconfig(self, token: str = "admin-token") -> Path:
        """A kubeconfig for one of USERS."""
        cluster = {"server": self.url, "certificate-authority": str(self.authority)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "user", "namespace": "default"}}],
            "current-context": "lab",
        }
        path = self.directory / f"kubeconfig-{token}"
        path.write_text(yaml.safe_dump(config))
        return path


@contextmanager
def running_lab(directory: Path) -> Iterator[RunningLab]:
    """A lab's API server with its controllers and a fake node, for as long as the context lasts."""
    lab = RunningLab(directory)
    lab.start()
    try:
        yield lab
    finally:
        lab.stop()
