"""Which ConfigMaps a pod template names, and where."""

from __future__ import annotations

from kubectl_egress.model import Body, Steps
from kubectl_egress.places import matches

_REFERENCES: tuple[Steps, ...] = (
    ("spec", "initContainers", "*", "envFrom", "*", "configMapRef", "name"),
    ("spec", "initContainers", "*", "env", "*", "valueFrom", "configMapKeyRef", "name"),
    ("spec", "containers", "*", "envFrom", "*", "configMapRef", "name"),
    ("spec", "containers", "*", "env", "*", "valueFrom", "configMapKeyRef", "name"),
    ("spec", "volumes", "*", "configMap", "name"),
    ("spec", "volumes", "*", "projected", "sources", "*", "configMap", "name"),
)


def config_map_references(template: Body) -> tuple[tuple[Steps, str], ...]:
    """The address, from the pod template on, of every string that names a ConfigMap, and that name."""
    found = (match for pattern in _REFERENCES for match in matches(template, pattern))
    return tuple((steps, name) for steps, name in found if isinstance(name, str) and name)
