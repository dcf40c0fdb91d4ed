"""The certificates that the outside world shows: good ones of the lab's CA, and each way of being bad; and those that it asks for."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import trustme


class Certificate(StrEnum):
    """What a server shows for its name."""

    GOOD = "good"
    WRONG_HOST = "wrong-host"
    EXPIRED = "expired"
    UNKNOWN_CA = "unknown-ca"
    SELF_SIGNED = "self-signed"


ASKED_NAME = "asked_name"
"""The attribute of a connection's SSLObject that holds the SNI, if there was one."""
WRONG_NAME = "somebody-else.example"


def server_context(name: str, kind: Certificate, authority: trustme.CA, clients: str = "") -> ssl.SSLContext:
    """A server's TLS settings, with tickets of its own, so that no earlier session is resumed.

    `clients`: CAs, PEM; whoever shows no certificate of theirs gets no connection. Without, nobody is asked for one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _issue(name, kind, authority).configure_cert(context)
    context.set_alpn_protocols(["http/1.1"])
    context.sni_callback = _note_name
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients)
    return context


def client_name(connection: ssl.SSLSocket | ssl.SSLObject) -> str:
    """The common name of the certificate that the client has shown; nothing where it has shown none."""
    subject = (connection.getpeercert() or {}).get("subject") or ()
    names: dict[Any, Any] = dict(pair for part in subject for pair in part)  # type: ignore[misc]
    return str(names.get("commonName", ""))


def _note_name(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
    setattr(connection, ASKED_NAME, name or "")


def _issue(name: str, kind: Certificate, authority: trustme.CA) -> trustme.LeafCert:
    if kind is Certificate.WRONG_HOST:
        return authority.issue_cert(WRONG_NAME)
    if kind is Certificate.EXPIRED:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        return authority.issue_cert(name, not_before=yesterday - timedelta(days=30), not_after=yesterday)
    if kind in (Certificate.UNKNOWN_CA, Certificate.SELF_SIGNED):
        # To a client both are a chain that ends in something that it does not know.
        return trustme.CA(organization_name="nobody knows").issue_cert(name)
    return authority.issue_cert(name)
