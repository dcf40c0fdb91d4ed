"""A plan as numbered steps with diffs, as a document, and as the objects that it leads to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_egress import urls
from kubectl_egress.journal import is_journal
from kubectl_egress.model import MANAGED_BY, MANAGED_BY_LABEL, Action, Body, Outcome, Plan, Ref, Skip, Step, Wait
from kubectl_egress.report.changes import own_fields
from kubectl_egress.report.colour import diff_coloured, highlighted, painted
from kubectl_egress.report.diff import body_diff
from kubectl_egress.report.findings import finding_document, findings_text
from kubectl_egress.report.inspect import API_VERSION, site_document
from kubectl_egress.report.names import reference, resource_name, short_name
from kubectl_egress.report.table import counted

INDENT = " " * 4
OUR_LABEL = (MANAGED_BY_LABEL, MANAGED_BY)
WRITES = (Action.CREATE, Action.UPDATE, Action.PATCH, Action.DELETE)
VERBED: Mapping[Action | Wait, str] = {
    Action.CREATE: "created",
    Action.UPDATE: "configured",
    Action.PATCH: "patched",
    Action.DELETE: "deleted",
    Action.WAIT: "waited for",
    Action.VERIFY: "checked",
    Wait.PROXIES: "ready",
    Wait.NAMED: "known",
    Wait.PAST: "past the entry",
    Wait.ROLLOUT: "rolled out",
    Wait.NO_OLD_PODS: "free of old pods",
}


def plan_text(plan: Plan, width: int | None = None, colour: bool = False) -> str:
    """The plan for a person: steps with what changes, what is left alone and why, findings, what fails closed."""
    parts = [
        _heading(plan),
        *(_step(step, plan, colour) for step in plan.steps),
        _skips(plan),
        highlighted(findings_text(plan.findings, width), colour),
        _closing(plan),
    ]
    return "\n".join(part for part in parts if part)


def refusal_text(plan: Plan, width: int | None = None, colour: bool = False) -> str:
    """What stands in the way of a plan, and what it leaves alone; not the steps, which will not be done."""
    where = f" in namespace {plan.namespace}" if plan.namespace else ""
    parts = [
        f"{', '.join(map(str, plan.hosts))}{where}:\n",
        _skips(plan),
        highlighted(findings_text(plan.findings, width), colour),
    ]
    return "\n".join(part for part in parts if part)


def plan_question(plan: Plan) -> str:
    """`Create 4 objects, patch 1, roll out 1 workload?`: what the steps come to, for whom they have scrolled away."""
    words = {Action.CREATE: "create", Action.UPDATE: "change", Action.PATCH: "patch", Action.DELETE: "delete"}
    names = {action: {step.ref for step in plan.steps if step.action is action} for action in words}
    names[Action.UPDATE] -= names[Action.CREATE] | names[Action.DELETE]  # a journal's phases
    parts = [f"{word} {counted(len(names[action]), 'object')}" for action, word in words.items() if names[action]]
    rollouts = [step.ref for step in plan.steps if step.wait is Wait.ROLLOUT]
    twice = " twice" if len(rollouts) > len(set(rollouts)) else ""
    parts += [f"roll out {counted(len(set(rollouts)), 'workload')}{twice}"] if rollouts else []
    text = ", ".join(parts) or counted(len(plan.steps), "step")
    where = f" in namespace {plan.namespace}" if plan.namespace else ""
    return f"{', '.join(map(str, plan.hosts))}{where}: {text}?"


def _heading(plan: Plan) -> str:
    hosts = ", ".join(map(str, plan.hosts))
    if not plan.steps:
        return f"{hosts}: nothing to do.\n"
    writes = sum(step.action in WRITES for step in plan.steps)
    where = f" in namespace {plan.namespace}" if plan.namespace else ""
    return f"{hosts}{where}: {counted(len(plan.steps), 'step')}, {counted(writes, 'write')}\n"


def _step(step: Step, plan: Plan, colour: bool) -> str:
    number = str(step.order).rjust(len(str(len(plan.steps))))
    name = resource_name(step.ref) if step.ref else ", ".join(map(short_name, step.workloads))
    line = " ".join(part for part in (f"{number}.", str(step.action), name) if part)
    title = urls.shown(step.title)
    head = f"{painted(line, 'bold', colour)}\n{INDENT}{title}\n" if title else f"{painted(line, 'bold', colour)}\n"
    lines = diff_coloured(_shown_diff(step), colour).splitlines()
    return head + "".join(f"{INDENT}{text}\n" for text in lines)


def _shown_diff(step: Step) -> str:
    """What a person has to read: neither a journal's records nor an object that goes as a whole."""
    if step.action is Action.DELETE or is_journal(step.after):
        return ""
    if step.action is Action.CREATE and step.after is not None:
        return body_diff(None, _untold(step.after))
    return step_diff(step)


