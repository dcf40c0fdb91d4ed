"""Istio's access log, as text in its default format or as JSON: the connections to hosts without a name.

Source of the format: istio/istio pilot/pkg/model/telemetry_logging.go, unchanged in order since 1.18.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_egress.model import LoggedConnection

NAMELESS = frozenset({"PassthroughCluster", "BlackHoleCluster", "AllowAnyDynamicDNSCluster"})

_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')
# From the end of a line: what stands before may have more words than the format says (a reason for a failure).
_UPSTREAM_HOST, _CLUSTER, _LOCAL, _SERVER_NAME = -7, -6, -4, -2
# A host name as clients send it; Envoy marks what is none with `invalid:` (envoyproxy/envoy#36375).
_SERVER = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)+", re.IGNORECASE)


def read(text: str) -> tuple[LoggedConnection, ...]:
    """The connections of a log that went to a nameless cluster and told an SNI, in its order; every other line is passed over."""
    found = (_json(line) if line.startswith("{") else _text(line) for line in text.splitlines())
    return tuple(one for one in found if one is not None)


def _text(line: str) -> LoggedConnection | None:
    if not line.startswith("[") or not any(name in line for name in NAMELESS):
        return None
    words = [word.strip('"') for word in _WORD.findall(line)]
    if len(words) < -_UPSTREAM_HOST:
        return None
    return _connection(words[_CLUSTER], words[_LOCAL], words[_UPSTREAM_HOST], words[_SERVER_NAME])


def _json(line: str) -> LoggedConnection | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    if not isinstance(fields, Mapping):
        return None
    names = ("upstream_cluster", "downstream_local_address", "upstream_host", "requested_server_name")
    return _connection(*_values(fields, names))


def _values(fields: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        yield str(fields.get(name) or "-")


def _connection(cluster: str, local: str, upstream: str, server_name: str) -> LoggedConnection | None:
    """The original destination is the local address, as the redirect left it; the black hole has no other."""
    address, _, port = (local if local != "-" else upstream).rpartition(":")
    if cluster.rstrip(";") not in NAMELESS or not port.isdecimal() or not _SERVER.fullmatch(server_name):
        return None
    return LoggedConnection(cluster.rstrip(";"), address.strip("[]"), int(port), server_name.lower())
