"""The types of Kubernetes' own objects, field by field, as the client's models have them: what the server can decode."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from importlib import resources

from kubectl_egress.lab.api.resources import Resource

# Kinds whose type has a name of another form.
_NAMES = {"Event": "CoreV1Event"}
_ITEM = re.compile(r"List\[(.+)\]")
_VALUE = re.compile(r"Dict\[str, (.+)\]")
_GO = {"str": "string", "int": "int32", "bool": "bool", "bytes": "string"}


@functools.cache
def _table() -> Mapping[str, Mapping[str, str]]:
    """Type → field → type, from types.json; tests/test_lab_api_types.py holds it to the client's models."""
    found: dict[str, dict[str, str]] = json.loads(resources.files(__package__).joinpath("types.json").read_text())
    return found


def type_of(resource: Resource) -> str:
    """The type of a resource's objects; empty for one that is no type of Kubernetes' own (mesh objects)."""
    name = _NAMES.get(resource.kind, f"V1{resource.kind}")
    return name if name in _table() else ""


def fields_of(name: str) -> Mapping[str, str] | None:
    """The fields of an object type; None for every other type."""
    return _table().get(name)


def item_of(name: str) -> str:
    """The type of a list's items; empty for what is no list."""
    found = _ITEM.fullmatch(name)
    return found[1] if found else ""


def value_of(name: str) -> str:
    """The type of a map's values; empty for what is no map."""
    found = _VALUE.fullmatch(name)
    return found[1] if found else ""


def go_name(name: str) -> str:
    """The type as Go's decoder names it: `[]v1.EnvVar`, `map[string]string`, `int32`."""
    if item := item_of(name):
        return f"[]{go_name(item)}"
    if value := value_of(name):
        return f"map[string]{go_name(value)}"
    return f"v1.{struct_name(name)}" if name in _table() else _GO.get(name, name)


def struct_name(name: str) -> str:
    """The object type without its version: `EnvVar`."""
    return name.partition("V1")[2]
