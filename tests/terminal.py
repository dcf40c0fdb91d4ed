"""Our commands on a terminal: what is typed when something is read, and what was shown."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from tests.scene import Run, Scene

INTERRUPT, END_OF_FILE, ENTER = "\x03", "\x04", "\n"
PROMPT = r"\[y/N\] $"

# Ctrl-C on a pty reaches the session that has it as its controlling terminal.
ON_A_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, '-m', 'kubectl_egress', *sys.argv[1:]])"
)

Answer = str | Callable[[], str]
"""What is typed; a function does something first."""


def masked(line: str) -> str:
    """A line without its numbers and widths, which differ from run to run."""
    return re.sub(r"\s+", " ", re.sub(r"\d[\d.]*", "N", line)).strip()


def typed(scene: Scene, *arguments: str, answers: Sequence[tuple[str, Answer]], patience: float = 60.0) -> Run:
    """Run a command on a terminal of its own; each answer is typed when its pattern is on the screen, in their order."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "KUBECONFIG": str(scene.kubeconfig), "NO_COLOR": "1", "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, *arguments, "-n", scene.namespace],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        shown = _screen(ours, list(answers), time.monotonic() + patience)
        return Run(process.wait(10), shown.replace("\r\n", "\n"), "")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _screen(terminal: int, answers: list[tuple[str, Answer]], deadline: float) -> str:
    shown = ""
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            read = os.read(terminal, 65536)
        except OSError:  # Linux: nobody has the other end any more
            return shown
        shown += read.decode()
        if answers and re.search(answers[0][0], shown):
            _, answer = answers.pop(0)
            os.write(terminal, (answer() if callable(answer) else answer).encode())
    raise AssertionError(f"the command did not end; the screen:\n{shown}")
