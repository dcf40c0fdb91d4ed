"""Envoy listeners: what catches redirected connections, and one for each port that entries name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from kubectl_egress.lab.istiod.envoy import (
    BLACK_HOLE,
    LISTENER_TYPE,
    PASSTHROUGH,
    WILDCARD,
    Resource,
    addressed,
    cluster_name,
    typed,
)
from kubectl_egress.lab.istiod.objects import Port, Service
from kubectl_egress.lab.istiod.telemetry import http_loggers, tcp_loggers
from kubectl_egress.lab.istiod.visibility import View
from kubectl_egress.lab.istiod.workload import Identity
from kubectl_egress.lab.parts import Body

OUTBOUND_PORT = 15001

# Envoy refuses a file with more than one route table ("Unexpected RDS resource length").
TABLE_IN_FILE = "80"


@dataclass(frozen=True, slots=True)
class _Chain:
    """One TCP destination of a listener; without `server_name` it takes every connection."""

    service: Service
    port: Port
    server_name: str
    network: str = ""
    """Takes only what goes to these addresses; empty: whatever the listener gets."""
    cluster: str = ""
    """Where a VirtualService takes it; empty: to the service's own."""

    @property
    def match(self) -> tuple[str, str]:
        """What tells it from the other chains of its listener."""
        return self.network, self.server_name


def build_listeners(
    view: View, identity: Identity, tables: Sequence[Resource], routes_path: str
) -> tuple[Resource, ...]:
    """All listeners of a proxy; `tables`: the route tables, `routes_path`: the file that port 80's comes from."""
    found = [virtual_outbound(view, identity)]
    by_port = {table["name"]: table for table in tables}
    for (address, number), chains in sorted(_listening(view).items()):
        if chains:
            found.append(_tcp_listener(view, identity, address, number, chains))
        else:
            found.append(_http_listener(view, identity, number, _routes_source(by_port[str(number)], routes_path)))
    return tuple(found)


def _listening(view: View) -> dict[tuple[str, int], list[_Chain]]:
    """By address and port: the chains of a TCP listener, or none at all, which says HTTP.

    Two kinds on one address and port: the older entry has it (a listener conflict). So has the first of two chains that
    take the same connections.
    """
    found: dict[tuple[str, int], list[_Chain]] = {}
    everywhere = WILDCARD[view.families[0]]
    for service in view.services:
        for port in service.ports:
            if port.http:
                found.setdefault((everywhere, port.number), [])
                continue
            for address in service.addresses or (everywhere,):
                for chain in _chains(view, service, port, address):
                    chains = found.get((address, port.number))
                    if chains == [] or (chains and chain.match in {one.match for one in chains}):
                        continue
                    found.setdefault((address, port.number), []).append(chain)
    return found


def _chains(view: View, service: Service, port: Port, address: str) -> list[_Chain]:
    """What VirtualServices say of TLS connections to the service, or else its own chain (networkfilter, tls.go)."""
    routed = [
        _Chain(service, port, name, network, _destination(tls, port))
        for routing in view.routings
        if port.tls and service.host in routing.hosts
        for tls in routing.tls
        for match in tls["match"]
        if match.get("port", port.number) == port.number
        for name in match["sniHosts"]
        for network in match.get("destinationSubnets") or ("",)
    ]
    return routed or [_Chain(service, port, service.host if address in WILDCARD.values() and port.tls else "")]


def _destination(tls: Body, port: Port) -> str:
    target = tls["route"][0]["destination"]
    number = (target.get("port") or {}).get("number", port.number)
    return cluster_name(target["host"].lower(), number, target.get("subset", ""))


def virtual_outbound(view: View, identity: Identity) -> Resource:
    """The listener that the redirect leads to: it hands over by original destination, and takes what nobody takes."""
    trap = {
        "name": "virtualOutbound-blackhole",
        "filter_chain_match": {"destination_port": OUTBOUND_PORT},
        "filters": [_tcp_proxy(BLACK_HOLE, identity, None)],
    }
    return {
        "@type": LISTENER_TYPE,
        "name": "virtualOutbound",
        "use_original_dst": True,
        "traffic_direction": "OUTBOUND",
        "filter_chains": [trap, _otherwise(view, identity, "virtualOutbound-catchall-tcp")],
    } | addressed([WILDCARD[family] for family in view.families], OUTBOUND_PORT)


def _otherwise(view: View, identity: Identity, name: str) -> Resource:
    cluster = PASSTHROUGH if view.allow_any else BLACK_HOLE
    return {"name": name, "filters": [_tcp_proxy(cluster, identity, None)]}


def _redirected(view: View, address: str, number: int) -> Resource:
    """A listener that no socket is bound for: connections come to it from virtualOutbound."""
    everywhere = [WILDCARD[family] for family in view.families]
    return {
        "@type": LISTENER_TYPE,
        "name": f"{address}_{number}",
        "bind_to_port": False,
        "traffic_direction": "OUTBOUND",
    } | addressed(everywhere if address == everywhere[0] else [address], number)


def _tcp_listener(view: View, identity: Identity, address: str, number: int, chains: list[_Chain]) -> Resource:
    found: Resource = _redirected(view, address, number) | {
        "filter_chains": [_chain(chain, identity) for chain in chains]
    }
    if all(chain.server_name for chain in chains):
        inspector = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
        found["listener_filters"] = [typed("envoy.filters.listener.tls_inspector", inspector)]
        found["default_filter_chain"] = _otherwise(view, identity, "PassthroughFilterChain")
    return found


def _chain(chain: _Chain, identity: Identity) -> Resource:
    match: Resource = {"server_names": [chain.server_name]} if chain.server_name else {}
    if chain.network:
        network = ip_network(chain.network)
        match["prefix_ranges"] = [{"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}]
    cluster = chain.cluster or cluster_name(chain.service.host, chain.port.number)
    filters = {"filters": [_tcp_proxy(cluster, identity, chain.service)]}
    return {"filter_chain_match": match, **filters} if match else filters


def _tcp_proxy(cluster: str, identity: Identity, service: Service | None) -> Resource:
    labels = (service.host, service.host, service.namespace) if service else ("", cluster, "")
    return typed(
        "envoy.filters.network.tcp_proxy",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        stat_prefix=cluster,
        cluster=cluster,
        access_log=tcp_loggers(identity, *labels),
        access_log_options={"flush_access_log_on_start": True},
    )


def _routes_source(table: Resource, path: str) -> Resource:
    if table["name"] != TABLE_IN_FILE:
        return {"route_config": {key: value for key, value in table.items() if key != "@type"}}
    source = {"path_config_source": {"path": path}, "resource_api_version": "V3"}
    return {"rds": {"route_config_name": table["name"], "config_source": source}}


def _http_listener(view: View, identity: Identity, number: int, routes: Resource) -> Resource:
    everywhere = WILDCARD[view.families[0]]
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=f"outbound_{everywhere}_{number}",
        http_filters=[typed("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router")],
        access_log=http_loggers(identity),
        upgrade_configs=[{"upgrade_type": "websocket"}],
        use_remote_address=False,
        normalize_path=True,
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        stream_idle_timeout="0s",
        **routes,
    )
    return _redirected(view, everywhere, number) | {"filter_chains": [{"filters": [manager]}]}
