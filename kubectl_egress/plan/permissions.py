"""What a plan will ask of the API server: for doing it, and for taking it back."""

from __future__ import annotations

from collections.abc import Iterable

from kubectl_egress.journal import is_journal
from kubectl_egress.model import Action, Ref, Step

# What is created is looked at where its name is taken, and deleted by an undo; a journal is also renewed.
_VERBS = {
    Action.CREATE: ("get", "create", "delete"),
    Action.UPDATE: ("get", "patch"),
    Action.PATCH: ("get", "patch"),
    Action.DELETE: ("delete",),
}


def permissions(steps: Iterable[Step]) -> tuple[tuple[str, Ref], ...]:
    """Verb and object of every write, each once; reads that a survey has done already are none of them."""
    return tuple(dict.fromkeys((verb, step.ref) for step in steps if step.ref is not None for verb in _verbs(step)))


def _verbs(step: Step) -> tuple[str, ...]:
    verbs = _VERBS.get(step.action, ())
    return (*verbs, "patch") if step.action is Action.CREATE and is_journal(step.after) else verbs
