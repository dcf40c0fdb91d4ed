"""Which ConfigMaps and Secrets a pod template names, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_egress.model import Body, Steps
from kubectl_egress.places import ANY

# The way to each name, as a tree that is walked once; a list stands for each of its entries, a string for the kind.
_CONTAINERS: Mapping[str, Any] = {
    ANY: {
        "envFrom": {ANY: {"configMapRef": {"name": "ConfigMap"}, "secretRef": {"name": "Secret"}}},
        "env": {ANY: {"valueFrom": {"configMapKeyRef": {"name": "ConfigMap"}, "secretKeyRef": {"name": "Secret"}}}},
    }
}
_PLACES: Mapping[str, Any] = {
    "spec": {
        "initContainers": _CONTAINERS,
        "containers": _CONTAINERS,
        "volumes": {
            ANY: {
                "configMap": {"name": "ConfigMap"},
                "secret": {"secretName": "Secret"},
                "projected": {"sources": {ANY: {"configMap": {"name": "ConfigMap"}, "secret": {"name": "Secret"}}}},
            }
        },
    }
}


def source_references(template: Body) -> tuple[tuple[Steps, str, str], ...]:
    """The address, from the pod template on, of every string that names a ConfigMap or a Secret; its kind, and that name."""
    return tuple(_named(template, _PLACES, ()))


def config_map_references(template: Body) -> tuple[tuple[Steps, str], ...]:
    """The same of ConfigMaps alone."""
    return tuple((steps, name) for steps, kind, name in source_references(template) if kind == "ConfigMap")


def _named(value: Any, places: Mapping[str, Any] | str, prefix: Steps) -> Iterator[tuple[Steps, str, str]]:
    if isinstance(places, str):
        if isinstance(value, str) and value:
            yield prefix, places, value
    elif ANY in places:
        for number, entry in enumerate(value if isinstance(value, list | tuple) else ()):
            yield from _named(entry, places[ANY], (*prefix, number))
    elif isinstance(value, Mapping):
        for key, below in places.items():
            if key in value:
                yield from _named(value[key], below, (*prefix, key))
