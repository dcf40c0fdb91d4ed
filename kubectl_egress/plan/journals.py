"""Steps that write, advance and close a journal."""

from __future__ import annotations

from dataclasses import replace

from kubectl_egress.journal import KEY, LEASE_KEY, Journal, Lease, lease_text, merged, to_config_map, to_text
from kubectl_egress.model import Action, Body, PatchOperation, Step, Survey
from kubectl_egress.plan.patches import patch_between


def opening_step(
    journal: Journal, known: Journal | None, survey: Survey, lease: Lease | None
) -> tuple[Journal, Step | None]:
    """The journal as it will be, and the step that writes it before anything else is changed, and takes the lease."""
    title = f"journal of {journal.host}: what is there now, so that undo can put it back"
    if known is None:
        return journal, Step(0, Action.CREATE, journal.ref, title, after=to_config_map(journal, lease))
    whole = merged(known, journal)
    return whole, _rewritten(whole, survey, title, lease)


def phase_step(journal: Journal, phase: str, survey: Survey, lease: Lease | None = None) -> Step | None:
    """The step that moves a journal which the survey read to another phase, and takes the lease; None if it is there."""
    moved = replace(journal, phase=phase)
    if lease is not None:
        moved = replace(moved, run=lease.run, by=lease.by)
    return _rewritten(moved, survey, f"journal of {journal.host}: {phase}", lease)


def closing_step(journal: Journal, lease: Lease | None) -> Step:
    """The step that ends a migration and gives the lease back; `journal` is as the opening step wrote it."""
    return Step(
        0,
        Action.UPDATE,
        journal.ref,
        f"journal of {journal.host}: migrated",
        before=to_config_map(journal),
        after=to_config_map(replace(journal, phase="migrated")),
        patch=closing_patch(journal, lease),
    )


def closing_patch(journal: Journal, lease: Lease | None) -> tuple[PatchOperation, ...]:
    """From `journal` as it stands to the same, migrated."""
    closed = replace(journal, phase="migrated")
    return (
        PatchOperation("test", ("data", KEY), to_text(journal)),
        PatchOperation("replace", ("data", KEY), to_text(closed)),
        *([PatchOperation("remove", ("data", LEASE_KEY))] if lease else []),
    )


def _rewritten(journal: Journal, survey: Survey, title: str, lease: Lease | None = None) -> Step | None:
    """The patch tests the text, which names the last run: of two runs that read the same journal, one writes it."""
    body: Body = next(document.body for document in survey.journals if document.ref == journal.ref)
    held = {LEASE_KEY: lease_text(lease)} if lease else {}
    after = {**body, "data": {**body["data"], KEY: to_text(journal), **held}}
    patch = patch_between(body, after)
    return Step(0, Action.UPDATE, journal.ref, title, before=body, after=after, patch=patch) if patch else None
