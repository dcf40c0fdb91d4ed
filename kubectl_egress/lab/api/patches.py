"""JSON patch (RFC 6902), JSON merge patch (RFC 7386), and strategic merge patch for the fields that the lab knows."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_egress.lab.api.status import StatusError, bad_request, patch_failed

Json = Any
"""A JSON value."""


_NUMBER = re.compile(r"[+-]?[0-9]+")


# ---- RFC 6902 -------------------------------------------------------------------------------------------------------


def json_patch(document: Json, operations: Json) -> Json:
    """The patched copy of `document`.

    Raises StatusError: 400 for what is no JSON patch, 422 for an operation that fails (`test` included).
    """
    if not isinstance(operations, list) or not all(isinstance(operation, dict) for operation in operations):
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    patched = copy.deepcopy(document)
    for operation in operations:
        patched = _apply(patched, operation)
    return patched


def _apply(document: Json, operation: Mapping[str, Json]) -> Json:
    name, path = operation.get("op"), _tokens(operation.get("path"))
    if name in ("add", "replace", "test") and "value" not in operation:
        # RFC 6902 wants `value`; the real server's library takes a missing one for null.
        operation = {**operation, "value": None}
    if name == "add":
        return _add(document, path, copy.deepcopy(operation["value"]))
    if name == "remove":
        return _remove(document, path)[0]
    if name == "replace":
        return _replaced(document, path, copy.deepcopy(operation["value"]))
    if name == "test":
        return _tested(document, path, operation["value"])
    if name in ("move", "copy"):
        return _transfer(document, path, _tokens(operation.get("from")), move=name == "move")
    raise patch_failed()


def _replaced(document: Json, path: list[str], value: Json) -> Json:
    """Of an absent member too: RFC 6902 wants it to be there, the real server's library does not."""
    if not path:
        return value
    parent = _lookup(document, path[:-1])
    if isinstance(parent, dict):
        parent[path[-1]] = value
        return document
    return _add(_remove(document, path)[0], path, value)


def _tested(document: Json, path: list[str], wanted: Json) -> Json:
    try:
        found = _lookup(document, path)
    except StatusError:
        # The real server's library: testing an absent member of what is there for null succeeds.
        if wanted is None and path and isinstance(_lookup(document, path[:-1]), dict):
            return document
        raise
    if not equal(found, wanted):
        raise patch_failed()
    return document


def _transfer(document: Json, path: list[str], source: list[str], *, move: bool) -> Json:
    if not move:
        return _add(document, path, copy.deepcopy(_lookup(document, source)))
    if path[: len(source)] == source and path != source:
        raise patch_failed()  # into itself
    document, value = _remove(document, source)
    return _add(document, path, value)


def equal(left: Json, right: Json) -> bool:
    """Whether two JSON values are the same: 1 is 1.0, but true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)


def _tokens(pointer: Json) -> list[str]:
    """The reference tokens of a JSON pointer (RFC 6901)."""
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise patch_failed()
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _index(values: Sequence[Json], token: str, *, end: bool) -> int:
    """The place in a list; `end`: the one behind the last counts as well.

    As the real server's library has it, not RFC 6902: `-1` is the last (with `end` the one behind it), `01` is 1, `+1` too.
    """
    if end and token == "-":
        return len(values)
    if not _NUMBER.fullmatch(token):
        raise patch_failed()
    index, size = int(token), len(values) + end
    if not -size <= index < size:
        raise patch_failed()
    return index if index >= 0 else index + size


def _lookup(document: Json, path: Sequence[str]) -> Json:
    for token in path:
        if isinstance(document, dict) and token in document:
            document = document[token]
        elif isinstance(document, list):
            document = document[_index(document, token, end=False)]
        else:
            raise patch_failed()
    return document


def _add(document: Json, path: Sequence[str], value: Json) -> Json:
    if not path:
        return value
    parent = _lookup(document, path[:-1])
    if isinstance(parent, dict):
        parent[path[-1]] = value
    elif isinstance(parent, list):
        parent.insert(_index(parent, path[-1], end=True), value)
    else:
        raise patch_failed()
    return document


def _remove(document: Json, path: Sequence[str]) -> tuple[Json, Json]:
    """The document without it, and what was taken out."""
    value = _lookup(document, path)
    if not path:
        return None, value
    parent = _lookup(document, path[:-1])
    del parent[_index(parent, path[-1], end=False) if isinstance(parent, list) else path[-1]]
    return document, value


# ---- RFC 7386 -------------------------------------------------------------------------------------------------------


def merge_patch(document: Json, patch: Json) -> Json:
    """The patched copy: null takes a member away, objects are merged, everything else is replaced."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(document) if isinstance(document, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return copy.deepcopy(result)


# ---- strategic merge ------------------------------------------------------------------------------------------------

MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "topologySpreadConstraints": ("topologyKey",),
    # a Service's ports are merged by `port`, a container's by `containerPort`.
    "ports": ("containerPort", "port"),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "secrets": ("name",),
}
"""`patchMergeKey` of the lists that are merged (k8s.io/api, core/v1 and apps/v1); every other list is replaced."""


def strategic_patch(document: Json, patch: Json) -> Json:
    """The patched copy, lists merged by their keys, with the directives `$patch`, `$retainKeys` and `$setElementOrder`.

    Raises StatusError (400) for a directive that is not understood.
    """
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    if patch.get("$patch") == "replace":
        return copy.deepcopy({key: value for key, value in patch.items() if key != "$patch"})
    result = dict(document) if isinstance(document, Mapping) else {}
    if retained := patch.get("$retainKeys"):
        result = {key: value for key, value in result.items() if key in retained}
    for key, value in patch.items():
        if key.startswith("$"):
            _directive(result, key, value)
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, list) and (names := MERGE_KEYS.get(key)) and _mergeable(value, names):
            result[key] = _merge_list(result.get(key) or [], value, names)
        else:
            result[key] = strategic_patch(result.get(key), value)
    return copy.deepcopy(result)


def _directive(result: dict[str, Json], key: str, value: Json) -> None:
    """Carry out `$deleteFromPrimitiveList/x`; the order of `$setElementOrder/x` is the patch's own and needs nothing."""
    if key.startswith("$deleteFromPrimitiveList/"):
        name = key.partition("/")[2]
        result[name] = [item for item in result.get(name) or [] if item not in value]
    elif not key.startswith("$setElementOrder/") and key != "$retainKeys":
        raise bad_request(f"unknown directive in a strategic merge patch: {key}={value}")


def _mergeable(values: list[Json], names: tuple[str, ...]) -> bool:
    return all(
        isinstance(value, dict) and ("$patch" in value or any(name in value for name in names)) for value in values
    )


def _identity(item: Json, names: tuple[str, ...]) -> Json:
    return next((item[name] for name in names if name in item), None)


def _merge_list(items: list[Json], changes: list[Json], names: tuple[str, ...]) -> list[Json]:
    if any(change.get("$patch") == "replace" for change in changes):
        return [change for change in changes if change.get("$patch") != "replace"]
    merged = list(items)
    for change in changes:
        wanted = _identity(change, names)
        place = next((at for at, item in enumerate(merged) if _identity(item, names) == wanted), None)
        if change.get("$patch") == "delete":
            merged = [item for item in merged if _identity(item, names) != wanted]
        elif place is None:
            merged.append(strategic_patch({}, change))
        else:
            merged[place] = strategic_patch(merged[place], change)
    return merged
