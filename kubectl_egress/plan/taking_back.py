"""What one run has changed of the mesh objects of a host that was migrated before it: to be put back as the run found it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kubectl_egress import mesh
from kubectl_egress.journal import Journal, MeshRecord, from_config_map, is_journal
from kubectl_egress.model import Host, Plan, Ref, Survey


def found_migrated(plan: Plan) -> Mapping[Host, Journal]:
    """The journals of hosts that were migrated, or known by name, when the migration began, as they were then.

    A migration that was cut short is none: what it had in mind stands in no object.
    """
    first: dict[Ref, Journal] = {}
    for step in plan.steps:
        if step.ref is not None and step.before is not None and is_journal(step.before):
            first.setdefault(step.ref, from_config_map(step.before))
    return {journal.host: journal for journal in first.values() if journal.phase == "migrated"}


def changed_since(journal: Journal, earlier: Journal, survey: Survey) -> Iterator[MeshRecord]:
    """The objects that are not as `earlier` has them: what it says of each (None: it did not have it), and what stands there."""
    known = {record.ref: record.after for record in earlier.mesh}
    for record in journal.mesh:
        if record.ref not in known:
            yield record
        elif known[record.ref] != record.after or _half_way(record.ref, survey):
            yield MeshRecord(record.ref, known[record.ref], record.after)


def _half_way(ref: Ref, survey: Survey) -> bool:
    """Whether it is a route that still takes TLS connections past its entry."""
    return any(one.ref == ref and mesh.is_passing(one.body) for one in survey.mesh_objects)
