"""Clusters, route tables and listeners of Envoy's `/config_dump` and `/clusters`, as JSON, read into values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubectl_egress.model import Body, Endpoint, Upstream, VirtualHost
from kubectl_egress.proxy.tls import at, tls_settings


def upstreams(dumps: Iterable[Body], clusters: Body) -> tuple[Upstream, ...]:
    """The active clusters of one or more dumps of `dynamic_active_clusters`, with the endpoints and counters of `/clusters?format=json`."""
    endpoints = {
        status.get("name", ""): tuple(map(_endpoint, status.get("host_statuses", ())))
        for status in clusters.get("cluster_statuses", ())
    }
    found = {
        entry["cluster"].get("name", ""): entry["cluster"]
        for dump in dumps
        for entry in dump.get("configs", ())
        if "cluster" in entry
    }
    return tuple(_upstream(cluster, endpoints.get(name, ())) for name, cluster in sorted(found.items()))


def _upstream(cluster: Body, endpoints: tuple[Endpoint, ...]) -> Upstream:
    return Upstream(
        name=cluster.get("name", ""),
        tls=tls_settings(cluster),
        config_source=_config_source(cluster),
        endpoints=endpoints,
        configured_addresses=tuple(_configured_addresses(cluster)),
    )


def _config_source(resource: Body) -> str:
    """`/apis/networking.istio.io/…/destination-rule/NAME`: the object in effect, as istiod writes it."""
    return str(at(resource, "metadata", "filter_metadata", "istio").get("config", ""))


def _configured_addresses(cluster: Body) -> Iterator[str]:
    for locality in at(cluster, "load_assignment").get("endpoints", ()):
        for entry in locality.get("lb_endpoints", ()):
            address, port, _ = _socket(at(entry, "endpoint", "address"))
            yield f"{address}:{port}"


def _endpoint(status: Body) -> Endpoint:
    address, port, hostname = _socket(status.get("address", {}))
    # A `value` of 0 is left out, and 64-bit numbers are strings (JSON of protocol buffers).
    counted = {stat.get("name", ""): int(stat.get("value", 0)) for stat in status.get("stats", ())}
    return Endpoint(
        address=address,
        port=port,
        hostname=status.get("hostname", hostname),
        connections=counted.get("cx_total", 0),
        connect_failures=counted.get("cx_connect_fail", 0),
        requests=counted.get("rq_total", 0),
        successes=counted.get("rq_success", 0),
        errors=counted.get("rq_error", 0),
    )


def _socket(address: Body) -> tuple[str, int, str]:
    """Address, port and name; through an internal listener (HBONE) the endpoint's ID is `address:port`."""
    if "socket_address" in address:
        socket = address["socket_address"]
        return str(socket.get("address", "")), int(socket.get("port_value", 0)), ""
    internal = at(address, "envoy_internal_address")
    host, _, port = str(internal.get("endpoint_id", "")).rpartition(":")
    if port.isdecimal():
        return host.strip("[]"), int(port), str(internal.get("server_listener_name", ""))
    return str(at(address, "pipe").get("path", "")), 0, ""


def virtual_hosts(dump: Body) -> tuple[VirtualHost, ...]:
    """The virtual hosts of `dynamic_route_configs`, in Envoy's order."""
    tables = (entry["route_config"] for entry in dump.get("configs", ()) if "route_config" in entry)
    return tuple(
        VirtualHost(
            route_table=table.get("name", ""),
            domains=tuple(host.get("domains", ())),
            clusters=tuple(dict.fromkeys(cluster for route in routes for cluster in _clusters(route))),
            config_source=next(filter(None, map(_config_source, routes)), ""),
        )
        for table in tables
        for host in table.get("virtual_hosts", ())
        for routes in [host.get("routes", ())]
    )


def _clusters(route: Body) -> Iterator[str]:
    """Where one route sends to; nothing for a redirect or a direct response (`block_all`)."""
    action = at(route, "route")
    if action.get("cluster"):
        yield action["cluster"]
    for weighted in at(action, "weighted_clusters").get("clusters", ()):
        if weighted.get("weight", 0):
            yield weighted.get("name", "")
    if action.get("cluster_header") or action.get("cluster_specifier_plugin"):
        yield ""  # not known before the request


def catch_all(dump: Body) -> str:
    """The cluster that takes what no other listener knows: the last TCP proxy of `virtualOutbound`, or '' if there is none."""
    chains = [
        chain
        for entry in dump.get("configs", ())
        for listener in [at(entry, "active_state", "listener")]
        if listener.get("name") == "virtualOutbound"
        for chain in [
            *listener.get("filter_chains", ()),
            *([listener["default_filter_chain"]] if "default_filter_chain" in listener else []),
        ]
        if "destination_port" not in at(chain, "filter_chain_match")  # the guard against calls to 15001 itself
    ]
    found = [
        str(at(entry, "typed_config").get("cluster", "")) for chain in chains for entry in chain.get("filters", ())
    ]
    return next(filter(None, reversed(found)), "")
