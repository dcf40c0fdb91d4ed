"""What the last word of a command line is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubectl_egress.cli.words import Command, flags_of, takes_value


@dataclass(frozen=True, slots=True)
class Place:
    """A word that is being typed, and what stands before it."""

    typed: str
    """The part of it that a completion begins with: for `--output=js` it is `js`."""
    command: Command | None = None
    parameter: Any | None = None
    """The flag whose value it is, or the command's argument; None for a command or a flag."""
    flags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The values of the flags that are given, by parameter."""
    arguments: Sequence[str] = ()

    @property
    def is_flag(self) -> bool:
        """Whether it is a flag's name."""
        return self.parameter is None and self.typed.startswith("-")

    def flag(self, name: str) -> str:
        """The last value of a flag; empty if it is not given."""
        return [*self.flags.get(name, ()), ""][-1] if name not in self.flags else self.flags[name][-1]


def place_of(words: Sequence[str], commands: Mapping[str, Command]) -> Place:
    """Read the words, the last of which is being typed and may be empty."""
    command: Command | None = None
    flags: dict[str, list[str]] = {}
    arguments: list[str] = []
    pending: Any | None = None
    for word in words[:-1]:
        known = flags_of(commands.values() if command is None else [command])
        if pending is not None:
            flags.setdefault(pending.name, []).append(word)
            pending = None
            continue
        name, equals, text = _split(word)
        flag = known.get(name)
        if flag is not None:
            if takes_value(flag) and not equals and word != "--dry-run":
                pending = flag
            else:
                flags.setdefault(flag.name, []).append(text)
        elif not word.startswith("-"):
            if command is None:
                command = commands.get(word)
                if command is None:
                    return Place(words[-1], None, None, flags, (word,))
            else:
                arguments.append(word)
    return _last(words[-1], command, commands, pending, flags, arguments)


def _last(
    word: str,
    command: Command | None,
    commands: Mapping[str, Command],
    pending: Any | None,
    flags: Mapping[str, Sequence[str]],
    arguments: Sequence[str],
) -> Place:
    if pending is not None:
        return Place(word, command, pending, flags, arguments)
    name, equals, text = _split(word)
    flag = flags_of(commands.values() if command is None else [command]).get(name)
    if equals and flag is not None and takes_value(flag):
        return Place(text, command, flag, flags, arguments)
    if command is None or word.startswith("-"):
        return Place(word, command, None, flags, arguments)
    own = [one for one in command.params if not one.opts[0].startswith("-")]
    # The last argument may take any number of words.
    argument = own[min(len(arguments), len(own) - 1)] if own else None
    if argument is not None and argument.nargs == 1 and len(arguments) >= len(own):
        argument = None
    return Place(word, command, argument, flags, arguments)


def _split(word: str) -> tuple[str, str, str]:
    """A flag with its value (`--output=json`, `-ojson`, `-o=json`) as name, equals sign or empty, and value."""
    if word.startswith("--"):
        return word.partition("=")
    if len(word) > 2 and word.startswith("-"):
        return word[:2], "=", word[2:].removeprefix("=")
    return word, "", ""
