"""The system calls that Python has no name for: namespaces, mounts, and a thread that enters them and ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 2
MS_NODEV = 4
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
LAST_CAPABILITY = 63

# The same number on every architecture (asm-generic/unistd.h); 5.12 and later.
SYS_MOUNT_SETATTR = 442
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}.get(os.uname().machine, 155)
AT_FDCWD = -100
AT_RECURSIVE = 0x8000
MOUNT_ATTR_RDONLY = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own; OSError if the kernel does not allow it."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Enter the namespace behind the descriptor; `os.setns` is only there from Python 3.12 on."""
    _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    _check(
        _libc.mount(
            source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None
        ),
        target,
    )


def bind(source: str, target: str) -> None:
    """Show `source`, with everything mounted below it, at `target` too."""
    mount(source, target, flags=MS_BIND | MS_REC)


def make_read_only(target: str) -> bool:
    """Make `target` and everything mounted below it read-only; False where the kernel is older than 5.12."""

    class Attributes(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]

    attributes = Attributes(set=MOUNT_ATTR_RDONLY)
    result = _libc.syscall(
        ctypes.c_long(SYS_MOUNT_SETATTR),
        ctypes.c_int(AT_FDCWD),
        ctypes.c_char_p(target.encode()),
        ctypes.c_uint(AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    return bool(result == 0)


def enter_root(new_root: str) -> None:
    """Make `new_root` (a mount point that shows the old root somewhere) the root of this mount namespace."""
    os.chdir(new_root)
    # pivot_root(".", ".") stacks the old root over the new one, which the umount takes away: pivot_root(2).
    _check(_libc.syscall(ctypes.c_long(SYS_PIVOT_ROOT), b".", b"."), "pivot_root")
    let_go(".")
    os.chdir("/")


def let_go(target: str) -> None:
    """Take a mount away, at once for the eye and for good when nobody uses it any more."""
    _check(_libc.umount2(target.encode(), ctypes.c_int(MNT_DETACH)), target)


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send the signal to this process when its parent ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl")


def drop_capabilities() -> None:
    """Let nothing that this thread executes from now on have a capability."""
    for capability in range(LAST_CAPABILITY + 1):
        # EINVAL: the kernel has fewer.
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Open descriptors of the namespaces of one pod; they live as long as the descriptors or a process in them."""

    net: int
    mnt: int | None = None
    uts: int | None = None

    @classmethod
    def of_this_thread(cls) -> Namespaces:
        """Those that the calling thread is in."""
        net, mnt, uts = (os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt", "uts"))
        return cls(net, mnt, uts)

    def enter(self) -> None:
        """Move the calling thread into them, for good."""
        setns(self.net, CLONE_NEWNET)
        if self.uts is not None:
            setns(self.uts, CLONE_NEWUTS)
        if self.mnt is not None:
            # A thread that shares its working directory with others may not change its mounts.
            unshare(CLONE_FS)
            setns(self.mnt, CLONE_NEWNS)

    def close(self) -> None:
        """Let go of them."""
        for descriptor in (self.net, self.mnt, self.uts):
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    os.close(descriptor)

    def network_identity(self) -> tuple[int, int]:
        """What tells this network namespace from every other (device and inode)."""
        status = os.fstat(self.net)
        return status.st_dev, status.st_ino


async def in_a_thread(function: Callable[[], Result]) -> Result:
    """Call `function` in a thread of its own that ends with it, so that it may change its namespaces."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only where Result is

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as caught:  # handed over whole to who waits
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="in-namespaces", daemon=True).start()
    return await future


async def within(namespaces: Namespaces, function: Callable[[], Result]) -> Result:
    """Call `function` inside the namespaces."""

    def entered() -> Result:
        namespaces.enter()
        return function()

    return await in_a_thread(entered)
