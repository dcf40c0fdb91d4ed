"""Whether proxies give entries addresses of their own, at which alone `https://HOST` of an aliased pod would be answered."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kubectl_egress import kinds
from kubectl_egress.model import DNS_AUTO_ALLOCATE, DNS_CAPTURE, Body, MeshSettings, Survey

_CONFIG = "proxy.istio.io/config"
_PROXY = "istio-proxy"


def allocates(survey: Survey) -> bool:
    """Whether any sidecar of the survey captures DNS and allocates addresses.

    By the environment of its container in running pods; by the annotation for pods to come; by the mesh's settings
    where neither says it.
    """
    return _mesh_wide(survey.settings, DNS_CAPTURE, DNS_AUTO_ALLOCATE) or any(
        all(_says(setting, pod, survey.settings) for setting in (DNS_CAPTURE, DNS_AUTO_ALLOCATE))
        for pod in _templates_and_pods(survey)
    )


def _templates_and_pods(survey: Survey) -> Iterator[Body]:
    for workload in survey.workloads:
        yield kinds.pod_template(workload.document.body) or {}
        yield from workload.pods


def _says(setting: str, pod: Body, settings: MeshSettings) -> bool:
    """What holds for one pod, or for those of one template."""
    spec = pod.get("spec") or {}
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        if container.get("name") == _PROXY:
            for entry in container.get("env") or ():
                if entry.get("name") == setting:
                    return str(entry.get("value", "")).lower() == "true"
    config = str(((pod.get("metadata") or {}).get("annotations") or {}).get(_CONFIG, ""))
    # YAML or JSON, of which the one line is the same.
    found = re.search(rf"""{setting}["']?\s*:\s*["']?(\w+)""", config)
    return found[1].lower() == "true" if found else _mesh_wide(settings, setting)


def _mesh_wide(settings: MeshSettings, *wanted: str) -> bool:
    said = {DNS_CAPTURE: settings.dns_capture, DNS_AUTO_ALLOCATE: settings.auto_allocate}
    return all(said[setting] for setting in wanted)
