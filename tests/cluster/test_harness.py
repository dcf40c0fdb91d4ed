"""The harness itself: what it starts ends with it, in whatever way it ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubectl_egress.lab.supervisor import PREFIX
from tests.cluster.build import BuildError
from tests.cluster.client import REPOSITORY, RealLab, start_cluster
from tests.scene import until

pytestmark = [pytest.mark.cluster, pytest.mark.any_istio]

# One that takes its time.
TEST = "tests/cluster/test_scenarios.py::test_an_ordinary_sidecar_loses_what_a_plain_restart_loses"
PATIENCE = 120.0
# A shell gives what it runs in the background SIGINT to ignore, and programs hand that down.
MINDING_CTRL_C = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


def mentioning(directory: Path) -> set[str]:
    """The command lines of all processes that name the directory."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found |= {line} if str(directory) in line else set()
    return found


def test_killed_it_leaves_no_process_behind() -> None:
    try:
        cluster = start_cluster()
    except BuildError as error:
        pytest.skip(str(error))
    with cluster:
        programs = mentioning(cluster.directory)
        assert any("kube-controller-manager" in line for line in programs)
        cluster.process.kill()
        until(lambda: not mentioning(cluster.directory), "everything has ended")


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory with a short name: a socket's may have a hundred characters."""
    directory = Path(tempfile.mkdtemp(prefix="run-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize(
    ("end", "everybody", "when"),
    [(signal.SIGINT, True, "kubeconfig"), (signal.SIGTERM, False, "authority"), (signal.SIGKILL, False, "etcd")],
    ids=["Ctrl-C while a test runs", "SIGTERM at the start", "SIGKILL amid the start"],
)
def test_a_run_that_is_ended_leaves_nothing(
    cluster: RealLab, temporary: Path, end: signal.Signals, everybody: bool, when: str
) -> None:
    """Pytest's controller is ended, or its process group. `cluster` skips where there can be none.

    Network namespaces, with the interfaces and rules in them, end with their last process and mount.
    """
    arguments = ["-m", "pytest", TEST, "--numprocesses=1", "-p", "no:cacheprovider"]
    command = [sys.executable, "-c", MINDING_CTRL_C, *arguments]
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTEST_ADDOPTS": ""}
    # Another worker's own numbers are not this run's.
    environment = {key: value for key, value in environment.items() if not key.startswith("PYTEST_XDIST")}
    said = temporary / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        until(lambda: list(temporary.glob(f"{PREFIX}*/{when}")), f"{when} of a cluster: {said.read_text()}", PATIENCE)
        until(lambda: mentioning(temporary), "a process of it", PATIENCE)
        os.killpg(process.pid, end) if everybody else process.send_signal(end)
        process.wait(PATIENCE)
        assert process.returncode != 0
        until(lambda: not mentioning(temporary), "everything has ended", PATIENCE)
        until(lambda: not list(temporary.glob(f"{PREFIX}*")), "its directory is gone", PATIENCE)
    finally:
        if process.poll() is None:
            process.kill()
    assert str(temporary) not in Path("/proc/self/mountinfo").read_text()
