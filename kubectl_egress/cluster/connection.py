"""How to reach the API server, as kubectl's flags and kubeconfig say it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kubectl_egress.cluster.cluster import Cluster
from kubectl_egress.errors import UsageError

_DURATION = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """The flags of kubectl that say which cluster, who asks, and how long to wait; empty means as kubeconfig says."""

    kubeconfig: str = ""
    context: str = ""
    cluster: str = ""
    user: str = ""
    namespace: str = ""
    as_user: str = ""
    as_groups: tuple[str, ...] = ()
    request_timeout: str = "0"
    """`1s`, `2m`, `3h`, a number of seconds, or `0` for none."""
    field_manager: str = "kubectl-egress"


def parse_timeout(text: str) -> float | None:
    """Read `--request-timeout` (or any duration as Go writes it) as seconds; None for 0, which is no timeout.

    Raises UsageError, in the words of client-go's `ParseTimeout`.
    """
    if text.isascii() and text.isdigit():
        return float(text) or None
    parts = _DURATION.findall(text)
    if not parts or "".join(parts) != text:
        raise UsageError(
            f"invalid timeout value {text!r}",
            "use a number of seconds, or a number with a unit: 1s, 2m, 3h; 0 means no timeout",
        )
    return sum(float(part.rstrip("nuµmsh")) * _SECONDS[part.lstrip("0123456789.")] for part in parts) or None


def connect(options: ConnectionOptions) -> Cluster:
    """Read kubeconfig (or the service account of the pod that we run in) and make a Cluster; nothing is asked yet.

    Raises UsageError for a timeout that is none, and EgressError for a kubeconfig, context, cluster, user or
    credential that is missing or cannot be used.
    """
    timeout = parse_timeout(options.request_timeout)
    if options.as_groups and not options.as_user:
        raise UsageError("--as-group needs --as", "say which user to impersonate: --as USER --as-group GROUP")
    # Here, because the client takes 0.3 s to import, which `--help` and usage errors need not wait for.
    from kubectl_egress.cluster.kubeconfig import load_login
    from kubectl_egress.cluster.transport import Transport

    login = load_login(options.kubeconfig, options.context, options.cluster, options.user)
    headers = login.headers
    if options.as_user:
        groups = tuple(("Impersonate-Group", group) for group in options.as_groups)
        headers = (("Impersonate-User", options.as_user), *groups)
    transport = Transport(login.configuration, headers, timeout)
    return Cluster(transport, options.namespace or login.namespace, field_manager=options.field_manager)
