"""Files of hosts in the sidecars of a workload: the annotations that mount them, and the workload without them."""

from __future__ import annotations

from collections.abc import Mapping

from kubectl_egress import kinds, mesh, paths
from kubectl_egress.model import Body, Host, Origination, Steps


def mounted(body: Body, kind: str, files: Mapping[Host, Origination]) -> Body:
    """The workload whose sidecars read the hosts' CAs and client certificates."""
    for host, origination in files.items():
        if mesh.needs_files(origination):
            steps, metadata = _metadata(body, kind)
            annotations = mesh.with_files(metadata.get("annotations") or {}, host, origination)
            body = paths.replaced(body, steps, {**metadata, "annotations": annotations})
    return body


def unmounted(body: Body, kind: str, host: Host) -> Body:
    """The workload without a host's files in its sidecars."""
    steps, metadata = _metadata(body, kind)
    if not metadata.get("annotations"):
        return body
    annotations = mesh.without_files(metadata["annotations"], host)
    if annotations == metadata["annotations"]:
        return body
    left = {key: value for key, value in metadata.items() if key != "annotations"}
    return paths.replaced(body, steps, {**left, "annotations": annotations} if annotations else left)


def _metadata(body: Body, kind: str) -> tuple[Steps, Body]:
    steps = (*kinds.template_steps(kind), "metadata")
    try:
        return steps, paths.get(body, steps) or {}
    except KeyError:
        return steps, {}
