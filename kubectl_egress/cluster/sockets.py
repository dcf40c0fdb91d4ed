"""A socket to the API server for what is no request, by the same way and with the same TLS as requests go."""

from __future__ import annotations

import http.client
import socket
from typing import Any
from urllib.parse import unquote

import urllib3

from kubectl_egress.cluster.access import Access
from kubectl_egress.errors import UnreachableError


def websocket_options(access: Access, timeout: float) -> dict[str, Any]:
    """What websocket-client needs to connect: a socket, or how to have one made by a SOCKS proxy.

    Its own way looks into the environment for proxies, whatever it is told. OSError, or UnreachableError for a proxy
    that cannot be used, where there is no way.
    """
    if not access.proxy.startswith("socks"):
        return {"socket": _open(access, timeout)}
    name = access.server_name
    tls: dict[str, Any] = {"context": access.tls} | ({"server_hostname": name} if name else {})
    parsed = urllib3.util.parse_url(access.proxy)
    options = {
        "sslopt": tls,
        "http_proxy_host": parsed.host,
        "http_proxy_port": parsed.port or 1080,
        "proxy_type": parsed.scheme,
        # Without an entry, it would take those of NO_PROXY.
        "http_no_proxy": ["nowhere.invalid"],
    }
    return options | ({"http_proxy_auth": tuple(unquote(parsed.auth).split(":", 1))} if parsed.auth else {})


def _open(access: Access, timeout: float) -> socket.socket:
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
    """Through an HTTP proxy, which is asked in clear and then sees TLS alone."""
    parsed = urllib3.util.parse_url(proxy)
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