def _untold(body: Body) -> Body:
    """The object without what the step's own line says, and without the label that all of ours have."""
    metadata = {key: value for key, value in own_fields(body)["metadata"].items() if key not in ("name", "namespace")}
    labels = {key: value for key, value in metadata.pop("labels", {}).items() if (key, value) != OUR_LABEL}
    kept = {**({"labels": labels} if labels else {}), **metadata}
    rest = {key: value for key, value in body.items() if key not in ("apiVersion", "metadata")}
    return {**({"metadata": kept} if kept else {}), **rest}


def step_diff(step: Step) -> str:
    """The diff of what the step writes; '' for waits, for verification and where the body is not known yet."""
    if step.action not in WRITES or (step.before is None and step.after is None):
        return ""
    if step.action is not Action.DELETE and step.after is None:
        return ""
    return body_diff(step.before, step.after)


def _skips(plan: Plan) -> str:
    if not plan.skipped:
        return ""
    return "Left alone:\n" + "".join(f"  {line}\n" for line in map(_skip, plan.skipped))


def _skip(skip: Skip) -> str:
    site = site_document(skip.site)
    place = f"{skip.site.file}:{skip.site.line}" if skip.site.file else short_name(skip.site.object)
    return urls.shown(f"{place} {site['path']} {site['url']}: {skip.reason}")


def _closing(plan: Plan) -> str:
    return "".join(_closed(ref, closed, ref in plan.guarded) for ref, closed in sorted(plan.fails_closed.items()))


def _closed(ref: Ref, closed: bool, guarded: bool) -> str:
    if closed:
        return f"{short_name(ref)} fails closed: without its sidecar a request fails, and none leaves in clear.\n"
    if guarded:
        return (
            f"{short_name(ref)} is guarded: without its sidecar a request leaves in clear only if the cluster's network "
            "does not enforce NetworkPolicies.\n"
        )
    return f"{short_name(ref)} FAILS OPEN: without its sidecar requests leave the pod in clear.\n"


def plan_document(plan: Plan) -> dict[str, Any]:
    """The MigratePlan as a document for `-o plan`."""
    return {
        "apiVersion": API_VERSION,
        "kind": "MigratePlan",
        "hosts": [str(host) for host in plan.hosts],
        "namespace": plan.namespace,
        "blocked": plan.blocked,
        "steps": [_step_document(step) for step in plan.steps],
        "skipped": [{**site_document(skip.site), "reason": urls.shown(skip.reason)} for skip in plan.skipped],
        "findings": [finding_document(finding) for finding in plan.findings],
        "workloads": [
            {"workload": reference(ref), "failsClosed": closed, **({"guarded": True} if ref in plan.guarded else {})}
            for ref, closed in sorted(plan.fails_closed.items())
        ],
    }


def _step_document(step: Step) -> dict[str, Any]:
    document: dict[str, Any] = {
        "order": step.order,
        "action": str(step.action),
        "object": reference(step.ref) if step.ref else None,
        "title": urls.shown(step.title),
        "diff": step_diff(step),
    }
    if step.workloads:
        document["workloads"] = [reference(ref) for ref in step.workloads]
    return document


def plan_objects(plan: Plan) -> list[Body]:
    """The objects as they would be, in an order in which they may be applied: each once, as its last step leaves it.

    Journals are left out, since they belong to a run and not to a repository. What is deleted is left out too.
    """
    last: dict[Ref, Body] = {}
    for step in plan.steps:
        if step.ref is not None:
            previous = last.pop(step.ref, None)
            body = None if step.action is Action.DELETE else step.after or previous
            if body is not None and not is_journal(body):
                last[step.ref] = own_fields(body)
    return list(last.values())


def object_list(bodies: list[Body]) -> Body:
    """The objects as one `List`, which is what JSON needs to hold several."""
    return {"apiVersion": "v1", "kind": "List", "items": bodies}


def outcome_line(outcome: Outcome) -> str:
    """`deployment.apps/curl patched`, as kubectl says it, or what failed and why."""
    step = outcome.step
    name = resource_name(step.ref) if step.ref else ", ".join(map(short_name, step.workloads))
    key = step.wait or step.action
    verb = VERBED[key] if outcome.done else f"not {VERBED[key]}"
    note = f" ({outcome.message})" if outcome.message and outcome.done else ""
    note = f": {outcome.message}" if outcome.message and not outcome.done else note
    return urls.shown(" ".join(part for part in (name or step.title, verb) if part) + note)


def outcomes_text(outcomes: tuple[Outcome, ...] | list[Outcome], colour: bool = False) -> str:
    """A line for each step that was tried, in order."""
    return "".join(_outcome_lines(outcomes, colour))


def _outcome_lines(outcomes: tuple[Outcome, ...] | list[Outcome], colour: bool) -> Iterator[str]:
    for outcome in outcomes:
        line = outcome_line(outcome)
        yield (line if outcome.done else painted(line, "red", colour)) + "\n"
