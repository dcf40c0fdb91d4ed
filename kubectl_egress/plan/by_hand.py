"""The way back without the tool: the plan of an undo as kubectl commands, in the safe order, without a value that may be secret."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubectl_egress import kinds, paths, urls
from kubectl_egress.journal import CallerRecord, Journal, is_journal
from kubectl_egress.model import SOURCE_KINDS, Action, Body, Host, PatchOperation, Plan, Ref, Step, Steps, Wait
from kubectl_egress.plan.by_hand_waiting import BEHIND, Command, escaped, grep_words, old_pods
from kubectl_egress.plan.patches import patch_between


def by_hand(
    plan: Plan,
    journals: Sequence[Journal],
    revisions: Mapping[Ref, Sequence[tuple[int, Body]]],
    templates: Mapping[Ref, Body],
) -> tuple[Command, ...]:
    """The steps of an undo as commands for a shell with kubectl and sed.

    `revisions`: by workload, the pod templates that the cluster still keeps, by number; with one that is what the undo
    would write, `kubectl rollout undo` goes back to it. `templates`: the pod templates of all workloads of the namespace.
    """
    return tuple(_commands(plan, journals, revisions, templates))


def _commands(
    plan: Plan,
    journals: Sequence[Journal],
    revisions: Mapping[Ref, Sequence[tuple[int, Body]]],
    templates: Mapping[Ref, Body],
) -> Iterator[Command]:
    for step in plan.steps:
        if is_journal(step.after):
            continue  # its phase matters to the tool alone
        if step.action is Action.WAIT and step.wait is Wait.NO_OLD_PODS:
            yield old_pods(plan, journals, templates, [step.ref.name for step in _dropped_copies(plan) if step.ref])
        elif step.action is Action.WAIT and step.wait is Wait.PAST:
            yield Command("give every proxy the time to hear of it", "sleep 10")
        elif step.action is Action.WAIT and step.ref is not None:
            yield _rolled_out(step.ref)
        elif step.action is Action.CREATE and step.ref is not None:
            yield _copy(step, plan, [journal.host for journal in journals])
        elif step.action is Action.DELETE and step.ref is not None:
            yield Command(step.title, f"kubectl delete {_object(step.ref)}")
        elif step.action is Action.UPDATE and step.ref is not None:
            yield Command(step.title, _patch(step.ref, step.patch))
        elif step.ref is not None:
            yield from _workload(step, journals, revisions.get(step.ref, ()))


def _object(ref: Ref) -> str:
    group = ref.api_version.rpartition("/")[0]
    kind = f"{ref.kind.lower()}.{group}" if group else ref.kind.lower()
    return f"{kind}/{ref.name} -n {ref.namespace}"


def _patch(ref: Ref, operations: Sequence[PatchOperation]) -> str:
    told = [
        {"op": one.op, "path": paths.json_pointer(one.steps)} | ({} if one.op == "remove" else {"value": one.value})
        for one in operations
    ]
    return f"kubectl patch {_object(ref)} --type=json -p {shlex.quote(json.dumps(told, separators=(',', ':')))}"


def _rolled_out(ref: Ref) -> Command:
    return Command("wait until every pod has the template", f"kubectl rollout status {_object(ref)} --timeout=10m")


def _dropped_copies(plan: Plan) -> Iterator[Step]:
    for step in plan.steps:
        source = step.ref is not None and step.ref.kind in SOURCE_KINDS
        if step.action is Action.DELETE and source and not is_journal(step.before):
            yield step


# ---- ConfigMaps -------------------------------------------------------------------------------------------------


def _copy(step: Step, plan: Plan, hosts: Sequence[Host]) -> Command:
    """A new copy for the hosts that stay, out of the one that goes, so that no value has to stand here."""
    assert step.ref is not None, "what is created has a name"
    assert step.after is not None, "and a body"
    for dropped in _dropped_copies(plan) if step.ref.kind == "ConfigMap" else ():
        assert dropped.ref is not None, "what is deleted has a name"
        assert dropped.before is not None, "and was there"
        if _edited(dropped.before, hosts) == _told(step.after):
            scripts = [
                "/^  (creationTimestamp|resourceVersion|uid):/d",
                f"s,^  name: {escaped(dropped.ref.name)}$,  name: {step.ref.name},",
                *_scripts(hosts),
            ]
            made = f"kubectl get {_object(dropped.ref)} -o yaml | sed -E {grep_words(scripts)} | kubectl create -f -"
            return Command(step.title, made)
    return Command(f"{step.title}: {step.ref.name}, which has to be made by hand", "")


def _told(body: Body) -> Mapping[str, Any]:
    """What a ConfigMap says, and what is said of it."""
    metadata = {key: body["metadata"].get(key) or {} for key in ("labels", "annotations")}
    return {**metadata, **{key: body.get(key) for key in ("data", "immutable")}}


def _edited(body: Body, hosts: Sequence[Host]) -> Mapping[str, Any]:
    told = _told(body)
    data = {key: _https(text, hosts) for key, text in (body.get("data") or {}).items()}
    return {**told, "data": data} if "binaryData" not in body else {}


# ---- workloads --------------------------------------------------------------------------------------------------


def _workload(step: Step, journals: Sequence[Journal], revisions: Sequence[tuple[int, Body]]) -> Iterator[Command]:
    assert step.ref is not None, "a patch is of one object"
    assert step.before is not None, "a patch starts somewhere"
    assert step.after is not None, "a patch leads somewhere"
    template = kinds.pod_template(step.after)
    number = next((number for number, known in revisions if _same(known, template)), None)
    if number is not None and kinds.rolls(step.ref.kind):
        why = f"URLs, alias and references as they were: revision {number}, which is the template before the migration"
        yield Command(why, f"kubectl rollout undo {_object(step.ref)} --to-revision={number}")
        return
    records = [(one, record) for one in journals if (record := one.caller(step.ref)) is not None]
    strings = {operation.steps for operation in step.patch if _url_string(operation, step.before)}
    if strings:
        yield from _urls(step, records, strings)
        if kinds.rolls(step.ref.kind):
            yield _rolled_out(step.ref)
    # A list that became shorter is replaced as a whole: aliases and references hold nothing secret.
    rest = [one for one in patch_between(step.before, step.after) if one.steps not in strings]
    if rest:
        yield Command("the alias, the references and settings as they were", _patch(step.ref, rest))


def _same(known: Body, wanted: Body | None) -> bool:
    return bool(_plain(known) == _plain(wanted or {}))


def _plain(value: Any) -> Any:
    """A template without what controllers and the API server add or leave empty."""
    if isinstance(value, Mapping):
        found = {
            key: _plain(item)
            for key, item in value.items()
            if key not in ("pod-template-hash", "creationTimestamp", "$patch")
        }
        return {key: item for key, item in found.items() if item not in (None, {}, [])}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _url_string(operation: PatchOperation, before: Body) -> bool:
    """Whether a change is of a string with URLs in it, and not of a name."""
    try:
        old = paths.get(before, operation.steps)
    except KeyError:
        return False
    return operation.op == "replace" and isinstance(old, str) and bool(urls.find_urls(old))


def _urls(step: Step, records: Sequence[tuple[Journal, CallerRecord]], strings: set[Steps]) -> Iterator[Command]:
    """URLs back to https by kubectl's own editor, so that no string has to stand here whole."""
    assert step.ref is not None, "a patch is of one object"
    assert step.before is not None, "a patch starts somewhere"
    hosts = [journal.host for journal, record in records if record.sites]
    if all(_exact(step, host, strings) for host in hosts):
        # `-i` needs a suffix with BSD's sed; the copy, which has the object's values, goes at once.
        edit = f'sed -E -i.before {grep_words(_scripts(hosts))} "$1"; done=$?; rm -f "$1.before"; exit $done'
        editor = f"sh -c {shlex.quote(edit)} sh"
        why = "URLs back to https://; the alias stays for now, so that nothing can leave in clear"
        yield Command(why, f"KUBE_EDITOR={shlex.quote(editor)} kubectl edit {_object(step.ref)}")
        return
    where = ", ".join(sorted(map(paths.kubectl_path, strings)))
    names = ", ".join(host.name for host in hosts)
    yield Command(
        f"kubectl edit {_object(step.ref)}, and in {where} put back what was changed of the URLs of {names}: "
        "https:// in place of http://, and the port where there was one",
        "",
    )


def _exact(step: Step, host: Host, strings: set[Steps]) -> bool:
    """Whether that edit of the whole object changes what the undo would change, and nothing else."""
    assert step.before is not None, "a patch starts somewhere"
    assert step.after is not None, "a patch leads somewhere"
    for steps, text in paths.walk_strings(step.before):
        edited = _https(text, [host])
        if edited != (paths.get(step.after, steps) if steps in strings else text):
            return False
    return True


def _scripts(hosts: Sequence[Host]) -> list[str]:
    """What sed does with the URLs, and `_https` here."""
    return [f"s,http://{escaped(host.name)}{BEHIND},https://{host}\\1,g" for host in hosts]


def _https(text: str, hosts: Sequence[Host]) -> str:
    for host in hosts:
        pattern = re.compile(rf"http://{re.escape(host.name)}(?=[^-A-Za-z0-9_.:]|$)", re.MULTILINE)
        text = pattern.sub(f"https://{host}", text)
    return text
