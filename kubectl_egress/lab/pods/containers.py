"""One container's life: start, run, end, and again with a growing pause."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from kubectl_egress.lab.kernel import Namespaces
from kubectl_egress.lab.parts import LabRefusal
from kubectl_egress.lab.pods import processes
from kubectl_egress.lab.pods.processes import Command, ContainerProcess
from kubectl_egress.lab.pods.states import ContainerState, Ended, now

# The kubelet's: 10 s, doubled up to 5 min, forgotten after 10 min without a crash; the first restart is at once.
FIRST_PAUSE = 10.0
LONGEST_PAUSE = 300.0
FORGET_AFTER = 600.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A container that can be started: where, and what."""

    namespaces: Namespaces
    command: Command


class Container:
    """Runs one container of a pod, and says through `changed` when its state is another."""

    def __init__(
        self,
        name: str,
        restart: str,
        logs: Path,
        prepare: Callable[[], Awaitable[Prepared]],
        changed: Callable[[], None],
        probe: Callable[[ContainerProcess], Awaitable[bool]] | None = None,
    ) -> None:
        """`restart`: Always, OnFailure or Never; `probe`: whether it is ready, asked again and again (None: when it runs)."""
        self.name = name
        self.state = ContainerState()
        self.process: ContainerProcess | None = None
        self.prepared: Prepared | None = None
        self.ready = asyncio.Event()
        self.held = False
        """Whether it stays dead when it ends, whatever its restart policy."""
        self._restart = restart
        self._logs = logs
        self._prepare = prepare
        self._changed = changed
        self._probe = probe

    def log_file(self, *, previous: bool = False) -> Path:
        """Where the output of this run, or of the one before, is."""
        return self._logs / f"{self.name}{'.previous' if previous else ''}.log"

    async def run(self) -> int:
        """Run until it has ended for good; its exit status."""
        pause = 0.0
        while True:
            begun = time.monotonic()
            code = await self._once()
            if self.held:
                await asyncio.Event().wait()
            if self._restart == "Never" or (self._restart == "OnFailure" and code == 0):
                return code
            pause = 0.0 if time.monotonic() - begun > FORGET_AFTER else pause
            if pause:
                message = f"back-off {pause:.0f}s restarting failed container={self.name}"
                self._become(replace(self.state, reason="CrashLoopBackOff", message=message, ended=None))
                await asyncio.sleep(pause)
            pause = min(pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
            self._become(replace(self.state, restarts=self.state.restarts + 1, previous=self.state.previous))

    async def _once(self) -> int:
        started = now()
        with self._open_log() as output:
            self.process = await self._begin(output)
        self._become(replace(self.state, running_since=started, ended=None, ready=self._probe is None))
        watch = asyncio.create_task(self._watch_readiness(self.process))
        try:
            code = await self.process.wait()
        finally:
            watch.cancel()
        # A shell's convention, which Kubernetes shares: 128 + signal.
        code = code if code >= 0 else 128 - code
        ended = Ended(code, started, now())
        self._become(replace(self.state, running_since="", ready=False, ended=ended, previous=ended))
        return code

    def _open_log(self) -> IO[bytes]:
        path = self.log_file()
        self._logs.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.replace(self.log_file(previous=True))
        output = path.open("ab")
        # The process may open it anew as /dev/stdout, under its own UID.
        path.chmod(0o666)
        return output

    async def _begin(self, output: IO[bytes]) -> ContainerProcess:
        """Start it; while that cannot be, wait with the reason, as the kubelet does."""
        pulled = "ErrImagePull"
        while True:
            try:
                if self.prepared is None:
                    self.prepared = await self._prepare()
                return await processes.start(self.prepared.namespaces, self.prepared.command, output)
            except LabRefusal as refusal:
                self._become(ContainerState("CreateContainerConfigError", str(refusal), restarts=self.state.restarts))
            except OSError as error:
                message = (
                    f"{error.filename or self.name}: {error.strerror}: the lab runs the commands of this machine, "
                    "not the programs of an image"
                )
                self._become(ContainerState(pulled, message, restarts=self.state.restarts))
                pulled = "ImagePullBackOff"
            await asyncio.sleep(1)

    async def _watch_readiness(self, process: ContainerProcess) -> None:
        while True:
            ready = self._probe is None or await self._probe(process)
            if ready != self.state.ready:
                self._become(replace(self.state, ready=ready))
            if ready:
                self.ready.set()
            if self._probe is None:
                return
            await asyncio.sleep(1.0 if ready else 0.1)

    def _become(self, state: ContainerState) -> None:
        if state != self.state:
            self.state = state
            self._changed()

    async def stop(self, grace: float) -> None:
        """SIGTERM, and SIGKILL if it has not ended within `grace` seconds."""
        process = self.process
        if process is None or process.returncode is not None:
            return
        if grace > 0:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), grace)
        process.kill()
        await process.wait()

    def close(self) -> None:
        """Let go of its namespaces."""
        if self.prepared is not None:
            self.prepared.namespaces.close()
            self.prepared = None
