"""How long a command takes and how much memory: of several runs the median, side by side with what it is compared to."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

RUNS = 5
EGRESS = [sys.executable, "-m", "kubectl_egress"]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command."""

    seconds: float
    first: float
    """Seconds until the first byte of its output; all of them where there was none."""
    megabytes: float
    """The largest resident size."""
    computing: float = 0.0
    """Seconds of processor time, which another program on the machine lengthens less."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    ours: str
    other: str
    """What it is compared to."""
    ratio: str
    budget: str
    met: bool | None
    """None: there is no budget."""


def run(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run it to its end, its output thrown away; AssertionError where it fails."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    assert process.stderr
    first = 0.0
    while chunk := os.read(process.stdout.fileno(), 1 << 20):
        first = first or (time.perf_counter() - begun if chunk else 0.0)
    said = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    process.stderr.close()
    assert process.returncode == 0, f"{' '.join(command)}: {said}"
    return Run(seconds, first or seconds, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)


def alternating(*commands: Callable[[], Run], runs: int = RUNS) -> list[Run]:
    """The median run of each; they take turns, so that what else the machine does falls on all of them."""
    found: list[list[Run]] = [[] for _ in commands]
    for number in range(runs + 1):
        for command, measured in zip(commands, found, strict=True):
            one = command()
            if number:  # the first fills the caches
                measured.append(one)
    return [_median(measured) for measured in found]


def _median(runs: Sequence[Run]) -> Run:
    return Run(
        statistics.median(one.seconds for one in runs),
        statistics.median(one.first for one in runs),
        statistics.median(one.megabytes for one in runs),
        statistics.median(one.computing for one in runs),
    )


def compared(what: str, ours: Run, name: str, other: Run, budget: str, met: bool) -> Row:
    """A row of two commands' seconds and their ratio."""
    ratio = ours.seconds / other.seconds
    return Row(
        what, shown(ours.seconds), f"{name} {shown(other.seconds)}", f"{ratio:.{1 if ratio >= 1 else 2}f}", budget, met
    )


def shown(seconds: float) -> str:
    """`120 ms`, `7.6 s`."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| what | here | compared to | ratio | budget | |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        word = "" if row.met is None else "met" if row.met else "missed"
        lines.append(f"| {row.what} | {row.ours} | {row.other} | {row.ratio} | {row.budget} | {word} |")
    return "\n".join(lines) + "\n"
