"""One line for all of pytest's runs, in pytest's own form: a directory of JUnit files, what was not run → standard output."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

WORDS = (("failures", "failed"), ("errors", "errors"), ("skipped", "skipped"))


def main(directory: str, *not_run: str) -> int:
    """1 if a test failed, or if no test passed; `not_run`: what there was no time for."""
    totals = dict.fromkeys(["tests", "failures", "errors", "skipped"], 0)
    seconds = 0.0
    for path in sorted(Path(directory).glob("*.xml")):
        for suite in ElementTree.parse(path).getroot().iter("testsuite"):
            seconds += float(suite.get("time", 0))
            for name in totals:
                totals[name] += int(suite.get(name, 0))
    passed = totals["tests"] - totals["failures"] - totals["errors"] - totals["skipped"]
    parts = [f"{totals[name]} {word}" for name, word in WORDS if totals[name]]
    parts += [f"{what} NOT RUN" for what in not_run]
    print(f"{', '.join([f'{passed} passed', *parts])} in {seconds:.2f}s".center(100, "="))
    return int(bool(totals["failures"] or totals["errors"] or not passed))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
