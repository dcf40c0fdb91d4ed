"""`migrate -f`: manifests → plan → diff, or the files themselves."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kubectl_egress import files as disk
from kubectl_egress import findings, inspection, manifests
from kubectl_egress.cli.authorities import certificates
from kubectl_egress.cli.calls import Calls
from kubectl_egress.cli.file_sets import FileSet, chart_advice, read_file_set
from kubectl_egress.cli.migrate import (
    NOTHING_CALLED,
    OVERLAY,
    Choice,
    Doing,
    refuse_blocked,
    refuse_secret_objects,
    show_plan,
)
from kubectl_egress.cli.near import by_name, check_called, secrets_unread
from kubectl_egress.cli.options import Files
from kubectl_egress.cli.output import coloured, emit, say
from kubectl_egress.cli.sources import check_forced, placed
from kubectl_egress.errors import EgressError, ManifestError, UsageError
from kubectl_egress.findings.ports import towards
from kubectl_egress.model import AS_BEFORE, CallSite, Guard, Host, Survey
from kubectl_egress.plan import FileChange, FilePlan, FileRequest, egress_files, is_overlay, overlay_files, plan_files
from kubectl_egress.report.colour import diff_coloured
from kubectl_egress.report.diff import text_diff
from kubectl_egress.report.findings import findings_text
from kubectl_egress.scan import is_identifier
from kubectl_egress.urls import find_urls, parse_host, shown


def migrate_files(hosts: Sequence[str], choice: Choice, doing: Doing, calls: Calls, files: Files, output: str) -> int:
    """Print what would change in the files, or change them with `--write`; the exit status."""
    _check_flags(hosts, choice, doing, calls, files)
    asked = tuple(dict.fromkeys(parse_host(host) for host in hosts))
    try:
        given = read_file_set(files, choice)
    except ManifestError as error:
        raise chart_advice(error, files, [str(host) for host in asked]) from error
    plans = _plans(given, asked, choice, calls, files)
    if not plans:
        more = secrets_unread(given.documents, with_secrets=given.with_secrets)
        say(NOTHING_CALLED.format(f", as far as can be seen without{more}" if more else ""))
        return 0
    for one in plans:
        refuse_secret_objects(one.plan, output)
    changes = _overlays(plans, given, choice) if output == OVERLAY else _together(plans)
    for one in plans:
        if output not in ("", OVERLAY):
            show_plan(one.plan, output)
        _say_what_is_left(one)
        refuse_blocked(one.plan, frozenset(choice.ignore or ()))
    _say_unread(plans, given.texts)
    if output in ("", OVERLAY):
        if doing.write:
            _refuse_generated(changes)
        _show_or_write(changes, doing.write)
    return 3 if doing.exit_code and changes else 0


def _check_flags(hosts: Sequence[str], choice: Choice, doing: Doing, calls: Calls, files: Files) -> None:
    if doing.write and "-" in files.filename:
        raise UsageError("--write has no file to write to: the manifests come from standard input", "name a file")
    if calls.alias and len(hosts) != 1:
        raise UsageError("--alias is one host's", "name the one host that NAME is to stand for")
    if calls.named:
        raise UsageError(
            "--mode named does not go with -f",
            "no manifest changes: kubectl egress migrate HOST --mode named -o yaml prints it",
        )
    if choice.workload or choice.selector:
        raise UsageError("--workload and -l do not go with -f", "give only the files that you mean")
    if doing.dry_run == "server":
        raise UsageError(
            "--dry-run=server does not go with -f", "no cluster is asked; without --write nothing is changed"
        )
    if doing.write and (doing.exit_code or doing.dry_run == "client"):
        raise UsageError(
            "--write does not go with --exit-code or --dry-run", "leave out --write: then nothing is changed"
        )


def _plans(given: FileSet, asked: Sequence[Host], choice: Choice, calls: Calls, files: Files) -> list[FilePlan]:
    """A plan for each namespace that calls the hosts; EgressError for a host that none calls, or that may not be touched."""
    namespaces = sorted({document.ref.namespace for document in given.documents})
    sites = [site for one in namespaces for site in given.read(one, choice.namespace)[1]]
    more = _earlier(asked, towards(sites, asked), given)
    if more:  # what `http://HOST` is, an entry says
        given = given.with_more(more)
        sites = [site for one in namespaces for site in given.read(one, choice.namespace)[1]]
    words = [word for name in files.filename for word in ("-f", name)] + (["-R"] if files.recursive else [])
    inspect = (
        f"kubectl egress inspect {shlex.join(words)}{secrets_unread(given.documents, with_secrets=given.with_secrets)}"
    )
    check_forced(choice.forced(), sites)
    called = {site.server for site in sites if not is_identifier(site)}
    check_called(asked, called, "nothing in these files", inspect, sites)
    plans = [_plan(one, given, by_name(asked, sites), choice, calls) for one in namespaces]
    found = [one for one in plans if one is not None]
    if not found and any(site.url.encrypted for site in sites):
        raise EgressError("there is no host that could be migrated", f"{inspect} shows what there is, and why")
    return found


def _plan(namespace: str, given: FileSet, asked: Sequence[Host], choice: Choice, calls: Calls) -> FilePlan | None:
    """The plan for one namespace of the manifests; None if nothing there calls the hosts."""
    survey, sites = given.read(namespace, choice.namespace)
    hosts = tuple(host for host in (asked or _ready(survey, sites)) if any(site.server == host for site in sites))
    if not hosts:
        return None
    more = _earlier(hosts, sites, given)
    if more:
        given = given.with_more(more)
        survey, sites = given.read(namespace, choice.namespace)
    sites = towards(sites, hosts)
    guard = Guard(tuple(calls.guard_cidr)) if calls.guard else None
    found = findings.check(survey, sites, hosts, fail_open=choice.fail_open, origination=calls.asked(), guard=guard)
    held = [placed(document, choice.namespace) for document in given.documents]
    request = FileRequest(
        hosts,
        choice.fail_open,
        calls.ipv6,
        calls.hold,
        replace(AS_BEFORE, **calls.origination()),
        given.kustomizations,
        guard,
        certificates(calls.ca_file),
    )
    return plan_files(given.texts, held, survey, sites, found, request)


def _ready(survey: Survey, sites: Sequence[CallSite]) -> tuple[Host, ...]:
    return inspection.inspect(survey, sites, findings.check(survey, sites, None)).ready_hosts


def _earlier(hosts: Sequence[Host], sites: Sequence[CallSite], given: FileSet) -> Mapping[str, str]:
    """What an earlier run has written beside the files, where it was not given with them."""
    known = {os.path.realpath(file) for file in given.texts}
    targets = (one for host in hosts for one in egress_files(host, sites, given.kustomizations))
    names = dict.fromkeys(one.file for one in targets)
    there = [name for name in names if os.path.exists(name) and os.path.realpath(name) not in known]
    return {one.file: one.text for one in disk.read(there, False, sys.stdin.buffer)} if there else {}


def _overlays(plans: Sequence[FilePlan], given: FileSet, choice: Choice) -> list[FileChange]:
    """Files of overlays in place of the plans' own; ManifestError for a directory that somebody else has filled."""
    documents = [placed(document, choice.namespace) for document in given.documents]
    made = [one for plan in plans for one in overlay_files(plan, documents, given.kustomizations, given.texts)]
    twice = sorted({one.file for one in made if sum(other.file == one.file for other in made) > 1})
    if twice:
        raise EgressError(f"{twice[0]} would be of two namespaces", "give -f and -n for one of them")
    present = [one.file for one in made if os.path.exists(one.file)]
    there = {one.file: one.text for one in disk.read(present, False, sys.stdin.buffer)}
    for file, text in there.items():
        if os.path.basename(file) in manifests.FILE_NAMES and not is_overlay(text):
            raise ManifestError(
                f"{file} is there already, and not an overlay of this tool", "move it away, and run this again"
            )
    return [replace(one, before=there.get(one.file)) for one in made if there.get(one.file) != one.after]


