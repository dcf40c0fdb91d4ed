"""Envoy's bootstrap as Istio writes it, with files in place of istiod, and the metrics' namespace registered."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_egress.lab.families import IPV4, IPV6, addresses_of, taken
from kubectl_egress.lab.istiod.clusters import SYSTEM_CA
from kubectl_egress.lab.istiod.envoy import WILDCARD, Resource, addressed, message_of, socket_address, typed
from kubectl_egress.lab.istiod.workload import workload_of
from kubectl_egress.lab.parts import Body

ADMIN_PORT = 15000
HEALTH_PORT = 15021
METRICS_PORT = 15090
ISTIO_VERSION = "1.31.0"

_LOOPBACK = {IPV4: "127.0.0.1", IPV6: "::1"}
_ADMIN = "prometheus_stats"
_SO_MARK = (1, 36)  # level SOL_SOCKET, option SO_MARK (asm-generic/socket.h)

# What a sidecar exports: the rest, `cluster.*` too, is never created (istio/istio pkg/bootstrap/config.go).
_STATS_PREFIXES = (
    "reporter=", "cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "wasm", "component", "istio",
)  # fmt: skip
_STATS_SUFFIXES = ("rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied", "downstream_cx_active")
_STATS_PATTERN = r"vhost\..*\.route\..*"


def build_bootstrap(pod: Body, directory: str, *, mark: int | None, ca_file: str) -> Resource:
    """The bootstrap of a pod's proxy.

    `directory`: where lds.json and cds.json are; `mark`: SO_MARK of upstream sockets; `ca_file`: the bundle that
    `caCertificates: system` means.
    """
    families = taken(pod, addresses_of(pod))
    local = _LOOPBACK[families[0]]
    found: Resource = {
        "node": _node(pod),
        "admin": {"address": socket_address(local, ADMIN_PORT)},
        "bootstrap_extensions": [_wasm(), _internal_listener()],
        "dynamic_resources": {
            "cds_config": _from_file(directory, "cds.json"),
            "lds_config": _from_file(directory, "lds.json"),
        },
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
        "static_resources": {
            "clusters": [_admin_cluster(local)],
            "listeners": [
                _relay(families, METRICS_PORT, "/stats/prometheus", "/stats/prometheus"),
                _relay(families, HEALTH_PORT, "/healthz/ready", "/ready"),
            ],
            "secrets": [{"name": SYSTEM_CA, "validation_context": {"trusted_ca": {"filename": ca_file}}}],
        },
        "stats_config": {"use_all_default_tags": False, "stats_matcher": {"inclusion_list": {"patterns": _patterns()}}},
        "typed_dns_resolver_config": _resolver(),
    }
    if mark is not None:
        found["cluster_manager"] = {"upstream_bind_config": {"socket_options": [_marked(mark)]}}
    return found


def _node(pod: Body) -> Resource:
    metadata = pod["metadata"]
    name, namespace = metadata["name"], metadata.get("namespace", "default")
    labels: Mapping[str, Any] = metadata.get("labels") or {}
    addresses = addresses_of(pod) or (_LOOPBACK[IPV4],)
    domain = f"{namespace}.svc.cluster.local"
    workload = workload_of(pod)
    owner = f"kubernetes://apis/{workload.api_version}/namespaces/{namespace}/{workload.kind.lower()}s/{workload.name}"
    return {
        "id": f"sidecar~{addresses[0]}~{name}.{namespace}~{domain}",
        "cluster": f"{labels.get('app') or workload.name}.{namespace}",
        "metadata": {
            "NAME": name,
            "NAMESPACE": namespace,
            "LABELS": dict(labels),
            "OWNER": owner,
            "WORKLOAD_NAME": workload.name,
            "ISTIO_VERSION": ISTIO_VERSION,
            "CLUSTER_ID": "Kubernetes",
            "MESH_ID": "cluster.local",
            "INTERCEPTION_MODE": "REDIRECT",
            "INSTANCE_IPS": ",".join(addresses),
        },
    }


def _from_file(directory: str, name: str) -> Resource:
    return {"path_config_source": {"path": f"{directory}/{name}"}, "resource_api_version": "V3"}


def _patterns() -> list[Resource]:
    return [
        *({"prefix": prefix} for prefix in _STATS_PREFIXES),
        *({"suffix": suffix} for suffix in _STATS_SUFFIXES),
        {"safe_regex": {"regex": _STATS_PATTERN}},
    ]


def _resolver() -> Resource:
    """The pod's own resolv.conf, and names as they are written: no search list behind a name with a final dot."""
    message = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
    return typed("envoy.network.dns_resolver.cares", message)


