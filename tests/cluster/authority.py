"""The cluster's certificates and kubeconfigs: one CA for the API server, its clients and the kubelet."""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

SERVER_NAMES = ("127.0.0.1", "localhost", "10.96.0.1", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
API_PORT = 6443


class Authority:
    """Writes what the programs need into one directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._ca = trustme.CA(organization_name="kubectl egress cluster tests")
        self.ca = self._write("ca.crt", self._ca.cert_pem.bytes())
        server = self._ca.issue_cert(*SERVER_NAMES)
        self.server_certificate = self._write("server.crt", b"".join(blob.bytes() for blob in server.cert_chain_pems))
        self.server_key = self._write("server.key", server.private_key_pem.bytes())
        key = ec.generate_private_key(ec.SECP256R1())
        plain, pem = serialization.NoEncryption(), serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain)
        public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.token_key = self._write("service-account.key", private)
        self.token_public_key = self._write("service-account.pub", public)

    def _write(self, name: str, content: bytes) -> Path:
        path = self._directory / name
        path.touch(0o600)
        path.write_bytes(content)
        return path

    def client(self, user: str, *groups: str) -> tuple[Path, Path]:
        """Certificate and key of a user; at most one group, which is the certificate's organisation."""
        issued = self._ca.issue_cert(
            f"{user.replace(':', '-')}.test", common_name=user, organization_name=groups[0] if groups else None
        )
        stem = user.replace(":", "-")
        certificate = self._write(f"{stem}.crt", b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return certificate, self._write(f"{stem}.key", issued.private_key_pem.bytes())

    def kubeconfig(self, path: Path, user: str, *groups: str, port: int = API_PORT) -> Path:
        """A kubeconfig (JSON, which is YAML too) of a user with a certificate."""
        certificate, key = self.client(user, *groups)
        cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": _encoded(self.ca)}
        credentials = {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}
        context = {"cluster": "real", "user": user, "namespace": "default"}
        body = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "real", "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": "real", "context": context}],
            "current-context": "real",
        }
        path.touch(0o600)
        path.write_text(json.dumps(body, indent=2))
        return path

    def server_context(self) -> ssl.SSLContext:
        """TLS for a server of the node's own."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server_certificate, self.server_key)
        return context

    def client_context(self, user: str, *groups: str) -> ssl.SSLContext:
        """TLS for a client of the API server."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(*self.client(user, *groups))
        return context


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
