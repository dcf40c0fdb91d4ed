"""An archive for each platform: a launcher, the licence, and one `lib` that serves every Python of `MINORS`."""

from __future__ import annotations

import gzip
import io
import re
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
REQUIREMENTS = HERE / "requirements.txt"
LAUNCHER = HERE / "launcher.py"
MINORS = (11, 12, 13, 14, 15)
"""The minor versions of Python 3 for which every dependency has wheels, on each platform."""
PROGRAMS = ("kubectl-egress", "kubectl_complete-egress")

# What the dependencies bring and nothing here imports.
LEFT_OUT = (
    "kubernetes/aio",  # its API a second time, for aiohttp, which the requirements leave out
    "bin",  # the dependencies' own commands, with the build machine's paths in them
)
# How and when it was built and installed; METADATA and the licences stay.
_INSTALLER_FILES = ("RECORD", "INSTALLER", "REQUESTED", "WHEEL", "direct_url.json", "uv_cache.json", "uv_build.json")
# 1 January 2020 and the three years after it.
_FIRST, _SPAN = 1577836800, 10**8
# 9 takes three times as long, for 1 %.
_COMPRESSION = 6


class ReleaseError(Exception):
    """Why there is no archive: one line what, one line remedy."""


@dataclass(frozen=True, slots=True)
class Platform:
    """`os` and `arch` as Krew has them (Go's words), `target` as uv has it."""

    os: str
    arch: str
    target: str

    def file_name(self, version: str) -> str:
        """What the archive is called."""
        return f"kubectl-egress_v{version}_{self.os}_{self.arch}.tar.gz"


PLATFORMS = (
    Platform("linux", "amd64", "x86_64-manylinux2014"),
    Platform("linux", "arm64", "aarch64-manylinux2014"),
    Platform("darwin", "amd64", "x86_64-apple-darwin"),
    Platform("darwin", "arm64", "aarch64-apple-darwin"),
)


def build(platform: Platform, wheel: Path, version: str, uv: str, scratch: Path, dist: Path) -> Path:
    """Make one archive in `dist`; `wheel` is our own, the rest is installed from the pinned requirements.

    The same parts make the same bytes (by the same zlib). Raises ReleaseError where a dependency has no wheel, or two
    Pythons disagree about a file.
    """
    merged = scratch / f"{platform.os}-{platform.arch}"
    for minor in MINORS:
        installed = scratch / f"{platform.os}-{platform.arch}-{minor}"
        _install(uv, platform, minor, wheel, installed)
        _merge(installed, merged)
        shutil.rmtree(installed)
    target = dist / platform.file_name(version)
    _pack(target, merged)
    shutil.rmtree(merged)
    return target


def _install(uv: str, platform: Platform, minor: int, wheel: Path, target: Path) -> None:
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(target)]
    command += ["--python-platform", platform.target, "--python-version", f"3.{minor}"]
    for what in (["--require-hashes", "--requirement", str(REQUIREMENTS)], [str(wheel)]):
        done = subprocess.run([*command, *what], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ReleaseError(
                f"the wheels of Python 3.{minor} for {platform.os}/{platform.arch} cannot be had: "
                f"{' '.join(done.stderr.split())}\n  make lock chooses the requirements anew"
            )


def _merge(source: Path, target: Path) -> None:
    """Lay one Python's files over those of the others: what is compiled has the Python in its name, the rest is the same."""
    for path in _kept(source):
        place = target / path.relative_to(source)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        elif place.read_bytes() != path.read_bytes():
            raise ReleaseError(
                f"{place.relative_to(target)} is not the same for every Python\n  leave one out of MINORS, or keep them apart"
            )


def _kept(source: Path) -> Iterator[Path]:
    left_out = tuple(source / name for name in LEFT_OUT)
    for path in sorted(source.rglob("*")):
        if not path.is_file() or path.name in _INSTALLER_FILES or path.suffix == ".pyc" or path.name == ".lock":
            continue
        if any(path.is_relative_to(one) for one in left_out) or path.parent.name == "sboms":
            continue
        yield path


def _pack(target: Path, merged: Path) -> None:
    launcher = re.sub(r"^MINORS = \(\)", f"MINORS = {MINORS!r}", LAUNCHER.read_text(), flags=re.MULTILINE).encode()
    with (
        target.open("wb") as file,
        gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in PROGRAMS:
            _add(archive, name, launcher, 0o755)
        _add(archive, "LICENSE", (ROOT / "LICENSE").read_bytes(), 0o644)
        for path in sorted(merged.rglob("*")):
            if path.is_file():
                _add(archive, f"lib/{path.relative_to(merged)}", path.read_bytes(), 0o644)


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    # By the content: Python takes compiled code for its source's as long as time and size are those that it was
    # compiled from, and a new version is unpacked over an old one.
    entry.size, entry.mode, entry.mtime = len(content), mode, _FIRST + zlib.crc32(content) % _SPAN
    archive.addfile(entry, io.BytesIO(content))
