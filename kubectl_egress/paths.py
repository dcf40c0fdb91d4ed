"""Addresses in an object: shown as kubectl's JSONPath, patched as a JSON pointer, followed, and changed by copy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubectl_egress.model import Body, Steps

# What ends a field in kubectl's dialect (client-go util/jsonpath/parser.go, isTerminator), or begins an escape.
_TERMINATOR = re.compile(r"[\s.,\[\]$@{}\\]")


def kubectl_path(steps: Steps) -> str:
    r"""What `kubectl get -o jsonpath='{…}'` accepts: `.spec.containers[0].env[1].value`, `.data.app\.properties`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{_field(step)}" for step in steps)


def _field(key: str) -> str:
    return "\\*" if key == "*" else _TERMINATOR.sub(lambda match: "\\" + match[0], key)


def json_pointer(steps: Steps) -> str:
    """The same address as RFC 6901 has it: `/data/app.properties`, `/metadata/labels/a~1b`."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def get(body: Any, steps: Steps) -> Any:
    """What stands at the address. KeyError if nothing does."""
    value = body
    for number, step in enumerate(steps):
        if not _has(value, step):
            raise KeyError(kubectl_path(steps[: number + 1]))
        value = value[step]
    return value


def _has(value: Any, step: str | int) -> bool:
    if isinstance(step, int):
        return isinstance(value, Sequence) and not isinstance(value, str) and 0 <= step < len(value)
    return isinstance(value, Mapping) and step in value


def replaced(body: Body, steps: Steps, value: Any) -> Body:
    """A copy with `value` at the address; what is not on the way there is shared with the original.

    The last step may be a new key, or the index behind a list's end. KeyError if the way there does not exist.
    """
    return _replaced(body, steps, value, 0)  # type: ignore[no-any-return]


def _replaced(old: Any, steps: Steps, value: Any, depth: int) -> Any:
    if depth == len(steps):
        return value
    step = steps[depth]
    last = depth == len(steps) - 1
    if isinstance(step, int) and last and isinstance(old, list | tuple) and step == len(old):
        return [*old, value]
    if not _has(old, step) and not (last and isinstance(step, str) and isinstance(old, Mapping)):
        raise KeyError(kubectl_path(steps[: depth + 1]))
    if isinstance(step, int):
        return [*old[:step], _replaced(old[step], steps, value, depth + 1), *old[step + 1 :]]
    return {**old, step: _replaced(old.get(step), steps, value, depth + 1)}


def walk_strings(value: Any, prefix: Steps = ()) -> Iterator[tuple[Steps, str]]:
    """Every string in a value with its address, in the order of the text; keys are not strings of it."""
    stack: list[tuple[Steps, Any]] = [(prefix, value)]
    while stack:
        steps, current = stack.pop()
        if isinstance(current, str):
            yield steps, current
        elif isinstance(current, Mapping):
            stack += [((*steps, key), inner) for key, inner in reversed(list(current.items()))]
        elif isinstance(current, Sequence):
            stack += [((*steps, number), inner) for number, inner in reversed(list(enumerate(current)))]
