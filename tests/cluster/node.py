"""The lab's node as a Node of a real cluster: registered, and with pods whose sidecars are real."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubectl_egress.lab.istiod import EmbeddedIstiod
from kubectl_egress.lab.network import GATEWAY
from kubectl_egress.lab.parts import Body
from kubectl_egress.lab.pods.node import LabNode
from kubectl_egress.lab.pods.pod import PodRunner
from kubectl_egress.lab.pods.sandbox import Machine
from tests.cluster.commands import FAKE_NODE, KUBELET_PORT
from tests.cluster.mirror import MERGE, Api, Mirror
from tests.cluster.sidecar import HostRunner, SidecarPrograms, SidecarRunner

NODE = "lab"


class ClusterNode(LabNode):
    """Runs the pods that the scheduler binds to it."""

    def __init__(self, mirror: Mirror, api: Api, machine: Machine, programs: SidecarPrograms) -> None:
        # The embedded istiod is asked nothing: the runners below replace what would.
        super().__init__(mirror, EmbeddedIstiod(), machine)
        self._api = api
        self._programs = programs

    def _make_runner(self, pod: Body, publish: Callable[[Body], None]) -> PodRunner:
        namespace = pod["metadata"]["namespace"]
        kind = HostRunner if pod["spec"].get("hostNetwork") else SidecarRunner
        runner = kind(
            pod,
            self._addresses(pod),
            self._machine,
            self._istiod,
            lambda resource, wanted: self._store.get(resource, namespace, wanted),
            publish,
            tuple,
        )
        if isinstance(runner, SidecarRunner):
            runner.api, runner.programs = self._api, self._programs
        return runner

    async def _serve_control_plane(self, runner: PodRunner) -> None:
        """istiod answers for itself."""


async def register(api: Api) -> None:
    """Make the Node object, with room for every pod and a kubelet as old as the API server."""
    labels = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}}
    await api.ask("POST", "/api/v1/nodes", body)
    version = (await api.ask("GET", "/version"))["gitVersion"]
    await api.ask("PATCH", f"/api/v1/nodes/{NODE}/status", {"status": _status(version)}, content_type=MERGE)


async def register_fake(api: Api) -> None:
    """Make kwok's Node object, to which the scheduler binds nothing by itself."""
    taints = [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]
    metadata = {"name": FAKE_NODE, "annotations": {"kwok.x-k8s.io/node": "fake"}}
    await api.ask(
        "POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": taints}}
    )


async def is_ready(api: Api, node: str) -> bool:
    """Whether a Node is said to be ready."""
    conditions = (await api.ask("GET", f"/api/v1/nodes/{node}"))["status"].get("conditions", ())
    return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)


def _status(version: str) -> dict[str, Any]:
    room = {"cpu": "1000", "memory": "4Ti", "pods": "1000", "ephemeral-storage": "4Ti"}
    return {
        "capacity": room,
        "allocatable": room,
        "addresses": [{"type": "InternalIP", "address": str(GATEWAY)}, {"type": "Hostname", "address": NODE}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "it is the lab's"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
        # exec's v5.channel.k8s.io comes through as it is; without, the API server would make SPDY of it.
        "declaredFeatures": ["ExtendWebSocketsToKubelet"],
        "nodeInfo": dict.fromkeys(
            ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion"), "lab"
        )
        | {"kubeletVersion": version, "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64"},
    }
