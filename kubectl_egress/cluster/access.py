"""The way to the API server: its address, the TLS that it is asked over, the proxy before it, and who asks."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import urllib3

if TYPE_CHECKING:
    from kubectl_egress.cluster.renewal import Renewal

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
    renewal: Renewal | None = None
    """Where other credentials come from when the server turns these away."""
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


def behind_proxy(access: Access, given: str = "") -> Access:
    """With the proxy as Go chooses it: kubeconfig's always; the environment's by two variables, and never to this machine.

    The client would also take ALL_PROXY and macOS's own settings, and let NO_PROXY overrule the kubeconfig.
    """
    scheme, host = access.server.partition("://")[0], urlsplit(access.server).hostname or ""
    proxy = given or ("" if _is_loopback(host) else _proxy_of_environment(access.server, scheme))
    # Go has the proxy look names up; urllib3 has a word of its own for that.
    proxy = re.sub(r"^socks5://", "socks5h://", proxy)
    credentials = urllib3.util.parse_url(proxy).auth if proxy else None
    # urllib3 leaves what stands in the address out.
    headers = urllib3.make_headers(proxy_basic_auth=unquote(credentials)) if credentials else {}
    return replace(access, proxy=proxy, proxy_headers=headers)


def _proxy_of_environment(server: str, scheme: str) -> str:
    proxy, excepted = _environment(f"{scheme}_proxy"), _environment("no_proxy")
    if not (proxy and excepted):
        return proxy
    # Here, because the client takes 0.15 s to import.
    from kubernetes.client.rest import should_bypass_proxies

    return "" if should_bypass_proxies(server, excepted) else proxy


def _environment(name: str) -> str:
    return os.environ.get(name.upper()) or os.environ.get(name) or ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
