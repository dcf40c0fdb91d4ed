"""Which fields of mesh objects the lab models: everything else is refused when it is created."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# A field is a leaf (its type), an object of fields (a mapping), or a list of either (a list of one). `*` is any key.
Shape = Mapping[str, Any] | list[Any] | type

_PORT = {"number": int}
_TLS = {"mode": str, "sni": str, "subjectAltNames": [str], "caCertificates": str, "insecureSkipVerify": bool}
_POLICY: dict[str, Any] = {
    "tls": _TLS,
    "loadBalancer": {"simple": str},
    "connectionPool": {"tcp": {"maxConnections": int, "connectTimeout": str}, "http": {"h2UpgradePolicy": str}},
}
_TRAFFIC_POLICY = _POLICY | {"portLevelSettings": [_POLICY | {"port": _PORT}]}

_SERVICE_ENTRY = {
    "hosts": [str],
    "addresses": [str],
    "ports": [{"number": int, "name": str, "protocol": str, "targetPort": int}],
    "location": str,
    "resolution": str,
    "endpoints": [{"address": str, "ports": {"*": int}}],
    "exportTo": [str],
    "subjectAltNames": [str],
}
_DESTINATION_RULE = {
    "host": str,
    "trafficPolicy": _TRAFFIC_POLICY,
    "subsets": [{"name": str, "trafficPolicy": _TRAFFIC_POLICY}],
    "exportTo": [str],
}
_VIRTUAL_SERVICE = {
    "hosts": [str],
    "gateways": [str],
    "exportTo": [str],
    "http": [
        {
            "name": str,
            "match": [{"name": str, "port": int, "uri": {"exact": str, "prefix": str}}],
            "route": [{"destination": {"host": str, "subset": str, "port": _PORT}, "weight": int}],
            "rewrite": {"authority": str},
            "headers": {"request": {"set": {"*": str}, "add": {"*": str}, "remove": [str]}},
            "retries": {"attempts": int, "retryOn": str},
            "timeout": str,
        }
    ],
}
_SIDECAR = {
    "workloadSelector": {"labels": {"*": str}},
    "egress": [{"hosts": [str]}],
    "outboundTrafficPolicy": {"mode": str},
}

SHAPES: Mapping[str, Shape] = {
    "ServiceEntry": _SERVICE_ENTRY,
    "DestinationRule": _DESTINATION_RULE,
    "VirtualService": _VIRTUAL_SERVICE,
    "Sidecar": _SIDECAR,
}


def misfits(value: Any, shape: Shape, path: str = "spec") -> Iterator[str]:
    """What in an object is not of the shape, one sentence each; an absent field is always of it, a null never."""
    if value is None:
        yield f"{path}: must not be null"
    elif isinstance(shape, type):
        # A bool is an int to Python, and never to JSON.
        if not isinstance(value, shape) or (shape is int and isinstance(value, bool)):
            yield f"{path}: must be of type {_WORDS[shape]}"
    elif isinstance(shape, list):
        yield from _in_list(value, shape[0], path)
    elif not isinstance(value, dict):
        yield f"{path}: must be an object"
    else:
        for key, inner in value.items():
            if key in shape or "*" in shape:
                yield from misfits(inner, shape.get(key, shape.get("*", str)), f"{path}.{key}")
            else:
                yield f"the lab's istiod does not model the field {path}.{key}"


_WORDS = {str: "string", int: "integer", bool: "boolean"}


def _in_list(value: Any, shape: Shape, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path}: must be an array"
        return
    for index, inner in enumerate(value):
        yield from misfits(inner, shape, f"{path}[{index}]")
