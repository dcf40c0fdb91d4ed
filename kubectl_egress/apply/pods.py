"""What a pod is in, as far as waiting and watching ask."""

from __future__ import annotations

from kubectl_egress.model import Body


def terminating(pod: Body) -> bool:
    """Whether the pod has been told to go."""
    return "deletionTimestamp" in pod["metadata"]


def finished(pod: Body) -> bool:
    """Whether its containers have ended for good."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
