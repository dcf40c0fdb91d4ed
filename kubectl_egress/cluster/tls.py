"""TLS to the API server: whom we trust, and the certificate that we show."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kubectl_egress.errors import EgressError


@dataclass(frozen=True, slots=True)
class Pem:
    """Certificates or a key: the text, or else the file that has it; neither where there is none."""

    text: str = ""
    file: str = ""

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.text or self.file)


NONE = Pem()


def context(
    authority: Pem = NONE, certificate: Pem = NONE, key: Pem = NONE, *, verified: bool = True
) -> ssl.SSLContext:
    """What checks the server's certificate by `authority` (nothing: the machine's CAs) and shows ours.

    Not `create_default_context`: from Python 3.13 on that refuses CAs without a key identifier, which kubectl takes.
    EgressError for an authority or a certificate that cannot be used.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # A CA that is given is trusted for what it is, whoever signed it; so does Go.
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not verified:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    elif authority:
        _trust(made, authority)
    else:
        made.load_default_certs()
    if certificate:
        show(made, certificate, key)
    return made


def _trust(made: ssl.SSLContext, authority: Pem) -> None:
    try:
        made.load_verify_locations(cadata=authority.text or None, cafile=None if authority.text else authority.file)
    except (ssl.SSLError, ValueError) as error:
        raise EgressError(
            "unable to load root certificates: unable to parse bytes as PEM block",
            f"put the certificate of the cluster's CA into {authority.file or 'certificate-authority-data'}, or give "
            "--certificate-authority FILE",
        ) from error


def show(made: ssl.SSLContext, certificate: Pem, key: Pem) -> None:
    """Have connections that are opened from now on show this certificate; EgressError for one that cannot be used.

    OpenSSL reads files alone; text is in one for no longer than that takes.
    """
    with tempfile.TemporaryDirectory(prefix="kubectl-egress-") as directory:
        names = [_file(one, Path(directory, name)) for one, name in ((certificate, "certificate"), (key, "key"))]
        try:
            # A key that asks for a password would ask the terminal; kubectl knows no passwords either.
            made.load_cert_chain(names[0], names[1], password="")
        except (ssl.SSLError, ValueError) as error:
            raise EgressError(
                "the client certificate and its key cannot be used: they are no pair, or not PEM without a password",
                "mend client-certificate and client-key in the kubeconfig, or log in again",
            ) from error


def _file(pem: Pem, name: Path) -> str:
    if not pem.text:
        return pem.file
    name.touch(mode=0o600)
    name.write_text(pem.text)
    return str(name)
