"""The objects that a migration writes, as plain bodies: what each says, and why, stands in docs/architecture.md."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Collection, Sequence
from typing import Any

from kubectl_egress.errors import EgressError
from kubectl_egress.model import AS_BEFORE, MANAGED_BY, MANAGED_BY_LABEL, Body, Host, Origination, Ref

API_VERSION = "networking.istio.io/v1beta1"  # served by every Istio from 1.18 to 1.31; v1 only from 1.22 on
SUBSET = "kubectl-egress"  # a name that no rule of anybody else has: the subsets of all rules of a host are merged
CLEAR_PORT = 80
TLS_PORT = 443
PORT_NAMES = {CLEAR_PORT: "http", TLS_PORT: "https"}  # Kiali's KIA0601 wants <protocol>[-suffix]
OWN_NAMESPACE = (".",)

BUNDLE_KEY = "ca.crt"

ALIAS_NETWORK = ipaddress.ip_network("192.0.2.0/24")  # TEST-NET-1, RFC 5737: routed nowhere
ALIAS_NETWORK_V6 = ipaddress.ip_network("100::/64")  # discard-only, RFC 6666
ALIAS_ANNOTATION = "egress.kubectl/alias"
"""On the ServiceEntry: the address to which the pods' hosts files send the host."""
NO_ALLOCATION_LABEL = "networking.istio.io/enable-autoallocate-ip"
SUPPRESS_ANNOTATION = "galley.istio.io/analyze-suppress"
SUBSET_WITHOUT_PODS = "IST0173"  # istioctl analyze does not know that an entry's endpoints are no pods

UNSEEN = "connect-failure,refused-stream"
"""Failures after which a request may be sent again whatever it does: no server has read it."""

OWN_HEADERS = (
    "x-envoy-attempt-count",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-decorator-operation",
    "x-envoy-peer-metadata",
    "x-envoy-peer-metadata-id",
)
"""Request headers that only the sidecar sets. `x-request-id` and tracing headers may be the application's own."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_LENGTH = 253


def alias_address(host: Host, taken: Collection[str] = ()) -> str:
    """An address of 192.0.2.0/24 for a host: always the same one, or the next that is free.

    Raises EgressError when all 254 are taken.
    """
    size = ALIAS_NETWORK.num_addresses - 2
    start = int.from_bytes(hashlib.sha256(host.name.encode()).digest()[:8], "big") % size
    for offset in range(size):
        address = str(ALIAS_NETWORK[1 + (start + offset) % size])
        if address not in taken:
            return address
    raise EgressError(
        f"no address of {ALIAS_NETWORK} is left for {host}: {size} hosts have one already",
        "undo the migration of hosts that are no longer called, or migrate this one with --fail-open",
    )


def alias_address_v6(ipv4: str) -> str:
    """The address of 100::/64 that holds an IPv4 alias in its last 32 bits."""
    return str(ALIAS_NETWORK_V6[int(ipaddress.IPv4Address(ipv4))])


def is_alias_address(address: str) -> bool:
    """Whether an address lies in one of the two prefixes that aliases are taken from."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed in ALIAS_NETWORK or parsed in ALIAS_NETWORK_V6


def object_name(host: Host) -> str:
    """The name of the three objects of a host: `egress-httpbin.org`.

    Dots stay, as names of Kubernetes objects may have them, so that no two hosts share a name and no hash is needed:
    `a-b.com` and `a.b-com` stay apart, and `*.example.com` is `egress.wildcard.example.com`. Only what is too long is
    cut, and ends in a hash.

    Raises EgressError for a host name that Kubernetes and Istio refuse.
    """
    name = _short_enough(f"egress.wildcard.{host.name[2:]}" if host.wildcard else f"egress-{host.name}")
    if not _NAME.fullmatch(name):
        raise EgressError(f"Istio takes no host named {host.name!r}", "leave this host out")
    return name


def guard_name(host: Host, workload: Ref) -> str:
    """The name of a workload's NetworkPolicy, `egress-httpbin.org.deployment.curl`: undoing one host leaves the others' alone."""
    return _short_enough(f"{object_name(host)}.{workload.kind.lower()}.{workload.name}")


def _short_enough(name: str) -> str:
    """What is too long is cut, and ends in a hash."""
    if len(name) <= _NAME_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{name[: _NAME_LENGTH - 11].rstrip('.-')}-{digest}"


