"""By hand: the loop that waits until no pod is left that calls a migrated host by `http://`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kubectl_egress import scan
from kubectl_egress.journal import Journal
from kubectl_egress.model import Body, Host, Plan, Ref

# What may not follow a host's name, or it would be another name or another port. An extended expression (`-E`): what BSD's
# and macOS's grep have of others knows no alternative.
BEHIND = r"([^-A-Za-z0-9_.:]|$)"
_SPECS = "jsonpath='{range .items[*]}{.spec}{\"\\n\"}{end}'"


@dataclass(frozen=True, slots=True)
class Command:
    """One step by hand."""

    why: str
    line: str
    """What to type; '' where a person has to look and decide."""


def old_pods(plan: Plan, journals: Sequence[Journal], templates: Mapping[Ref, Body], copies: Sequence[str]) -> Command:
    """A loop that no failure of kubectl ends: what comes next is safe only when no such pod is left.

    A pod calls `http://` by its own words, or by those of one of our `copies` of a ConfigMap or Secret; or it has a host's alias, by
    which also what no expression finds in it fails. Who said `http://` before it was migrated, or never was, is not waited
    for, as long as a label tells its pods from the others'; otherwise its host is looked for by the alias alone.
    """
    why = "wait until no pod that calls http:// is left, terminating ones too; before that, nothing may be deleted"
    called = [journal for journal in journals if journal.callers]
    apart, unsure = _apart(called, templates)
    aliases = [journal.alias for journal in called if journal.alias]
    known = [journal.host for journal in called if journal.host not in unsure]
    told = "".join(f"; {reason}, so look at its pods too" for reason in unsure.values())
    if any(not journal.alias and journal.host in unsure for journal in called):
        return Command(f"{why}{told}: kubectl get pods -n {plan.namespace} -o yaml", "")
    tests = [("pods", f"grep -qwF {grep_words(words)}") for words in (aliases, copies) if words]
    tests += [("others" if apart else "pods", f"grep -qiE {grep_words(map(_plain_url, known))}")] if known else []
    found = " || ".join(f"printf '%s\\n' \"${name}\" | {test}" for name, test in tests)
    running = "--field-selector=status.phase!=Succeeded,status.phase!=Failed"
    asked = f"kubectl get pods -n {plan.namespace} {running} -o {_SPECS}"
    read = f"pods=$({asked})"
    if apart:
        read += f" && others=$({asked} -l {shlex.quote(','.join(apart))})"
    return Command(f"{why}{told}", f"until {read} && ! {{ {found}; }}; do sleep 2; done")


def _apart(journals: Sequence[Journal], templates: Mapping[Ref, Body]) -> tuple[tuple[str, ...], dict[Host, str]]:
    """Label selectors that leave out the pods of who calls in clear by itself; and the hosts of which pods do not tell, and why."""
    selectors: set[str] = set()
    unsure: dict[Host, str] = {}
    for journal in journals:
        for ref in _themselves(journal, templates):
            selector = _selector(ref, journals, templates)
            selectors |= {selector} if selector else set()
            if not selector:
                unsure[journal.host] = f"{_name(ref)} has http://{journal.host.name} of its own"
    return tuple(sorted(selectors)), unsure


def _themselves(journal: Journal, templates: Mapping[Ref, Body]) -> Iterator[Ref]:
    callers = {caller.workload: caller for caller in journal.callers}
    yield from (ref for ref, caller in callers.items() if caller.plain)
    for ref, template in templates.items():
        if ref not in callers and scan.plain_urls(template, journal.host):
            yield ref


def _selector(ref: Ref, journals: Sequence[Journal], templates: Mapping[Ref, Body]) -> str:
    """`key!=value` of a label that none of the callers' pods have; '' where there is none."""
    callers = {caller.workload for journal in journals for caller in journal.callers}
    theirs = {pair for caller in callers for pair in _labels(templates.get(caller, {})).items()}
    own = sorted(set(_labels(templates.get(ref, {})).items()) - theirs) if ref not in callers else []
    return f"{own[0][0]}!={own[0][1]}" if own else ""


def _labels(template: Body) -> Mapping[str, str]:
    found: Mapping[str, str] = (template.get("metadata") or {}).get("labels") or {}
    return found


def _name(ref: Ref) -> str:
    return f"{ref.kind.lower()}/{ref.name}"


def _plain_url(host: Host) -> str:
    """`http://` or `ws://`, in JSON perhaps with escapes, with or without user info, also with port 80 or the server's."""
    name = f"[^/]*{escaped(host.name[1:])}" if host.wildcard else escaped(host.name)
    return rf"(http|ws):\\*/\\*/([^\"/?#@[:space:]]*@)*{name}\.?(:80|:{host.port})?{BEHIND}"


def escaped(name: str) -> str:
    """A host's or an object's name in an extended expression; GNU's grep warns of a backslash that is not needed."""
    return name.replace(".", r"\.")


def grep_words(patterns: Iterable[str]) -> str:
    """As options of grep or sed, for a shell."""
    return " ".join(f"-e {shlex.quote(pattern)}" for pattern in patterns)
