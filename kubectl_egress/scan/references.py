"""Which ConfigMaps and Secrets a pod template names, and where."""

from __future__ import annotations

from kubectl_egress.model import Body, Steps
from kubectl_egress.places import matches

_CONTAINERS = ("initContainers", "containers")
_PLACES: tuple[tuple[str, Steps], ...] = (
    *(
        place
        for containers in _CONTAINERS
        for place in (
            ("ConfigMap", ("spec", containers, "*", "envFrom", "*", "configMapRef", "name")),
            ("ConfigMap", ("spec", containers, "*", "env", "*", "valueFrom", "configMapKeyRef", "name")),
            ("Secret", ("spec", containers, "*", "envFrom", "*", "secretRef", "name")),
            ("Secret", ("spec", containers, "*", "env", "*", "valueFrom", "secretKeyRef", "name")),
        )
    ),
    ("ConfigMap", ("spec", "volumes", "*", "configMap", "name")),
    ("ConfigMap", ("spec", "volumes", "*", "projected", "sources", "*", "configMap", "name")),
    ("Secret", ("spec", "volumes", "*", "secret", "secretName")),
    ("Secret", ("spec", "volumes", "*", "projected", "sources", "*", "secret", "name")),
)
_CONFIG_MAPS = tuple(pattern for kind, pattern in _PLACES if kind == "ConfigMap")


def source_references(template: Body) -> tuple[tuple[Steps, str, str], ...]:
    """The address, from the pod template on, of every string that names a ConfigMap or a Secret; its kind, and that name."""
    found = ((steps, kind, name) for kind, pattern in _PLACES for steps, name in matches(template, pattern))
    return tuple((steps, kind, name) for steps, kind, name in found if isinstance(name, str) and name)


def config_map_references(template: Body) -> tuple[tuple[Steps, str], ...]:
    """The same of ConfigMaps alone."""
    found = (match for pattern in _CONFIG_MAPS for match in matches(template, pattern))
    return tuple((steps, name) for steps, name in found if isinstance(name, str) and name)
