"""A socket to the API server for what is no request, by the same way and with the same TLS as requests go."""

from __future__ import annotations

import functools
import http.client
import socket
import ssl
from typing import Any
from urllib.parse import unquote

import urllib3
from kubernetes.client import Configuration
from kubernetes.client.rest import should_bypass_proxies

from kubectl_egress.errors import UnreachableError


def proxy_of(configuration: Configuration) -> str:
    """The proxy that leads to the server; empty for none."""
    proxy = configuration.proxy or ""
    return "" if should_bypass_proxies(configuration.host, configuration.no_proxy or "") else proxy


def websocket_options(configuration: Configuration, timeout: float) -> dict[str, Any]:
    """What websocket-client needs to connect: a socket, or how to have one made by a SOCKS proxy.

    Its own way looks into the environment for proxies, whatever it is told. OSError, or UnreachableError for a proxy
    that cannot be used, where there is no way.
    """
    proxy = proxy_of(configuration)
    if not proxy.startswith("socks"):
        return {"socket": _open(configuration, proxy, timeout)}
    name = configuration.tls_server_name
    tls: dict[str, Any] = {"context": _tls(configuration)} | ({"server_hostname": name} if name else {})
    parsed = urllib3.util.parse_url(proxy)
    options = {
        "sslopt": tls,
        "http_proxy_host": parsed.host,
        "http_proxy_port": parsed.port or 1080,
        "proxy_type": parsed.scheme,
        # Without an entry, it would take those of NO_PROXY.
        "http_no_proxy": ["nowhere.invalid"],
    }
    return options | ({"http_proxy_auth": tuple(unquote(parsed.auth).split(":", 1))} if parsed.auth else {})


def _open(configuration: Configuration, proxy: str, timeout: float) -> socket.socket:
    server = urllib3.util.parse_url(configuration.host)
    secure = server.scheme == "https"
    host, port = (server.host or "").strip("[]"), server.port or (443 if secure else 80)
    plain = _tunnel(proxy, host, port, timeout) if proxy else socket.create_connection((host, port), timeout)
    if not secure:
        return plain
    try:
        return _tls(configuration).wrap_socket(plain, server_hostname=configuration.tls_server_name or host)
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


def _tls(settings: Configuration) -> ssl.SSLContext:
    return _context(settings.ssl_ca_cert, settings.verify_ssl, settings.cert_file, settings.key_file)


# Made once for all sockets: the machine's CA bundle takes 20 ms. A renewed client certificate is a file of another name.
@functools.lru_cache(maxsize=4)
def _context(authority: str | None, verify: bool, certificate: str | None, key: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate, key)
    return context
