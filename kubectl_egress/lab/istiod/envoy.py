"""Names and small pieces of Envoy's v3 configuration that several modules write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubectl_egress.lab.families import IPV4, IPV6

Resource = dict[str, Any]

WILDCARD = {IPV4: "0.0.0.0", IPV6: "::"}
"""Where a listener for everything listens, by family."""

PASSTHROUGH = "PassthroughCluster"
BLACK_HOLE = "BlackHoleCluster"

# Where the labels of the standard metrics stand for a cluster or route; the stats logger cannot index istio's own list.
LABELS_NAMESPACE = "kubectl-egress.lab"

_TYPE = "type.googleapis.com/"
CLUSTER_TYPE = _TYPE + "envoy.config.cluster.v3.Cluster"
LISTENER_TYPE = _TYPE + "envoy.config.listener.v3.Listener"
ROUTES_TYPE = _TYPE + "envoy.config.route.v3.RouteConfiguration"


def typed(name: str, message: str, **fields: Any) -> Resource:
    """An extension: its name and its configuration with the type of the message."""
    return {"name": name, "typed_config": message_of(message, **fields)}


def message_of(message: str, **fields: Any) -> Resource:
    """A message that says its own type."""
    return {"@type": _TYPE + message, **fields}


def socket_address(address: str, port: int) -> Resource:
    """An address that a listener binds or an endpoint has."""
    return {"socket_address": {"address": address, "port_value": port}}


def addressed(addresses: Sequence[str], port: int) -> Resource:
    """Where a listener listens: the first address, and those besides."""
    more = [{"address": socket_address(address, port)} for address in addresses[1:]]
    return {"address": socket_address(addresses[0], port)} | ({"additional_addresses": more} if more else {})


def cluster_name(host: str, port: int, subset: str = "") -> str:
    """`outbound|80|subset|host`"""
    return f"outbound|{port}|{subset}|{host}"


def object_path(kind: str, namespace: str, name: str) -> str:
    """How istiod names the object in effect in the metadata of what it makes."""
    return f"/apis/networking.istio.io/v1/namespaces/{namespace}/{kind}/{name}"
