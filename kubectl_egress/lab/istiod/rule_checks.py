"""What is wrong with a DestinationRule, or not modelled."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_egress.lab.istiod.syntax import DURATION, SUBSET, host_name, port_number
from kubectl_egress.lab.parts import Body


def destination_rule(spec: Body) -> Iterator[str]:
    """One sentence for each thing."""
    if not spec.get("host"):
        yield "destination rule must have a host"
    elif spec["host"] != "*":
        yield from host_name(spec["host"], "host")
    yield from _traffic_policy(spec.get("trafficPolicy"), "trafficPolicy")
    names = [subset.get("name") for subset in spec.get("subsets") or ()]
    if len(names) != len(set(names)):
        yield "the lab's istiod does not model two subsets of one name"
    for subset in spec.get("subsets") or ():
        if not isinstance(subset.get("name"), str) or not SUBSET.match(subset["name"]):
            yield f"invalid subset name: {subset.get('name')!r}"
        yield from _traffic_policy(subset.get("trafficPolicy"), f"subset {subset.get('name')}")


def _traffic_policy(policy: Body | None, where: str) -> Iterator[str]:
    if policy is None:
        return
    if not policy:
        yield f"{where}: traffic policy must have at least one field"
    yield from _settings(policy, where)
    for level in policy.get("portLevelSettings") or ():
        if not level.get("port"):
            yield f"{where}: portLevelSettings must have a port"
        else:
            yield from port_number(level["port"].get("number"), f"{where}.portLevelSettings.port")
        yield from _settings(level, where)


def _settings(policy: Body, where: str) -> Iterator[str]:
    tls = policy.get("tls")
    if tls is not None:
        yield from _tls(tls, where)
    balancer = (policy.get("loadBalancer") or {}).get("simple", "LEAST_REQUEST")
    if balancer not in ("ROUND_ROBIN", "LEAST_REQUEST", "LEAST_CONN", "RANDOM"):
        yield f"the lab's istiod does not model the load balancer {balancer}"
    tcp = (policy.get("connectionPool") or {}).get("tcp") or {}
    if "connectTimeout" in tcp and not DURATION.match(str(tcp["connectTimeout"])):
        yield f"the lab's istiod does not model the duration {tcp['connectTimeout']} (use seconds: 5s)"
    upgrade = ((policy.get("connectionPool") or {}).get("http") or {}).get("h2UpgradePolicy", "DEFAULT")
    if upgrade not in ("DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"):
        yield f"{where}: invalid h2UpgradePolicy {upgrade}"
    limit = tcp.get("maxConnections", 1)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        yield f"{where}: maxConnections must be a number"


def _tls(tls: Body, where: str) -> Iterator[str]:
    mode = tls.get("mode", "DISABLE")
    if mode in ("MUTUAL", "ISTIO_MUTUAL"):
        yield f"the lab's istiod does not model the TLS mode {mode}"
    elif mode not in ("SIMPLE", "DISABLE"):
        yield f"{where}: invalid TLS mode {mode}"
    if tls.get("caCertificates") not in (None, "", "system"):
        yield "the lab's istiod does not model caCertificates other than system"
    if "" in (tls.get("subjectAltNames") or ()):
        yield f"{where}: subjectAltNames must not be empty"
    if tls.get("insecureSkipVerify") and (tls.get("caCertificates") or tls.get("subjectAltNames")):
        yield f"{where}: insecureSkipVerify cannot be used with caCertificates or subjectAltNames"
