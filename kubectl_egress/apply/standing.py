"""Whether a workload has what was written to it: controllers take changes back, and admission changes objects and pods."""

from __future__ import annotations

from collections.abc import Iterable

from kubectl_egress import kinds, paths
from kubectl_egress.errors import EgressError
from kubectl_egress.model import Body, Ref, Step

Alias = tuple[str, str]
"""Address and name."""


def refuse_changed(step: Step, stored: Body) -> None:
    """Raise EgressError where the API server stored something else than what the step's patch says: admission changed it."""
    lost = _lost(step, stored)
    if lost:
        raise EgressError(
            f"{_name(step.ref)} is not stored as it was written: {lost}",
            "kubectl get mutatingwebhookconfigurations,mutatingadmissionpolicies shows what changes objects of this cluster",
        )


def refuse_taken_back(step: Step, current: Body) -> None:
    """Raise EgressError where somebody else has taken back what the step's patch wrote."""
    lost = _lost(step, current)
    if lost and step.ref is not None:
        looked = (
            f"kubectl get {step.ref.kind.lower()} {step.ref.name} -n {step.ref.namespace} -o yaml --show-managed-fields"
        )
        raise EgressError(
            f"{_name(step.ref)} was changed back by somebody else: {lost}",
            f"see who does that ({looked}), and change its source: kubectl egress migrate -f does it in files",
        )


def refuse_unaliased(step: Step, pods: Iterable[Body]) -> None:
    """Raise EgressError where a pod was made without the aliases that the step's patch gave to its template.

    Pods of the template before, which some controllers keep for a while, have none of the strings that the patch wrote.
    """
    wanted = _added(step)
    written = {one.value for one in step.patch if one.op == "replace" and isinstance(one.value, str)}
    for pod in pods if wanted else ():
        if written and not written.intersection(text for _, text in paths.walk_strings(pod.get("spec") or {})):
            continue
        missing = sorted(name for _, name in wanted - _aliases(pod))
        if missing:
            raise EgressError(
                f"pod {pod['metadata']['name']} was made without the alias for {', '.join(dict.fromkeys(missing))}: "
                "without its sidecar, its requests would leave in clear",
                "kubectl get mutatingwebhookconfigurations,mutatingadmissionpolicies shows what changes pods of this cluster",
            )


def _lost(step: Step, current: Body) -> str:
    """The first thing that the step wrote to a workload and that is not there, in words; '' where everything is."""
    missing = sorted(name for _, name in _added(step) - _aliases(kinds.pod_template(current) or {}))
    if missing:
        return f"the alias for {missing[0]} is not there"
    old = {one.steps: one.value for one in step.patch if one.op == "test"}
    for one in step.patch:
        # What a third one has written there is his; verification tells what comes of it.
        if one.op == "replace" and isinstance(one.value, str) and _at(current, one.steps) == old.get(one.steps):
            return f"{paths.kubectl_path(one.steps)} is as it was before"
    return ""


def _added(step: Step) -> set[Alias]:
    before, after = (_aliases(kinds.pod_template(body or {}) or {}) for body in (step.before, step.after))
    return after - before


def _aliases(holder: Body) -> set[Alias]:
    entries = (holder.get("spec") or {}).get("hostAliases") or ()
    return {(entry.get("ip", ""), name) for entry in entries for name in entry.get("hostnames") or ()}


def _at(body: Body, steps: tuple[str | int, ...]) -> object:
    try:
        return paths.get(body, steps)
    except (KeyError, IndexError, TypeError):
        return None


def _name(ref: Ref | None) -> str:
    return f"{ref.kind.lower()}/{ref.name}" if ref else "it"