def file_directory(host: Host) -> str:
    """Where a sidecar finds the host's own CA and client certificate."""
    return f"/etc/kubectl-egress/{host.name}"


def tls_settings(host: Host, origination: Origination = AS_BEFORE) -> dict[str, Any]:
    """The `tls` of the DestinationRule.

    All three fields: only together they check CA and host name on every Istio from 1.18 on. A wildcard has no one
    name to check; without `sni` and `subjectAltNames`, Istio takes both from the request, from 1.21 on.
    """
    if host.wildcard:
        return {"mode": "SIMPLE", "caCertificates": "system"}
    found = {"mode": "SIMPLE", "sni": host.name, "subjectAltNames": [host.name], "caCertificates": "system"}
    if origination.ca:
        found["caCertificates"] = f"{file_directory(host)}/ca.crt"
    if origination.client_secret:
        files = {
            "clientCertificate": f"{file_directory(host)}/tls.crt",
            "privateKey": f"{file_directory(host)}/tls.key",
        }
        return {**found, "mode": "MUTUAL", **files}
    return found


def destination_rule(
    host: Host,
    namespace: str,
    name: str = "",
    *,
    export_to: Sequence[str] = OWN_NAMESPACE,
    api_version: str = API_VERSION,
    origination: Origination = AS_BEFORE,
) -> Body:
    """The rule that makes the sidecar originate TLS on port 80 of a host.

    The settings stand at the top and once more in a subset, to which the route goes: where an older rule for the host
    wins at the top, the subset's still hold. The subset has no labels, so that it has every endpoint.
    """

    def policy() -> dict[str, Any]:
        # The port stays HTTP for its callers, whichever version they speak; only what the server hears changes.
        pool = {"connectionPool": {"http": {"h2UpgradePolicy": "UPGRADE"}}} if origination.http2 else {}
        return {"portLevelSettings": [{"port": {"number": CLEAR_PORT}, **pool, "tls": tls_settings(host, origination)}]}

    metadata = metadata_of(name or object_name(host), namespace)
    metadata["annotations"] = {SUPPRESS_ANNOTATION: SUBSET_WITHOUT_PODS}
    spec = {
        "host": host.name,
        "exportTo": list(export_to),
        "trafficPolicy": policy(),
        "subsets": [{"name": SUBSET, "trafficPolicy": policy()}],
    }
    return {"apiVersion": api_version, "kind": "DestinationRule", "metadata": metadata, "spec": spec}


