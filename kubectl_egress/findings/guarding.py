"""What a guard (`--guard`) would cut off, and what would make it useless."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from kubectl_egress import mesh, paths, policies
from kubectl_egress.findings.scope import Caller, Found, Scope
from kubectl_egress.model import ProxySnapshot
from kubectl_egress.scan import is_aside

_UNKNOWN = ("PassthroughCluster", "AllowAnyDynamicDNSCluster")
"""What a sidecar sends to addresses that the mesh does not know: no Service's pods, as a rule."""

ENFORCED = (
    "the guard is all that closes it, if the cluster's network enforces NetworkPolicies, which the API does not tell"
)


def guard_cuts(scope: Scope, caller: Caller) -> Iterator[Found]:
    """The workload calls port 80 of another host outside, in clear: under the guard it could not any more."""
    if scope.guard is None:
        return
    remedy = "migrate that host too, leave --guard out, or go on with --ignore guard-cuts if nobody needs it"
    for site in caller.sites:
        clear = not (site.url.encrypted or is_aside(site)) and site.host.port == policies.CLEAR_PORT
        if clear and site.server not in scope.hosts and not scope.migrated(caller.ref, site.server):
            yield Found(
                f"the guard would cut off what it calls in clear today: http://{site.host.name} "
                f"({paths.kubectl_path(site.steps)})",
                remedy,
                caller.ref,
                None,
                site.object,
                site.steps,
            )
    for address, name in sorted(set(_seen(scope, caller))):
        if _public(address):
            yield Found(f"the guard would cut off what its sidecar sends to: port 80 of {address}", remedy, caller.ref)
        elif name in _UNKNOWN and not _inside(address, scope):
            yield Found(
                f"the guard would cut off what its sidecar sends to, unless a pod has that address: port 80 of {address}",
                f"say --guard-cidr {ipaddress.ip_network(address)} if it may go on, or --ignore guard-cuts if it is a pod",
                caller.ref,
            )


def _seen(scope: Scope, caller: Caller) -> Iterator[tuple[str, str]]:
    """Addresses to whose port 80 the caller's sidecars have connections, and by which cluster."""
    pods = {(caller.ref.namespace, pod["metadata"]["name"]) for pod in caller.pods}
    for ref, said in scope.survey.proxies.items():
        if (ref.namespace, ref.name) in pods and isinstance(said, ProxySnapshot):
            for upstream in said.upstreams:
                for endpoint in upstream.endpoints:
                    if endpoint.port == policies.CLEAR_PORT and endpoint.connections:
                        yield endpoint.address, upstream.name


def _inside(address: str, scope: Scope) -> bool:
    """Whether the guard lets it pass, or a pod that was read has it."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return True
    guard = scope.guard.networks if scope.guard else ()
    networks = [ipaddress.ip_network(one) for one in (*guard, *policies.LINK_LOCAL)]
    pods = (pod.get("status") or {} for workload in scope.survey.workloads for pod in workload.pods)
    known = {one.get("ip") for status in pods for one in status.get("podIPs") or ()}
    return found.is_loopback or address in known or any(found in network for network in networks)


def _public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def useless(scope: Scope) -> Iterator[Found]:
    """Another NetworkPolicy lets the workload's pods out to port 80: policies add up, and what one allows none forbids."""
    if scope.guard is None:
        return
    for caller in scope.callers:
        held = policies.restricting(scope.survey.policies, caller.ref.namespace, caller.metadata("labels"))
        for policy in held:
            way = "" if mesh.is_ours(policy.body) else policies.way_out(policy.body, scope.guard.networks)
            if way:
                inside = f", or say --guard-cidr {way} if that lies inside the cluster" if "/" in way else ""
                yield Found(
                    f"NetworkPolicy {policy.ref.name} lets its pods reach port 80 of {way}, whatever a guard says",
                    f"take port 80 out of that policy{inside}; or leave --guard out",
                    caller.ref,
                    object=policy.ref,
                )
