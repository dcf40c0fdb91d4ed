"""A pod's namespaces: network and host name for all its containers, a root for each."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubectl_egress.lab import filtering, kernel, network
from kubectl_egress.lab.families import IPV4, IPV6, families_of, taken
from kubectl_egress.lab.parts import Body, LabRefusal
from kubectl_egress.lab.pods.policies import Permission
from kubectl_egress.lab.pods.root import Root, VolumeMount, build

PROXY = "istio-proxy"
REDIRECT_INIT = "istio-init"
ANNOTATIONS = "traffic.sidecar.istio.io/"
_FAMILIES = {IPV4: network.IPV4, IPV6: network.IPV6}


@dataclass(frozen=True, slots=True)
class Machine:
    """What all pods of a lab have in common."""

    directory: Path
    """The lab's own, where the node keeps what its pods need."""
    world: kernel.Namespaces
    launchers: Path
    envoy: str
    needed: tuple[str, ...]
    certificate: str
    """The lab's CA, PEM: the only public one."""
    nameserver: str
    single_user: bool
    """Whether the lab runs without root, and so has one UID only."""
    ipv6: bool = False

    def nameserver_for(self, address: str) -> str:
        """Where a pod with this first address reaches it."""
        return network.GATEWAY_V6 if ":" in address else self.nameserver


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One pod's place: its first address, its namespaces and its directory of the node."""

    address: str
    namespaces: kernel.Namespaces
    directory: Path

    async def set_redirect(self, redirect: network.Redirect | None) -> None:
        """Have this redirect alone, or none, while everything runs."""
        namespaces = kernel.Namespaces(os.dup(self.namespaces.net))
        try:
            await kernel.within(namespaces, network.remove_redirect)
            if redirect is not None:
                await kernel.within(namespaces, lambda: network.add_redirect(redirect))
        finally:
            namespaces.close()

    async def restrict(self, permissions: Sequence[Permission] | None) -> None:
        """Let the pod send this alone, or everything."""
        namespaces = kernel.Namespaces(os.dup(self.namespaces.net))
        try:
            await kernel.within(namespaces, lambda: filtering.restrict(permissions))
        finally:
            namespaces.close()


def proxy_of(pod: Body) -> Body | None:
    """The sidecar among the pod's containers: an ordinary one, or a native sidecar."""
    spec = pod.get("spec", {})
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if container.get("name") == PROXY:
            return dict(container)
    return None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part.strip().isdigit())


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def redirect_of(pod: Body, addresses: Sequence[str] = (), *, by_mark: bool) -> network.Redirect | None:
    """What istio-init would set up for this pod with its addresses; None where nothing is redirected."""
    annotations: Mapping[str, str] = pod["metadata"].get("annotations") or {}
    if proxy_of(pod) is None or annotations.get("sidecar.istio.io/interceptionMode") == "NONE":
        return None
    return network.Redirect(
        exclude_ports=_numbers(annotations.get(f"{ANNOTATIONS}excludeOutboundPorts", "")),
        include_ports=_numbers(annotations.get(f"{ANNOTATIONS}includeOutboundPorts", "")),
        exclude_ranges=_words(annotations.get(f"{ANNOTATIONS}excludeOutboundIPRanges", "")),
        include_ranges=_words(annotations.get(f"{ANNOTATIONS}includeOutboundIPRanges", "*")),
        families=tuple(_FAMILIES[family] for family in taken(pod, addresses)),
        by_mark=by_mark,
    )


def _has_redirect_init(pod: Body) -> bool:
    """Whether the redirect is made when its init container's turn comes, as without Istio's CNI plugin."""
    return any(container.get("name") == REDIRECT_INIT for container in pod["spec"].get("initContainers") or ())


async def open_sandbox(pod: Body, addresses: Sequence[str], machine: Machine) -> Sandbox:
    """Make the pod's namespaces and its network; LabRefusal or OSError if that does not go."""
    name = str(pod["metadata"]["name"])
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod["spec"].get(field):
            raise LabRefusal(f"{field}: the lab's pods have namespaces of their own")

    if IPV6 in families_of(pod) and not machine.ipv6:
        raise LabRefusal("the lab was started without IPv6")

    def separate() -> kernel.Namespaces:
        kernel.unshare(kernel.CLONE_NEWNET | kernel.CLONE_NEWUTS)
        socket.sethostname(name[:63])
        whole = kernel.Namespaces.of_this_thread()
        if whole.mnt is not None:
            os.close(whole.mnt)
        return kernel.Namespaces(whole.net, None, whole.uts)

    namespaces = await kernel.in_a_thread(separate)
    cable = f"p{network.hardware_address(addresses[0]).replace(':', '')}"
    await kernel.within(machine.world, lambda: network.plug_in(cable, addresses[0], namespaces.net))
    await kernel.within(namespaces, lambda: network.configure_pod(*addresses))
    redirect = redirect_of(pod, addresses, by_mark=machine.single_user)
    if redirect is not None and not _has_redirect_init(pod):
        await kernel.within(namespaces, lambda: network.add_redirect(redirect))
    directory = machine.directory / "pods" / str(pod["metadata"].get("uid") or name)
    directory.mkdir(parents=True, exist_ok=True)
    return Sandbox(addresses[0], namespaces, directory)


async def open_root(
    sandbox: Sandbox, container: str, etc: Mapping[str, str], mounts: Sequence[VolumeMount], machine: Machine
) -> kernel.Namespaces:
    """The namespaces of one container: the sandbox's, and a root of its own."""
    staging = sandbox.directory / "roots" / container
    staging.mkdir(parents=True, exist_ok=True)
    root = Root(str(staging), str(machine.launchers), etc, mounts, machine.needed)

    def separate() -> kernel.Namespaces:
        sandbox.namespaces.enter()
        kernel.unshare(kernel.CLONE_NEWNS)
        namespaces = kernel.Namespaces.of_this_thread()
        build(root)
        return namespaces

    return await kernel.in_a_thread(separate)
