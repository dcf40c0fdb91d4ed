"""Steps that write, advance and close a journal."""

from __future__ import annotations

from dataclasses import replace

from kubectl_egress.journal import KEY, Journal, merged, to_config_map, to_text
from kubectl_egress.model import Action, Body, PatchOperation, Step, Survey
from kubectl_egress.plan.patches import patch_between


def opening_step(journal: Journal, known: Journal | None, survey: Survey) -> tuple[Journal, Step | None]:
    """The journal as it will be, and the step that writes it before anything else is changed."""
    title = f"journal of {journal.host}: what is there now, so that undo can put it back"
    if known is None:
        return journal, Step(0, Action.CREATE, journal.ref, title, after=to_config_map(journal))
    whole = merged(known, journal)
    return whole, _rewritten(whole, survey, title)


def phase_step(journal: Journal, phase: str, survey: Survey) -> Step:
    """The step that moves a journal which the survey read to another phase."""
    moved = replace(journal, phase=phase)
    step = _rewritten(moved, survey, f"journal of {journal.host}: {phase}")
    assert step is not None, "another phase is another text"
    return step


def closing_step(journal: Journal) -> Step:
    """The step that ends a migration; `journal` is as the opening step wrote it."""
    title = f"journal of {journal.host}: migrated"
    return Step(
        0,
        Action.UPDATE,
        journal.ref,
        title,
        before=to_config_map(journal),
        after=to_config_map(replace(journal, phase="migrated")),
        patch=closing_patch(journal),
    )


def closing_patch(journal: Journal) -> tuple[PatchOperation, ...]:
    """From `journal` as it stands to the same, migrated."""
    closed = replace(journal, phase="migrated")
    return (
        PatchOperation("test", ("data", KEY), to_text(journal)),
        PatchOperation("replace", ("data", KEY), to_text(closed)),
    )


def _rewritten(journal: Journal, survey: Survey, title: str) -> Step | None:
    body: Body = next(document.body for document in survey.journals if document.ref == journal.ref)
    after = {**body, "data": to_config_map(journal)["data"]}
    patch = patch_between(body, after)
    return Step(0, Action.UPDATE, journal.ref, title, before=body, after=after, patch=patch) if patch else None
