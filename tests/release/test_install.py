"""What is built, installed as its users install it and run on a machine that has nothing else of it."""

from __future__ import annotations

import ast
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from kubectl_egress import __version__
from tests.fake_api import Answer, fake_api
from tests.release.__main__ import INDEX_NAME, UV
from tests.release.archives import MINORS, PLATFORMS, ROOT, Platform, build
from tests.release.conftest import PYTHON, Machine, interpreters
from tests.release.manifest import checksum

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
HERE = next(
    one
    for one in PLATFORMS
    if (one.os, one.arch) == (sys.platform, ARCHITECTURES.get(platform.machine(), platform.machine()))
)
STORE = f".krew/store/egress/v{__version__}"
PLATFORM_IDS = [f"{one.os}-{one.arch}" for one in PLATFORMS]


def krew_install(machine: Machine, dist: Path, krew_programs: Path, target: Platform = HERE) -> None:
    archive = dist / target.file_name(__version__)
    machine.run(
        krew_programs / "krew", "install", f"--manifest={dist / INDEX_NAME}", f"--archive={archive}",
        KREW_OS=target.os, KREW_ARCH=target.arch,
    )  # fmt: skip
    if target == HERE:
        machine.add("kubectl-egress", machine.home / ".krew/bin/kubectl-egress")


def kubectl(machine: Machine) -> str:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    return str(machine.bin / "kubectl")


def check_that_it_works(machine: Machine, tmp_path: Path) -> None:
    """Its own version, a command that reads files, one that asks a cluster, and completion's program."""
    assert machine.run("kubectl-egress", "version", "--client") == f"Client Version: v{__version__}\n"
    listed = machine.run("kubectl-egress", "inspect", "-f", ROOT / "examples/curl.yaml", "-o", "json")
    assert '"httpbin.org"' in listed
    (tmp_path / "api").mkdir()
    with fake_api(tmp_path / "api") as api:
        api.on("GET", "/version", Answer({"gitVersion": "v1.36.3"}))
        for path in ("/api/v1/pods", "/api/v1/namespaces/shop/pods"):
            api.on("GET", path, Answer({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []}))
        asked = machine.run("kubectl-egress", "version", KUBECONFIG=str(tmp_path / "api" / "config"))
    assert "Server Version: v1.36.3\n" in asked


# ---- Krew ---------------------------------------------------------------------------------------------------------------


def test_krew_s_index_takes_the_manifest(machine: Machine, dist: Path, krew_programs: Path) -> None:
    checker = krew_programs / "validate-krew-manifest"
    machine.run(checker, "-skip-install", "-manifest", dist / INDEX_NAME)
    broken = machine.home / INDEX_NAME
    broken.write_text((dist / INDEX_NAME).read_text().replace("os: linux, arch: arm64", "os: linux, arch: amd64"))
    done = machine.ran(checker, "-skip-install", "-manifest", broken)
    assert done.returncode != 0
    assert "overlapping platform selectors" in done.stderr


