"""What the real server cannot decode, in its decoder's words: a field of another type, and a field that is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_egress.lab.api.resources import MESH_KINDS, Resource
from kubectl_egress.lab.api.status import undecodable, undecodable_patch
from kubectl_egress.lab.api.types import fields_of, go_name, item_of, struct_name, type_of, value_of

Body = Mapping[str, Any]
_SCALARS: Mapping[str, type | tuple[type, ...]] = {"str": str, "int": int, "bool": bool, "bytes": str}


def check_shape(body: Body, resource: Resource) -> None:
    """Raise StatusError (400) for a body with a field of a type that it cannot have; null fits everywhere."""
    for why in misfits(body, resource):
        raise undecodable(resource, why)


def misfits(body: Body, resource: Resource) -> Iterator[str]:
    """One sentence for each field of a type that it cannot have.

    Of mesh objects only the metadata and the spec as a whole: their schema is the embedded istiod's matter.
    """
    if name := type_of(resource):
        yield from _object(body, name, "")
    for field in ("metadata", "spec"):
        if not name and not isinstance(body.get(field, {}), dict):
            yield _sentence(body[field], f"{resource.kind}.{field}", f"v1.{field}")
    if not name and isinstance(body.get("metadata"), dict):
        yield from _object(body["metadata"], "V1ObjectMeta", "metadata")


def _object(body: Body, name: str, path: str) -> Iterator[str]:
    types = fields_of(name) or {}
    for field, value in body.items():
        if field in types and value is not None:
            inner = f"{path}.{field}" if path else field
            yield from _value(value, types[field], f"{struct_name(name)}.{inner}", inner)


def _value(value: Any, name: str, where: str, path: str) -> Iterator[str]:
    """`where`: as the decoder says it, with the struct that has the field; `path`: for what is inside."""
    item, inner = item_of(name), value_of(name)
    if item:
        if not isinstance(value, list):
            yield _sentence(value, where, go_name(name))
            return
        for one in value:
            yield from _value(one, item, where, path) if one is not None else ()
    elif inner:
        if not isinstance(value, dict):
            yield _sentence(value, where, go_name(name))
            return
        for one in value.values():
            yield from _value(one, inner, where, path) if one is not None else ()
    elif fields_of(name) is not None:
        if isinstance(value, dict):
            yield from _object(value, name, path)
        else:
            yield _sentence(value, where, go_name(name))
    elif (wanted := _SCALARS.get(name)) and (
        not isinstance(value, wanted) or (name == "int" and isinstance(value, bool))
    ):
        yield _sentence(value, where, go_name(name))


def _sentence(value: Any, where: str, wanted: str) -> str:
    found = {bool: "bool", int: "number", float: "number", list: "array", dict: "object", str: "string"}
    return f"json: cannot unmarshal {found.get(type(value), 'null')} into Go struct field {where} of type {wanted}"


# ---- fieldValidation ------------------------------------------------------------------------------------------------


def unknown_fields(body: Body, resource: Resource) -> list[str]:
    """The fields that objects of the resource do not have, in the order of the body: `spec.template.spec.hostAlias`.

    Of mesh objects none: what the embedded istiod does not model it refuses by itself.
    """
    if resource.kind in MESH_KINDS or not type_of(resource):
        return []
    return list(_unknown(body, type_of(resource), ""))


def _unknown(value: Any, name: str, path: str) -> Iterator[str]:
    types = fields_of(name)
    if isinstance(value, list) and (item := item_of(name)):
        for index, one in enumerate(value):
            yield from _unknown(one, item, f"{path}[{index}]")
    elif isinstance(value, dict) and types is not None:
        for field, inner in value.items():
            where = f"{path}.{field}" if path else field
            if field in types:
                yield from _unknown(inner, types[field], where)
            else:
                yield where


def without(body: Body, unknown: list[str], resource: Resource) -> dict[str, Any]:
    """The body without its unknown fields: what is stored where nobody asked for strictness."""
    return dict(_known(body, type_of(resource))) if unknown else dict(body)


def _known(value: Any, name: str) -> Any:
    types = fields_of(name)
    if isinstance(value, list) and (item := item_of(name)):
        return [_known(one, item) for one in value]
    if isinstance(value, dict) and types is not None:
        return {field: _known(inner, types[field]) for field, inner in value.items() if field in types}
    return value


def checked(body: Body, resource: Resource, *, strict: bool) -> dict[str, Any]:
    """What the server makes of a decoded body: without its unknown fields, or refused for them.

    Raises StatusError (400).
    """
    if strict and (why := strictly(body, resource)):
        raise undecodable(resource, why)
    return without(body, unknown_fields(body, resource), resource)


def strictly(body: Body, resource: Resource) -> str:
    """What strict decoding says against a body; empty for nothing."""
    unknown = ", ".join(f'unknown field "{path}"' for path in unknown_fields(body, resource))
    return f"strict decoding error: {unknown}" if unknown else ""


def refuse_patched(body: Body, resource: Resource, *, strict: bool) -> None:
    """Raise StatusError (422) for what a patch has made and the server cannot decode."""
    for why in [*misfits(body, resource), *filter(None, [strictly(body, resource) if strict else ""])]:
        raise undecodable_patch(body, why)
