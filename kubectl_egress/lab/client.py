"""Starting, asking and ending a lab: what the demo and the tests use."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from kubectl_egress.errors import EgressError
from kubectl_egress.lab.options import Options

LONGEST_START = 30.0
LONGEST_END = 20.0
ANSWER_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Counters:
    """What reached the outside world since the start or the last reset."""

    served: Mapping[str, Mapping[int, int]]
    """Requests over TLS, by name and status."""
    clear_requests: Mapping[str, Mapping[int, int]]
    """Requests in clear, by name and port; what is no HTTP counts as one for each connection."""
    clear_bytes: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    failed_handshakes: Mapping[str, int] = field(default_factory=dict)

    @property
    def in_clear(self) -> int:
        """Every request that arrived unencrypted, wherever."""
        return sum(count for ports in self.clear_requests.values() for count in ports.values())

    def total(self, name: str) -> int:
        """The requests over TLS for a name."""
        return sum(self.served.get(name, {}).values())

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Counters:
        """From the world's own form."""

        def clear(what: str) -> dict[str, dict[int, int]]:
            return {
                name: {int(port): seen[what] for port, seen in ports.items()} for name, ports in body["clear"].items()
            }

        served = {name: {int(code): count for code, count in codes.items()} for name, codes in body["served"].items()}
        return cls(served, clear("requests"), clear("bytes"), dict(body["failedHandshakes"]))


class Process(Protocol):
    """What is needed of the program that runs a lab; `subprocess.Popen` is one."""

    pid: int

    @property
    def stdin(self) -> IO[bytes] | None:
        """What the lab reads."""

    @property
    def stdout(self) -> IO[bytes] | None:
        """What it prints."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status; subprocess.TimeoutExpired."""

    def kill(self) -> None:
        """SIGKILL."""

    def terminate(self) -> None:
        """SIGTERM."""


Launch = Callable[[Sequence[str], IO[bytes] | None], Process]


class Lab:
    """A running lab; use it in a `with`, or call `stop`."""

    def __init__(self, process: Process, ready: Mapping[str, Any]) -> None:
        self.kubeconfig = Path(ready["kubeconfig"])
        self.directory = Path(ready["directory"])
        self.single_user = bool(ready["singleUser"])
        """Whether it runs without root, in a user namespace with one UID."""
        self.process = process
        self._control = str(ready["control"])

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it and wait until nothing of it is left; twice is once."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(LONGEST_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def keep(self) -> None:
        """Let it run on when this program ends; SIGTERM to `process.pid` ends it."""
        if self.process.stdin is not None:
            self.process.stdin.write(b"keep\n")
            self.process.stdin.close()

    def ask(self, do: str, **question: Any) -> Any:
        """One question to the lab's control socket; EgressError with what it says against it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_TIMEOUT)
            try:
                connection.connect(self._control)
                connection.sendall(json.dumps({"do": do, **question}).encode() + b"\n")
                with connection.makefile("rb") as lines:
                    line = lines.readline()
            except OSError as error:
                raise EgressError(f"the lab does not answer: {error}", "start it again") from error
        reply = json.loads(line) if line else {"error": "it ended"}
        if "error" in reply:
            raise EgressError(f"the lab refused: {reply['error']}")
        return reply["result"]

    # ---- the outside world

    def counters(self) -> Counters:
        """What reached the outside world."""
        return Counters.from_json(self.ask("counters"))

    def reset(self) -> None:
        """Set every counter to zero, and forget the requests and queries."""
        self.ask("reset")

    def requests(self) -> list[dict[str, Any]]:
        """The last requests: name, address, port, tls, sni, client, method, path, host, headers, status."""
        return list(self.ask("requests"))

    def queries(self) -> list[dict[str, str]]:
        """The last DNS queries: name, type, from."""
        return list(self.ask("queries"))

    def world(self, names: Sequence[str], *, ports: Sequence[int] = (), certificate: str = "good") -> dict[str, str]:
        """Add names to the outside world; the addresses of all. `ports`: more ports with TLS, on every name."""
        return dict(self.ask("add", names=list(names), ports=list(ports), certificate=certificate))

    def set_certificate(self, name: str, certificate: str, clients: str = "") -> None:
        """What the server shows from now on: good, wrong-host, expired, unknown-ca or self-signed.

        `clients`: CAs, PEM, of which it asks every client for a certificate; without, it asks nobody.
        """
        self.ask("certificate", name=name, certificate=certificate, clients=clients)

    def resolve(self, name: str, address: str) -> None:
        """Have DNS give an address for a name, or several with commas between; an empty one takes the name away."""
        self.ask("resolve", name=name, address=address)

    # ---- the pods

    def remove_redirect(self, pod: str, namespace: str = "default") -> None:
        """Take Istio's redirect out of a running pod."""
        self.ask("redirect", namespace=namespace, pod=pod, present=False)

    def restore_redirect(self, pod: str, namespace: str = "default") -> None:
        """Put it back."""
        self.ask("redirect", namespace=namespace, pod=pod, present=True)

    def hold_redirect(self, namespace: str) -> None:
        """Leave Istio's redirect out of the pods of a namespace that begin from now on; '' for no namespace any more."""
        self.ask("hold-redirect", namespace=namespace)

    def kill_proxy(self, pod: str, namespace: str = "default", *, stay_dead: bool = True) -> None:
        """Kill a pod's Envoy; without `stay_dead` it is started again, as the kubelet does."""
        self.ask("kill-proxy", namespace=namespace, pod=pod, stayDead=stay_dead)

    def set_configuration_delay(self, seconds: float, pod: str = "") -> None:
        """Let configuration reach the proxies late: all and istiod itself, or those of pods whose name begins with `pod`."""
        self.ask("delay", seconds=seconds, pod=pod)


