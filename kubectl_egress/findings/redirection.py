"""Which ports and addresses a pod's redirect leaves out: as the pod template says, the mesh, and each pod that runs."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kubectl_egress import mesh
from kubectl_egress.findings.scope import PROXY_CONTAINER, Caller, Found, Scope
from kubectl_egress.model import DUAL_STACK, Body, MeshSettings, Severity

# annotation (below traffic.sidecar.istio.io/) → field of MeshSettings, Helm value (below global.proxy), options of
# istio-init (tools/istio-iptables/pkg/cmd)
_CAPTURE = {
    "excludeOutboundPorts": ("exclude_outbound_ports", "excludeOutboundPorts", ("-o", "--istio-local-exclude-ports")),
    "includeOutboundPorts": ("include_outbound_ports", "includeOutboundPorts", ("-q", "--istio-outbound-ports")),
    "excludeOutboundIPRanges": ("exclude_ip_ranges", "excludeIPRanges", ("-x", "--istio-service-exclude-cidr")),
    "includeOutboundIPRanges": ("include_ip_ranges", "includeIPRanges", ("-i", "--istio-service-cidr")),
}
_PREFIX = "traffic.sidecar.istio.io/"
_INIT = "istio-init"
_V6 = ipaddress.IPv6Network(mesh.ALIAS_NETWORK_V6)


@dataclass(frozen=True, slots=True)
class _Value:
    """One setting in effect, and who says it."""

    text: str
    where: str
    own: bool
    """Whether the pod template says it."""

    def items(self) -> list[str]:
        return [item.strip() for item in self.text.split(",") if item.strip()]


def port_not_captured(scope: Scope, caller: Caller) -> Iterator[Found]:
    """Ports 80 and 443, or the address that the alias leads to, are left out of the redirect.

    In the order of Istio's rules: excluded ports, excluded addresses, included ports, included addresses; what is
    included by port need not be by address (tools/istio-iptables/pkg/capture).
    """
    template = _template(caller, scope.survey.settings)
    ports = _ports(caller)
    found = list(_missing(caller, template, scope.fail_open, ports))
    yield from found
    if not found:
        # What runs may be otherwise: other annotations by another webhook, or an older template.
        for pod in caller.pods:
            values = _pod(pod, template)
            running = list(_missing(caller, values, scope.fail_open, ports)) if values != template else []
            if running:
                yield running[0]
                return
        yield from _one_family(caller, scope.fail_open)


def _template(caller: Caller, settings: MeshSettings) -> dict[str, _Value]:
    annotations = caller.metadata("annotations")
    found = {}
    for name, (field, value, _) in _CAPTURE.items():
        if _PREFIX + name in annotations:
            found[name] = _Value(str(annotations[_PREFIX + name]), f"annotation {_PREFIX}{name}", True)
        else:
            found[name] = _Value(str(getattr(settings, field)), f"mesh-wide setting global.proxy.{value}", False)
    return found


def _pod(pod: Body, template: Mapping[str, _Value]) -> dict[str, _Value]:
    """The settings of a pod that runs: the arguments of its istio-init, else its own annotations, else the template's."""
    name = pod["metadata"]["name"]
    inits = (pod.get("spec") or {}).get("initContainers") or ()
    words = next(([str(word) for word in one.get("args") or ()] for one in inits if one.get("name") == _INIT), [])
    annotations = pod["metadata"].get("annotations") or {}
    found = dict(template)
    for setting, (_, _, options) in _CAPTURE.items():
        at = next((number for number, word in enumerate(words[:-1]) if word in options), None)
        if at is not None:
            text = words[at + 1]
            if text != template[setting].text:
                found[setting] = _Value(text, f"option {words[at]} of {_INIT} in pod {name}", False)
        elif str(annotations.get(_PREFIX + setting, template[setting].text)) != template[setting].text:
            text = str(annotations[_PREFIX + setting])
            found[setting] = _Value(text, f"annotation {_PREFIX}{setting} of pod {name}", False)
    return found


def _ports(caller: Caller) -> tuple[int, ...]:
    """80, 443, and those others at which the hosts are called over TLS."""
    names = {host.name for host in caller.hosts}
    others = {site.host.port for site in caller.sites if site.url.encrypted and site.host.name in names}
    return (mesh.CLEAR_PORT, mesh.TLS_PORT, *sorted(others - {mesh.CLEAR_PORT, mesh.TLS_PORT}))


