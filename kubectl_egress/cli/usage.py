"""What the parser refuses, in kubectl's words: one line what, one line remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from kubectl_egress.errors import UsageError


def refused(error: Any, program: str, commands: Iterable[str]) -> UsageError:
    """The parser's error as ours; `error` is of click's UsageError, whose subclasses say what is wrong."""
    kind = type(error).__name__
    context = error.ctx
    path = context.command_path if context is not None else program
    see = f"see '{path} --help' for usage"
    if kind == "NoSuchOption":
        what, near = (
            f"unknown flag: {error.option_name}",
            difflib.get_close_matches(error.option_name, error.possibilities or (), n=1),
        )
    elif kind == "NoSuchCommand" or "No such command" in error.message:
        name = error.message.split("'")[1]
        what, near = (
            f'unknown command "{name}" for "{program}"',
            difflib.get_close_matches(name, list(commands), cutoff=0.7),
        )
    elif kind == "BadOptionUsage" and "requires an argument" in error.message:
        what, near = f"flag needs an argument: {error.option_name}", []
    else:
        what, near = _line(error.format_message()), []
    return UsageError(what, f"did you mean {' or '.join(near[:3])}? {see}" if near else see)


def _line(text: str) -> str:
    """One line, as kubectl begins them, without the full stop at its end."""
    joined = " ".join(text.split()).rstrip(".")
    return joined[:1].lower() + joined[1:]
