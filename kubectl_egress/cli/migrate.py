"""`kubectl egress migrate`: plan, show, ask, apply, roll out, verify; undo if it fails."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from kubectl_egress.cli.calls import Calls
from kubectl_egress.cli.options import (
    Connection,
    FieldManager,
    Files,
    Namespace,
    Reading,
    Yes,
    output_option,
    said_again,
)
from kubectl_egress.cli.output import check_format, coloured, emit, emit_document, say, width
from kubectl_egress.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from kubectl_egress.model import Plan

OVERLAY = "kustomize"
FORMATS = ("json", "yaml", "plan", OVERLAY)
DRY_RUNS = ("none", "client", "server")
NOTHING_CALLED = "Nothing to do: no external host is called over https{}.\n"

Hosts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="HOST", help="httpbin.org, httpbin.org:8443 or *.example.com; or --all.", show_default=False
    ),
]
Timeout = Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long each wait may take (30s, 5m).")]
Window = Annotated[str, typer.Option("--window", metavar="TIME", help="How long to watch the proxies, at most.")]


@dataclass(frozen=True, slots=True)
class Choice(Reading):
    """Which callers, and how far to go."""

    namespace: Namespace = ""
    selector: Annotated[
        str,
        typer.Option(
            "-l",
            "--selector",
            metavar="QUERY",
            help="Only workloads that this label query matches.",
            show_default=False,
        ),
    ] = ""
    workload: Annotated[
        list[str] | None,
        typer.Option(
            "--workload",
            metavar="TARGET",
            help="Only this workload (deploy/curl); may be repeated.",
            show_default=False,
        ),
    ] = None
    every: Annotated[bool, typer.Option("--all", help="Every external host that can be migrated as things are.")] = (
        False
    )
    fail_open: Annotated[
        bool,
        typer.Option("--fail-open", help="Leave the host alias out. Without its sidecar, a pod then calls in clear."),
    ] = False
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore", metavar="CODE", help="Go on in spite of this finding; may be repeated.", show_default=False
        ),
    ] = None

    def again(self) -> str:
        """The flags that have another command choose the same, each with a blank before it."""
        given = {"--workload": self.workload or (), "-l": [self.selector], "--ignore": self.ignore or ()}
        return said_again(given, {"--fail-open": self.fail_open}) + Reading.again(self)


@dataclass(frozen=True, slots=True)
class Doing:
    """Whether and how to do it."""

    yes: Yes = False
    dry_run: Annotated[
        str, typer.Option("--dry-run", metavar="WHERE", help='Must be "none", "server", or "client".')
    ] = "none"
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Change nothing, and exit with 3 if something is left to migrate.")
    ] = False
    write: Annotated[bool, typer.Option("--write", help="With -f: edit the files, in place of printing a diff.")] = (
        False
    )
    window: Window = "15s"
    timeout: Timeout = "5m"
    field_manager: FieldManager = "kubectl-egress"


def migrate(
    choice: Choice,
    doing: Doing,
    calls: Calls,
    files: Files,
    connection: Connection,
    hosts: Hosts = None,
    output: Annotated[str, output_option(*FORMATS)] = "",
) -> int:
    """Have the sidecars originate TLS for a host, and rewrite its callers.

    Shows every change and asks before it makes any. Writes a DestinationRule, a ServiceEntry and a VirtualService; waits
    until every proxy originates TLS for the host; then rewrites URLs to http:// and adds a host alias, so that nothing
    can leave a pod in clear; rolls out, verifies, and undoes it all if that fails.

    \b
    Examples:
      kubectl egress migrate httpbin.org
      kubectl egress migrate httpbin.org --workload deploy/curl --dry-run=client
      kubectl egress migrate httpbin.org -o yaml
      kubectl egress migrate httpbin.org -f deploy/ -R --write
      kubectl egress migrate httpbin.org --include-secrets -o plan
      kubectl egress migrate httpbin.org --retries 2 --route-timeout 15s
    """
    check_format(output, FORMATS)
    check_dry_run(doing.dry_run)
    check_durations(timeout=doing.timeout, window=doing.window)
    check_hosts(hosts, choice.every, "migrate", "kubectl egress inspect shows which there are")
    check_ignored(frozenset(choice.ignore or ()))
    calls.check()
    if doing.dry_run == "server" and (calls.ca or calls.client_secret):
        raise UsageError(
            "--dry-run=server does not go with --ca and --client-secret",
            "their second patch is of what the first has made, which a dry run does not keep: --dry-run=client plans it",
        )
    if files.filename:
        from kubectl_egress.cli.migrate_files import migrate_files

        return migrate_files(hosts or [], choice, doing, calls, files, output)
    if output == OVERLAY:
        raise UsageError("-o kustomize goes with -f", "give the directory of the kustomization on which it is to build")
    if doing.write:
        raise UsageError("--write goes with -f", "without -f, the cluster is changed, after a question")
    from kubectl_egress.cli.migrate_cluster import migrate_cluster

    return migrate_cluster(hosts or [], choice, doing, calls, connection, output)


def check_dry_run(given: str) -> None:
    """UsageError, in kubectl's words, for a `--dry-run` that there is not."""
    if given not in DRY_RUNS:
        raise UsageError(
            f'Invalid dry-run value ({given}). Must be "none", "server", or "client".',
            "client plans without writing; server lets the API server check every write, and keeps none",
        )