def bundle(host: Host, namespace: str, text: str) -> Body:
    """The ConfigMap with CAs (PEM) for a host, named after its content: other CAs are another ConfigMap."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    metadata = metadata_of(_short_enough(f"{object_name(host)}.ca-{digest}"), namespace)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {BUNDLE_KEY: text}}


def service_entry(
    host: Host,
    namespace: str,
    name: str = "",
    *,
    alias: str = "",
    claims: Sequence[str] = (),
    fail_open: bool = False,
    tls_ports: Sequence[int] = (),
    export_to: Sequence[str] = OWN_NAMESPACE,
    api_version: str = API_VERSION,
) -> Body:
    """The entry that makes the mesh know a host: port 80 goes to the server's TLS port, which callers may still use.

    `alias`: the address to which the pods' hosts files send the host; recorded in an annotation. `claims`: the
    aliases, of either family, that it lists in `addresses` too, for proxies that allocate addresses by themselves on an Istio that does not know the label.
    `fail_open`: no alias, hence no final dot. `tls_ports`: others that callers use over TLS, which the alias would cut
    off; 443 is there always, since a server at another port may lead a client to it. A wildcard cannot be resolved, so its
    entry goes where the caller went.
    """
    others = sorted({host.port, *tls_ports} - {TLS_PORT})
    metadata = metadata_of(name or object_name(host), namespace)
    metadata["labels"][NO_ALLOCATION_LABEL] = "false"
    spec: dict[str, Any] = {
        "hosts": [host.name],
        "exportTo": list(export_to),
        "location": "MESH_EXTERNAL",
        "resolution": "NONE" if host.wildcard else "DNS",
        "ports": [
            {"number": CLEAR_PORT, "name": PORT_NAMES[CLEAR_PORT], "protocol": "HTTP", "targetPort": host.port},
            {"number": TLS_PORT, "name": PORT_NAMES[TLS_PORT], "protocol": "HTTPS"},
            *({"number": port, "name": f"https-{port}", "protocol": "HTTPS"} for port in others),
        ],
    }
    if not (fail_open or host.wildcard):
        # The final dot: the proxy's resolver does not find this name in the hosts file, and asks DNS.
        spec["endpoints"] = [{"address": f"{host.name}."}]
        if alias:
            metadata["annotations"] = {ALIAS_ANNOTATION: alias}
        if claims:
            spec["addresses"] = list(claims)
    return {"apiVersion": api_version, "kind": "ServiceEntry", "metadata": metadata, "spec": spec}


def virtual_service(
    host: Host,
    namespace: str,
    name: str = "",
    *,
    export_to: Sequence[str] = OWN_NAMESPACE,
    api_version: str = API_VERSION,
    origination: Origination = AS_BEFORE,
) -> Body:
    """The route from port 80 of a host to the rule's subset, as transparent as a route can be.

    No retries (by default Istio repeats even a POST), `x-forwarded-proto: https` (servers redirect otherwise), the
    sidecar's own headers removed; Envoy's router sets them before it removes what a route says (finalizeRequestHeaders in
    source/common/router/router.cc). What stays cannot be told from the application's own: `x-request-id`, which the
    sidecar adds where the application sets none, and, where tracing is on, tracing headers, which it sets afterwards.
    Retries that were asked for are those of requests that the server has not seen. At another port than 443 the server gets
    `HOST:PORT` in Host, as it did while the URL had the port, and from newer Envoys x-envoy-original-host: HOST, which no
    route can remove: Host is rewritten after that (RouteEntryImplBase::finalizeRequestHeaders in config_impl.cc).
    """
    route: dict[str, Any] = {
        "match": [{"port": CLEAR_PORT}],
        "route": [{"destination": {"host": host.name, "subset": SUBSET, "port": {"number": CLEAR_PORT}}}],
        "retries": {"attempts": origination.retries, **({"retryOn": UNSEEN} if origination.retries else {})},
        **({"timeout": origination.route_timeout} if origination.route_timeout else {}),
        "headers": {"request": {"set": {"x-forwarded-proto": "https"}, "remove": list(OWN_HEADERS)}},
        **({"rewrite": {"authority": str(host)}} if host.port != TLS_PORT else {}),
    }
    spec = {"hosts": [host.name], "exportTo": list(export_to), "http": [route]}
    return {
        "apiVersion": api_version,
        "kind": "VirtualService",
        "metadata": metadata_of(name or object_name(host), namespace),
        "spec": spec,
    }


def led_to(entry: Body) -> int:
    """The server's port to which a ServiceEntry leads port 80 of its hosts; 0 where that is port 80, or none."""
    ports = (entry.get("spec") or {}).get("ports") or ()
    targets = (port.get("targetPort") or 0 for port in ports if port.get("number") == CLEAR_PORT)
    target = int(next(targets, 0))
    return 0 if target == CLEAR_PORT else target


def alias_of(entry: Body) -> str:
    """The alias that a ServiceEntry of ours, or one that was taken over, records; empty if there is none."""
    return str(((entry.get("metadata") or {}).get("annotations") or {}).get(ALIAS_ANNOTATION, ""))


def is_ours(body: Body) -> bool:
    """Whether this tool made the object."""
    return ((body.get("metadata") or {}).get("labels") or {}).get(MANAGED_BY_LABEL) == MANAGED_BY


def metadata_of(name: str, namespace: str) -> dict[str, Any]:
    """The metadata of an object of ours."""
    return {"name": name, "namespace": namespace, "labels": {MANAGED_BY_LABEL: MANAGED_BY}}


def named_entry(
    host: Host, namespace: str, *, export_to: Sequence[str] = OWN_NAMESPACE, api_version: str = API_VERSION
) -> Body:
    """The entry by which the mesh knows a host by name, and nothing changes: its TLS port alone, told apart by SNI."""
    body = service_entry(host, namespace, fail_open=True, export_to=export_to, api_version=api_version)
    port = {"number": host.port, "name": PORT_NAMES[TLS_PORT], "protocol": "HTTPS"}
    return {**body, "spec": {**body["spec"], "ports": [port]}}
