"""Starting and asking a real cluster: the same to its users as a lab."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from kubectl_egress.errors import EgressError
from kubectl_egress.lab.client import LONGEST_END, Lab
from kubectl_egress.lab.options import Options
from tests.cluster.build import ISTIO, KUBERNETES, KWOK, BuildError, Family, built
from tests.sharing import UNDER_TEST

# Three at a time on a machine that has other work besides.
LONGEST_START = 240.0
REPOSITORY = Path(__file__).resolve().parents[2]


class RealLab(Lab):
    """A lab whose API server, controllers, istiod, webhooks and pilot-agents are the real ones."""

    istioctl: Path
    counts = True
    """Whether it has an outside world of its own, which counts what arrives in clear."""

    def ask_istiod(self, path: str) -> str:
        """What istiod answers to GET: `/debug/configz`, `/debug/config_dump?proxyID=NAME.NAMESPACE`, …"""
        return str(self.ask("istiod", path=path))

    def fake_node(self) -> str:
        """The name of a Node whose pods, which have to name it, are said to run, and do not. Raises BuildError."""
        return str(self.ask("fake-node", programs=str(programs_of(KWOK))))


class Lent(RealLab):
    """A cluster that was there before the tests. What would need an outside world or a node of our own skips the test."""

    counts = False

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.single_user = False

    def ask(self, do: str, **question: Any) -> NoReturn:
        """Skip the test that asks."""
        pytest.skip(f"{UNDER_TEST} names a cluster whose outside world and nodes are not ours: {do}")

    def reset(self) -> None:
        """Nothing is counted."""

    def stop(self) -> None:
        """It is not ours to end."""

    @property
    def istioctl(self) -> Path:  # type: ignore[override]
        """The one in the PATH."""
        found = shutil.which("istioctl")
        if found is None:
            pytest.skip("istioctl is not installed")
        return Path(found)


def programs_of(family: Family) -> Path:
    """Where the family's programs are. Raises BuildError with the command that builds them."""
    found = built(family)
    if found is None:
        raise BuildError(f"{family.name} is not built; python -m tests.cluster.build {family.name}")
    return found


def not_built(error: BuildError) -> NoReturn:
    """Skip the test; but where nobody reads what was skipped, nothing is."""
    if os.environ.get("CI"):
        pytest.fail(str(error))
    pytest.skip(str(error))


def _asked_for(families: Mapping[str, Family], variable: str) -> Family:
    """The family of the minor version that the environment names, or the first. Raises BuildError."""
    minor = os.environ.get(variable) or next(iter(families))
    if minor not in families:
        raise BuildError(f"{variable}={minor} is not pinned here; one of {', '.join(families)}")
    return families[minor]


def start_cluster(*, hosts: Sequence[str] = Options().hosts, **options: Any) -> RealLab:
    """Start a cluster with the Istio and the Kubernetes that ISTIO and KUBERNETES name; wait until its webhooks work.

    Raises BuildError, EgressError.
    """
    kubernetes = programs_of(_asked_for(KUBERNETES, "KUBERNETES"))
    istio_programs = programs_of(_asked_for(ISTIO, "ISTIO"))
    command = [
        sys.executable, "-m", "tests.cluster", "--watch-stdin", "--kubernetes", str(kubernetes),
        "--istio", str(istio_programs), "--options", Options(hosts=tuple(hosts), **options).to_json(),
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
    )
    lab = RealLab(process, _ready(process))
    lab.istioctl = istio_programs / "istioctl"
    return lab


def _ready(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None, "it is a pipe"
    line = b""
    if select.select([process.stdout], [], [], LONGEST_START)[0]:
        line = process.stdout.readline()
    found: dict[str, Any] = json.loads(line) if line else {"error": "the cluster did not start: see what it says above"}
    if "error" in found:
        process.terminate()
        process.wait(LONGEST_END)
        raise EgressError(found["error"], found.get("remedy", ""))
    return found
