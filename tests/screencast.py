"""The demo as it looks on a terminal, recorded: `python -m tests.screencast docs/demo` writes docs/demo.cast and docs/demo.svg."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

COLUMNS, ROWS = 120, 36
LONGEST_PAUSE = 1.5
"""Seconds; nobody wants to watch a lab start."""
SHORTEST_LOOK = 0.06
"""Seconds between two lines of the picture, so that a plan can be followed."""
LAST_LOOK = 8.0
"""Seconds that the end stays before it begins again."""
CELL, LINE, MARGIN = 7.8, 17.0, 16.0
"""Pixels: the width of a character at 13 px, the height of a line, the frame."""
CLASSES = {"1": "b", "2": "d", "31": "r", "32": "g", "33": "y"}
STYLE = """\
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d0d7de; white-space: pre }
.b { font-weight: bold; fill: #ffffff } .d { fill: #8b949e } .r { fill: #ff7b72 } .g { fill: #7ee787 } .y { fill: #e3b341 }
"""

Event = tuple[float, str]
"""Seconds since the first output, and what was written."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the screen as it was in the end: when it was begun, its words, and the SGR parameters of each."""

    at: float
    words: tuple[tuple[str, str], ...]


def recorded(command: Sequence[str]) -> list[Event]:
    """What a command writes to a terminal, with the pauses cut; CalledProcessError when it fails."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    events: list[Event] = []
    now, before = 0.0, None
    while written := _read(ours):
        clock = time.monotonic()
        now += min(LONGEST_PAUSE, clock - before) if before is not None else 0.0
        before = clock
        events.append((round(now, 3), written))
    os.close(ours)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command, "".join(text for _, text in events))
    return events


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 65536).decode()
    except OSError:  # Linux: nobody has the other end any more
        return ""


def cast(events: Sequence[Event]) -> str:
    """The recording as an asciicast, version 2 (docs.asciinema.org/manual/asciicast/v2)."""
    header = {"version": 2, "width": COLUMNS, "height": ROWS, "title": "kubectl egress demo"}
    rows = [header, *([at, "o", text] for at, text in events)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def lines(events: Sequence[Event]) -> list[Line]:
    """The whole scroll: each line as it was when the next one began, broken at the terminal's width."""
    found: list[Line] = []
    at, text, style = 0.0, "", ""
    for when, written in events:
        for part in re.split(r"(\r?\n)", written):
            if not part.endswith("\n"):
                at = at if text else when
                text += part
                continue
            words = _words(text.rpartition("\r\x1b[K")[2], style)
            style = words[-1][1]
            for row in _broken(words):
                begun = max(at if text else when, found[-1].at + SHORTEST_LOOK if found else 0.0)
                found.append(Line(round(begun, 2), row))
            text = ""
    return found


def _words(text: str, style: str) -> list[tuple[str, str]]:
    """The line's parts, each with its style; the last one's goes on in the next line."""
    found = []
    for part in re.split(r"(\x1b\[[\d;]*m)", text):
        if part.startswith("\x1b"):
            style = part[2:-1].removeprefix("0")
        else:
            found.append((part, style))
    return [*found, ("", style)]


def _broken(words: Iterable[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], ...]]:
    row: list[tuple[str, str]] = []
    left = COLUMNS
    for text, style in words:
        while len(text) > left:
            row.append((text[:left], style))
            yield tuple(row)
            row, text, left = [], text[left:], COLUMNS
        row.append((text, style))
        left -= len(text)
    yield tuple(row)


def svg(shown: Sequence[Line]) -> str:
    """A picture that moves: the lines appear when they did, and scroll; where motion is not wanted, the end alone."""
    length = shown[-1].at + LAST_LOOK
    width, height = COLUMNS * CELL + 2 * MARGIN, ROWS * LINE + 2 * MARGIN
    moves = {0.0: 0} | {line.at: index + 1 for index, line in enumerate(shown)}
    scroll = _keyframes("scroll", ((at, max(0, count - ROWS)) for at, count in moves.items()), length, -LINE)
    reveal = _keyframes("reveal", moves.items(), length, LINE)
    body = "\n".join(filter(None, (_text(line, (index + 0.8) * LINE) for index, line in enumerate(shown))))
    end = f"translateY({-LINE * max(0, len(shown) - ROWS):g}px)"
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="kubectl egress demo">
<style>
{STYLE}{scroll}{reveal}.scroll {{ animation: scroll {length:g}s step-end infinite }}
.cover {{ fill: #0d1117; animation: reveal {length:g}s step-end infinite }}
@media (prefers-reduced-motion: reduce) {{ .scroll {{ animation: none; transform: {end} }} .cover {{ display: none }} }}
</style>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<svg x="{MARGIN:g}" y="{MARGIN:g}" width="{width - 2 * MARGIN:g}" height="{height - 2 * MARGIN:g}"><g class="scroll">
{body}
<rect class="cover" width="100%" height="{len(shown) * LINE:g}"/>
</g></svg>
</svg>
"""


def _keyframes(name: str, moves: Iterable[tuple[float, int]], length: float, pixels: float) -> str:
    steps = {f"{100 * at / length:.2f}%": count for at, count in moves}
    frames = " ".join(f"{share} {{ transform: translateY({count * pixels:g}px) }}" for share, count in steps.items())
    return f"@keyframes {name} {{ {frames} }}\n"


def _text(line: Line, y: float) -> str:
    spans = []
    column = 0
    for text, style in line.words:
        kind = CLASSES.get(style)
        attribute = f' class="{kind}"' if kind else ""
        if text.strip():
            length = f' textLength="{len(text) * CELL:g}"'
            spans.append(f'<text x="{column * CELL:g}" y="{y:g}"{attribute}{length}>{escape(text, quote=False)}</text>')
        column += len(text)
    return "".join(spans)


def main(stem: Path) -> None:
    """Record the demo, and write both files."""
    events = recorded([sys.executable, "-m", "kubectl_egress", "demo"])
    stem.with_suffix(".cast").write_text(cast(events))
    stem.with_suffix(".svg").write_text(svg(lines(events)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
