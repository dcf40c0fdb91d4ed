"""The difference of two objects as a JSON patch that refuses to overwrite what somebody else has changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_egress.model import Body, PatchOperation, Steps


def patch_between(before: Body, after: Body) -> tuple[PatchOperation, ...]:
    """The operations that turn `before` into `after`, each replaced or removed value tested first.

    A list that has become longer or shorter is replaced as a whole.
    """
    return tuple(_changes(before, after, ()))


def _changes(before: Any, after: Any, steps: Steps) -> Iterator[PatchOperation]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in before:
            if key not in after:
                yield PatchOperation("test", (*steps, key), before[key])
                yield PatchOperation("remove", (*steps, key))
        for key, value in after.items():
            if key in before:
                yield from _changes(before[key], value, (*steps, key))
            else:
                yield PatchOperation("add", (*steps, key), value)
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _changes(old, new, (*steps, index))
    else:
        yield PatchOperation("test", steps, before)
        yield PatchOperation("replace", steps, after)


def reverted(current: Body, before: Body, after: Body) -> tuple[Body, tuple[Steps, ...]]:
    """`current` with what changed from `before` to `after` put back, and the addresses that somebody else changed since.

    Three-way, by field: only what still is as `after` has it is put back; the rest of `current` stays.
    """
    conflicts: list[Steps] = []
    result = _reverted(current, before, after, (), conflicts)
    return result, tuple(conflicts)


_ABSENT = object()


def _reverted(current: Any, before: Any, after: Any, steps: Steps, conflicts: list[Steps]) -> Any:
    if before == after or current == before:
        return current
    if current == after:
        return before
    if (
        isinstance(current, Mapping)
        and isinstance(after, Mapping)
        and (isinstance(before, Mapping) or before is _ABSENT)
    ):
        result = dict(current)
        before = {} if (added := before is _ABSENT) else before
        for key in {**before, **after}:
            value = _reverted(
                current.get(key, _ABSENT),
                before.get(key, _ABSENT),
                after.get(key, _ABSENT),
                (*steps, key),
                conflicts,
            )
            if value is _ABSENT:
                result.pop(key, None)
            else:
                result[key] = value
        return _ABSENT if added and not result else result
    if _same_length(current, before, after):
        return [
            _reverted(now, old, new, (*steps, index), conflicts)
            for index, (now, old, new) in enumerate(zip(current, before, after, strict=True))
        ]
    conflicts.append(steps)
    return current


def _same_length(*values: Any) -> bool:
    return all(isinstance(value, list | tuple) for value in values) and len({len(value) for value in values}) == 1
