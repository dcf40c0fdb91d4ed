"""`kubectl egress demo`: the whole story on a lab that it starts itself."""

from __future__ import annotations

from typing import Annotated

import typer

from kubectl_egress.cli.output import say
from kubectl_egress.errors import EgressError

# What the `lab` extra installs: the lab is a program of its own, which could only say that it cannot start.
_LAB = ("envoy", "pyroute2", "aiohttp", "trustme", "dnslib")


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the lab running at the end, migrated, and say how to use it.")
    ] = False,
) -> int:
    """Show it all on a lab of its own: no cluster, no Docker; Linux and Python.

    Real: Envoy, the pods' network namespaces and redirect rules, TLS, the curl loop, and all that kubectl egress does. The
    Kubernetes API and istiod are small ones of the lab's. The server outside counts what reaches it in clear.

    \b
    Examples:
      kubectl egress demo
      kubectl egress demo --keep
    """
    from importlib.util import find_spec

    missing = next((name for name in _LAB if find_spec(name) is None), None)
    if missing:
        raise EgressError(
            f"the lab is not installed ({missing} is missing)",
            "in a virtual environment: pip install 'kubectl-egress[lab]', then kubectl-egress demo",
        )
    from kubectl_egress.cli.story import tell
    from kubectl_egress.lab.client import start_lab

    lab = start_lab(quiet=True)
    try:
        proven = tell(lab, undo=not keep)
        if keep:
            lab.keep()
            say(
                f"\nThe lab goes on:\n"
                f"  export KUBECONFIG={lab.kubeconfig}\n"
                f"  kubectl get pods -A; kubectl egress verify -n test-ext-svc\n"
                f"  kill {lab.process.pid}    # ends it, and leaves nothing behind\n"
            )
    finally:
        if not keep:
            lab.stop()
    return 0 if proven else 3
