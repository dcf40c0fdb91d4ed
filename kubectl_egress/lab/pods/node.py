"""The lab's only node: runs the pods of the store, keeps their sidecars configured, and answers the API server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import IO, Any

from kubectl_egress.lab import kernel
from kubectl_egress.lab.families import IPV4, IPV6, families_of
from kubectl_egress.lab.network import POD_NETWORK, in_ipv6
from kubectl_egress.lab.parts import Body, Istiod, LabRefusal, Store, StoreEvent
from kubectl_egress.lab.pods import probes
from kubectl_egress.lab.pods.pod import PodRunner
from kubectl_egress.lab.pods.policies import Permission, egress_of
from kubectl_egress.lab.pods.processes import ContainerProcess
from kubectl_egress.lab.pods.sandbox import Machine
from kubectl_egress.lab.pods.sidecar import MESH_RESOURCES, Knowledge

FIRST_POD = 10
CONTROL_PLANE_LABEL = ("app", "istiod")
CONTROL_PLANE_PORT = 15014
# What decides on what a pod may reach: policies, and whom they select.
POLICY_RESOURCES = ("networkpolicies", "pods", "namespaces")
CONFIG_RESOURCES = ("serviceentries", "destinationrules", "virtualservices", "sidecars", "envoyfilters")
CHUNK = 2**16
Key = tuple[str, str]


def _key(pod: Body) -> Key:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


class LabNode:
    """Implements `parts.Node`."""

    def __init__(self, store: Store, istiod: Istiod, machine: Machine) -> None:
        self._store = store
        self._istiod = istiod
        self._machine = machine
        self._runners: dict[str, PodRunner] = {}
        """By uid: a pod may come again under its name before the old one is gone."""
        self._current: dict[Key, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._knowledge = Knowledge()
        self._delay = 0.0
        self._delays: dict[str, float] = {}
        self._held = ""
        self._next = FIRST_POD
        self._servers: list[asyncio.Server] = []

    # ---- following the store

    async def run(self) -> None:
        """Follow the store until cancelled; then end every pod."""
        try:
            async for event in self._store.subscribe():
                self._handle(event)
        finally:
            for server in self._servers:
                server.close()
            await asyncio.gather(*(runner.stop(0) for runner in tuple(self._runners.values())), return_exceptions=True)

    def _handle(self, event: StoreEvent) -> None:
        if event.resource in POLICY_RESOURCES:
            self._restrict()
        if event.resource == "pods":
            self._handle_pod(event)
        elif event.resource in MESH_RESOURCES:
            self._learn()
        elif event.resource in ("configmaps", "secrets") and event.type == "MODIFIED":
            for runner in self._runners.values():
                if runner.pod["metadata"]["namespace"] == event.object["metadata"]["namespace"]:
                    runner.refresh_volumes()

    def _handle_pod(self, event: StoreEvent) -> None:
        pod, uid = event.object, str(event.object["metadata"]["uid"])
        runner = self._runners.get(uid)
        if runner is None:
            if event.type != "DELETED" and not pod["metadata"].get("deletionTimestamp"):
                self._start(pod, uid)
            return
        runner.pod = pod
        if event.type == "DELETED":
            # Taken away by force while it was ending: the rest of its grace is over.
            runner.hurry() if runner.stopping else self._background(self._end(runner, uid, 0))
        elif pod["metadata"].get("deletionTimestamp"):
            grace = pod["metadata"].get("deletionGracePeriodSeconds")
            self._background(self._end(runner, uid, 30.0 if grace is None else float(grace)))

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _start(self, pod: Body, uid: str) -> None:
        namespace, name = _key(pod)

        def publish(status: Body) -> None:
            current = self._store.get("pods", namespace, name)
            if current is not None and current["metadata"]["uid"] == uid:
                self._store.patch_status("pods", namespace, name, status)

        runner = self._make_runner(pod, publish)
        runner.redirect_held = namespace == self._held
        runner.permitted = self._permitted(pod)
        self._runners[uid] = runner
        self._current[_key(pod)] = uid
        runner.start()
        if (pod["metadata"].get("labels") or {}).get(CONTROL_PLANE_LABEL[0]) == CONTROL_PLANE_LABEL[1]:
            self._background(self._serve_control_plane(runner))

    def _make_runner(self, pod: Body, publish: Callable[[Body], None]) -> PodRunner:
        namespace, name = _key(pod)
        return PodRunner(
            pod,
            self._addresses(pod),
            self._machine,
            self._istiod,
            lambda resource, wanted: self._store.get(resource, namespace, wanted),
            publish,
            lambda: self._knowledge.known(self._delay_of(name)),
        )

    async def _end(self, runner: PodRunner, uid: str, grace: float) -> None:
        if self._runners.get(uid) is not runner or runner.stopping:
            return
        runner.stopping = True
        await runner.stop(grace)
        self._runners.pop(uid, None)
        key = _key(runner.pod)
        if self._current.get(key) == uid:
            del self._current[key]
        current = self._store.get("pods", *key)
        if current is not None and current["metadata"]["uid"] == uid:
            self._store.remove("pods", *key)

    def _addresses(self, pod: Body) -> tuple[str, ...]:
        """Free addresses of the pod's families."""
        taken = {address for runner in self._runners.values() for address in runner.addresses}
        while True:
            address = str(POD_NETWORK[self._next])
            self._next = self._next + 1 if self._next < POD_NETWORK.num_addresses - 2 else FIRST_POD
            both = {IPV4: address, IPV6: in_ipv6(address)}
            if not taken.intersection(both.values()):
                return tuple(both[family] for family in families_of(pod))

    def _runner(self, pod: Body) -> PodRunner:
        uid = self._current.get(_key(pod))
        if uid is None:
            raise LabRefusal(f"pod {pod['metadata']['name']} does not run")
        return self._runners[uid]

    def runner(self, namespace: str, name: str) -> PodRunner:
        """The pod's runner; LabRefusal if there is no such pod."""
        return self._runner({"metadata": {"namespace": namespace, "name": name}})

    # ---- configuration

    def set_delay(self, seconds: float, pod: str = "") -> None:
        """Let configuration come late: everywhere, or for pods whose name begins with `pod` (new ones too)."""
        if pod:
            self._delays[pod] = seconds
        else:
            self._delay = seconds
            self._delays.clear()
        self._schedule()

    def hold_redirect(self, namespace: str) -> None:
        """Leave the redirect out of the pods of a namespace that begin from now on; '' for none."""
        self._held = namespace

    def _delay_of(self, name: str) -> float:
        matching = [seconds for prefix, seconds in self._delays.items() if name.startswith(prefix)]
        return max(matching, default=self._delay)

    def _learn(self) -> None:
        self._knowledge.learn([body for resource in MESH_RESOURCES for body in self._store.list(resource)])
        self._schedule()

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        for uid, runner in self._runners.items():
            if runner.has_proxy:
                delay = self._delay_of(runner.pod["metadata"]["name"])
                loop.call_later(delay + 0.01 if delay else 0.0, self._configure, uid)

    def _configure(self, uid: str) -> None:
        runner = self._runners.get(uid)
        if runner is not None:
            self._background(runner.configure())

    # ---- network policies

    def _permitted(self, pod: Body) -> tuple[Permission, ...] | None:
        policies = self._store.list("networkpolicies", pod["metadata"]["namespace"])
        if not policies:
            return None
        return egress_of(pod, policies, self._store.list("pods"), self._store.list("namespaces"))

    def _restrict(self) -> None:
        for runner in self._runners.values():
            permitted = self._permitted(runner.pod)
            if permitted != runner.permitted:
                runner.permitted = permitted
                self._background(runner.restrict())

    # ---- istiod, as far as it is a pod

    async def _serve_control_plane(self, runner: PodRunner) -> None:
        """istiod's debug port inside its pod: /debug/configz (pilot/pkg/xds/debug.go)."""
        while runner.sandbox is None:
            await asyncio.sleep(0.02)

        def listen() -> socket.socket:
            return socket.create_server(("", CONTROL_PLANE_PORT))

        sock = await kernel.within(kernel.Namespaces(runner.sandbox.namespaces.net), listen)
        self._servers.append(await asyncio.start_server(self._answer_debug, sock=sock))

    async def _answer_debug(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            request = (await reader.readuntil(b"\r\n\r\n")).split()
            path = request[1].decode().partition("?")[0] if len(request) > 1 else ""
            kinds = {"ServiceEntry", "DestinationRule", "VirtualService", "Sidecar", "EnvoyFilter"}
            known = [body for body in self._knowledge.known(self._delay) if body.get("kind") in kinds]
            found = {"/debug/configz": json.dumps(known).encode(), "/ready": b""}.get(path)
            line = b"HTTP/1.1 404 Not Found" if found is None else b"HTTP/1.1 200 OK"
            body = b"404 page not found\n" if found is None else found
            head = b"\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            writer.write(line + head + body)
            await writer.drain()
        writer.close()

    # ---- what the API server asks

    async def connect(self, pod: Body, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a port on the pod's loopback; ConnectionError if nobody listens or the pod does not run."""
        try:
            runner = self._runner(pod)
        except LabRefusal as refusal:
            raise ConnectionRefusedError(str(refusal)) from refusal
        if runner.sandbox is None:
            raise ConnectionRefusedError(f"pod {pod['metadata']['name']} does not run yet")
        return await probes.connect(runner.sandbox.namespaces, probes.loopback(runner.address), port)

    async def exec(
        self, pod: Body, container: str, command: Sequence[str], *, stdin: bool, tty: bool
    ) -> ContainerProcess:
        """Start a command in the container; with `tty` its two outputs are one, and there is no terminal behind it."""
        try:
            runner = self._runner(pod)
        except LabRefusal as refusal:
            raise FileNotFoundError(2, str(refusal), container) from refusal
        return await runner.execute(container, list(command), stdin=stdin, merged=tty)

    async def logs(
        self, pod: Body, container: str, *, follow: bool, tail: int | None, previous: bool
    ) -> AsyncIterator[bytes]:
        """The container's output from the file that it is written to; FileNotFoundError if there is none."""
        runner = self._runner(pod)
        found = runner.containers.get(container)
        if found is None:
            raise FileNotFoundError(2, "the container has not started", container)
        path = found.log_file(previous=previous)
        # Held open: the file of a pod that is gone can be read to its end.
        with path.open("rb") as file:
            file.seek(0 if tail is None else _tail_position(path, tail))
            while True:
                # Asked before reading: what it wrote last is there when it no longer runs.
                going = follow and bool(found.state.running_since) and _is_at(file, path)
                if chunk := file.read(CHUNK):
                    yield chunk
                elif not going:
                    return
                else:
                    await asyncio.sleep(0.1)


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether the open file is still the one at its path: the next run of the container has another."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _tail_position(path: Path, lines: int) -> int:
    text = path.read_bytes()
    ends = [index for index, byte in enumerate(text) if byte == 0x0A]
    if text and not text.endswith(b"\n"):
        ends.append(len(text) - 1)
    if lines <= 0:
        return len(text)
    return 0 if len(ends) <= lines else ends[-lines - 1] + 1
