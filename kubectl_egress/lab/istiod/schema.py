"""What the resource definitions refuse before any webhook is asked: types, enumerations, required fields, rules of theirs.

Read off kube-apiserver 1.36 with the definitions of Istio 1.31; older ones leave some of it to the webhook.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubectl_egress.lab.istiod.shapes import SHAPES, Shape
from kubectl_egress.lab.parts import Body, SchemaCause

# What follows every error of the structure: the rules are not looked at then.
UNCHECKED = SchemaCause(
    "<nil>",
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)
LARGEST_PORT = 65535
_DURATION = re.compile(
    r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))*"
)
# Below a kind's spec, `*` for every item of a list.
_ENUMERATIONS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "ServiceEntry": {
        "resolution": ("NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"),
        "location": ("MESH_EXTERNAL", "MESH_INTERNAL"),
    },
    "DestinationRule": {
        f"{path}tls.mode": ("DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL")
        for policy in ("trafficPolicy.", "subsets.*.trafficPolicy.")
        for path in (policy, f"{policy}portLevelSettings.*.")
    },
    "Sidecar": {"outboundTrafficPolicy.mode": ("REGISTRY_ONLY", "ALLOW_ANY")},
}
_REQUIRED: Mapping[str, Sequence[str]] = {
    "ServiceEntry": ("hosts", "ports.*.name", "ports.*.number"),
    "DestinationRule": ("host", "subsets.*.name"),
    "VirtualService": (
        "http.*.route.*.destination.host",
        "tls.*.match",
        "tls.*.match.*.sniHosts",
        "tls.*.route.*.destination.host",
    ),
    "Sidecar": (),
}
_DURATIONS: Mapping[str, Sequence[str]] = {
    "ServiceEntry": (),
    "DestinationRule": (
        "trafficPolicy.connectionPool.tcp.connectTimeout",
        "subsets.*.trafficPolicy.connectionPool.tcp.connectTimeout",
    ),
    "VirtualService": ("http.*.timeout",),
    "Sidecar": (),
}


def causes(body: Body) -> list[SchemaCause]:
    """Everything that is wrong with a mesh object by its definition."""
    kind, spec = body["kind"], body.get("spec", {})
    structural = [*_types(spec, SHAPES[kind], "spec")]
    if not structural:
        structural = [*_required(kind, spec), *_enumerations(kind, spec)]
    if structural:
        return [*structural, UNCHECKED]
    return [*_durations(kind, spec), *(_entry(spec) if kind == "ServiceEntry" else ())]


def _types(value: Any, shape: Shape, path: str) -> Iterator[SchemaCause]:
    found, wanted = _word(value), _wanted(shape)
    if found != wanted:
        shown = json.dumps(found)
        why = f"Invalid value: {shown}: {path} in body must be of type {wanted}: {shown}"
        yield SchemaCause(path, "FieldValueTypeInvalid", why)
    elif isinstance(shape, list):
        for index, item in enumerate(value):
            yield from _types(item, shape[0], f"{path}[{index}]")
    elif isinstance(shape, Mapping):
        for name, inner in value.items():
            if name in shape or "*" in shape:
                yield from _types(inner, shape.get(name, shape.get("*", str)), f"{path}.{name}")


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    words = {type(None): "null", str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return words[type(value)]


def _wanted(shape: Shape) -> str:
    if isinstance(shape, type):
        return {str: "string", int: "integer", bool: "boolean"}[shape]
    return "array" if isinstance(shape, list) else "object"


def _at(value: Any, steps: Sequence[str], path: str) -> Iterator[tuple[str, Any, str]]:
    """Each place of a path: where it is, the object that has or lacks the field, the field."""
    first, *rest = steps
    if first == "*":
        for index, item in enumerate(value or ()):
            yield from _at(item, rest, f"{path}[{index}]")
    elif not rest:
        yield f"{path}.{first}", value, first
    elif isinstance(value, Mapping) and first in value:
        yield from _at(value[first], rest, f"{path}.{first}")


def _places(spec: Body, path: str) -> Iterator[tuple[str, Any, str]]:
    return _at(spec, path.split("."), "spec")


def _required(kind: str, spec: Body) -> Iterator[SchemaCause]:
    for path in _REQUIRED[kind]:
        for where, holder, field in _places(spec, path):
            if field not in holder:
                yield SchemaCause(where, "FieldValueRequired", "Required value")


def _enumerations(kind: str, spec: Body) -> Iterator[SchemaCause]:
    for path, values in _ENUMERATIONS.get(kind, {}).items():
        for where, holder, field in _places(spec, path):
            if holder.get(field, values[0]) not in values:
                supported = ", ".join(f'"{value}"' for value in values)
                why = f"Unsupported value: {json.dumps(holder[field])}: supported values: {supported}"
                yield SchemaCause(where, "FieldValueNotSupported", why)


def _durations(kind: str, spec: Body) -> Iterator[SchemaCause]:
    for path in _DURATIONS[kind]:
        for where, holder, field in _places(spec, path):
            if field in holder and not _DURATION.fullmatch(holder[field]):
                why = (
                    "Invalid value: \"string\": type conversion error from 'string' to 'google.protobuf.Duration' "
                    "evaluating rule: must be a valid duration greater than 1ms"
                )
                yield SchemaCause(where, "FieldValueInvalid", why)


def _entry(spec: Body) -> Iterator[SchemaCause]:
    """The rules of a ServiceEntry."""
    if not spec["hosts"]:
        why = "Invalid value: 0: spec.hosts in body should have at least 1 items"
        yield SchemaCause("spec.hosts", "FieldValueInvalid", why)
    for index, host in enumerate(spec["hosts"]):
        if host == "*":
            yield SchemaCause(
                f"spec.hosts[{index}]", "FieldValueInvalid", 'Invalid value: "*": hostname cannot be wildcard'
            )
    ports = spec.get("ports") or ()
    names = [port["name"] for port in ports]
    for index, name in enumerate(names):
        if name in names[:index]:
            shown = json.dumps({"name": name}, separators=(",", ":"))
            yield SchemaCause(f"spec.ports[{index}]", "FieldValueDuplicate", f"Duplicate value: {shown}")
    for index, port in enumerate(ports):
        for field in ("number", "targetPort"):
            if not 1 <= port.get(field, 1) <= LARGEST_PORT:
                why = f"Invalid value: {port[field]}: port must be between 1-{LARGEST_PORT}"
                yield SchemaCause(f"spec.ports[{index}].{field}", "FieldValueInvalid", why)
    if len({port["number"] for port in ports}) < len(ports):
        yield SchemaCause("spec.ports", "FieldValueInvalid", "Invalid value: port number cannot be duplicated")
    if spec.get("resolution", "NONE") == "NONE" and spec.get("endpoints"):
        yield SchemaCause("spec", "FieldValueInvalid", "Invalid value: NONE mode cannot set endpoints")
