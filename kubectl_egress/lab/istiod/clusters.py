"""Envoy clusters: one for each port of each service and subset, with the TLS that the rule in effect asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kubectl_egress.lab.families import IPV4, IPV6
from kubectl_egress.lab.istiod.envoy import (
    BLACK_HOLE,
    CLUSTER_TYPE,
    PASSTHROUGH,
    Resource,
    cluster_name,
    message_of,
    object_path,
    socket_address,
    typed,
)
from kubectl_egress.lab.istiod.objects import HTTP2_PROTOCOLS, Port, Rule, Service, is_ip
from kubectl_egress.lab.istiod.rules import Policy, port_policy
from kubectl_egress.lab.istiod.telemetry import destination
from kubectl_egress.lab.istiod.visibility import View

_CONNECT_TIMEOUT = "10s"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TYPES = {"DNS": "STRICT_DNS", "DNS_ROUND_ROBIN": "LOGICAL_DNS", "STATIC": "STATIC", "NONE": "ORIGINAL_DST"}
SYSTEM_CA = "file-root:system"
# pilot/pkg/networking/util, SelectDNSLookupFamily
_LOOKUPS = {(IPV4,): "V4_ONLY", (IPV6,): "V6_ONLY", (IPV4, IPV6): "ALL"}


def build_clusters(view: View) -> tuple[Resource, ...]:
    """All clusters of a proxy, Istio's own two first."""
    found = [passthrough(), black_hole()]
    for service in view.clusters:
        rule = view.rule(service)
        for port in service.ports:
            found.extend(_of_port(view, service, port, rule))
    return tuple(found)


def passthrough() -> Resource:
    """To where the application wanted, as it came."""
    return {
        "@type": CLUSTER_TYPE,
        "name": PASSTHROUGH,
        "type": "ORIGINAL_DST",
        "connect_timeout": _CONNECT_TIMEOUT,
        "lb_policy": "CLUSTER_PROVIDED",
        "metadata": {"filter_metadata": destination(name=PASSTHROUGH, namespace="unknown")},
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: message_of(
                _HTTP_OPTIONS,
                use_downstream_protocol_config={"http_protocol_options": {}, "http2_protocol_options": {}},
            )
        },
    }


def black_hole() -> Resource:
    """To nowhere."""
    return {
        "@type": CLUSTER_TYPE,
        "name": BLACK_HOLE,
        "type": "STATIC",
        "connect_timeout": _CONNECT_TIMEOUT,
        "metadata": {"filter_metadata": destination(name=BLACK_HOLE, namespace="unknown")},
    }


def _of_port(view: View, service: Service, port: Port, rule: Rule | None) -> Iterator[Resource]:
    for subset in (None, *(rule.subsets if rule else ())):
        policy = port_policy(rule, subset, port.number)
        name = cluster_name(service.host, port.number, subset["name"] if subset else "")
        yield (
            {
                "@type": CLUSTER_TYPE,
                "name": name,
                "connect_timeout": _CONNECT_TIMEOUT,
                "metadata": {
                    "filter_metadata": _metadata(service, port, rule, subset["name"] if subset else "", policy)
                },
            }
            | _discovery(view, service, port, name)
            | _protocol(service, port, policy)
            | _limits(policy, service)
        )


def _metadata(service: Service, port: Port, rule: Rule | None, subset: str, policy: Policy) -> Resource:
    istio: Resource = {
        "default_original_port": port.number,
        "services": [{"host": service.host, "name": service.host, "namespace": service.namespace}],
    }
    if rule:
        istio["config"] = object_path("destination-rule", rule.origin.namespace, rule.origin.name)
    if subset:
        istio["subset"] = subset
    if _originates(policy):
        istio["alpn_override"] = "false"
    return {"istio": istio} | destination(service.host, service.host, service.namespace)


