"""A socket to the API server for what is no request, by the same way and with the same TLS as requests go."""

from __future__ import annotations

import http.client
import importlib
import socket
from typing import Any
from urllib.parse import unquote

import urllib3

from kubectl_egress.cluster.access import Access
from kubectl_egress.errors import UnreachableError


def open_socket(access: Access, timeout: float) -> socket.socket:
    """Connect to the API server, by its proxy where it has one, and with TLS.

    websocket-client's own way looks into the environment for proxies, whatever it is told. OSError, or UnreachableError
    for a proxy that cannot be used, where there is no way.
    """
    server = urllib3.util.parse_url(access.server)
    host, port = (server.host or "").strip("[]"), server.port or (443 if access.tls else 80)
    plain = (
        _tunnel(access.proxy, host, port, timeout) if access.proxy else socket.create_connection((host, port), timeout)
    )
    if access.tls is None:
        return plain
    try:
        return access.tls.wrap_socket(plain, server_hostname=access.server_name or host)
    except OSError:
        plain.close()
        raise


def _tunnel(proxy: str, host: str, port: int, timeout: float) -> socket.socket:
    """Through a proxy, which is asked in clear and then sees TLS alone."""
    parsed = urllib3.util.parse_url(proxy)
    if (parsed.scheme or "").startswith("socks"):
        return _by_socks(parsed, host, port, timeout)
    if parsed.scheme not in ("http", None):
        raise UnreachableError(
            f"the proxy {parsed.scheme}://{parsed.host} is asked over {parsed.scheme}, which port-forwards cannot do",
            "give an http:// or socks5:// address of the proxy, in proxy-url or HTTPS_PROXY",
        )
    headers = urllib3.make_headers(proxy_basic_auth=unquote(parsed.auth)) if parsed.auth else {}
    connection = http.client.HTTPConnection((parsed.host or "").strip("[]"), parsed.port or 80, timeout=timeout)
    connection.set_tunnel(host, port, headers)
    connection.connect()
    return connection.sock


def _by_socks(proxy: urllib3.util.Url, host: str, port: int, timeout: float) -> socket.socket:
    socks: Any = importlib.import_module("socks")  # PySocks has no annotations
    user, _, password = (unquote(proxy.auth) if proxy.auth else "").partition(":")
    made: socket.socket = socks.create_connection(
        (host, port),
        timeout,
        proxy_type=socks.SOCKS5 if (proxy.scheme or "").startswith("socks5") else socks.SOCKS4,
        proxy_addr=(proxy.host or "").strip("[]"),
        proxy_port=proxy.port or 1080,
        proxy_username=user or None,
        proxy_password=password or None,
    )
    return made
