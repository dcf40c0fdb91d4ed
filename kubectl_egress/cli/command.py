"""A function as a command: option groups spread out for typer, and one way to end."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

import typer

from kubectl_egress.cli.ending import ended


def command(function: Callable[..., int]) -> Callable[..., None]:
    """What typer registers for `function`, which returns its exit status.

    A parameter whose type is a dataclass (see `options`) stands for all of its fields, each an option of its own, so
    that a command names the groups of flags that it takes and not twenty flags.
    """
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    hints = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if is_dataclass(hint) and isinstance(hint, type):
            groups[parameter.name] = hint
            parameters += _options(hint)
        else:
            parameters.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))

    def run(**given: Any) -> None:
        raise typer.Exit(ended(lambda: function(**_grouped(given, groups))))

    run.__name__ = function.__name__
    run.__doc__ = inspect.getdoc(function)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    # typer asks inspect, which believes this attribute.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


@cache  # most commands have the same groups, and to resolve the annotations of one takes milliseconds
def _options(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=hints[field.name]
        )
        for field in fields(group)
    ]


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _grouped(given: Mapping[str, Any], groups: Mapping[str, type]) -> dict[str, Any]:
    arguments = dict(given)
    for name, group in groups.items():
        arguments[name] = group(**{field.name: arguments.pop(field.name) for field in fields(group)})
    return arguments
