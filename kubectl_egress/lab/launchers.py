"""The few programs that every container of the lab finds in /.lab, at the head of its PATH."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from kubectl_egress.lab import curl, pilot_agent

LAB = "/.lab"
# A year: istiod's own work is done by the lab process, its pod only has to be there.
WAIT = "exec sleep 31536000"


def write_launchers(directory: Path, *, prefer_own_curl: bool = False) -> None:
    """Write them; curl only where the machine has none, or ours is preferred."""
    directory.mkdir()
    directory.chmod(0o755)
    # Isolated and without site-packages: they need the standard library alone, and start in a few milliseconds.
    python = f"exec {shlex.quote(os.path.realpath(sys.executable))} -I -S"
    _script(directory / "pilot-discovery", WAIT)
    _program(directory, "pilot-agent", Path(pilot_agent.__file__), python)
    if prefer_own_curl or shutil.which("curl") is None:
        _program(directory, "curl", Path(curl.__file__), python)


def _program(directory: Path, name: str, source: Path, python: str) -> None:
    copy = directory / source.name
    shutil.copyfile(source, copy)
    copy.chmod(0o644)
    _script(directory / name, f'{python} {LAB}/{source.name} "$@"')


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