def _marked(mark: int) -> Resource:
    level, name = _SO_MARK
    return {"description": "SO_MARK", "level": level, "name": name, "int_value": mark, "state": "STATE_PREBIND"}


def _admin_cluster(local: str) -> Resource:
    endpoint = {"endpoint": {"address": socket_address(local, ADMIN_PORT)}}
    return {
        "name": _ADMIN,
        "type": "STATIC",
        "connect_timeout": "0.250s",
        "load_assignment": {"cluster_name": _ADMIN, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _relay(families: Sequence[str], port: int, path: str, admin_path: str) -> Resource:
    """A listener that gives one page of the admin interface to everybody."""
    route = {"match": {"prefix": path}, "route": {"cluster": _ADMIN, "prefix_rewrite": admin_path}}
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="stats" if port == METRICS_PORT else "agent",
        route_config={"virtual_hosts": [{"name": "backend", "domains": ["*"], "routes": [route]}]},
        http_filters=[typed("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router")],
    )
    return addressed([WILDCARD[family] for family in families], port) | {"filter_chains": [{"filters": [manager]}]}


def _internal_listener() -> Resource:
    return typed(
        "envoy.bootstrap.internal_listener", "envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
    )


def _wasm() -> Resource:
    """The Wasm runtime, with a module that does nothing.

    While it runs, Envoy knows `wasmcustom` as a namespace of custom metrics, which its Prometheus page leaves out of
    the names: Istio's own metrics come to their names the same way.
    """
    code = {"local": {"inline_bytes": base64.b64encode(wasm_module()).decode()}}
    config = {"name": "metrics", "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": code}}
    return {
        "name": "envoy.bootstrap.wasm",
        "typed_config": message_of("envoy.extensions.wasm.v3.WasmService", singleton=True, config=config),
    }


def wasm_module() -> bytes:
    """The smallest module that Proxy-Wasm's ABI 0.2.1 takes: memory, an allocator, and the two marks of the ABI."""
    nothing = b"\x60\x00\x00"  # () -> ()
    allocating = b"\x60\x01\x7f\x01\x7f"  # (i32) -> i32
    exports = (
        _exported("memory", 2, 0),
        _exported("proxy_abi_version_0_2_1", 0, 0),
        _exported("_initialize", 0, 1),
        _exported("malloc", 0, 2),
    )
    empty_body = b"\x02\x00\x0b"
    constant_body = b"\x05\x00\x41\x80\x08\x0b"  # i32.const 1024
    sections = (
        _section(1, (nothing, allocating)),
        _section(3, (b"\x00", b"\x00", b"\x01")),
        _section(5, (b"\x00\x01",)),
        _section(7, exports),
        _section(10, (empty_body, empty_body, constant_body)),
    )
    return b"\x00asm\x01\x00\x00\x00" + b"".join(sections)


def _exported(name: str, kind: int, index: int) -> bytes:
    return bytes((len(name),)) + name.encode() + bytes((kind, index))


def _section(number: int, entries: tuple[bytes, ...]) -> bytes:
    """A section whose content is shorter than 128 bytes, so that every length is one byte."""
    content = bytes((len(entries),)) + b"".join(entries)
    return bytes((number, len(content))) + content
