"""Istio's standard metrics from a stock Envoy: its stats access logger, with Istio's names and labels.

Source of names, labels and their order: istio/proxy `istio_stats.cc`. The logger's stats stand under the prefix
`wasmcustom`, a namespace that the bootstrap registers (see bootstrap.py), so that they are exported without it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from kubectl_egress.lab.istiod.envoy import LABELS_NAMESPACE, Resource, typed
from kubectl_egress.lab.istiod.workload import Identity

STATS_PREFIX = "wasmcustom"

# Istio's default (istio/istio pilot/pkg/model/telemetry_logging.go).
_TEXT_FORMAT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% '
    '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% '
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
_LOGGER = "envoy.extensions.access_loggers.stats.v3.Config"
_UNKNOWN = "unknown"

_SERVICE = "destination_service"
_NAME = "destination_service_name"
_NAMESPACE = "destination_service_namespace"


def destination(service: str = "", name: str = "", namespace: str = "") -> Resource:
    """The metadata namespace with the destination labels of a cluster or a route; what is empty is left out."""
    labels = {_SERVICE: service, _NAME: name, _NAMESPACE: namespace}
    return {LABELS_NAMESPACE: {key: value for key, value in labels.items() if value}}


def route_labels(name: str = "") -> Resource:
    """What a route says in place of a cluster that is not there, or before it (`name`)."""
    return {LABELS_NAMESPACE: {"unknown": _UNKNOWN} | ({_NAME: name} if name else {})}


def http_loggers(identity: Identity) -> list[Resource]:
    """The access log of an HTTP connection manager: requests, duration and sizes."""
    tags = _tags(identity, _http_destination(), protocol="http", code="%RESPONSE_CODE%", grpc="%GRPC_STATUS_NUMBER%")
    histograms = [
        _histogram("istio_request_duration_milliseconds", tags, "Milliseconds", "%DURATION%"),
        _histogram("istio_request_bytes", tags, "Bytes", "%DOWNSTREAM_WIRE_BYTES_RECEIVED%"),
        _histogram("istio_response_bytes", tags, "Bytes", "%DOWNSTREAM_WIRE_BYTES_SENT%"),
    ]
    counters = [_counter("istio_requests_total", tags, fixed=1)]
    return [_logger(counters=counters, histograms=histograms), _to_stdout()]


def tcp_loggers(identity: Identity, service: str, name: str, namespace: str) -> list[Resource]:
    """The access logs of a TCP proxy, one for the start of connections and one for their end."""
    known = {_SERVICE: service or _UNKNOWN, _NAME: name, _NAMESPACE: namespace or _UNKNOWN}
    tags = _tags(identity, known, protocol="tcp")
    opened = _logger(counters=[_counter("istio_tcp_connections_opened_total", tags, fixed=1)])
    closed = _logger(
        counters=[
            _counter("istio_tcp_connections_closed_total", tags, fixed=1),
            _counter("istio_tcp_sent_bytes_total", tags, value="%BYTES_SENT%"),
            _counter("istio_tcp_received_bytes_total", tags, value="%BYTES_RECEIVED%"),
        ]
    )
    return [
        _only(opened, "TcpConnectionStart"),
        _only(closed, "TcpConnectionEnd"),
        _only(_to_stdout(), "TcpConnectionEnd"),
    ]


def _to_stdout() -> Resource:
    """The access log as text, which `accessLogFile: /dev/stdout` of the mesh config asks for."""
    log_format = {"text_format_source": {"inline_string": _TEXT_FORMAT}}
    message = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
    return typed("envoy.access_loggers.file", message, path="/dev/stdout", log_format=log_format)


def _http_destination() -> Mapping[str, str]:
    """The route's word (passthrough, blocked) before the cluster's, before the Host header."""
    return {
        _SERVICE: _first(("METADATA", f"CLUSTER:{LABELS_NAMESPACE}:{_SERVICE}"), ("REQ", ":authority")),
        _NAME: _first(
            ("METADATA", f"ROUTE:{LABELS_NAMESPACE}:{_NAME}"),
            ("METADATA", f"CLUSTER:{LABELS_NAMESPACE}:{_NAME}"),
            ("REQ", ":authority"),
        ),
        _NAMESPACE: _first(
            ("METADATA", f"CLUSTER:{LABELS_NAMESPACE}:{_NAMESPACE}"), ("METADATA", f"ROUTE:{LABELS_NAMESPACE}:unknown")
        ),
    }


def _first(*operators: tuple[str, str]) -> str:
    """The first of the command operators that has a value."""
    listed = [{"command": command, "param": param} for command, param in operators]
    return f"%COALESCE({json.dumps({'operators': listed})})%"


def _tags(
    identity: Identity, service: Mapping[str, str], *, protocol: str, code: str = "", grpc: str = ""
) -> Sequence[Resource]:
    """All labels in Istio's order. What only the peer's own proxy could tell is unknown for an external service."""
    labels = {
        "reporter": "source",
        "source_workload": identity.workload,
        "source_canonical_service": identity.canonical_name,
        "source_canonical_revision": identity.canonical_revision,
        "source_workload_namespace": identity.namespace,
        "source_principal": _UNKNOWN,
        "source_app": identity.app,
        "source_version": identity.version,
        "source_cluster": "Kubernetes",
        "destination_workload": _UNKNOWN,
        "destination_workload_namespace": _UNKNOWN,
        "destination_principal": _UNKNOWN,
        "destination_app": _UNKNOWN,
        "destination_version": _UNKNOWN,
        _SERVICE: service[_SERVICE],
        "destination_canonical_service": _UNKNOWN,
        "destination_canonical_revision": "latest",
        _NAME: service[_NAME],
        _NAMESPACE: service[_NAMESPACE],
        "destination_cluster": _UNKNOWN,
        "request_protocol": protocol,
        "response_code": code,
        "grpc_response_status": grpc,
        "response_flags": "%RESPONSE_FLAGS%",
        # Never anything else on the client's side: istio_stats.cc knows mutual TLS for server reporters alone.
        "connection_security_policy": _UNKNOWN,
    }
    return [{"name": name, "value_format": value} for name, value in labels.items() if value]


def _counter(name: str, tags: Sequence[Resource], *, fixed: int = 0, value: str = "") -> Resource:
    amount: Resource = {"value_fixed": fixed} if fixed else {"value_format": value}
    return {"stat": {"name": name, "tags": list(tags)}, **amount}


def _histogram(name: str, tags: Sequence[Resource], unit: str, value: str) -> Resource:
    return {"stat": {"name": name, "tags": list(tags)}, "unit": unit, "value_format": value}


def _logger(**stats: list[Resource]) -> Resource:
    return typed("envoy.access_loggers.stats", _LOGGER, stat_prefix=STATS_PREFIX, **stats)


def _only(logger: Resource, log_type: str) -> Resource:
    return logger | {"filter": {"log_type_filter": {"types": [log_type]}}}
