"""`kubectl egress inspect`: what the workloads call, and how well the mesh sees it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from kubectl_egress.cli.options import Connection, Files, Reading, Selection, Targets, output_option
from kubectl_egress.cli.output import Slow, check_format, coloured, emit, emit_document, say, width
from kubectl_egress.cli.sources import (
    again,
    check_files_alone,
    check_forced,
    findings_with_lines,
    read_documents,
    refuse_blind,
    survey_cluster,
    survey_documents,
    surveys_of_cluster,
    with_addresses,
    with_lines,
)
from kubectl_egress.errors import UsageError

if TYPE_CHECKING:
    from kubectl_egress.cluster.survey import Asking
    from kubectl_egress.inspection import InspectReport
    from kubectl_egress.model import CallSite, Finding, Host, Survey
    from kubectl_egress.places import Forced, Place

MANY = 100
"""More sidecars than this in one namespace are not all asked unless told."""

FORMATS = ("json", "yaml", "name", "wide", "sarif", "github")

Live = Annotated[
    str,
    typer.Option(
        "--live",
        metavar="auto|off|sample=N",
        help="Which sidecars to ask: all (of more than 100 in a namespace, one for each workload), none, or N for each workload.",
    ),
]
FailOn = Annotated[
    str,
    typer.Option(
        "--fail-on",
        metavar="block|warn",
        help="Exit with 3 if there is a finding that stops a migration (block), or any that is worth a look (warn).",
        show_default=False,
    ),
]


def inspect(
    selection: Selection,
    files: Files,
    connection: Connection,
    reading: Reading,
    targets: Targets = None,
    live: Live = "auto",
    fail_on: FailOn = "",
    output: Annotated[str, output_option(*FORMATS)] = "",
) -> int:
    """Show what the workloads call, and how well the mesh sees it.

    Looks for URLs in env, command and args of Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs and CronJobs
    and in the ConfigMaps (with --include-secrets, the Secrets too) that they read, and asks each sidecar what it knows
    of those hosts. Changes nothing.

    \b
    Examples:
      kubectl egress inspect
      kubectl egress inspect deploy/curl -o wide
      kubectl egress inspect -A -o json
      kubectl egress inspect -f deploy/ -R --fail-on=block -o github
    """
    check_format(output, FORMATS)
    if fail_on not in ("", "block", "warn"):
        raise UsageError(f"invalid --fail-on value ({fail_on})", "it must be block or warn")
    in_files = bool(files.filename)
    asking = how_to_ask(live, in_files=in_files)
    streamed = selection.all_namespaces and not in_files
    if in_files:
        report = read_files(targets or (), selection, files, reading)
    elif streamed:
        report = read_namespaces(targets or (), selection, connection, asking, reading, rows_as_they_come(output))
    else:
        report = read_cluster(targets or (), selection, connection, asking, reading)
    where = again(selection, files, report.ready_namespace) + ("" if in_files else connection.again())
    where += " --include-secrets" if reading.include_secrets else ""
    show(report, output, where.strip(), rows_shown=streamed)
    return failed(report, fail_on) if fail_on else 0


def how_to_ask(live: str, *, in_files: bool = False) -> Asking | None:
    """What `--live` says; None: not at all. UsageError for what it cannot say. `on` is `auto`, as it was called first."""
    sample = re.fullmatch(r"sample=([1-9]\d*)", live)
    if live not in ("auto", "on", "off") and sample is None:
        raise UsageError(f"invalid --live value ({live})", "it must be auto, off, or sample=N with N of at least 1")
    if live == "off" or in_files:
        return None
    from kubectl_egress.cluster.survey import Asking

    return Asking(sample=int(sample[1]), overview=True) if sample else Asking(at_most=MANY, overview=True)


def about_hosts(asking: Asking | None, places: Sequence[Place], forced: Sequence[Forced]) -> Asking | None:
    """The sidecars asked about the hosts that the workloads call, and those outside that the mesh knows, alone."""
    from kubectl_egress import inspection

    def concerned(survey: Survey) -> Sequence[Host]:
        return inspection.concerned(survey, inspection.call_sites(survey, places, forced))

    return replace(asking, about=concerned) if asking else None


def read_cluster(
    targets: Sequence[str], selection: Selection, connection: Connection, asking: Asking | None, reading: Reading
) -> InspectReport:
    """What the cluster says of the targets."""
    from kubectl_egress import inspection

    places, forced = reading.places(), reading.forced()
    with Slow(sys.stderr, "reading workloads" + (" and asking their sidecars" if asking else "")):
        survey = survey_cluster(
            targets,
            selection,
            connection,
            about_hosts(asking, places, forced),
            places,
            with_secrets=reading.include_secrets,
        )
    refuse_blind(survey)
    sites = inspection.call_sites(survey, places, forced)
    check_forced(forced, sites)
    survey = with_addresses(survey, sites)
    return inspection.inspect(survey, sites, checked(survey, sites))


def read_namespaces(
    targets: Sequence[str],
    selection: Selection,
    connection: Connection,
    asking: Asking | None,
    reading: Reading,
    tell: Callable[[InspectReport], None],
) -> InspectReport:
    """What the cluster says of all namespaces; `tell` is told of each as soon as it has been read."""
    from kubectl_egress import inspection

    places, forced = reading.places(), reading.forced()
    reports: list[InspectReport] = []
    with Slow(sys.stderr, "reading") as progress:
        asking = about_hosts(asking, places, forced)
        for survey in surveys_of_cluster(
            targets, selection, connection, asking, places, with_secrets=reading.include_secrets
        ):
            refuse_blind(survey)
            sites = inspection.call_sites(survey, places, forced)
            survey = with_addresses(survey, sites)
            reports.append(inspection.inspect(survey, sites, checked(survey, sites)))
            progress.pause(lambda: tell(reports[-1]))
            progress.now(f"{len(reports)} namespaces, {sum(report.workloads for report in reports)} workloads")
    check_forced(forced, [site for report in reports for item in report.items for site in item.call_sites])
    return inspection.merged(reports)


def rows_as_they_come(output: str) -> Callable[[InspectReport], None]:
    """Prints the rows of a namespace; sorted within it, since what comes later is not known yet. Nothing for a document."""
    from kubectl_egress.report.inspect import InspectRows

    if output not in ("", "wide"):
        return lambda _: None
    rows = InspectRows(output == "wide", coloured(sys.stdout))
    return lambda report: emit(rows.more(report))


def read_files(targets: Sequence[str], selection: Selection, files: Files, reading: Reading) -> InspectReport:
    """What the files say; no cluster is asked."""
    from kubectl_egress import inspection

    check_files_alone(targets, selection)
    places, forced = reading.places(), reading.forced()
    texts, documents = read_documents(files)
    survey = survey_documents(documents, selection.namespace, places, with_secrets=reading.include_secrets)
    sites = with_lines(inspection.call_sites(survey, places, forced), documents, texts, selection.namespace)
    check_forced(forced, sites)
    found = findings_with_lines(checked(survey, sites), sites, documents, texts, selection.namespace)
    return inspection.inspect(survey, sites, found)


def checked(survey: Survey, sites: Sequence[CallSite]) -> tuple[Finding, ...]:
    """What stands in the way of hosts that are still called by https, and what is wrong with those that are not."""
    from kubectl_egress import findings, inspection

    ahead = {site.host for site in sites if site.url.encrypted}
    done = tuple(host for host in inspection.hosts(sites) if host not in ahead)
    found = [*findings.check(survey, sites, None), *findings.check(survey, sites, done, migrating=False)]
    return tuple(dict.fromkeys(found))


def show(report: InspectReport, output: str, again: str, *, rows_shown: bool = False) -> None:
    """The report on stdout; beside a table, what it comes to and what to type next on stderr.

    `rows_shown`: the table's rows were printed already.
    """
    from kubectl_egress.report.checks import github_commands, sarif_document
    from kubectl_egress.report.inspect import (
        inspect_document,
        inspect_names,
        inspect_rest,
        inspect_summary,
        inspect_table,
    )

    if output in ("json", "yaml"):
        emit_document(inspect_document(report), output)
    elif output == "name":
        emit(inspect_names(report))
    elif output == "sarif":
        emit_document(sarif_document(report.all_findings), "json")
    elif output == "github":
        emit(github_commands(report.all_findings))
    else:
        form = (output == "wide", width(sys.stdout), coloured(sys.stdout))
        rest = inspect_rest(report, *form)
        emit(("\n" if rest and report.items else "") + rest if rows_shown else inspect_table(report, *form))
        say(("\n" if report.items else "") + inspect_summary(report, again))


def failed(report: InspectReport, fail_on: str) -> int:
    """The exit status for `--fail-on`, and on stderr why it is not 0."""
    from kubectl_egress.model import Severity
    from kubectl_egress.report.checks import failing

    found = failing(report.all_findings, Severity(fail_on))
    if found:
        codes = ", ".join(dict.fromkeys(finding.code for finding in found))
        say(f"--fail-on={fail_on}: {codes}\n")
    return 3 if found else 0
