"""What `--ca` names: a file of certificates, read and looked at, or a ConfigMap that is there."""

from __future__ import annotations

import re
import sys

from kubectl_egress.errors import UsageError

KINDS = ("configmap/", "configmaps/", "cm/")
DEFAULT_KEY = "ca.crt"
_KEY = re.compile(r"[-._a-zA-Z0-9]+")


def config_map_named(given: str) -> str:
    """`NAME:KEY` of `configmap/NAME` or `configmap/NAME:KEY`; empty for a file. UsageError for what is neither."""
    kind = next((one for one in KINDS if given.startswith(one)), "")
    if not kind:
        return ""
    name, _, key = given.removeprefix(kind).partition(":")
    key = key or DEFAULT_KEY
    if not (_KEY.fullmatch(name) and _KEY.fullmatch(key)):
        raise UsageError(f"--ca: {given!r} is no ConfigMap", "write configmap/NAME, or configmap/NAME:KEY")
    return f"{name}:{key}"


def certificates(file: str) -> str:
    """The text of a file of certificates (PEM); empty without a file. UsageError for what is none, and for a private key."""
    from kubectl_egress import files

    if not file:
        return ""
    text = files.read([file], False, sys.stdin.buffer)[0].text
    check_certificates(text, f"--ca: {file}")
    return text


def check_certificates(text: str, what: str) -> None:
    """UsageError unless the text holds certificates, and nothing that is secret."""
    import ssl

    if "PRIVATE KEY" in text:
        raise UsageError(f"{what} holds a private key", "give a file of certificates alone: it goes into a ConfigMap")
    try:
        found = ssl.create_default_context(cadata=text).cert_store_stats()["x509"] if text.strip() else 0
    except ssl.SSLError:
        found = 0
    if not found:
        raise UsageError(f"{what} holds no certificate", "give CAs in PEM form: -----BEGIN CERTIFICATE-----")
