"""The command line: options → stages → report → exit status; the only importer of typer."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence

import typer

from kubectl_egress.cli import dashboard, demo, explain, graph, inspect, list, migrate, report, undo, verify, version
from kubectl_egress.cli.command import command

# One line for each command, in the order in which the help shows them.
COMMANDS = (
    inspect.inspect,
    migrate.migrate,
    verify.verify,
    undo.undo,
    list.list,
    graph.graph,
    report.report,
    dashboard.dashboard,
    explain.explain,
    demo.demo,
    version.version,
)

# pflag, which kubectl has its flags from, takes `-o=json`; Python's parsers take the `=` for a part of the value.
_SHORT_FLAG = re.compile(r"(-[A-Za-z])=(.*)", re.DOTALL)

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _summary(function: Callable[..., int]) -> str:
    """The first line of its docstring, as kubectl has it: without a full stop."""
    return (function.__doc__ or "").split("\n", 1)[0].rstrip(".")


app = typer.Typer(
    name="kubectl egress",
    help="TLS origination for external HTTPS calls under Istio: find, migrate, prove, undo.",
    add_completion=False,
    rich_markup_mode=None,  # rich takes as long to import as all the rest
    pretty_exceptions_enable=False,  # its tracebacks show locals, which hold other people's values
    context_settings=SETTINGS,
)
for _function in COMMANDS:
    app.command(context_settings=SETTINGS, short_help=_summary(_function), options_metavar="[options]")(
        command(_function)
    )


@app.callback()
def _group() -> None:
    """Keep the name of the command on the command line even if there is only one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. `arguments` without the program's name, by default those of the process."""
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    try:
        app([*_separated(given)] or ["--help"], prog_name=_program())
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def _separated(arguments: Sequence[str]) -> Iterator[str]:
    """`-o=json` as `-o json`, up to a `--`."""
    for index, argument in enumerate(arguments):
        if argument == "--":
            yield from arguments[index:]
            return
        flag = _SHORT_FLAG.fullmatch(argument)
        yield from flag.groups() if flag else (argument,)


def _program() -> str:
    """`kubectl egress` where kubectl started us, or would find us (Krew's best practices)."""
    name = os.path.basename(sys.argv[0] or "")
    return "python -m kubectl_egress" if name == "__main__.py" else "kubectl egress"
