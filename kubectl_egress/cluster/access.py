"""The way to the API server: its address, the TLS that it is asked over, the proxy before it, and who asks."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import urllib3

_CONNECTIONS = 32


def nobody() -> str:
    """The Authorization of who has none."""
    return ""


@dataclass(frozen=True, slots=True)
class Access:
    """All that a connection needs to know."""

    server: str
    """The base address: `https://10.0.0.1:6443`."""
    tls: ssl.SSLContext | None = None
    """None for a server without TLS."""
    server_name: str = ""
    """The name that the certificate is checked against, where it is not the address's."""
    authorization: Callable[[], str] = nobody
    """The Authorization header, renewed if it has expired; empty for none."""
    proxy: str = ""
    proxy_headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def verified(self) -> bool:
        """Whether the server has to show who it is."""
        return self.tls is None or self.tls.verify_mode is not ssl.CERT_NONE


def pool(access: Access) -> urllib3.PoolManager:
    """Connections that are kept and used again, by any thread."""
    # urllib3's own retries would also repeat a DELETE that may have been done.
    settings: dict[str, Any] = {"retries": False, "maxsize": _CONNECTIONS, "ssl_context": access.tls}
    if access.server_name:
        settings["server_hostname"] = access.server_name
    if access.proxy.startswith("socks"):
        from urllib3.contrib.socks import SOCKSProxyManager

        return SOCKSProxyManager(access.proxy, **settings)
    if access.proxy:
        # As Go does: the kubeconfig's CA vouches for a proxy that is asked over TLS, too.
        headers = dict(access.proxy_headers)
        return urllib3.ProxyManager(access.proxy, proxy_headers=headers, proxy_ssl_context=access.tls, **settings)
    return urllib3.PoolManager(**settings)
