#!/usr/bin/env python3
"""Starts kubectl egress from the folder of this file; any Python 3 can read it, and it looks for one that can run the rest."""

import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
# The minor versions that the compiled parts in `lib` are for; the build fills them in.
MINORS = ()  # type: tuple[int, ...]


def fits() -> bool:
    """Whether this interpreter is one of them."""
    return sys.implementation.name == "cpython" and sys.version_info[0] == 3 and sys.version_info[1] in MINORS


def other() -> "str | None":
    """The path of an interpreter that fits; a shim without an interpreter behind it (pyenv) is none."""
    import shutil  # these two take as long as the rest of `--help`
    import subprocess

    for minor in sorted(MINORS, reverse=True):
        path = shutil.which(f"python3.{minor}")
        if path and subprocess.call([path, "-c", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
            return path
    return None


def start() -> int:
    """Run the command that this file is named for; 1 with one line and a remedy if there is no Python for it."""
    if not fits():
        path = other()
        if path is None:
            first, last = min(MINORS), max(MINORS)
            found = f"{sys.executable} is Python {sys.version_info[0]}.{sys.version_info[1]}"
            remedy = f"install one (macOS: brew install python), so that python3 or python3.{last} is it"
            print(f"error: kubectl egress needs Python 3.{first} to 3.{last}, and {found}\n  {remedy}", file=sys.stderr)
            return 1
        os.execv(path, [path, os.path.abspath(__file__), *sys.argv[1:]])
    sys.path[0] = os.path.join(HERE, "lib")
    if os.path.basename(__file__).startswith("kubectl_complete"):
        from kubectl_egress.cli.completing import main
    else:
        from kubectl_egress.cli import main
    return main()


if __name__ == "__main__":
    sys.exit(start())