def _discovery(view: View, service: Service, port: Port, name: str) -> Resource:
    """How the cluster comes by its addresses; the endpoints of every entry of the host in its namespace count."""
    kind = _TYPES[service.resolution]
    if kind == "ORIGINAL_DST":
        override = {"upstream_port_override": port.target} if port.target != port.number else {}
        return {"type": kind, "lb_policy": "CLUSTER_PROVIDED", "original_dst_lb_config": override}
    key = (service.host, service.namespace)
    targets = [target for at, target in view.targets if at == key and target.port_name == port.name]
    if kind == "STATIC":
        targets = [target for target in targets if is_ip(target.address)]
    addresses = tuple(dict.fromkeys((target.address, target.port) for target in targets))
    if kind == "LOGICAL_DNS":
        addresses = addresses[:1]
    found: Resource = {"type": kind, "load_assignment": _assignment(name, addresses)}
    if kind != "STATIC":
        found |= {"dns_lookup_family": _LOOKUPS[view.families], "respect_dns_ttl": True, "dns_refresh_rate": "5s"}
    return found


def _assignment(name: str, addresses: Sequence[tuple[str, int]]) -> Resource:
    endpoints = [{"endpoint": {"address": socket_address(address, port)}} for address, port in addresses]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}


def _originates(policy: Policy) -> bool:
    return bool(policy.tls) and (policy.tls or {}).get("mode") == "SIMPLE"


def _protocol(service: Service, port: Port, policy: Policy) -> Resource:
    """Transport socket and HTTP options."""
    # h2UpgradePolicy concerns ports of protocol HTTP alone (cluster_traffic_policy.go, shouldH2Upgrade).
    upgrade = ((policy.connection_pool or {}).get("http") or {}).get("h2UpgradePolicy")
    http2 = port.protocol in HTTP2_PROTOCOLS or (port.protocol == "HTTP" and upgrade == "UPGRADE")
    options: Resource = {"explicit_http_config": {"http2_protocol_options" if http2 else "http_protocol_options": {}}}
    found: Resource = {}
    if policy.tls and _originates(policy):
        names = tuple(policy.tls.get("subjectAltNames") or ()) or service.subject_alt_names
        found["transport_socket"] = _tls(policy.tls, names, http2=http2)
        if dynamic := _automatic(policy.tls, names):
            options["upstream_http_protocol_options"] = dynamic
    if port.http or "upstream_http_protocol_options" in options:
        found["typed_extension_protocol_options"] = {_HTTP_OPTIONS: message_of(_HTTP_OPTIONS, **options)}
    return found


def _automatic(tls: Any, names: Sequence[str]) -> Resource:
    """SNI from the Host header where none is given, and then the name to check too (Istio 1.21 and later)."""
    if tls.get("sni"):
        return {}
    checked = not names and not tls.get("insecureSkipVerify")
    return {"auto_sni": True} | ({"auto_san_validation": True} if checked else {})


def _tls(tls: Any, names: Sequence[str], *, http2: bool) -> Resource:
    common: Resource = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
    }
    if http2:
        common["alpn_protocols"] = ["h2"]
    if not tls.get("insecureSkipVerify"):
        checks = {"match_subject_alt_names": [{"exact": name} for name in names]} if names else {}
        common["combined_validation_context"] = {
            "default_validation_context": checks,
            "validation_context_sds_secret_config": {"name": SYSTEM_CA},
        }
    sni = {"sni": tls["sni"]} if tls.get("sni") else {}
    message = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    return typed("envoy.transport_sockets.tls", message, common_tls_context=common, **sni)


_BALANCERS = {
    "ROUND_ROBIN": "ROUND_ROBIN",
    "LEAST_REQUEST": "LEAST_REQUEST",
    "LEAST_CONN": "LEAST_REQUEST",
    "RANDOM": "RANDOM",
}


def _limits(policy: Policy, service: Service) -> Resource:
    found: Resource = {}
    if service.resolution != "NONE":
        simple = (policy.load_balancer or {}).get("simple", "LEAST_REQUEST")
        found["lb_policy"] = _BALANCERS.get(simple, "LEAST_REQUEST")
    tcp = (policy.connection_pool or {}).get("tcp") or {}
    if "maxConnections" in tcp:
        found["circuit_breakers"] = {"thresholds": [{"max_connections": tcp["maxConnections"]}]}
    if "connectTimeout" in tcp:
        found["connect_timeout"] = tcp["connectTimeout"]
    return found
