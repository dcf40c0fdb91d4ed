"""A command line as kubectl's parser (pflag) reads it, written for one that reads it otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

# What `--flag=VALUE` may say for a flag that is on or off (Go's strconv.ParseBool).
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
_DRY_RUNS = ("none", "client", "server")
BARE_DRY_RUN = "--dry-run=client"
"""What `--dry-run` without a value means."""

_SHORT_FLAG = re.compile(r"(-[A-Za-z])=(.*)", re.DOTALL)

Command = Any
"""A command of the parser's: `params`, each with `opts`, `secondary_opts`, `is_flag` and `multiple`."""


def flags_of(commands: Iterable[Command]) -> dict[str, Any]:
    """The flags of the commands by each of their names: `-n` and `--namespace`."""
    return {name: flag for command in commands for flag in command.params for name in names_of(flag) if name[0] == "-"}


def names_of(flag: Any) -> Sequence[str]:
    """Every name of a flag, `--no-verify` beside `--verify`."""
    return [*flag.opts, *flag.secondary_opts]


def takes_value(flag: Any) -> bool:
    """Whether it is more than on or off."""
    return not flag.is_flag


def in_order(words: Sequence[str], commands: Mapping[str, Command]) -> list[str]:
    """The words with the command first and every flag spelled as the parser wants it.

    pflag takes flags before the command, `-o=json`, `--yes=false`, and a `--dry-run` without a value (client, and
    deprecated, as kubectl has it). `help COMMAND` is `COMMAND --help`.
    """
    if words[:1] == ["help"]:
        return [*words[1:2], "--help"]
    every = flags_of(commands.values())
    first = next(_positions(words, every), None)
    if first is None or words[first] not in commands:
        return list(words)
    command = commands[words[first]]
    rest = [*words[:first], *words[first + 1 :]]
    return [words[first], *_spelled(rest, {"--help": None, "-h": None, **flags_of([command])})]


def _positions(words: Sequence[str], flags: Mapping[str, Any]) -> Iterator[int]:
    """Where words stand that are neither flags nor a flag's value."""
    skip = False
    for index, word in enumerate(words):
        if word == "--":
            return
        if skip:
            skip = False
        elif word.startswith("-") and word != "-":
            flag = flags.get(word)
            skip = flag is not None and takes_value(flag) and word != "--dry-run"
        else:
            yield index


def _spelled(words: Sequence[str], flags: Mapping[str, Any]) -> Iterator[str]:
    value = False
    for index, word in enumerate(words):
        if word == "--":
            yield from words[index:]
            return
        if value:
            value = False
            yield word
            continue
        name, equals, text = word.partition("=")
        flag = flags.get(name)
        short = _SHORT_FLAG.fullmatch(word)
        if word == "--dry-run" and flag is not None and [*words[index + 1 : index + 2], ""][0] not in _DRY_RUNS:
            yield BARE_DRY_RUN
        elif equals and flag is not None and flag.is_flag and text in _TRUE | _FALSE:
            # What is not the default is said by the flag, or by its opposite where it has one.
            yield from [name] if text in _TRUE else flag.secondary_opts[:1]
        elif short and short[1] in flags:
            yield from short.groups()
        else:
            value = flag is not None and takes_value(flag) and not equals
            yield word
