"""What a guard has to know of the cluster: its NetworkPolicies, and where its Services lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kubectl_egress.cluster.cluster import Cluster
from kubectl_egress.cluster.lists import built_in, document, listed
from kubectl_egress.errors import ForbiddenError
from kubectl_egress.model import Guard, Survey


def with_policies(cluster: Cluster, seen: Survey) -> Survey:
    """The survey with the namespace's NetworkPolicies; ForbiddenError where they may not be read: one may open everything."""
    read = listed(cluster, built_in("NetworkPolicy"), seen.namespace)
    for denied in read.denied:
        raise ForbiddenError(
            f"--guard: {denied.message}",
            f"kubectl auth can-i list networkpolicies -n {seen.namespace} checks the permission; or leave --guard out",
            status=403,
            reason="Forbidden",
        )
    return replace(seen, policies=tuple(map(document, read.items)))


def guard_of(cluster: Cluster, given: Sequence[str]) -> Guard:
    """The networks that were given, else the cluster's ServiceCIDRs; none where it has no such objects or hides them.

    Most networks look at where a connection to a Service ends up, which is a pod; then these are not needed.
    """
    if given:
        return Guard(tuple(given))
    found = listed(cluster, built_in("ServiceCIDR"), None).items
    return Guard(tuple(dict.fromkeys(cidr for one in found for cidr in one["spec"].get("cidrs") or ())))
