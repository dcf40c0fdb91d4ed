"""Credentials of an exec plugin, which is run as client-go runs it (plugin/pkg/client/auth/exec)."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubectl_egress.cluster.kubeconfig import Settings, line
from kubectl_egress.errors import ForbiddenError

# As long as somebody who presses the tabulator waits.
_UNATTENDED_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Credential:
    """What a plugin has given."""

    token: str = ""
    certificate: str = ""
    key: str = ""
    """PEM, like the certificate; both or neither."""
    expires: datetime | None = None

    @property
    def expired(self) -> bool:
        """Whether another is to be had before the next request."""
        return self.expires is not None and datetime.now(UTC) >= self.expires


def run_plugin(plugin: Settings, cluster: Settings, *, attended: bool) -> Credential:
    """Run the plugin of a kubeconfig's user for this cluster; what it writes on stderr goes to ours.

    It may ask questions if its `interactiveMode` says so and our stdin is a terminal. Not `attended`: it may not ask, what it
    says is not shown, and it is waited for briefly. Raises ForbiddenError in kubectl's words if it gives nothing usable.
    """
    command = str(plugin.get("command") or "")
    version = str(plugin.get("apiVersion") or "")
    if not command or not version:
        raise _refused(plugin, f"{'apiVersion' if command else 'command'} is missing in the kubeconfig")
    interactive = _interactive(plugin, attended)
    environment = os.environ | {str(one["name"]): str(one["value"]) for one in plugin.get("env") or ()}
    environment["KUBERNETES_EXEC_INFO"] = json.dumps(_question(plugin, cluster, version, interactive))
    try:
        done = subprocess.run(
            [command, *map(str, plugin.get("args") or ())],
            env=environment,
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if attended else subprocess.DEVNULL,
            timeout=None if attended else _UNATTENDED_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise _refused(plugin, f"executable {command} not found") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _refused(plugin, line(error)) from error
    if done.returncode:
        raise _refused(plugin, f"executable {command} failed with exit code {done.returncode}")
    return _credential(plugin, done.stdout, version)


def _interactive(plugin: Settings, attended: bool) -> bool:
    """Whether the plugin may read what is typed."""
    mode = str(plugin.get("interactiveMode") or "IfAvailable")
    terminal = attended and sys.stdin is not None and sys.stdin.isatty()
    if mode not in ("Never", "IfAvailable", "Always"):
        raise _refused(plugin, f'unknown interactiveMode: "{mode}"')
    if mode == "Always" and not terminal:
        raise _refused(plugin, "exec plugin cannot support interactive mode: standard input is not a terminal")
    return terminal and mode != "Never"


def _question(plugin: Settings, cluster: Settings, version: str, interactive: bool) -> Mapping[str, Any]:
    """The ExecCredential that the plugin is started with."""
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.get("provideClusterInfo"):
        names = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url", "disable-compression")
        spec["cluster"] = {name: cluster[name] for name in names if cluster.get(name)}
        authority = cluster.get("certificate-authority-data")
        if not authority and cluster.get("certificate-authority"):
            authority = base64.b64encode(Path(cluster["certificate-authority"]).read_bytes()).decode()
        if authority:
            spec["cluster"]["certificate-authority-data"] = authority
        for extension in cluster.get("extensions") or ():
            if extension.get("name") == "client.authentication.k8s.io/exec":
                spec["cluster"]["config"] = extension.get("extension")
    return {"apiVersion": version, "kind": "ExecCredential", "spec": spec}


def _credential(plugin: Settings, answer: bytes, version: str) -> Credential:
    try:
        document = json.loads(answer)
    except ValueError:  # whose text may quote a token
        raise _refused(plugin, "decoding stdout: it is not JSON") from None
    if not isinstance(document, dict) or document.get("apiVersion") != version:
        returned = document.get("apiVersion") if isinstance(document, dict) else "none"
        raise _refused(
            plugin, f"exec plugin is configured to use API version {version}, plugin returned version {returned}"
        )
    status = document.get("status")
    if not isinstance(status, dict):
        raise _refused(plugin, "exec plugin didn't return a status field")
    certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
    if bool(certificate) != bool(key):
        raise _refused(plugin, "exec plugin returned only certificate or key, not both")
    token = str(status.get("token") or "")
    if not token and not certificate:
        raise _refused(plugin, "exec plugin didn't return a token or cert/key pair")
    expires = _time(plugin, status.get("expirationTimestamp"))
    return Credential(token, str(certificate or ""), str(key or ""), expires)


def _time(plugin: Settings, text: object) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise _refused(plugin, f"decoding stdout: {line(error)}") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _refused(plugin: Settings, reason: str) -> ForbiddenError:
    command = plugin.get("command") or "the plugin"
    hint = line(plugin.get("installHint") or "") if reason.endswith("not found") else ""
    return ForbiddenError(
        f"getting credentials: exec: {reason}",
        hint or f"run the login command of {command} again, or choose another user with --user or --context",
        status=401,
        reason="Unauthorized",
    )
