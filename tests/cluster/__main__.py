"""`python -m tests.cluster`: a real cluster that prints one JSON line when it is ready, and runs until it is told to end."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kubectl_egress.errors import EgressError
from kubectl_egress.lab.options import Options
from kubectl_egress.lab.supervisor import refuse, supervise


def main() -> int:
    """The exit status; an error that a user can mend is one JSON line as well."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--options", default="{}", help="what the lab is started with, as JSON")
    parser.add_argument("--watch-stdin", action="store_true", help="end when standard input does")
    parser.add_argument("--kubernetes", type=Path, required=True, help="where kube-apiserver and the others are")
    parser.add_argument("--istio", type=Path, required=True, help="where pilot-discovery and the others are")
    arguments = parser.parse_args()
    options = Options.from_json(arguments.options)

    def body(directory: Path, single_user: bool) -> int:
        # Only here, in the cluster itself: its parent stays small.
        from tests.cluster.process import Programs, run_cluster

        programs = Programs(arguments.kubernetes, arguments.istio)
        return run_cluster(directory, options, programs, single_user=single_user)

    try:
        return supervise(body, watch_stdin=arguments.watch_stdin)
    except EgressError as error:
        return refuse(error)


if __name__ == "__main__":
    sys.exit(main())