@pytest.mark.parametrize("target", PLATFORMS, ids=PLATFORM_IDS)
def test_krew_installs_each_platform_s_archive(
    target: Platform, machine: Machine, dist: Path, krew_programs: Path
) -> None:
    krew_install(machine, dist, krew_programs, target)
    store = machine.home / STORE
    assert (store / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert (machine.home / ".krew/bin/kubectl-egress").resolve() == (store / "kubectl-egress").resolve()
    compiled = [path.name for path in (store / "lib").rglob("*.so")]
    for module in ("_yaml", "_pydantic_core"):
        minors = {found[1] for name in compiled if (found := re.match(rf"{module}\.cpython-3(\d+)-", name))}
        assert minors == {str(minor) for minor in MINORS}
    word = {"linux": "linux-gnu", "darwin": "darwin"}[target.os]
    assert [name for name in compiled if word not in name] == []


def test_a_manifest_of_other_archives_is_refused(machine: Machine, dist: Path, krew_programs: Path) -> None:
    archive = machine.home / HERE.file_name(__version__)
    archive.write_bytes((dist / archive.name).read_bytes() + b"x")
    command = ["install", f"--manifest={dist / INDEX_NAME}", f"--archive={archive}"]
    done = machine.ran(krew_programs / "krew", *command)
    assert done.returncode != 0
    assert "checksum" in done.stderr


@pytest.mark.parametrize("minor", MINORS)
def test_kubectl_runs_what_krew_has_installed(
    minor: int, machine: Machine, dist: Path, krew_programs: Path, tmp_path: Path
) -> None:
    found = interpreters(MINORS).get(minor)
    if found is None:
        pytest.skip(f"Python 3.{minor} is not installed")
    krew_install(machine, dist, krew_programs)
    machine.add("python3", found)
    check_that_it_works(machine, tmp_path)
    program = kubectl(machine)
    assert machine.run(program, "egress", "version", "--client") == f"Client Version: v{__version__}\n"
    assert machine.run(program, "egress", "--help").startswith("Usage: kubectl egress [OPTIONS] COMMAND")
    assert "Usage: kubectl egress inspect [options]" in machine.run(program, "egress", "inspect", "--help")
    assert "kubectl-egress" in machine.run(program, "plugin", "list")


def test_kubectl_completes_what_krew_has_installed(machine: Machine, dist: Path, krew_programs: Path) -> None:
    program = kubectl(machine)
    krew_install(machine, dist, krew_programs)
    # What `krew install` says to do, since it cannot do it itself (krew#812).
    second = machine.bin / "kubectl_complete-egress"
    second.write_text(machine.run(program, "egress", "completion", "kubectl"))
    second.chmod(0o755)
    found = machine.run(program, "__complete", "egress", "insp").splitlines()
    assert [line.partition("\t")[0] for line in found] == ["inspect", ":4"]
    # The archive's own, for who unpacks it by hand.
    assert machine.run(machine.home / STORE / "kubectl_complete-egress", "insp").splitlines() == found


def test_krew_takes_it_away_again(machine: Machine, dist: Path, krew_programs: Path) -> None:
    krew_install(machine, dist, krew_programs)
    machine.run("kubectl-egress", "version", "--client")  # leaves compiled code behind
    # It wants to have seen the index, which is a clone of GitHub's.
    (machine.home / ".krew/index/default/.git").mkdir(parents=True)
    machine.run(krew_programs / "krew", "uninstall", "egress")
    assert not (machine.home / ".krew/store/egress").exists()
    assert not (machine.home / ".krew/bin/kubectl-egress").is_symlink()


def test_without_the_lab_s_parts_the_demo_says_what_to_install(
    machine: Machine, dist: Path, krew_programs: Path
) -> None:
    krew_install(machine, dist, krew_programs)
    done = machine.ran("kubectl-egress", "demo")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the lab is not installed (")


def imports(package: Path) -> Iterator[tuple[str, str]]:
    """Every module that is imported anywhere in the package but in the lab, and what is taken from it."""
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0] == "lab":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("kubectl_egress.lab"):
                yield from ((node.module, alias.name) for alias in node.names)


def test_everything_that_is_imported_somewhere_is_in_the_archive(
    machine: Machine, dist: Path, krew_programs: Path
) -> None:
    krew_install(machine, dist, krew_programs)
    lib = machine.home / STORE / "lib"
    lines = [f"import sys; sys.path.insert(0, {str(lib)!r})"]
    for module, name in sorted(set(imports(lib / "kubectl_egress"))):
        lines.append(f"from {module} import {name}" if name and module != "__future__" else f"import {module}")
    lines.append(
        "print([name for name, one in sys.modules.items() if 'site-packages' in str(getattr(one, '__file__', ''))])"
    )
    script = machine.home / "imports.py"
    script.write_text("\n".join(lines))
    # Without site-packages, into which this machine may have put some of it.
    assert machine.run("python3", "-I", "-S", script) == "[]\n"


# ---- the archives themselves ----------------------------------------------------------------------------------------------


def test_the_same_parts_make_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    again = build(HERE, wheel, __version__, UV, tmp_path / "scratch", tmp_path)
    assert checksum(again) == checksum(dist / again.name)


def test_what_is_published_is_what_the_checksums_say(machine: Machine, dist: Path) -> None:
    lines = (dist / "SHA256SUMS").read_text().splitlines()
    assert {line.split("  ")[1]: line.split("  ")[0] for line in lines} == {
        path.name: checksum(path) for path in dist.iterdir() if path.name.endswith((".tar.gz", ".whl"))
    }
    uris = [one["uri"] for one in yaml.safe_load((dist / INDEX_NAME).read_text())["spec"]["platforms"]]
    assert {uri.rpartition("/")[2] for uri in uris} == {one.file_name(__version__) for one in PLATFORMS}


# ---- Python's own package managers ------------------------------------------------------------------------------------------


def pip(machine: Machine, package: Path) -> None:
    machine.run(PYTHON, "-m", "venv", machine.home / "venv")
    machine.run(machine.home / "venv/bin/python", "-m", "pip", "install", "--quiet", "--no-compile", package)
    for name in ("kubectl-egress", "kubectl_complete-egress"):
        machine.add(name, machine.home / "venv/bin" / name)


def pipx(machine: Machine, package: Path) -> None:
    machine.run(Path(sys.executable).parent / "pipx", "install", "--pip-args=--no-compile", package)


def uv_tool(machine: Machine, package: Path) -> None:
    machine.run(UV, "tool", "install", "--quiet", "--python", PYTHON, package)


@pytest.mark.parametrize(
    ("install", "pattern"),
    [(pip, "*.whl"), (pipx, "kubectl_egress-*.tar.gz"), (uv_tool, "*.whl")],
    ids=["pip-wheel", "pipx-sdist", "uv-wheel"],
)
def test_it_runs_where_it_is_installed_from(
    install: object, pattern: str, machine: Machine, dist: Path, tmp_path: Path
) -> None:
    (package,) = dist.glob(pattern)
    install(machine, package)  # type: ignore[operator]
    check_that_it_works(machine, tmp_path)
    assert machine.run("kubectl_complete-egress", "insp").startswith("inspect\t")
    assert machine.run(kubectl(machine), "__complete", "egress", "insp").startswith("inspect\t")
    assert machine.run(kubectl(machine), "egress", "version", "--client") == f"Client Version: v{__version__}\n"