def _together(plans: Sequence[FilePlan]) -> list[FileChange]:
    """The changes of all namespaces; EgressError where two of them want to change one file."""
    changes = [change for one in plans for change in one.files]
    files = [change.file for change in changes]
    twice = sorted({file for file in files if files.count(file) > 1})
    if twice:
        raise EgressError(
            f"{twice[0]} holds objects of more than one namespace that call the host", "migrate them file by file"
        )
    return changes


def _say_what_is_left(one: FilePlan) -> None:
    for skip in one.plan.skipped:
        say(shown(f"{skip.site.file}:{skip.site.line}: left alone: {skip.reason}\n"))
    if one.plan.findings:
        say(findings_text(one.plan.findings, None))


def _say_unread(plans: Sequence[FilePlan], texts: Mapping[str, str]) -> None:
    """URLs of the hosts in places that are no workload's: inline patches, values of charts, objects of other kinds."""
    hosts = {host for one in plans for host in one.plan.hosts}
    changed = {change.file: change.after for one in plans for change in one.files}
    left = {(skip.site.file, skip.site.line) for one in plans for skip in one.plan.skipped}
    for file, text in {**texts, **changed}.items():
        hidden = manifests.secret_values_in(text).values()
        for url in find_urls(text) if not is_overlay(text) else ():
            start = text.rfind("\n", 0, url.start) + 1
            line = text.count("\n", 0, url.start) + 1
            if not (url.encrypted and url.host in hosts) or text[start : url.start].lstrip().startswith("#"):
                continue
            # what a plan leaves alone is said by it, a string's other lines too
            if not any(known == file and at <= line for known, at in left):
                secret = any(begin <= url.start < end for begin, end in hidden)
                say(f"{file}:{line}: left alone: {_IN_A_SECRET if secret else _IN_NOTHING}\n")


_IN_NOTHING = "it is in no pod template and no ConfigMap that one reads"
_IN_A_SECRET = "it is in a Secret; --include-secrets rewrites those that pod templates read"


def _refuse_generated(changes: Sequence[FileChange]) -> None:
    """ManifestError for a file that says that a program writes it: the next run of that would undo the change."""
    for change in changes:
        line, words = manifests.generated_by(change.before or "")
        if line:
            raise ManifestError(
                f"{change.file}:{line}: the file is generated ({words[:80]}); nothing was written",
                "make the change in what it is generated from; without --write, the diff shows which it is",
            )


def _show_or_write(changes: Sequence[FileChange], write: bool) -> None:
    if not changes:
        say("Nothing to do.\n")
    for change in changes:
        if write:
            disk.write(change.file, change.after)
            say(f"{change.file} {'written' if change.before is None else 'edited'}\n")
        else:
            before, after = manifests.secrets_hidden(change.before, change.after)
            emit(diff_coloured(text_diff(before, after, change.file), coloured(sys.stdout)))
