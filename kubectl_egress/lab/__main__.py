"""`python -m kubectl_egress.lab`: a lab that prints one JSON line when it is ready, and runs until it is told to end."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kubectl_egress.errors import EgressError
from kubectl_egress.lab.options import Options
from kubectl_egress.lab.supervisor import refuse, supervise


def _body(directory: Path, single_user: bool, options: Options) -> int:
    # Only here, in the lab itself: its parent stays small.
    from kubectl_egress.lab.process import run_lab

    return run_lab(directory, options, single_user=single_user)


def main() -> int:
    """The exit status; an error that a user can mend is one JSON line as well."""
    parser = argparse.ArgumentParser(prog="python -m kubectl_egress.lab", description=__doc__)
    parser.add_argument("--options", default="{}", help="what the lab is started with, as JSON")
    parser.add_argument("--watch-stdin", action="store_true", help="end when standard input does")
    arguments = parser.parse_args()
    options = Options.from_json(arguments.options)
    try:
        return supervise(
            lambda directory, single_user: _body(directory, single_user, options), watch_stdin=arguments.watch_stdin
        )
    except EgressError as error:
        return refuse(error)


if __name__ == "__main__":
    sys.exit(main())
