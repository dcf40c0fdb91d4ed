"""The flags of kubectl that say which cluster, who asks, and how long to wait."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """Each as kubectl's flag of that name; empty means as kubeconfig says."""

    kubeconfig: str = ""
    context: str = ""
    cluster: str = ""
    user: str = ""
    namespace: str = ""
    server: str = ""
    token: str = ""
    certificate_authority: str = ""
    client_certificate: str = ""
    client_key: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    as_user: str = ""
    as_uid: str = ""
    as_groups: tuple[str, ...] = ()
    as_user_extra: tuple[str, ...] = ()
    """`KEY=VALUE`; a key may come more than once."""
    request_timeout: str = "0"
    """`1s`, `2m`, `3h`, a number of seconds, or `0` for none."""
    disable_compression: bool = False
    field_manager: str = "kubectl-egress"
    attended: bool = True
    """Whether somebody is there to be asked by an exec plugin."""
