"""The lab's parent: gives it namespaces of its own, ends it when its user ends, and removes what it leaves."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from kubectl_egress.errors import EgressError
from kubectl_egress.lab import kernel

PREFIX = "kubectl-egress-lab-"
LOCK = "lock"
LONGEST_END = 10.0
KEEP = b"keep"
USERNS_REMEDY = (
    "run it as root, or allow unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1 "
    "user.max_user_namespaces=15000, and on Ubuntu 24.04 and later kernel.apparmor_restrict_unprivileged_userns=0"
)


def remove_leftovers() -> None:
    """Remove the directories of labs whose parent was killed before it could."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path / LOCK, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


def _new_directory() -> tuple[Path, int]:
    """A directory for one lab, and the descriptor that says that it is in use."""
    fresh = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
    descriptor = os.open(fresh / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    # Under its name only when it is locked: another lab, which starts now, would take it for a leftover.
    return fresh.rename(fresh.with_name(fresh.name[1:])), descriptor


def separate() -> bool:
    """Have the children of this process in a PID namespace; True if that took a user namespace, with a single UID.

    Raises EgressError where the kernel allows neither.
    """
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):
            kernel.unshare(kernel.CLONE_NEWPID)
            return False
    user, group = os.geteuid(), os.getegid()
    try:
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except OSError as error:
        raise _no_namespaces(error) from error
    return True


def _no_namespaces(error: OSError) -> EgressError:
    message = f"the lab needs namespaces, and this kernel does not give them to this user: {error.strerror}"
    return EgressError(message, USERNS_REMEDY)


def refuse(error: EgressError) -> int:
    """Say it as the one JSON line that a ready lab would have printed; the exit status."""
    print(json.dumps({"error": error.message, "remedy": error.remedy}), flush=True)
    return error.exit_status


def _init(body: Callable[[], int]) -> int:
    """PID 1: mounts of its own, one child that is the lab, and an end for every orphan. Ends with the lab."""
    kernel.die_with_parent(signal.SIGKILL)
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    except OSError as error:
        # AppArmor gives the user namespace, and then nothing in it.
        return refuse(_no_namespaces(error))
    with contextlib.suppress(OSError):
        # Where a part of /proc is masked (in a container), the kernel refuses: then the machine's stays.
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV)
    lab = os.fork()
    if lab == 0:
        return body()
    signal.signal(signal.SIGTERM, lambda *_: os.kill(lab, signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == lab:
            return os.waitstatus_to_exitcode(status) & 0xFF


def _wait(child: int, *, watch_stdin: bool) -> int:
    """Wait for the lab's end; ask for it when a signal comes or whoever holds our standard input is gone."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)

    # A signal's arrival has to end the poll below.
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    ended = os.pidfd_open(child)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(reading, select.POLLIN)
    if watch_stdin:
        poll.register(0, select.POLLIN | select.POLLHUP)
    while True:
        events = dict(poll.poll(LONGEST_END * 1000 if asked else None))
        if ended in events:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if not events:
            os.kill(child, signal.SIGKILL)
        if reading in events:
            os.read(reading, 512)
        if 0 in events:
            said = os.read(0, 512)
            poll.unregister(0)
            if not said.startswith(KEEP):
                ask()


def supervise(body: Callable[[Path, bool], int], *, watch_stdin: bool) -> int:
    """Run `body(directory, single_user)` as the lab; its exit status once nothing of it is left.

    `watch_stdin`: the lab ends when standard input does, unless `keep` was said there first.
    Raises EgressError where the machine cannot have a lab.
    """
    if sys.platform != "linux":
        raise EgressError("the lab needs Linux: its pods are network namespaces", "run it in a Linux virtual machine")
    remove_leftovers()
    directory, lock = _new_directory()
    try:
        single_user = separate()
        child = os.fork()
        if child == 0:
            leave(lambda: _init(lambda: body(directory, single_user)))
        return _wait(child, watch_stdin=watch_stdin)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def leave(run: Callable[[], int]) -> None:
    """The end of a forked child: whatever happens, nothing of its parent's clean-up is done twice."""
    status = 70
    try:
        status = run()
    except BaseException:  # the process ends here: nobody above could show it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
