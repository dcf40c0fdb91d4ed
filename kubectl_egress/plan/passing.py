"""In which order the mesh objects of a host come and go, so that who calls it over TLS meanwhile loses no connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kubectl_egress import mesh
from kubectl_egress.journal import Journal
from kubectl_egress.model import Action, Body, Host, Ref, Step, Survey, Wait
from kubectl_egress.plan.objects import MeshChange
from kubectl_egress.plan.patches import patch_between

ROUTE, ENTRY = "VirtualService", "ServiceEntry"
PAST = "TLS connections go on past the entry until every proxy has resolved the host"
BACK = "TLS connections go past the entry again, since it is about to go"


def mesh_steps(host: Host, survey: Survey, changed: Sequence[MeshChange]) -> tuple[list[Step], list[Step]]:
    """The steps that write the mesh objects, and those for which every proxy has to know the host first."""
    by_kind = {one.ref.kind: one for one in changed if one.ref.name == mesh.object_name(host)}
    entry, route = by_kind.get(ENTRY), by_kind.get(ROUTE)
    now, later = list(changed), []
    if route and route.before is not None and mesh.is_passing(route.before):  # an earlier run ended here
        now.remove(route)
        later = [_step(route)]
    elif entry and route and entry.before is None and route.before is None and _passes(host, survey, entry.after):
        begun = replace(route, after=mesh.before_entry(route.after, entry.after, host), title=PAST)
        now[now.index(route)] = begun
        later = [_step(replace(route, before=begun.after))]
        # The entry comes last: where it is known without its route, connections would be taken.
        now.remove(entry)
        now.insert(now.index(begun) + 1, entry)
    return [_step(one) for one in now], later


def knowing_step(targets: tuple[Ref, ...]) -> Step:
    """The wait between the two."""
    return Step(0, Action.WAIT, None, "every proxy knows the host", wait=Wait.NAMED, workloads=targets)


def _step(change: MeshChange) -> Step:
    if change.before is None:
        return Step(0, Action.CREATE, change.ref, change.title, after=change.after)
    patch = patch_between(change.before, change.after)
    return Step(0, Action.UPDATE, change.ref, change.title, before=change.before, after=change.after, patch=patch)


def _passes(host: Host, survey: Survey, entry: Body) -> bool:
    """Whether TLS connections to the host are nobody's: no entry that stays names it, and ours has no addresses."""
    others = mesh.entries_for(host.name, survey.mesh_objects, survey.namespace)
    staying = [one for one in others if one.ref.name != mesh.object_name(host) or one.ref.namespace != survey.namespace]
    return not host.wildcard and not staying and not (entry.get("spec") or {}).get("addresses")


def leaving_steps(journals: Sequence[Journal], survey: Survey, targets: tuple[Ref, ...]) -> Iterator[Step]:
    """What an undo does before it deletes entries of these journals: their routes first, and then everybody has to know."""
    bodies = {document.ref: document.body for document in survey.mesh_objects}
    waiting = False
    for journal in journals:
        route, entry = (bodies.get(ref) for ref in _own(journal))
        if route is None or entry is None or not mesh.is_ours(route) or not _passes(journal.host, survey, entry):
            continue
        waiting = True
        if not mesh.is_passing(route):
            # With its HTTP routes: whoever still says http:// goes to the subset, and nowhere once the entry is gone.
            after = mesh.passing(route, entry, journal.host)
            patch = patch_between(route, after)
            yield Step(0, Action.UPDATE, _own(journal)[0], BACK, before=route, after=after, patch=patch)
    if waiting:
        title = "every proxy leads TLS connections past the entry"
        yield Step(0, Action.WAIT, None, title, wait=Wait.PAST, workloads=targets)


def _own(journal: Journal) -> tuple[Ref, Ref]:
    """Route and entry that a migration made; a Ref that no object has for what it did not make."""
    made: Mapping[str, Ref] = {
        one.ref.kind: one.ref
        for one in journal.mesh
        if one.before is None and one.ref.name == mesh.object_name(journal.host)
    }
    nothing = Ref("", "", "")
    return made.get(ROUTE, nothing), made.get(ENTRY, nothing)
