"""A container's root: the machine's programs read-only, its own /etc, /tmp, /run and home, and its volumes."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kubectl_egress.lab import kernel
from kubectl_egress.lab.parts import LabRefusal

# A container's own: what the machine keeps there is not for it (and sockets in /run would lead out of the pod).
OWN_DIRECTORIES = {
    "tmp": 0o1777,
    "run": 0o755,
    "home": 0o755,
    "root": 0o755,
    "mnt": 0o755,
    "media": 0o755,
    "etc": 0o755,
}
DEVICES = frozenset({"dev", "proc"})
MACHINE = "/.machine"
MACHINE_ETC = "/.etc"
LAB = "/.lab"
# Directories of /etc in which nothing of the machine counts: there the lab's CA is the only public one.
OWN_TRUST = frozenset({"/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted/pem"})
CA_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
)
MIRROR_LIMIT = 500


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """A file or directory of the node that a container sees at `path`."""

    source: str
    path: str
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class Root:
    """What one container sees, apart from the machine's programs."""

    staging: str
    """An empty directory of the node's, where the root is put together."""
    launchers: str
    """The directory of the node's that appears as /.lab."""
    etc: Mapping[str, str]
    """The text of the files in /etc that are the pod's own, by absolute path."""
    mounts: Sequence[VolumeMount] = ()
    needed: Sequence[str] = field(default_factory=tuple)
    """Paths of the machine that have to be there even if they lie in somebody's home."""


def build(root: Root) -> None:
    """In the calling thread, which has a mount namespace of its own: put the root together and enter it.

    Raises LabRefusal for a mount path that cannot be made.
    """
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", root.staging, "tmpfs", kernel.MS_NOSUID, "mode=0755")
    os.mkdir(root.staging + MACHINE)
    kernel.bind("/", root.staging + MACHINE)
    kernel.enter_root(root.staging)
    for entry in os.scandir(MACHINE):
        _show_top(entry)
    _own_etc(root.etc)
    os.mkdir(LAB)
    kernel.bind(MACHINE + root.launchers, LAB)
    if os.path.isdir("/var/tmp") and not os.path.islink("/var/tmp"):
        kernel.mount("tmpfs", "/var/tmp", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=1777")
    for path in root.needed:
        _reveal(path)
    for volume in root.mounts:
        _mount_volume(volume)
    kernel.let_go(MACHINE)
    os.rmdir(MACHINE)


def _show_top(entry: os.DirEntry[str]) -> None:
    target = "/" + entry.name
    if target == MACHINE or os.path.lexists(target):
        return
    if entry.is_symlink():
        os.symlink(os.readlink(entry.path), target)
    elif entry.name in OWN_DIRECTORIES:
        os.mkdir(target)
        os.chmod(target, OWN_DIRECTORIES[entry.name])
    else:
        _show(entry.path, target, read_only=entry.name not in DEVICES)


def _show(source: str, target: str, *, read_only: bool) -> None:
    """Bind one entry of the machine to a new path."""
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return
    if os.path.isdir(source):
        os.mkdir(target)
    else:
        Path(target).touch()
    kernel.bind(source, target)
    if read_only:
        kernel.make_read_only(target)


def _own_etc(files: Mapping[str, str]) -> None:
    os.mkdir(MACHINE_ETC)
    kernel.bind(MACHINE + "/etc", MACHINE_ETC)
    kernel.make_read_only(MACHINE_ETC)
    _link_entries("/etc")
    for path, text in files.items():
        _own_directory(os.path.dirname(path))
        if os.path.lexists(path):
            os.unlink(path)
        Path(path).write_text(text)


def _link_entries(directory: str) -> None:
    """Fill an own directory of /etc with links to what the machine has there."""
    machine = MACHINE_ETC + directory.removeprefix("/etc")
    if directory in OWN_TRUST or not os.path.isdir(machine):
        return
    for name in os.listdir(machine):
        os.symlink(f"{machine}/{name}", f"{directory}/{name}")


def _own_directory(directory: str) -> None:
    """Make a directory of /etc the pod's own, and all above it, with links to what is not."""
    for step in [*_ancestors(directory), directory]:
        if os.path.islink(step):
            os.unlink(step)
        if not os.path.isdir(step):
            os.mkdir(step)
            _link_entries(step)


def _ancestors(path: str) -> list[str]:
    """`/a/b/c` → `/a`, `/a/b`."""
    return [str(parent) for parent in reversed(Path(path).parents)][1:]


def _reveal(path: str) -> None:
    """Have the machine's `path` at its place, also where another user may not pass or where the pod has its own."""
    for directory in _ancestors(path):
        if not os.path.isdir(directory):
            break
        if not os.stat(directory).st_mode & stat.S_IXOTH:
            kernel.mount("tmpfs", directory, "tmpfs", kernel.MS_NOSUID, "mode=0755")
    if os.path.exists(path):
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _show(MACHINE + path, path, read_only=True)


def _mount_volume(volume: VolumeMount) -> None:
    target = _mount_point(volume.path, directory=os.path.isdir(MACHINE + volume.source))
    kernel.bind(MACHINE + volume.source, target)
    if volume.read_only:
        kernel.make_read_only(target)


def _mount_point(path: str, *, directory: bool) -> str:
    """Where to mount: `path` with its links resolved, made if it is not there."""
    target = os.path.realpath(path)
    if target == "/" or target.startswith(("/proc", "/dev", LAB, MACHINE)):
        raise LabRefusal(f"the lab mounts nothing at {path}")
    if os.path.isdir(target) if directory else os.path.isfile(target):
        return target
    if os.path.exists(target):
        raise LabRefusal(
            f"{path} is a {'file' if directory else 'directory'} on this machine: the lab cannot mount there"
        )
    parent = os.path.dirname(target)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    _mirror(parent)
    os.makedirs(target if directory else os.path.dirname(target), exist_ok=True)
    if not directory:
        Path(target).touch()
    return target


def _mirror(directory: str) -> None:
    """Replace a read-only directory by one that holds the same and can be added to."""
    if os.access(directory, os.W_OK):
        return
    entries = os.listdir(directory)
    if len(entries) > MIRROR_LIMIT:
        raise LabRefusal(
            f"the lab adds no mount point to {directory}, which holds {len(entries)} entries on this machine"
        )
    kernel.mount("tmpfs", directory, "tmpfs", kernel.MS_NOSUID, "mode=0755")
    for name in entries:
        _show(f"{MACHINE}{directory}/{name}", f"{directory}/{name}", read_only=True)
