"""Which address families a pod of the lab has, and of which its sidecar is told: annotations of the lab's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubectl_egress.lab.parts import Body, LabRefusal

FAMILIES = "lab.kubectl-egress/ip-families"
"""`IPv4`, `IPv6` or `IPv4,IPv6`; IPv4 where it is not there."""
DUAL_STACK = "lab.kubectl-egress/dual-stack"
""""true": the pod's sidecar is one of a mesh with ISTIO_DUAL_STACK. Without, Istio looks at the first address alone."""
VARIABLE = "ISTIO_DUAL_STACK"

IPV4, IPV6 = "IPv4", "IPv6"
_KNOWN = ((IPV4,), (IPV6,), (IPV4, IPV6))


def families_of(pod: Body) -> tuple[str, ...]:
    """The families of a pod's addresses; LabRefusal for what is none of the three."""
    said = _annotations(pod).get(FAMILIES, IPV4)
    found = tuple(word.strip() for word in said.split(","))
    if found not in _KNOWN:
        raise LabRefusal(f"annotation {FAMILIES}: the lab knows IPv4, IPv6 and IPv4,IPv6, not {said}")
    return found


def dual_stack(pod: Body) -> bool:
    """Whether the pod's sidecar takes both families."""
    return _annotations(pod).get(DUAL_STACK) == "true"


def taken(pod: Body, addresses: Sequence[str]) -> tuple[str, ...]:
    """Of a pod's families those that Istio redirects, and its sidecar listens for.

    istio/istio tools/common/config (getLocalIP): the first address decides, unless it is told of two families.
    """
    found = tuple(dict.fromkeys(IPV6 if ":" in address else IPV4 for address in addresses)) or (IPV4,)
    return found if dual_stack(pod) else found[:1]


def addresses_of(pod: Body) -> tuple[str, ...]:
    """A pod's addresses, as its status has them."""
    status = pod.get("status") or {}
    return tuple(entry["ip"] for entry in status.get("podIPs") or ()) or tuple(filter(None, [status.get("podIP")]))


def with_addresses(pod: Body, addresses: Sequence[str]) -> Body:
    """The pod as its status will have its addresses."""
    ips = [{"ip": address} for address in addresses]
    return {**pod, "status": {**(pod.get("status") or {}), "podIP": addresses[0], "podIPs": ips}}


def _annotations(pod: Body) -> Mapping[str, str]:
    return pod["metadata"].get("annotations") or {}