def launched(arguments: Sequence[str], log: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """Run `python -m kubectl_egress.lab` with these arguments; its standard error goes to `log`, or to ours."""
    return subprocess.Popen(
        [sys.executable, "-m", "kubectl_egress.lab", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        # Ctrl-C is for the program that started it, which then ends the lab in its own order.
        start_new_session=True,
    )


def start_lab(
    *,
    hosts: Sequence[str] = Options().hosts,
    ports: Sequence[int] = (),
    outbound_mode: str = "ALLOW_ANY",
    users: Mapping[str, Sequence[Mapping[str, str]]] | None = None,
    ipv6: bool = False,
    stand_in_curl: bool = False,
    quiet: bool = False,
    launch: Launch = launched,
) -> Lab:
    """Start a lab and wait until its API answers; see `options.Options` for what the arguments mean.

    `quiet`: it says nothing on our stderr, and holds none of our streams open when it is kept.

    Raises EgressError where this machine cannot have one.
    """
    rules = {name: tuple(each) for name, each in (users or {}).items()}
    options = Options(tuple(hosts), tuple(ports), outbound_mode, rules, ipv6, stand_in_curl)
    with tempfile.TemporaryFile() as log:
        process = launch(["--watch-stdin", "--options", options.to_json()], log if quiet else None)
        ready = _first_line(process, log)
    if "error" in ready:
        process.wait(LONGEST_END)
        _close(process)
        raise EgressError(ready["error"], ready.get("remedy", ""))
    return Lab(process, ready)


def _first_line(process: Process, log: IO[bytes]) -> dict[str, Any]:
    if process.stdout is None or not select.select([process.stdout], [], [], LONGEST_START)[0]:
        process.terminate()
        return {"error": f"the lab did not start within {LONGEST_START:.0f} seconds"}
    line = process.stdout.readline()
    if not line:
        status = process.wait()
        log.seek(0)
        last = log.read().decode(errors="replace").strip().rpartition("\n")[2]
        return {"error": f"the lab ended with status {status}", "remedy": last or "see what it says above"}
    found: dict[str, Any] = json.loads(line)
    return found


def _close(process: Process) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()
