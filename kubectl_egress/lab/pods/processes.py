"""Processes inside a pod's namespaces: started from a thread that is in them, waited for by pidfd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from kubectl_egress.lab import kernel

CHUNK = 2**16


@dataclass(frozen=True, slots=True)
class Command:
    """What to start, and as whom."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    directory: str = "/"
    user: int | None = None
    """None: the only UID there is."""
    capable: bool = False
    """Whether it keeps the capabilities of that only UID (the proxy marks its sockets)."""


class ContainerProcess(Process):
    """A process in a pod, to its users the same as asyncio's own."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        stdin: asyncio.StreamWriter | None,
        stdout: asyncio.StreamReader | None,
        stderr: asyncio.StreamReader | None,
    ) -> None:
        self._process = process
        self._ended = asyncio.Event()
        self.pid = process.pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self._pidfd = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        if self._process.poll() is None:
            return
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._ended.set()

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait until it has ended."""
        await self._ended.wait()
        return int(self._process.returncode)

    async def communicate(self, input: bytes | bytearray | memoryview | None = None) -> tuple[bytes, bytes]:
        """Feed standard input, gather both outputs, wait for the end."""
        if self.stdin is not None:
            if input:
                self.stdin.write(input)
            self.stdin.close()
        readers = (self.stdout, self.stderr)
        out, err = await asyncio.gather(*(reader.read() if reader else _nothing() for reader in readers))
        await self.wait()
        return out, err

    def send_signal(self, signal: int) -> None:
        """Send a signal to it and all that it started and that stayed in its session."""
        if not self._ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


async def _nothing() -> bytes:
    return b""


def _start(command: Command, streams: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    """From a thread that is in the namespaces already: they are inherited."""
    options: dict[str, Any] = {}
    if command.user is not None:
        options = {"user": command.user, "group": command.user, "extra_groups": []}
    elif not command.capable:
        kernel.drop_capabilities()
    return subprocess.Popen(
        command.arguments,
        cwd=command.directory,
        env=dict(command.environment),
        start_new_session=True,
        executable=_executable(command),
        **streams,
        **options,
    )


def _executable(command: Command) -> str:
    """The program by the *container's* PATH; the error is the one that exec gives."""
    name = command.arguments[0]
    if "/" in name:
        return name
    for directory in command.environment.get("PATH", os.defpath).split(":"):
        candidate = os.path.join(directory, name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError(2, os.strerror(2), name)


async def start(namespaces: kernel.Namespaces, command: Command, output: IO[bytes]) -> ContainerProcess:
    """Start a command whose output goes to a file; FileNotFoundError or PermissionError if it cannot be."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
    process = await kernel.within(namespaces, lambda: _start(command, streams))
    return ContainerProcess(process, None, None, None)


async def start_piped(
    namespaces: kernel.Namespaces, command: Command, *, stdin: bool, merged: bool
) -> ContainerProcess:
    """Start a command with pipes; `merged`: standard error goes where standard output goes."""
    pipe = subprocess.PIPE
    streams = {
        "stdin": pipe if stdin else subprocess.DEVNULL,
        "stdout": pipe,
        "stderr": subprocess.STDOUT if merged else pipe,
    }
    process = await kernel.within(namespaces, lambda: _start(command, streams))
    return ContainerProcess(
        process,
        await _writer(process.stdin) if process.stdin else None,
        await _reader(process.stdout) if process.stdout else None,
        await _reader(process.stderr) if process.stderr else None,
    )


async def _reader(pipe: IO[bytes]) -> asyncio.StreamReader:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=CHUNK)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


async def _writer(pipe: IO[bytes]) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    transport, _ = await loop.connect_write_pipe(lambda: protocol, pipe)
    return asyncio.StreamWriter(transport, protocol, None, loop)


def sweep(network: tuple[int, int]) -> int:
    """Kill every process that is still in the network namespace, whatever started it; how many there were."""
    found = 0
    if os.readlink("/proc/self") != str(os.getpid()):
        # The machine's /proc, where a new one may not be mounted: its numbers are not ours.
        return found
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            status = os.stat(f"/proc/{name}/ns/net")
            if (status.st_dev, status.st_ino) == network:
                os.kill(int(name), signal.SIGKILL)
                found += 1
    return found
