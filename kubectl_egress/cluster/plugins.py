"""Credentials by the client's own loader: the old providers (OIDC, GCP), and a pod's service account.

The client takes 0.15 s to import, which no other kubeconfig need wait for.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
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

    EgressError for settings that cannot be used, ForbiddenError for a provider that gives nothing.
    """
    configuration = Configuration()
    with _logged_errors() as logged:
        try:
            _loader(cluster, user).load_and_set(configuration)
        except ConfigException as exception:
            # `Expected key K in …` goes on with the whole entry, tokens and all.
            message = re.sub(r"(Expected key \S+) in .*", r"\1", line(exception))
            raise EgressError(f"kubeconfig: {message}", mend) from None
    if not configuration.api_key:
        # It would go on as nobody.
        reason = line(logged[0]) if logged else "it gave none"
        hint = "log in again, or choose another user with --user or --context"
        raise ForbiddenError(f"getting credentials: auth-provider: {reason}", hint, status=401, reason="Unauthorized")
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
    """Collect what the loader logs: a provider that fails is logged and otherwise ignored by it."""
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
