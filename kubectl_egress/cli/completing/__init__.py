"""Completions, as kubectl asks a plugin for them: `kubectl_complete-egress WORD…`, the last of which is being typed.

Source: kubectl's pkg/cmd/plugin/plugin_completion.go; one candidate on a line, its description after a tab, and at the
end the directive of cobra's that says what the shell does besides.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

from kubectl_egress.cli.completing.sources import values
from kubectl_egress.cli.completing.words import Place, place_of
from kubectl_egress.cli.words import Command, names_of
from kubectl_egress.errors import EgressError

# Of cobra's ShellCompDirective.
ANY_FILE, NO_FILE = 0, 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the candidates for the last word; nothing but the directive where there are none, or nobody can say."""
    import typer

    from kubectl_egress.cli import app

    given = list(sys.argv[1:] if arguments is None else arguments) or [""]
    commands = getattr(typer.main.get_command(app), "commands", {})
    sys.stdout.write(completed(given, {name: one for name, one in commands.items() if not one.hidden}))
    return 0


def completed(words: Sequence[str], commands: Mapping[str, Command]) -> str:
    """What `main` prints for these words."""
    place = place_of(words, commands)
    try:
        found = candidates(place, commands)
    except EgressError:  # no cluster, no kubeconfig, no permission: nobody asked for an explanation
        found = ()
    lines = [_line(value, text) for value, text in found or () if value.startswith(place.typed)]
    return "".join(f"{one}\n" for one in [*dict.fromkeys(lines), f":{ANY_FILE if found is None else NO_FILE}"])


def candidates(place: Place, commands: Mapping[str, Command]) -> Iterable[tuple[str, str]] | None:
    """What may stand at the place, each with what it is; None where it is a file."""
    if place.parameter is not None:
        return values(place)
    if place.is_flag:
        return _flags(place, commands)
    if place.command is None and not place.arguments:
        return [(name, command.short_help or "") for name, command in commands.items()]
    return ()


def _flags(place: Place, commands: Mapping[str, Command]) -> Iterable[tuple[str, str]]:
    """The long names of the flags that can still be given; short ones are quicker typed than completed."""
    for command in [place.command] if place.command is not None else commands.values():
        for flag in command.params:
            if flag.name in place.flags and not flag.multiple:
                continue
            for name in names_of(flag):
                if name.startswith("--"):
                    yield name, flag.help or ""
    yield "--help", "Show this message and exit."


def _line(value: str, text: str) -> str:
    first = " ".join(text.split()).split(". ")[0].rstrip(".")
    return f"{value}\t{first}" if first else value
