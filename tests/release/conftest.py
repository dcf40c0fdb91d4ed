"""What is released, built once; and a user's machine, on which nothing of it is yet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.build import build
from tests.release.__main__ import make
from tests.release.programs import KREW


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that `make build` puts there."""
    directory = tmp_path_factory.mktemp("dist")
    make(directory)
    return directory


@pytest.fixture(scope="session")
def krew_programs() -> Path:
    """Where `krew` and `validate-krew-manifest` are."""
    return build(KREW)


@dataclass(frozen=True, slots=True)
class Machine:
    """A home directory, and a PATH that leads to what a test has put into `bin` and to nothing else."""

    home: Path

    @property
    def bin(self) -> Path:
        """The only folder on the PATH."""
        return self.home / "bin"

    @property
    def environment(self) -> Mapping[str, str]:
        """Nothing of the developer's own but what package managers have fetched, and how they find their index."""
        kept = {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
        return {
            "PIP_CACHE_DIR": str(Path.home() / ".cache/pip"),
            "UV_CACHE_DIR": str(Path.home() / ".cache/uv"),
            **kept,
            "HOME": str(self.home),
            "PATH": str(self.bin),
            "KREW_ROOT": str(self.home / ".krew"),
            "KUBECONFIG": str(self.home / "config"),
            "PIPX_HOME": str(self.home / "pipx"),
            "PIPX_BIN_DIR": str(self.bin),
            "PIPX_DEFAULT_PYTHON": PYTHON,
            "UV_TOOL_DIR": str(self.home / "uv"),
            "UV_TOOL_BIN_DIR": str(self.bin),
        }

    def add(self, name: str, target: str | Path) -> None:
        """Put a program on the PATH under this name."""
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).symlink_to(target)

    def run(self, *command: str | Path, status: int = 0, **environment: str) -> str:
        """What it prints on standard output; AssertionError where it ends otherwise than with `status`."""
        done = self.ran(*command, **environment)
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def ran(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, whatever that is."""
        program, *rest = map(str, command)
        found = program if os.sep in program else shutil.which(program, path=str(self.bin)) or program
        return subprocess.run(
            [found, *rest], env={**self.environment, **environment}, cwd=self.home, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=280, check=False,
        )  # fmt: skip


PYTHON = str(Path(sys.executable).resolve())
"""The interpreter below the virtual environment that runs the tests."""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One with a `python3` and, where there is one, the real kubectl."""
    made = Machine(tmp_path)
    made.bin.mkdir()
    made.add("python3", PYTHON)
    if kubectl := shutil.which("kubectl"):
        made.add("kubectl", kubectl)
    return made


def interpreters(minors: Sequence[int]) -> Mapping[int, str]:
    """The Pythons of these minor versions that are on this machine and start, by version."""
    places = [os.environ.get("PATH", ""), *map(str, Path.home().glob(".pyenv/versions/*/bin"))]
    found = {minor: shutil.which(f"python3.{minor}", path=os.pathsep.join(reversed(places))) for minor in minors}
    return {minor: path for minor, path in found.items() if path is not None and _starts(path)}


def _starts(path: str) -> bool:
    return subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0
