"""Mesh objects of a migration that somebody deleted or changed."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_egress import paths
from kubectl_egress.drift.nouns import Drift
from kubectl_egress.journal import Journal, MeshRecord
from kubectl_egress.model import Body, Survey
from kubectl_egress.plan.patches import patch_between


def mesh_drifts(record: MeshRecord, journal: Journal, survey: Survey) -> Iterator[Drift]:
    """How one object differs from what the migration wrote."""
    again = f"kubectl egress migrate {journal.host} -n {journal.namespace} makes it anew"
    if _may_not_see(record.ref.kind, survey):
        return  # said already, once for the type
    document = next((one for one in survey.mesh_objects if one.ref == record.ref), None)
    if document is None:
        yield Drift("object-gone", record.ref, "it was deleted since", again)
        return
    operations = patch_between(record.after["spec"], document.body.get("spec") or {})
    # The API server fills in what a Service leaves out; Istio's objects stay as they were written.
    told = [one for one in operations if one.op != "add" or record.ref.kind != "Service"]
    changed = [operation.steps for operation in told]
    fields = [paths.kubectl_path(("spec", *steps)) for steps in changed]
    fields += [paths.kubectl_path(steps) for steps in _labels_lost(record.after, document.body)]
    if fields:
        yield Drift(
            "object-changed",
            record.ref,
            f"somebody else changed {', '.join(dict.fromkeys(fields))}",
            "look at it; undo leaves what others have written as it is",
        )


def _may_not_see(kind: str, survey: Survey) -> bool:
    """Whether its objects could not be listed: `serviceentries` is the plural of ServiceEntry."""
    stem = kind.lower().removesuffix("y")
    return any(one.resource.startswith(stem) for one in survey.denied)


def _labels_lost(wanted: Body, current: Body) -> Iterator[tuple[str, ...]]:
    for part in ("labels", "annotations"):
        present = current["metadata"].get(part) or {}
        for key, value in (wanted["metadata"].get(part) or {}).items():
            if present.get(key) != value:
                yield "metadata", part, key
