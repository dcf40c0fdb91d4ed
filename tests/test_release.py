"""What starts an archive's program, and what fills in Krew's manifest; tests/release installs the real ones."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from kubectl_egress import __version__
from tests.release.archives import LAUNCHER, MINORS, PLATFORMS, Platform
from tests.release.manifest import MANIFEST, checksum, filled

THIS = sys.version_info[1]


def unpacked(directory: Path, minors: Sequence[int], name: str = "kubectl-egress") -> Path:
    """The launcher as in an archive, whose `lib` says what runs it."""
    for package, says in ((".", ""), ("cli", "egress"), ("cli/completing", "completing")):
        folder = directory / "lib/kubectl_egress" / package
        folder.mkdir(parents=True, exist_ok=True)
        code = f"import sys\ndef main():\n    print({says!r}, *sys.argv[1:])\n    return 3\n"
        (folder / "__init__.py").write_text(code)
    program = directory / name
    program.write_text(LAUNCHER.read_text().replace("MINORS = ()", f"MINORS = {tuple(minors)!r}"))
    program.chmod(0o755)
    return program


def run(program: Path, path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, program, *words], env={"PATH": str(path)}, capture_output=True, text=True, check=False
    )


def put(path: Path, name: str, script: str) -> None:
    path.mkdir(exist_ok=True)
    (path / name).write_text(f"#!/bin/sh\n{script}\n")
    (path / name).chmod(0o755)


def test_any_python_3_can_read_the_launcher() -> None:
    tree = ast.parse(LAUNCHER.read_text(), feature_version=(3, 6))
    # What an old Python evaluates: no annotations of variables, and those of functions are plain names or texts.
    assert not any(isinstance(node, ast.AnnAssign) for node in ast.walk(tree))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert all(isinstance(one.returns, ast.Name | ast.Constant) and not one.args.args for one in functions)
    assert "\nfrom __future__" not in LAUNCHER.read_text()


@pytest.mark.parametrize("minor", range(6, 11))
def test_an_older_python_finds_one_that_fits(tmp_path: Path, minor: int) -> None:
    places = os.pathsep.join([os.environ["PATH"], *map(str, Path.home().glob(f".pyenv/versions/3.{minor}.*/bin"))])
    old = next(iter(shutil.which(f"python3.{minor}", path=one) for one in reversed(places.split(os.pathsep))), None)
    if old is None:
        pytest.skip(f"Python 3.{minor} is not installed")
    program = unpacked(tmp_path, [THIS])
    (tmp_path / "bin").mkdir()
    (tmp_path / f"bin/python3.{THIS}").symlink_to(Path(sys.executable).resolve())
    path = str(tmp_path / "bin")
    done = subprocess.run([old, program, "a"], env={"PATH": path}, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("egress a\n", "", 3)


@pytest.mark.parametrize(("name", "says"), [("kubectl-egress", "egress"), ("kubectl_complete-egress", "completing")])
def test_a_python_that_fits_runs_what_lies_beside_the_launcher(tmp_path: Path, name: str, says: str) -> None:
    program = unpacked(tmp_path / "store", [THIS], name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / name).symlink_to(program)
    done = run(tmp_path / "bin" / name, tmp_path, "a", "--b")
    assert (done.stdout, done.stderr, done.returncode) == (f"{says} a --b\n", "", 3)


def test_the_newest_that_starts_is_looked_for_where_python3_does_not_fit(tmp_path: Path) -> None:
    program = unpacked(tmp_path, [97, 98, 99])
    put(tmp_path / "bin", "python3.99", "echo no such version >&2; exit 127")
    put(tmp_path / "bin", "python3.98", '[ "$1" = -c ] || echo "98 runs $*"')
    put(tmp_path / "bin", "python3.97", 'echo "97 runs $*"')
    done = run(program, tmp_path / "bin", "inspect", "-A")
    assert (done.stdout, done.stderr, done.returncode) == (f"98 runs {program} inspect -A\n", "", 0)


def test_without_one_that_fits_it_says_which_are_wanted(tmp_path: Path) -> None:
    done = run(unpacked(tmp_path, [98, 99]), tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"error: kubectl egress needs Python 3.98 to 3.99, and {sys.executable} is Python 3.{THIS}",
        "  install one (macOS: brew install python), so that python3 or python3.99 is it",
    ]


# ---- Krew's manifest ------------------------------------------------------------------------------------------------------


def archives(directory: Path) -> dict[Platform, Path]:
    found = {one: directory / one.file_name("9.8.7-rc.1") for one in PLATFORMS}
    for number, path in enumerate(found.values()):
        path.write_bytes(bytes([number]))
    return found


def test_version_addresses_and_checksums_are_filled_in_and_nothing_else(tmp_path: Path) -> None:
    before = MANIFEST.read_text()
    built = archives(tmp_path)
    after = filled(before, "9.8.7-rc.1", built)
    spec = yaml.safe_load(after)["spec"]
    assert spec["version"] == "v9.8.7-rc.1"
    for (platform, path), entry in zip(built.items(), spec["platforms"], strict=True):
        assert entry["selector"]["matchLabels"] == {"os": platform.os, "arch": platform.arch}
        assert entry["uri"].endswith(f"/releases/download/v9.8.7-rc.1/{path.name}")
        assert entry["sha256"] == checksum(path)
    plain = re.compile(r"v\d+\.\d+\.\d+(-rc\.1)?|[0-9a-f]{64}")
    assert plain.sub("", before) == plain.sub("", after)
    assert filled(after, "9.8.7-rc.1", built) == after


def test_a_platform_without_an_archive_is_no_manifest(tmp_path: Path) -> None:
    built = archives(tmp_path)
    del built[PLATFORMS[0]]
    with pytest.raises(KeyError):
        filled(MANIFEST.read_text(), "9.8.7", built)


def test_the_manifest_that_is_checked_in_is_of_archives_of_this_version() -> None:
    document = yaml.safe_load(MANIFEST.read_text())
    platforms = document["spec"]["platforms"]
    assert [one["uri"].rpartition("/")[2] for one in platforms] == [one.file_name(__version__) for one in PLATFORMS]
    assert len({one["sha256"] for one in platforms}) == len(PLATFORMS)
    assert f"Python 3.{min(MINORS)} to 3.{max(MINORS)}" in document["spec"]["caveats"]
