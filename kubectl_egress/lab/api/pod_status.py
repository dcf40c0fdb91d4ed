"""One word for how a pod is: the STATUS of `kubectl get pods` (k8s.io/kubernetes pkg/printers/internalversion, printPod)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Body = Mapping[str, Any]


def pod_status(body: Body) -> str:
    """The STATUS of a pod, as printPod makes it."""
    status = body.get("status") or {}
    text = status.get("reason") or status.get("phase") or "Pending"
    sidecars = {
        item["name"] for item in body["spec"].get("initContainers") or [] if item.get("restartPolicy") == "Always"
    }
    total = len(body["spec"].get("initContainers") or [])
    for index, item in enumerate(status.get("initContainerStatuses") or []):
        state = item.get("state") or {}
        if (state.get("terminated") or {}).get("exitCode") == 0 or (item["name"] in sidecars and item.get("started")):
            continue
        if terminated := state.get("terminated"):
            text = "Init:" + (terminated.get("reason") or f"ExitCode:{terminated.get('exitCode')}")
        elif (waiting := (state.get("waiting") or {}).get("reason")) and waiting != "PodInitializing":
            text = f"Init:{waiting}"
        else:
            text = f"Init:{index}/{total}"
        break
    else:
        text = _container_status(status, text)
    return "Terminating" if body["metadata"].get("deletionTimestamp") else text


def _container_status(status: Body, text: str) -> str:
    running = False
    for item in reversed(status.get("containerStatuses") or []):
        state = item.get("state") or {}
        if reason := (state.get("waiting") or {}).get("reason"):
            text = reason
        elif state.get("terminated"):
            terminated = state["terminated"]
            text = terminated.get("reason") or f"ExitCode:{terminated.get('exitCode')}"
        elif item.get("ready") and state.get("running") is not None:
            running = True
    ready = any(item.get("type") == "Ready" and item.get("status") == "True" for item in status.get("conditions") or [])
    return ("Running" if ready else "NotReady") if text == "Completed" and running else text
