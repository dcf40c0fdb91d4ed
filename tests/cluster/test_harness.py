"""The harness itself: what it starts ends with it, in whatever way it ends."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from tests.cluster.build import BuildError
from tests.cluster.client import start_cluster
from tests.scene import until

pytestmark = [pytest.mark.cluster, pytest.mark.any_istio]


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
