"""How to reach the API server, as kubectl's flags and kubeconfig say it."""

from __future__ import annotations

import re

from kubectl_egress.cluster.cluster import Cluster
from kubectl_egress.cluster.options import ConnectionOptions
from kubectl_egress.errors import UsageError

_DURATION = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_timeout(text: str) -> float | None:
    """Read `--request-timeout` (or any duration as Go writes it) as seconds; None for 0, which is no timeout.

    Raises UsageError, in the words of client-go's `ParseTimeout`.
    """
    if text.isascii() and text.isdigit():
        return float(text) or None
    parts = _DURATION.findall(text)
    if not parts or "".join(parts) != text:
        raise UsageError(
            "Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a corresponding "
            "time unit (e.g. 1s | 2m | 3h)",
            f"{text!r} is neither; 0 means no timeout",
        )
    return sum(float(part.rstrip("nuµmsh")) * _SECONDS[part.lstrip("0123456789.")] for part in parts) or None


def connect(options: ConnectionOptions) -> Cluster:
    """Read kubeconfig (or the service account of the pod that we run in) and make a Cluster; nothing is asked yet.

    Raises UsageError for a timeout that is none and flags that do not go together, and EgressError for a kubeconfig,
    context, cluster, user or credential that is missing or cannot be used.
    """
    timeout = parse_timeout(options.request_timeout)
    # Here, because the client takes 0.3 s to import, which `--help` and usage errors need not wait for.
    from kubectl_egress.cluster.login import load_login
    from kubectl_egress.cluster.transport import Transport

    login = load_login(options)
    transport = Transport(login.access, login.headers, timeout, compressed=not options.disable_compression)
    return Cluster(transport, options.namespace or login.namespace, field_manager=options.field_manager)
