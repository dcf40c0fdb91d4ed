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
    "tls": [
        {
            "match": [{"port": int, "sniHosts": [str], "destinationSubnets": [str]}],
            "route": [{"destination": {"host": str, "subset": str, "port": _PORT}, "weight": int}],
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


def unmodelled(value: Any, shape: Shape, path: str = "spec") -> Iterator[str]:
    """The fields of an object of the right types that are not modelled, one sentence each."""
    if isinstance(shape, list):
        for index, inner in enumerate(value):
            yield from unmodelled(inner, shape[0], f"{path}[{index}]")
    elif isinstance(shape, Mapping):
        for key, inner in value.items():
            if key in shape or "*" in shape:
                yield from unmodelled(inner, shape.get(key, shape.get("*", str)), f"{path}.{key}")
            else:
                yield f"the lab's istiod does not model the field {path}.{key}"
