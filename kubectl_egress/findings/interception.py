"""Whether the calls of a workload go through a sidecar at all: injection, redirection, captured ports, start order."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from kubectl_egress import kinds, mesh
from kubectl_egress.findings.scope import PROXY_CONTAINER, Caller, Found, Scope
from kubectl_egress.model import Body, MeshSettings

INJECT = "sidecar.istio.io/inject"
REVISION = "istio.io/rev"
PROXY_USER = 1337  # Istio's redirect leaves out what this user and group send (pkg/constants)


# ---- no-sidecar -----------------------------------------------------------------------------------------------------


def no_sidecar(scope: Scope, caller: Caller) -> Iterator[Found]:
    """Pods without istio-proxy; without pods, what label, annotation and namespace say the injector would do."""
    restart = f"then kubectl rollout restart {caller.ref.kind.lower()}/{caller.ref.name} -n {caller.ref.namespace}"
    for field in ("labels", "annotations"):
        if str(caller.metadata(field).get(INJECT, "")).lower() in ("false", "no", "off", "n"):
            yield Found(
                f'its pod template has the {field.removesuffix("s")} {INJECT}: "false", so its pods get no sidecar',
                f"remove it from spec.template.metadata.{field}, {restart}",
                caller.ref,
                steps=caller.template_steps("metadata", field, INJECT),
            )
            return
    bare = [pod for pod in caller.pods if not has_sidecar(pod)]
    if bare:
        name = bare[0]["metadata"]["name"]
        which = f"pod {name} runs" if len(bare) == 1 else f"{len(bare)} of {len(caller.pods)} pods ({name}, …) run"
        yield Found(
            f"{which} without a sidecar (no container {PROXY_CONTAINER})",
            f"kubectl label namespace {caller.ref.namespace} istio-injection=enabled, {restart}",
            caller.ref,
        )
    elif scope.survey.live and not caller.pods and not caller.pod_spec.get("hostNetwork"):
        yield from _would_not_be_injected(scope, caller)


def has_sidecar(pod: Body) -> bool:
    """Whether a pod has istio-proxy, as a container or as an init container that stays (a native sidecar)."""
    return any(
        container.get("name") == PROXY_CONTAINER and role != "init"
        for _, container, role in kinds.containers({"spec": pod.get("spec") or {}})
    )


def _would_not_be_injected(scope: Scope, caller: Caller) -> Iterator[Found]:
    namespace = scope.survey.namespaces.get(caller.ref.namespace)
    if namespace is None:
        return
    space, pod = (namespace.get("metadata") or {}).get("labels") or {}, caller.metadata("labels")
    asked = str(pod.get(INJECT, "")).lower() == "true" or REVISION in pod
    disabled = space.get("istio-injection") == "disabled"
    if not disabled and (asked or space.get("istio-injection") == "enabled" or REVISION in space):
        return
    yield Found(
        f"no pod of it runs, and neither its pod template nor the namespace {caller.ref.namespace} asks for a sidecar",
        f"kubectl label --overwrite namespace {caller.ref.namespace} istio-injection=enabled",
        caller.ref,
    )


# ---- not-intercepted ------------------------------------------------------------------------------------------------


def not_intercepted(scope: Scope, caller: Caller) -> Iterator[Found]:
    """Pods whose traffic passes the sidecar by: interception off, the host's network, or the proxy's own user."""
    annotations = caller.metadata("annotations")
    mode = str(annotations.get("sidecar.istio.io/interceptionMode", ""))
    config = str(annotations.get("proxy.istio.io/config", ""))
    if mode.upper() == "NONE" or re.search(r"""interceptionMode["']?\s*:\s*["']?NONE""", config, re.IGNORECASE):
        yield Found(
            "the interception mode of its pods is NONE: nothing is redirected to the sidecar",
            "set sidecar.istio.io/interceptionMode to REDIRECT in the pod template",
            caller.ref,
            steps=caller.template_steps("metadata", "annotations"),
        )
    if "traffic.sidecar.istio.io/excludeInterfaces" in annotations:
        interfaces = annotations["traffic.sidecar.istio.io/excludeInterfaces"]
        yield Found(
            f"what leaves its pods by the interface {interfaces} is not redirected to the sidecar",
            "remove the annotation traffic.sidecar.istio.io/excludeInterfaces from the pod template",
            caller.ref,
            steps=caller.template_steps("metadata", "annotations", "traffic.sidecar.istio.io/excludeInterfaces"),
        )
    if caller.pod_spec.get("hostNetwork"):
        yield Found(
            "its pods use the network of the node (hostNetwork), where no sidecar is",
            "remove hostNetwork from the pod template, or leave this workload on https with --workload",
            caller.ref,
            steps=caller.template_steps("spec", "hostNetwork"),
        )
    yield from _proxy_user(caller)


def _proxy_user(caller: Caller) -> Iterator[Found]:
    general = caller.pod_spec.get("securityContext") or {}
    for steps, container in caller.containers():
        context = {**general, **(container.get("securityContext") or {})}
        for field, word in (("runAsUser", "user"), ("runAsGroup", "group")):
            if context.get(field) == PROXY_USER:
                yield Found(
                    f"container {container.get('name')} runs as {word} {PROXY_USER}, whose traffic is never redirected",
                    f"give it another {field}; {PROXY_USER} is the sidecar's own",
                    caller.ref,
                    steps=(*steps, "securityContext", field),
                )


# ---- port-not-captured ----------------------------------------------------------------------------------------------

# annotation (below traffic.sidecar.istio.io/) → field of MeshSettings, Helm value (below global.proxy)
_CAPTURE = {
    "excludeOutboundPorts": ("exclude_outbound_ports", "excludeOutboundPorts"),
    "includeOutboundPorts": ("include_outbound_ports", "includeOutboundPorts"),
    "excludeOutboundIPRanges": ("exclude_ip_ranges", "excludeIPRanges"),
    "includeOutboundIPRanges": ("include_ip_ranges", "includeIPRanges"),
}
_PREFIX = "traffic.sidecar.istio.io/"


def port_not_captured(scope: Scope, caller: Caller) -> Iterator[Found]:
    """Ports 80 and 443, or the address that the alias leads to, are left out of the redirect.

    In the order of Istio's rules: excluded ports, excluded addresses, included ports, included addresses; what is
    included by port need not be by address (tools/istio-iptables/pkg/capture).
    """
    annotations, settings = caller.metadata("annotations"), scope.survey.settings
    value = {name: _setting(annotations, settings, name) for name in _CAPTURE}
    excluded = _items(value["excludeOutboundPorts"])
    for port in (mesh.CLEAR_PORT, mesh.TLS_PORT):
        if str(port) in excluded or "*" in excluded:
            yield _uncaptured(caller, f"port {port} is not redirected to the sidecar", "excludeOutboundPorts", value)
    target = "an address outside" if scope.fail_open else f"the alias's network {mesh.ALIAS_NETWORK}"
    if _excludes(value["excludeOutboundIPRanges"], scope.fail_open):
        yield _uncaptured(caller, f"{target} is not redirected to the sidecar", "excludeOutboundIPRanges", value)
    included = _items(value["includeOutboundPorts"])
    missing = [port for port in (mesh.CLEAR_PORT, mesh.TLS_PORT) if str(port) not in included and "*" not in included]
    if missing and not _includes(value["includeOutboundIPRanges"], scope.fail_open):
        ports = " and ".join(map(str, missing))
        what = f"{target} is not among the addresses that are redirected to the sidecar (port {ports})"
        yield _uncaptured(caller, what, "includeOutboundIPRanges", value)


def _setting(annotations: Body, settings: MeshSettings, name: str) -> tuple[str, bool]:
    """The value in effect, and whether the pod template says it (or the mesh)."""
    if _PREFIX + name in annotations:
        return str(annotations[_PREFIX + name]), True
    return str(getattr(settings, _CAPTURE[name][0])), False


def _uncaptured(caller: Caller, what: str, name: str, values: dict[str, tuple[str, bool]]) -> Found:
    value, own = values[name]
    where = f"annotation {_PREFIX}{name}" if own else f"mesh-wide setting global.proxy.{_CAPTURE[name][1]}"
    change = f"take it out of {name}" if name.startswith("exclude") else f"add it to {name}"
    return Found(
        f'{what}: {where} is "{value}"',
        f"{change} in the pod template's annotations" + ("" if own else " (they win over the mesh-wide setting)"),
        caller.ref,
        steps=caller.template_steps("metadata", "annotations", _PREFIX + name) if own else (),
    )


def _items(value: tuple[str, bool]) -> list[str]:
    return [item.strip() for item in value[0].split(",") if item.strip()]


def _networks(value: tuple[str, bool]) -> Iterator[ipaddress.IPv4Network]:
    for item in _items(value):
        try:
            network = ipaddress.ip_network("0.0.0.0/0" if item == "*" else item, strict=False)
        except ValueError:
            continue  # the injector refuses it
        if isinstance(network, ipaddress.IPv4Network):
            yield network


def _excludes(value: tuple[str, bool], anywhere: bool) -> bool:
    """Whether an excluded range has addresses of the alias's network, or, without an alias, public ones."""
    if anywhere:
        return any(not network.is_private for network in _networks(value))
    return any(network.overlaps(ipaddress.IPv4Network(mesh.ALIAS_NETWORK)) for network in _networks(value))


def _includes(value: tuple[str, bool], anywhere: bool) -> bool:
    """Whether the included ranges hold the alias's network, or, without an alias, everything."""
    wanted = ipaddress.IPv4Network("0.0.0.0/0" if anywhere else str(mesh.ALIAS_NETWORK))
    return any(wanted.subnet_of(network) for network in _networks(value))


# ---- init-before-sidecar --------------------------------------------------------------------------------------------


def init_before_sidecar(scope: Scope, caller: Caller) -> Iterator[Found]:
    """An init container calls the host while no sidecar runs yet."""
    order = [str(one.get("name")) for one in caller.pod_spec.get("initContainers") or ()]
    early = _early(caller, order)
    called = {(site.container, host) for host in caller.hosts for site in caller.uses(host) if site.container in early}
    for name, host in sorted(called):
        yield Found(
            f"init container {name} calls it before the sidecar runs",
            'run the sidecar as a native one (Kubernetes 1.29, Istio 1.19: pod annotation sidecar.istio.io/nativeSidecar: "true"), '
            "or move the call into the container",
            caller.ref,
            host,
            steps=caller.template_steps("spec", "initContainers", order.index(name)),
        )


def _early(caller: Caller, order: list[str]) -> set[str]:
    """The init containers that run before the sidecar, in any pod, or as the pod template says where there is none."""
    if not caller.pods:
        native = str(caller.metadata("annotations").get("sidecar.istio.io/nativeSidecar", "")).lower() == "true"
        return set() if native else set(order)
    early: set[str] = set()
    for pod in caller.pods:
        names = [str(one.get("name")) for one in pod["spec"].get("initContainers") or ()]
        early.update(names[: names.index(PROXY_CONTAINER)] if PROXY_CONTAINER in names else names)
    return early & set(order)