def _missing(caller: Caller, value: Mapping[str, _Value], fail_open: bool, ports: tuple[int, ...]) -> Iterator[Found]:
    excluded = value["excludeOutboundPorts"].items()
    for port in ports:
        if str(port) in excluded or "*" in excluded:
            yield _uncaptured(caller, f"port {port} is not redirected to the sidecar", "excludeOutboundPorts", value)
    ipv6 = True in mesh.families(caller.pods)
    target = "an address outside" if fail_open else f"the alias's network {mesh.ALIAS_NETWORK}"
    target_v6 = f"its pods have IPv6, and {'an address outside' if fail_open else _V6} is not redirected to the sidecar"
    if _excludes(value["excludeOutboundIPRanges"], fail_open):
        yield _uncaptured(caller, f"{target} is not redirected to the sidecar", "excludeOutboundIPRanges", value)
    elif ipv6 and _excludes_v6(value["excludeOutboundIPRanges"], fail_open):
        yield _uncaptured(caller, target_v6, "excludeOutboundIPRanges", value)
    included = value["includeOutboundPorts"].items()
    missing = [port for port in ports if str(port) not in included and "*" not in included]
    if missing and not _includes(value["includeOutboundIPRanges"], fail_open):
        named = " and ".join(map(str, missing))
        what = f"{target} is not among the addresses that are redirected to the sidecar (port {named})"
        yield _uncaptured(caller, what, "includeOutboundIPRanges", value)
    elif missing and ipv6 and not _includes_v6(value["includeOutboundIPRanges"], fail_open):
        yield _uncaptured(caller, target_v6, "includeOutboundIPRanges", value)


def _one_family(caller: Caller, fail_open: bool) -> Iterator[Found]:
    """Pods with both families of which Istio redirects IPv4 alone: it looks at the first address, unless told of two.

    istio-init and the CNI plugin (tools/common/config, getLocalIP); the variable was another before 1.24.
    """
    half = next((pod for pod in caller.pods if len(mesh.families([pod])) > 1 and not _dual_stack(pod)), None)
    if half is None:
        return
    what = f"pod {half['metadata']['name']} has IPv4 and IPv6, and Istio redirects its IPv4 alone ({DUAL_STACK[0]} is not set)"
    yield Found(
        f"{what}: http:// over IPv6 would pass the sidecar by, in clear"
        if fail_open
        else f"{what}: a client that wants IPv6 goes to the alias, and so nowhere",
        f'set {DUAL_STACK[0]}: "true" in istiod and in meshConfig.defaultConfig.proxyMetadata, and restart the pods'
        + ("; or migrate without --fail-open" if fail_open else "; or see that its clients take IPv4 too"),
        caller.ref,
        severity=Severity.BLOCK if fail_open else Severity.WARN,
    )


def _dual_stack(pod: Body) -> bool:
    spec = pod.get("spec") or {}
    return any(
        entry.get("name") in DUAL_STACK and str(entry.get("value", "")).lower() in ("1", "t", "true")
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
        if container.get("name") == PROXY_CONTAINER
        for entry in container.get("env") or ()
    )


def _includes_v6(value: _Value, anywhere: bool) -> bool:
    wanted = ipaddress.IPv6Network("::/0") if anywhere else _V6
    return any(map(wanted.subnet_of, _networks_v6(value)))


def _excludes_v6(value: _Value, anywhere: bool) -> bool:
    if anywhere:
        return any(not network.is_private for network in _networks_v6(value))
    return any(map(_V6.overlaps, _networks_v6(value)))


def _networks_v6(value: _Value) -> Iterator[ipaddress.IPv6Network]:
    for item in value.items():
        try:
            network = ipaddress.ip_network("::/0" if item == "*" else item, strict=False)
        except ValueError:
            continue  # the injector refuses it
        if isinstance(network, ipaddress.IPv6Network):
            yield network


def _uncaptured(caller: Caller, what: str, name: str, values: Mapping[str, _Value]) -> Found:
    value = values[name]
    change = f"take it out of {name}" if name.startswith("exclude") else f"add it to {name}"
    return Found(
        f'{what}: {value.where} is "{value.text}"',
        f"{change} in the pod template's annotations" + ("" if value.own else " (they win over the mesh-wide setting)"),
        caller.ref,
        steps=caller.template_steps("metadata", "annotations", _PREFIX + name) if value.own else (),
    )


def _networks(value: _Value) -> Iterator[ipaddress.IPv4Network]:
    for item in value.items():
        try:
            network = ipaddress.ip_network("0.0.0.0/0" if item == "*" else item, strict=False)
        except ValueError:
            continue  # the injector refuses it
        if isinstance(network, ipaddress.IPv4Network):
            yield network


def _excludes(value: _Value, anywhere: bool) -> bool:
    """Whether an excluded range has addresses of the alias's network, or, without an alias, public ones."""
    if anywhere:
        return any(not network.is_private for network in _networks(value))
    return any(network.overlaps(ipaddress.IPv4Network(mesh.ALIAS_NETWORK)) for network in _networks(value))


def _includes(value: _Value, anywhere: bool) -> bool:
    """Whether the included ranges hold the alias's network, or, without an alias, everything."""
    wanted = ipaddress.IPv4Network("0.0.0.0/0" if anywhere else str(mesh.ALIAS_NETWORK))
    return any(wanted.subnet_of(network) for network in _networks(value))
