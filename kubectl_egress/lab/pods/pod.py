"""One pod's life on the node: sandbox, init containers, containers, sidecar, end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kubectl_egress.lab import kernel, network
from kubectl_egress.lab.families import with_addresses
from kubectl_egress.lab.parts import Body, Istiod, LabRefusal, ProxyConfiguration
from kubectl_egress.lab.pods import probes, processes, sidecar
from kubectl_egress.lab.pods.containers import Container, Prepared
from kubectl_egress.lab.pods.environment import Lookup, arguments, environment, expand
from kubectl_egress.lab.pods.policies import Permission
from kubectl_egress.lab.pods.processes import Command, ContainerProcess
from kubectl_egress.lab.pods.root import VolumeMount
from kubectl_egress.lab.pods.sandbox import (
    PROXY,
    REDIRECT_INIT,
    Machine,
    Sandbox,
    open_root,
    open_sandbox,
    proxy_of,
    redirect_of,
)
from kubectl_egress.lab.pods.states import ContainerState, Ended, now, pod_status
from kubectl_egress.lab.pods.users import user_of
from kubectl_egress.lab.pods.volumes import container_mounts, file_mode, own_etc, volume_files, write_files

SWEEP_PAUSE = 0.02
PROXY_GRACE = 1.0
"""Seconds that the proxy has once the application has ended: nothing is left to drain."""


class PodRunner:
    """Does for one pod what kubelet, istio-init and pilot-agent do."""

    def __init__(
        self,
        pod: Body,
        addresses: Sequence[str],
        machine: Machine,
        istiod: Istiod,
        lookup: Lookup,
        publish: Callable[[Body], None],
        known: Callable[[], tuple[Body, ...]],
    ) -> None:
        """`lookup`: ConfigMaps and Secrets of its namespace; `publish`: takes its status; `known`: what istiod tells it now."""
        self.pod = pod
        self.addresses = tuple(addresses)
        self.address = self.addresses[0]
        self.sandbox: Sandbox | None = None
        self.containers: dict[str, Container] = {}
        self._machine = machine
        self._istiod = istiod
        self._lookup = lookup
        self._publish = publish
        self._known = known
        self._started = now()
        self._ending = False
        self.stopping = False
        """Whether somebody has begun to stop it."""
        self.redirect_held = False
        """Whether its init container leaves the redirect out, as where Istio's CNI plugin is late."""
        self.permitted: tuple[Permission, ...] | None = None
        """What the pod's NetworkPolicies let it reach; None: everything."""
        self._fixed: dict[str, ContainerState] = {}
        self._configuration: ProxyConfiguration | None = None
        self._configuring = asyncio.Lock()
        self._restricting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    # ---- life

    def start(self) -> None:
        """Begin, in the background."""
        self._task = asyncio.create_task(self._run(), name=f"pod {self.pod['metadata']['name']}")

    async def _run(self) -> None:
        self._say()
        while True:
            try:
                self.sandbox = await open_sandbox(self.pod, self.addresses, self._machine)
                if self.permitted is not None:
                    await self.sandbox.restrict(self.permitted)
                self._write_volumes()
                break
            except (LabRefusal, OSError, network.NetworkError) as error:
                self._refuse(str(error))
                await asyncio.sleep(1)
                self._close_namespaces()
        spec = self.pod["spec"]
        async with asyncio.TaskGroup() as running:
            for body in spec.get("initContainers") or ():
                await self._initialize(body, running)
            mains = [running.create_task(self._container(body, spec).run()) for body in spec["containers"]]
            await asyncio.wait(mains)
            for body in spec.get("initContainers") or ():
                if body.get("restartPolicy") == "Always":
                    await self.containers[body["name"]].stop(PROXY_GRACE)
            raise asyncio.CancelledError

    async def _initialize(self, body: Body, running: asyncio.TaskGroup) -> None:
        if body["name"] == REDIRECT_INIT:
            # What came before it had the pod's network as it is.
            await self.set_redirect(not self.redirect_held)
            self._fixed[REDIRECT_INIT] = ContainerState(ended=Ended(0, now(), now()))
            self._say()
            return
        container = self._container(body, self.pod["spec"])
        if body.get("restartPolicy") == "Always":
            running.create_task(container.run())
            await container.ready.wait()
        elif await container.run() != 0:
            await asyncio.Event().wait()

    def _container(self, body: Body, spec: Body) -> Container:
        restart = body.get("restartPolicy") or spec.get("restartPolicy") or "Always"
        if body in (spec.get("initContainers") or ()) and restart == "Always" and not body.get("restartPolicy"):
            restart = "OnFailure"
        is_proxy = body["name"] == PROXY

        async def ready(_: ContainerProcess) -> bool:
            return await self._is_ready(body)

        container = Container(
            body["name"],
            "Always" if is_proxy else restart,
            self._directory / "logs",
            lambda: self._prepare_proxy() if is_proxy else self._prepare(body),
            self._say,
            ready if is_proxy or body.get("readinessProbe") else None,
        )
        self.containers[body["name"]] = container
        return container

    async def stop(self, grace: float) -> None:
        """End everything of the pod: the application first, then the proxy, then whatever else is left."""
        self._ending = True
        self._say()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        applications = [c for c in self.containers.values() if c.name != PROXY]
        await asyncio.gather(*(container.stop(grace) for container in applications))
        if PROXY in self.containers:
            await self.containers[PROXY].stop(min(grace, PROXY_GRACE))
        await self._sweep()
        self._close_namespaces()
        shutil.rmtree(self._directory, ignore_errors=True)

    def hurry(self) -> None:
        """Kill what is still ending gracefully: nobody waits for it any more."""
        for container in self.containers.values():
            if container.process is not None and container.process.returncode is None:
                container.process.kill()

    async def _sweep(self) -> None:
        if self.sandbox is not None:
            identity = self.sandbox.namespaces.network_identity()
            while await asyncio.to_thread(processes.sweep, identity):
                await asyncio.sleep(SWEEP_PAUSE)

    def _close_namespaces(self) -> None:
        for container in self.containers.values():
            container.close()
        if self.sandbox is not None:
            self.sandbox.namespaces.close()
            self.sandbox = None

    # ---- what a container is started with

    async def _prepare(self, body: Body) -> Prepared:
        pod = self._pod_with_address
        values = environment(body, pod, self._lookup)
        argv = arguments(body, values)
        if not argv:
            raise OSError(2, "it has no command", body.get("image") or body["name"])
        mounts = container_mounts(body, self._directory / "volumes", self._writable)
        namespaces = await self._open_root(body["name"], mounts)
        directory = expand(body.get("workingDir") or "/", values)
        return Prepared(
            namespaces, Command(argv, values, directory, user_of(self.pod, body, single_user=self._machine.single_user))
        )

    async def _prepare_proxy(self) -> Prepared:
        directory = self._directory / "proxy"
        mark = network.PROXY_MARK if self._machine.single_user else None
        bootstrap = self._istiod.bootstrap(self._pod_with_address, sidecar.CONFIGURATION, mark=mark)
        async with self._configuring:
            self._configuration = self._istiod.configuration(self._pod_with_address, self._known())
            sidecar.write_first(directory, self._configuration)
        path = directory / "bootstrap.json"
        path.write_text(json.dumps(bootstrap))
        path.chmod(0o644)
        namespaces = await self._open_root(PROXY, (VolumeMount(str(directory), sidecar.CONFIGURATION),))
        argv = [
            self._machine.envoy, "-c", f"{sidecar.CONFIGURATION}/bootstrap.json", "--concurrency", "1",
            "--disable-hot-restart", "--log-level", "warning", "--component-log-level", "misc:error",
            "--drain-time-s", "1",
        ]  # fmt: skip
        environment_of_proxy = environment({}, self._pod_with_address, self._lookup)
        user = None if self._machine.single_user else network.PROXY_UID
        return Prepared(namespaces, Command(argv, environment_of_proxy, "/", user, capable=True))

    async def _open_root(self, name: str, mounts: tuple[VolumeMount, ...]) -> kernel.Namespaces:
        if self.sandbox is None:
            raise LabRefusal("the pod has ended")
        etc = own_etc(self.pod, self.addresses, self._machine.nameserver_for(self.address), self._machine.certificate)
        return await open_root(self.sandbox, name, etc, mounts, self._machine)

    @property
    def _directory(self) -> Path:
        return self._machine.directory / "pods" / str(self.pod["metadata"].get("uid") or self.pod["metadata"]["name"])

    @property
    def _writable(self) -> frozenset[str]:
        return frozenset(v["name"] for v in self.pod["spec"].get("volumes") or () if "emptyDir" in v)

    @property
    def _pod_with_address(self) -> Body:
        return with_addresses(self.pod, self.addresses)

    def _write_volumes(self) -> None:
        for volume in self.pod["spec"].get("volumes") or ():
            if volume["name"].startswith("kube-api-access"):
                continue
            files = volume_files(volume, self._pod_with_address, self._lookup)
            write_files(self._directory / "volumes" / volume["name"], files, file_mode(volume))

    def refresh_volumes(self) -> None:
        """A ConfigMap or Secret has changed: bring the mounted files up to date, as the kubelet does in time."""
        if self.sandbox is not None:
            with contextlib.suppress(LabRefusal):
                self._write_volumes()

    # ---- the sidecar

    @property
    def has_proxy(self) -> bool:
        """Whether the pod has a sidecar."""
        return proxy_of(self.pod) is not None

    async def configure(self) -> None:
        """Give the proxy what istiod knows now: also in a pod that has been told to go, as long as something of it runs."""
        async with self._configuring:
            old = self._configuration
            if old is None or self.sandbox is None:
                return
            new = self._istiod.configuration(self._pod_with_address, self._known())
            if new != old:
                self._configuration = new
                try:
                    await sidecar.write_change(self._directory / "proxy", old, new)
                except FileNotFoundError:
                    # The pod ended meanwhile, and its directory is gone with it.
                    if not self._ending:
                        raise

    async def _is_ready(self, body: Body) -> bool:
        if self.sandbox is None:
            return False
        namespaces = self.sandbox.namespaces
        if body["name"] == PROXY:
            return await probes.http_status(namespaces, probes.loopback(self.address), 15000, "/ready") == 200
        return await probes.ask(body, namespaces, self.address, lambda argv: self._exit_status(body["name"], argv))

    async def _exit_status(self, container: str, argv: list[str]) -> int:
        try:
            process = await self.execute(container, argv, stdin=False, merged=True)
        except OSError:
            return 127
        await process.communicate()
        return int(process.returncode or 0)

    async def execute(self, container: str, argv: list[str], *, stdin: bool, merged: bool) -> ContainerProcess:
        """Start a command in a container that runs; FileNotFoundError for a program or container that is not there."""
        found = self.containers.get(container)
        if found is None or found.prepared is None or not found.state.running_since:
            raise FileNotFoundError(2, f"container {container} is not running", container)
        like = found.prepared.command
        command = Command(argv, like.environment, like.directory, like.user)
        return await processes.start_piped(found.prepared.namespaces, command, stdin=stdin, merged=merged)

    async def set_redirect(self, present: bool) -> None:
        """Take Istio's redirect away or put it back, while everything runs; both may be said twice."""
        if self.sandbox is None:
            raise LabRefusal("the pod has ended")
        by_mark = self._machine.single_user
        await self.sandbox.set_redirect(redirect_of(self.pod, self.addresses, by_mark=by_mark) if present else None)

    async def restrict(self) -> None:
        """Let the pod send what it is permitted by now: while it ends, too."""
        async with self._restricting:
            if self.sandbox is not None:
                await self.sandbox.restrict(self.permitted)

    async def kill_proxy(self, *, stay_dead: bool) -> None:
        """End the proxy at once; the kubelet starts it again unless it is to stay dead, and it asks istiod anew."""
        container = self.containers.get(PROXY)
        if container is None or container.process is None:
            raise LabRefusal("the pod has no proxy")
        container.held = stay_dead
        await self.configure()
        container.process.kill()
        await container.process.wait()

    # ---- what is said about it

    def _states(self) -> dict[str, ContainerState]:
        spec: dict[str, Any] = self.pod["spec"]
        bodies = [*(spec.get("initContainers") or ()), *spec["containers"]]
        waiting = ContainerState("PodInitializing" if spec.get("initContainers") else "ContainerCreating")
        known = {name: container.state for name, container in self.containers.items()}
        return {body["name"]: known.get(body["name"]) or self._fixed.get(body["name"], waiting) for body in bodies}

    def _say(self) -> None:
        addresses = self.addresses if self.sandbox is not None or self._ending else ()
        self._publish(pod_status(self.pod, addresses, self._started, self._states(), self._ending))

    def _refuse(self, message: str) -> None:
        for body in self.pod["spec"]["containers"]:
            self._fixed[body["name"]] = ContainerState("ContainerCreating", message)
        self._say()
