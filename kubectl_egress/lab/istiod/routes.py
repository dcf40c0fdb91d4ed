"""Envoy route tables: virtual hosts of entries and VirtualServices, and what becomes of hosts that nobody knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubectl_egress.lab.istiod.envoy import PASSTHROUGH, ROUTES_TYPE, Resource, cluster_name, object_path
from kubectl_egress.lab.istiod.objects import Port, Routing, Service, is_ip
from kubectl_egress.lab.istiod.telemetry import route_labels
from kubectl_egress.lab.istiod.visibility import View
from kubectl_egress.lab.parts import Body

# No 503 among them since 1.24: a request that reached the server is not sent twice.
_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_DEFAULT_ATTEMPTS = 2
_WEB_PORT = 80


@dataclass(frozen=True, slots=True)
class _Named:
    """A virtual host before it is known whether its name and its domains are still free."""

    host: str
    domains: tuple[str, ...]
    routes: tuple[Resource, ...]


def build_routes(view: View) -> tuple[Resource, ...]:
    """One route table for each port that has an HTTP listener."""
    ports = sorted({port.number for service in view.services for port in service.ports if port.http})
    return tuple(_table(view, port) for port in ports)


def _table(view: View, port: int) -> Resource:
    hosts = sorted(_distinct(_virtual_hosts(view, port), port), key=lambda host: str(host["name"]))
    return {
        "@type": ROUTES_TYPE,
        "name": str(port),
        "virtual_hosts": [*hosts, _catch_all(allow_any=view.allow_any)],
        "validate_clusters": False,
        "ignore_port_in_host_matching": True,
    }


def _virtual_hosts(view: View, number: int) -> Iterator[_Named]:
    """First what VirtualServices say, then the services that none of them takes."""
    here: dict[str, tuple[Service, Port]] = {}
    for service in view.services:
        if (port := service.port(number)) is not None:
            here[service.host] = (service, port)
    taken: set[str] = set()
    for routing in view.routings:
        routes = tuple(_routes(routing, number))
        if not routes:
            continue
        known = [host for host in routing.hosts if host in here and here[host][1].http]
        # Port 80 knows the hosts of VirtualServices also where no service has them (httproute.go).
        unknown = [host for host in routing.hosts if host not in here] if known or number == _WEB_PORT else []
        yield from (_Named(host, (host,), routes) for host in unknown)
        yield from (_Named(host, _domains(here[host][0]), routes) for host in known)
        taken.update(known)
    for host, (service, port) in here.items():
        if port.http and host not in taken:
            yield _Named(host, _domains(service), (_default_route(host, number),))


def _distinct(found: Iterator[_Named], port: int) -> Iterator[Resource]:
    """The first of a name and of a domain wins, in any case of letters."""
    names: set[str] = set()
    domains: set[str] = set()
    for named in found:
        free = [domain for domain in named.domains if domain not in domains]
        if named.host in names or not free:
            continue
        names.add(named.host)
        domains.update(free)
        yield {
            "name": f"{named.host}:{port}",
            "domains": free,
            "routes": list(named.routes),
            "include_request_attempt_count": True,
        }


def _domains(service: Service) -> tuple[str, ...]:
    """The host, the host with its final dot (since 1.27), and the entry's addresses."""
    addresses = tuple(f"[{address}]" if ":" in address else address for address in service.addresses)
    return (service.host, *(() if is_ip(service.host) else (f"{service.host}.",)), *addresses)


def _default_route(host: str, port: int) -> Resource:
    action = {
        "cluster": cluster_name(host, port),
        "timeout": "0s",
        "max_grpc_timeout": "0s",
        "retry_policy": _retry(_DEFAULT_ATTEMPTS),
    }
    return _route("default", {"prefix": "/"}, action, f"{host}:{port}/*", route_labels())


def _route(name: str, match: Resource, action: Resource, operation: str, metadata: Resource) -> Resource:
    return {
        "name": name,
        "match": match,
        "route": action,
        "decorator": {"operation": operation},
        "metadata": {"filter_metadata": metadata},
    }


def _retry(attempts: int, retry_on: str = "") -> Resource:
    return {
        "retry_on": retry_on or _RETRY_ON,
        "num_retries": attempts,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": "5",
    }


def _routes(routing: Routing, port: int) -> Iterator[Resource]:
    for http in routing.http:
        matches: Sequence[Body] = http.get("match") or ({},)
        for match in matches:
            if match.get("port", port) != port:
                continue
            translated = _translated(match)
            yield _of_virtual_service(routing, http, translated, port)
            if translated == {"prefix": "/"}:
                return  # nothing behind it is ever reached


def _translated(match: Body) -> Resource:
    uri = match.get("uri") or {}
    if "exact" in uri:
        return {"path": uri["exact"]}
    return {"prefix": uri.get("prefix", "/")}


def _of_virtual_service(routing: Routing, http: Body, match: Resource, port: int) -> Resource:
    target = http["route"][0]["destination"]
    host = target["host"].lower()
    number = (target.get("port") or {}).get("number", port)
    action: Resource = {
        "cluster": cluster_name(host, number, target.get("subset", "")),
        "timeout": http.get("timeout", "0s"),
        "max_grpc_timeout": http.get("timeout", "0s"),
    }
    if authority := (http.get("rewrite") or {}).get("authority"):
        action["host_rewrite_literal"] = authority
    retries = http.get("retries") or {"attempts": _DEFAULT_ATTEMPTS}
    if retries.get("attempts", 0) > 0:
        action["retry_policy"] = _retry(retries["attempts"], retries.get("retryOn", ""))
    path = object_path("virtual-service", routing.origin.namespace, routing.origin.name)
    metadata = {"istio": {"config": path}} | route_labels()
    route = _route(http.get("name", ""), match, action, f"{host}:{port}/*", metadata)
    return route | _headers((http.get("headers") or {}).get("request") or {})


def _headers(request: Mapping[str, Any]) -> Resource:
    appended = [_header(name, value, "APPEND_IF_EXISTS_OR_ADD") for name, value in (request.get("add") or {}).items()]
    put = [_header(name, value, "OVERWRITE_IF_EXISTS_OR_ADD") for name, value in (request.get("set") or {}).items()]
    removed: Sequence[str] = request.get("remove") or ()
    found: Resource = {}
    if appended or put:
        found["request_headers_to_add"] = [*put, *appended]
    if removed:
        found["request_headers_to_remove"] = list(removed)
    return found


def _header(name: str, value: str, action: str) -> Resource:
    return {"header": {"key": name, "value": value}, "append_action": action}


def _catch_all(*, allow_any: bool) -> Resource:
    if not allow_any:
        blocked = {
            "name": "block_all",
            "match": {"prefix": "/"},
            "direct_response": {"status": 502},
            "metadata": {"filter_metadata": route_labels("BlackHoleCluster")},
        }
        return {"name": "block_all", "domains": ["*"], "routes": [blocked], "include_request_attempt_count": True}
    passing = {
        "name": "allow_any",
        "match": {"prefix": "/"},
        "route": {"cluster": PASSTHROUGH, "timeout": "0s", "max_grpc_timeout": "0s"},
        "metadata": {"filter_metadata": route_labels(PASSTHROUGH)},
    }
    return {"name": "allow_any", "domains": ["*"], "routes": [passing], "include_request_attempt_count": True}
