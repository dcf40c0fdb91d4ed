"""What the hosts file of a pod has for a host, and whether a resolver that reads it is left a family to ask DNS for."""

from __future__ import annotations

from collections.abc import Iterable

from kubectl_egress.mesh.objects import is_alias_address
from kubectl_egress.model import Body, Host


def aliases_in(holder: Body, host: Host) -> tuple[str, ...]:
    """The addresses that lead nowhere and to which a pod, or a pod template, sends the host."""
    return tuple(
        entry["ip"]
        for entry in (holder.get("spec") or {}).get("hostAliases") or ()
        if host.name in (entry.get("hostnames") or ()) and is_alias_address(entry.get("ip", ""))
    )


def families(pods: Iterable[Body]) -> frozenset[bool]:
    """The families of the pods' addresses, True for IPv6; empty where none is known."""
    return frozenset(
        ":" in entry["ip"] for pod in pods for entry in (pod.get("status") or {}).get("podIPs") or () if entry.get("ip")
    )


def closed_by(aliases: Iterable[str], pods: Iterable[Body]) -> bool:
    """Whether aliases at these addresses answer for every family that the pods have.

    glibc asks DNS for the family that the hosts file does not have when a client wants that one alone: the real server
    (docs/resolvers.md).
    """
    held = {":" in address for address in aliases}
    return bool(held) and families(pods) <= held
