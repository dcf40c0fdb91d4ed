"""What the node says about a pod: the states of its containers → `status`, as the kubelet writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kubectl_egress.lab.parts import Body

NODE_ADDRESS = "10.244.0.1"


def now() -> str:
    """The time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run of a container ended."""

    exit_code: int
    started_at: str
    finished_at: str

    @property
    def body(self) -> dict[str, Any]:
        """The `terminated` of a container state."""
        return {
            "exitCode": self.exit_code,
            "reason": "Completed" if self.exit_code == 0 else "Error",
            "startedAt": self.started_at,
            "finishedAt": self.finished_at,
        }


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One container at one moment: waiting with a reason, running, or ended for good."""

    reason: str = "ContainerCreating"
    message: str = ""
    running_since: str = ""
    ready: bool = False
    restarts: int = 0
    ended: Ended | None = None
    previous: Ended | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The `state` of a container status."""
        if self.running_since:
            return {"running": {"startedAt": self.running_since}}
        if self.ended:
            return {"terminated": self.ended.body}
        return {"waiting": {"reason": self.reason, **({"message": self.message} if self.message else {})}}


def _container_status(container: Body, state: ContainerState, uid: str) -> dict[str, Any]:
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "containerID": f"lab://{uid}/{container['name']}/{state.restarts}",
        "ready": state.ready,
        "started": bool(state.running_since),
        "restartCount": state.restarts,
        "state": state.body,
        "lastState": {"terminated": state.previous.body} if state.previous else {},
    }


def _is_native(container: Body) -> bool:
    return bool(container.get("restartPolicy") == "Always")


def phase_of(pod: Body, states: Mapping[str, ContainerState]) -> str:
    """Pending, Running, Succeeded or Failed, by the kubelet's rules (pkg/kubelet/kubelet_pods.go, getPhase)."""
    main = [states[container["name"]] for container in pod["spec"]["containers"]]
    if all(state.ended and not state.running_since for state in main):
        return "Failed" if any(state.ended and state.ended.exit_code for state in main) else "Succeeded"
    if any(not state.running_since and not state.ended and not state.previous for state in main):
        return "Pending"
    return "Running"


def pod_status(
    pod: Body, addresses: Sequence[str], started: str, states: Mapping[str, ContainerState], ending: bool
) -> Body:
    """The whole status, its conditions with the transition times that they had where nothing changed."""
    spec, uid = pod["spec"], str(pod["metadata"].get("uid", ""))
    inits = list(spec.get("initContainers") or ())
    initialized = all(
        (states[c["name"]].running_since if _is_native(c) else _succeeded(states[c["name"]])) for c in inits
    )
    counted = [*(c for c in inits if _is_native(c)), *spec["containers"]]
    unready = [c["name"] for c in counted if not states[c["name"]].ready]
    ready = not unready and not ending
    why = (
        {}
        if ready
        else {"reason": "ContainersNotReady", "message": f"containers with unready status: [{' '.join(unready)}]"}
    )
    conditions = [
        {"type": "PodScheduled", "status": "True"},
        {"type": "Initialized", "status": "True" if initialized else "False"},
        {"type": "ContainersReady", "status": "True" if ready else "False", **why},
        {"type": "Ready", "status": "True" if ready else "False", **why},
    ]
    return {
        "phase": phase_of(pod, states),
        "hostIP": NODE_ADDRESS,
        "podIP": addresses[0] if addresses else None,
        "podIPs": [{"ip": address} for address in addresses] or None,
        "startTime": started,
        "conditions": [_with_time(c, pod) for c in conditions],
        "containerStatuses": [_container_status(c, states[c["name"]], uid) for c in spec["containers"]],
        "initContainerStatuses": [_container_status(c, states[c["name"]], uid) for c in inits] or None,
    }


def _succeeded(state: ContainerState) -> bool:
    return state.ended is not None and state.ended.exit_code == 0


def _with_time(condition: dict[str, str], pod: Body) -> dict[str, str]:
    for old in pod.get("status", {}).get("conditions") or ():
        if old["type"] == condition["type"] and old["status"] == condition["status"]:
            return {**condition, "lastTransitionTime": old.get("lastTransitionTime", now())}
    return {**condition, "lastTransitionTime": now()}
