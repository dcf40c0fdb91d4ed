"""The command and the lab without the seconds in which Python imports them: forked from a process that has done so once.

In everything else a run is a process like any other: environment, directory, standard streams, signals, exit status.
"""

from __future__ import annotations

import array
import atexit
import gc
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from kubectl_egress.lab import client

COMMAND, LAB = "kubectl_egress", "kubectl_egress.lab"
PRELOADED = {
    COMMAND: (
        "kubectl_egress.cli",
        "kubectl_egress.cli.migrate_cluster",
        "kubectl_egress.cli.undo_cluster",
        "kubectl_egress.cli.verify_cluster",
        "kubectl_egress.cluster",
        "kubectl_egress.report",
    ),
    LAB: ("kubectl_egress.lab.process",),
}


@dataclass(frozen=True, slots=True)
class Run:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    def document(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


LONGEST = 1 << 20
_lock = threading.Lock()
_servers: dict[str, socket.socket] = {}


class Forked:
    """A process under way, as far as others need `subprocess.Popen`."""

    def __init__(self, module: str, arguments: Sequence[str], streams: Sequence[int], **rest: Any) -> None:
        """`streams`: what it has as standard input, output and error; `rest`: more for `become`."""
        mine, theirs = socket.socketpair()
        with theirs:
            asked = json.dumps({"arguments": [module, *arguments], **rest}).encode()
            _send(module, asked, array.array("i", [*streams, theirs.fileno()]))
        self._reply = mine.makefile("r")
        mine.close()
        self.pid = int(self._reply.readline())
        self._ended = threading.Event()
        self.returncode: int | None = None
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        self.returncode = int(self._reply.readline())
        self._reply.close()
        self._ended.set()

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended; subprocess.TimeoutExpired if it does not."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        if not self._ended.is_set():
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end, if it has not ended."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it, if it has not ended."""
        self.send_signal(signal.SIGKILL)


class ForkedLab(Forked):
    """A lab, in a session of its own; see `client.launched`."""

    def __init__(self, arguments: Sequence[str], log: IO[bytes] | None) -> None:
        stdin, stdin_end = os.pipe()
        stdout_end, stdout = os.pipe()
        self.stdin: IO[bytes] | None = os.fdopen(stdin_end, "wb")
        self.stdout: IO[bytes] | None = os.fdopen(stdout_end, "rb")
        streams = [stdin, stdout, 2 if log is None else log.fileno()]
        super().__init__(LAB, arguments, streams, env=dict(os.environ), cwd=str(Path.cwd()), session=True)
        os.close(stdin)
        os.close(stdout)


start_lab = partial(client.start_lab, launch=ForkedLab)


class WarmProcess(Forked):
    """A run of the command."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], cwd: Path | None = None) -> None:
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        self._texts = ["", ""]
        self._readers = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in enumerate((out, err))]
        for reader in self._readers:
            reader.start()
        with open(os.devnull) as nothing:
            streams = [nothing.fileno(), out_end, err_end]
            super().__init__(COMMAND, arguments, streams, env=dict(env), cwd=str(cwd or Path.cwd()), session=False)
        os.close(out_end)
        os.close(err_end)

    def __enter__(self) -> WarmProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _read(self, number: int, end: int) -> None:
        with open(end, encoding="utf-8") as stream:
            self._texts[number] = stream.read()

    def communicate(self, timeout: float) -> tuple[str, str]:
        """What it has said on stdout and stderr, once it has ended; subprocess.TimeoutExpired if it does not."""
        if not self._ended.wait(timeout):
            self.kill()
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        for reader in self._readers:
            reader.join(timeout)
        return self._texts[0], self._texts[1]

    def ended(self, patience: float) -> Run:
        """Wait for its end; subprocess.TimeoutExpired if it does not come."""
        out, err = self.communicate(patience)
        assert self.returncode is not None
        return Run(self.returncode, out, err)


def _send(module: str, asked: bytes, ends: array.array[int]) -> None:
    with _lock:
        if module not in _servers:
            server, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
            command = [sys.executable, "-m", "tests.warm", str(theirs.fileno()), module]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=Path(__file__).parents[1])
            theirs.close()
            atexit.register(process.wait)
            atexit.register(server.close)  # before that: what is registered last is called first
            _servers[module] = server
        socket.send_fds(_servers[module], [asked], ends)


# ---- the other side -------------------------------------------------------------------------------------------------------


def serve(server: socket.socket) -> Mapping[str, Any]:
    """Fork for each request: the request in the run itself. Ends when nobody asks any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        text, ends, _, _ = socket.recv_fds(server, LONGEST, 4)
        if not text:
            raise SystemExit
        if os.fork() == 0:
            server.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            supervise(ends)
            return dict(json.loads(text))
        for end in ends:
            os.close(end)


def supervise(ends: Sequence[int]) -> None:
    """Tell the pid of the run, and how it ended; returns in the run, with its streams."""
    *streams, reply = ends
    if pid := os.fork():
        for end in streams:
            os.close(end)
        with open(reply, "w") as told:
            print(pid, file=told, flush=True)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=told)
        os._exit(0)
    os.close(reply)
    for number, end in enumerate(streams):
        os.dup2(end, number)
        os.close(end)


def become(asked: Mapping[str, Any]) -> None:
    """What Python makes of environment and arguments when it starts."""
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.argv = asked["arguments"]
    if asked["session"]:
        os.setsid()
    random.seed()


if __name__ == "__main__":
    for name in PRELOADED[sys.argv[2]]:
        __import__(name)
    gc.freeze()  # what is shared stays so
    become(serve(socket.socket(fileno=int(sys.argv[1]))))
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
