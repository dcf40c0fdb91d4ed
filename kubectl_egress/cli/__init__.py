"""The command line: options → stages → report → exit status; the only importer of typer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from kubectl_egress.cli import dashboard, demo, explain, graph, inspect, list, migrate, report, undo, verify, version
from kubectl_egress.cli.command import command
from kubectl_egress.cli.completing.scripts import completion
from kubectl_egress.cli.ending import ended
from kubectl_egress.cli.output import say
from kubectl_egress.cli.words import BARE_DRY_RUN, in_order

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
    completion,
    version.version,
)

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


# click's, which typer takes from there or carries with it; its public subclass leads to it.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. `arguments` without the program's name, by default those of the process."""
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    if given[:1] == ["__complete"]:
        from kubectl_egress.cli import completing

        return completing.main(given[1:])
    group: Any = typer.main.get_command(app)
    words = in_order(given, group.commands) or ["--help"]
    if words.count(BARE_DRY_RUN) > given.count(BARE_DRY_RUN):
        say("warning: --dry-run is deprecated and can be replaced with --dry-run=client.\n")
    try:
        status = group.main(args=words, prog_name=_program(), standalone_mode=False)
    except _UsageError as error:
        refusal = error  # Python unbinds the name of an exception at the end of its block
        return ended(lambda: _refuse(refusal, group.commands))
    return status if isinstance(status, int) else 0


def _refuse(error: Exception, commands: Sequence[str]) -> int:
    from kubectl_egress.cli.usage import refused

    raise refused(error, _program(), commands)


def _program() -> str:
    """`kubectl egress` where kubectl started us, or would find us (Krew's best practices)."""
    name = os.path.basename(sys.argv[0] or "")
    return "python -m kubectl_egress" if name == "__main__.py" else "kubectl egress"
