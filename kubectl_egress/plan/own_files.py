"""Where the new objects of a host go among the manifests, and which kustomization takes them in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kubectl_egress.manifests import Kustomization
from kubectl_egress.model import CallSite, Host


@dataclass(frozen=True, slots=True)
class OwnFile:
    """One file for a host's new objects."""

    file: str
    kustomization: Kustomization | None
    """The one that has to name it."""


def file_name(host: Host) -> str:
    """What the file of a host's new objects is called."""
    return f"egress-{host.name.replace('*', 'wildcard', 1)}.yaml"


def egress_files(
    host: Host, sites: Sequence[CallSite], kustomizations: Sequence[Kustomization] = ()
) -> tuple[OwnFile, ...]:
    """Where the new objects of a host go.

    Beside the first file that calls it; where kustomizations take the callers in, beside each of these, without those
    that take in another one of them: an overlay gets the objects of its base.
    """
    name = file_name(host)
    files = list(dict.fromkeys(site.file for site in sites if site.server == host and site.file))
    owners = {file: owner_of(file, kustomizations) for file in files}
    taking: list[Kustomization] = []
    for found in owners.values():
        if found is not None and found not in taking:
            taking.append(found)
    chosen = [
        one
        for one in taking
        if not any(other.directory in taken_in(one, kustomizations) for other in taking if other is not one)
    ]
    made = [OwnFile(os.path.join(one.directory, name), one) for one in chosen]
    plain = next((file for file in files if owners[file] is None), None)
    if plain is not None:
        made.append(OwnFile(os.path.join(os.path.dirname(plain), name) if plain != "-" else name, None))
    return tuple(made)


def owner_of(file: str, kustomizations: Sequence[Kustomization]) -> Kustomization | None:
    """The kustomization that takes a file in: one that names it, else the one beside it."""
    path = os.path.normpath(file)
    naming = (one for one in kustomizations if path in (*one.paths, *one.sources))
    beside = (one for one in kustomizations if os.path.normpath(one.directory or ".") == (os.path.dirname(path) or "."))
    return next(naming, None) or next(beside, None)


def taken_in(kustomization: Kustomization, all_of_them: Sequence[Kustomization]) -> frozenset[str]:
    """The directories of the kustomizations that one takes in, directly or not."""
    return frozenset(one.directory for one in _below(kustomization, all_of_them, frozenset({kustomization.file})))


def _below(
    kustomization: Kustomization, all_of_them: Sequence[Kustomization], seen: frozenset[str]
) -> Iterator[Kustomization]:
    for other in all_of_them:
        if other.file not in seen and os.path.normpath(other.directory or ".") in kustomization.paths:
            yield other
            yield from _below(other, all_of_them, seen | {other.file})
