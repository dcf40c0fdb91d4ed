"""Credentials that somebody else gives, by the client's own loader: exec plugins, OIDC and GCP, a pod's service account.

The client takes 0.15 s to import, which a kubeconfig with a certificate or a token need not wait for.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kubernetes import config
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, kube_config

from kubectl_egress.cluster import tls
from kubectl_egress.cluster.access import Access
from kubectl_egress.cluster.kubeconfig import Settings, line
from kubectl_egress.errors import EgressError, ForbiddenError

_CHOSEN = "chosen"

# The client's loaders have no annotations.
_load_in_cluster: Any = config.load_incluster_config
_KubeConfig: Any = kube_config.KubeConfigLoader


def of_pod() -> Access | None:
    """The access of the pod that we run in, by its service account; None if this is no pod."""
    configuration = Configuration()
    try:
        _load_in_cluster(client_configuration=configuration)
    except ConfigException:
        return None
    return _access(configuration)


def of_user(cluster: Settings, user: Settings, mend: str) -> Access:
    """The access that a kubeconfig's cluster and user come to; its files are absolute paths. `mend`: a broken one's remedy.

    EgressError for settings that cannot be used, ForbiddenError for a plugin that gives nothing.
    """
    configuration = Configuration()
    with _logged_errors() as logged:
        try:
            _loader(cluster, user).load_and_set(configuration)
        except ConfigException as exception:
            # `Expected key K in …` goes on with the whole entry, tokens and all.
            message = re.sub(r"(Expected key \S+) in .*", r"\1", line(exception))
            raise EgressError(f"kubeconfig: {message}", mend) from None
    _check_plugin(user, configuration, logged)
    return _access(configuration)


def _access(configuration: Configuration) -> Access:
    secure = configuration.host.startswith("https")
    context = tls.context(
        tls.Pem(file=configuration.ssl_ca_cert or ""),
        tls.Pem(file=configuration.cert_file or ""),
        tls.Pem(file=configuration.key_file or ""),
        verified=configuration.verify_ssl,
    )
    return Access(
        configuration.host,
        context if secure else None,
        configuration.tls_server_name or "",
        lambda: configuration.get_api_key_with_prefix("BearerToken") or "",
    )


def _loader(cluster: Settings, user: Settings) -> Any:
    """The client's own loader, on a kubeconfig that holds what was chosen and nothing else."""
    document = {
        "contexts": [{"name": _CHOSEN, "context": {"cluster": _CHOSEN, "user": _CHOSEN}}],
        "clusters": [{"name": _CHOSEN, "cluster": dict(cluster)}],
        "users": [{"name": _CHOSEN, "user": dict(user)}],
    }
    return _KubeConfig(document, active_context=_CHOSEN, config_base_path="")


@contextmanager
def _logged_errors() -> Iterator[list[str]]:
    """Collect what the loader logs: a failing exec plugin is logged and otherwise ignored by it."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    root, collector = logging.getLogger(), Collector(logging.ERROR)
    root.addHandler(collector)
    try:
        yield messages
    finally:
        root.removeHandler(collector)


def _check_plugin(user: Settings, configuration: Configuration, logged: Sequence[str]) -> None:
    """Raise ForbiddenError where an exec plugin gave nothing: without it, we would ask as nobody."""
    plugin = user.get("exec")
    if not isinstance(plugin, dict) or configuration.api_key or configuration.cert_file:
        return
    command = str(plugin.get("command") or "")
    reason = line(logged[0]) if logged else "it gave no credentials"
    if "[Errno 2]" in reason:
        reason = f"executable {command} not found"
    elif "NoneType" in reason:
        # The client's own slip on a terminal, where the plugin's words were already shown.
        reason = f"{command} failed"
    elif command:
        reason = f"{command}: {reason.removeprefix('exec: ')}"
    hint = line(plugin.get("installHint") or "")
    raise ForbiddenError(
        f"getting credentials: exec: {reason}",
        hint or f"run the login command of {command} again, or choose another user with --user or --context",
        status=401,
        reason="Unauthorized",
    )