def check_hosts(hosts: Sequence[str] | None, every: bool, verb: str, remedy: str) -> None:
    """UsageError unless either hosts are named or all are meant; and for what is no host outside the cluster."""
    from kubectl_egress.urls import parse_host

    if every and hosts:
        raise UsageError("hosts and --all do not go together", f"name the hosts to {verb}, or say --all")
    if not every and not hosts:
        raise UsageError(f"name the hosts to {verb}, or say --all", remedy)
    for host in hosts or ():
        parse_host(host)


def check_durations(**given: str) -> None:
    """UsageError, with the name of the flag, for what is no duration; before anything is asked of anybody."""
    from kubectl_egress.cluster.connection import parse_timeout

    for name, text in given.items():
        try:
            parse_timeout(text)
        except UsageError as error:
            raise UsageError(
                f'invalid argument "{text}" for "--{name}" flag',
                "use a number of seconds, or one with a unit: 1s, 2m, 3h",
            ) from error


def show_plan(plan: Plan, output: str) -> None:
    """The plan on stdout in the format that was asked for."""
    from kubectl_egress.report.plan import object_list, plan_document, plan_objects, plan_text

    if output == "plan":
        emit_document(plan_document(plan), "json")
    elif output == "json":
        emit_document(object_list(plan_objects(plan)), "json")
    elif output == "yaml":
        from kubectl_egress.manifests import dump

        emit(dump(plan_objects(plan)))
    else:
        emit(plan_text(plan, width(sys.stdout), coloured(sys.stdout)))


def refuse_secret_objects(plan: Plan, output: str) -> None:
    """UsageError where the objects, or an overlay, would show the values of a Secret; without it, the rest would not fit together."""
    secrets = [step.ref.name for step in plan.steps if step.ref is not None and step.ref.kind == "Secret"]
    if secrets and output in ("yaml", "json", OVERLAY):
        raise UsageError(
            f"-o {output} would print the values of Secret {secrets[0]}",
            "-o plan shows every step without them; or leave --include-secrets out, and that Secret stays as it is",
        )


def refuse_blocked(plan: Plan, ignored: frozenset[str], *, show: bool = False) -> None:
    """Raise RefusedError if a finding stops the migration; `show`: after the findings, on stdout, without the steps."""
    from kubectl_egress.model import Severity
    from kubectl_egress.report.plan import refusal_text

    stopping = [one for one in plan.findings if one.severity is Severity.BLOCK and one.code not in ignored]
    if not stopping:
        return
    if show:
        emit(refusal_text(plan, width(sys.stdout), coloured(sys.stdout)))
    codes = list(dict.fromkeys(one.code for one in stopping))
    stand = "stands" if len(codes) == 1 else "stand"
    say("\n")
    raise RefusedError(
        f"nothing was changed: {', '.join(codes)} {stand} in the way",
        f"do what is said beside →; kubectl egress explain {codes[0]} says more",
    )


def check_ignored(ignored: frozenset[str]) -> None:
    """UsageError for a code that does not exist or that may not be ignored."""
    from kubectl_egress import findings

    for code in sorted(ignored):
        if code not in findings.codes():
            near = difflib.get_close_matches(code, findings.codes(), n=1)
            remedy = f"did you mean {near[0]}?" if near else "kubectl egress explain lists them"
            raise UsageError(f"--ignore: there is no finding {code!r}", remedy)
        if not findings.ignorable(code):
            raise UsageError(
                f"--ignore: {code} cannot be ignored", f"kubectl egress explain {code} says why, and what to do"
            )
