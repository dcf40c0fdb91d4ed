"""kubectl's TARGET arguments: `deploy/curl`, `deployment curl`, `deploy,sts`; and which kinds they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubectl_egress import kinds
from kubectl_egress.cluster.resources import ApiResource
from kubectl_egress.errors import UsageError
from kubectl_egress.kinds import KindRow

_EXAMPLE = "for example: deploy/curl, deployment curl, or deploy,sts for all of these types"


@dataclass(frozen=True, slots=True)
class Target:
    """What one argument means: a type as it was typed, and a name, or None for every object of the type."""

    word: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a kind: those with these names, or all of them if there is no name."""

    row: KindRow
    names: tuple[str, ...] = ()


def parse_targets(arguments: Sequence[str]) -> tuple[Target, ...]:
    """Read `TYPE/NAME…`, `TYPE NAME…` or `TYPE[,TYPE…]`, as kubectl does (cli-runtime pkg/resource/builder.go).

    Nothing gives nothing, which is every workload. UsageError in kubectl's words for what kubectl refuses.
    """
    split = [part for argument in arguments for part in (argument.split(",") if "/" in argument else [argument])]
    slashes = sum("/" in part for part in split)
    if not split:
        return ()
    if slashes == len(split):
        return tuple(dict.fromkeys(_combined(part) for part in split))
    if slashes:
        raise UsageError(
            "there is no need to specify a resource type as a separate argument when passing arguments in "
            "resource/name form (e.g. 'kubectl egress inspect resource/<resource_name>' instead of "
            "'kubectl egress inspect resource resource/<resource_name>')",
            _EXAMPLE,
        )
    words = list(dict.fromkeys(word for word in split[0].split(",") if word))
    if not words or not all(split):
        raise UsageError("a resource type or name is empty", _EXAMPLE)
    names: Sequence[str | None] = split[1:] or (None,)
    return tuple(dict.fromkeys(Target(word, name) for word in words for name in names))


def _combined(argument: str) -> Target:
    """One argument in resource/name form."""
    if argument.count("/") > 1:
        raise UsageError("arguments in resource/name form may not have more than one slash", _EXAMPLE)
    word, _, name = argument.partition("/")
    if not word or not name:
        raise UsageError("arguments in resource/name form must have a single resource and name", _EXAMPLE)
    return Target(word, name)


def select(
    targets: Sequence[Target],
    resource: Callable[[str], ApiResource],
    *,
    selector: str = "",
    all_namespaces: bool = False,
    more: Callable[[], tuple[KindRow, ...]] = tuple,
) -> tuple[Selection, ...]:
    """Which kinds, and which of their objects, the targets mean; without targets all objects of all kinds.

    `more` (`Cluster.custom_kinds`) gives the kinds of others that the cluster serves. `resource` (`Cluster.resource`) is asked about types that are no workloads, and raises NotFoundError for one that
    does not exist; for one that exists, UsageError. UsageError too for names beside a selector or `-A`.
    """
    named = any(target.name is not None for target in targets)
    if named and selector:
        raise UsageError("name cannot be provided when a selector is specified", "leave out the name, or -l")
    if named and all_namespaces:
        raise UsageError("a resource cannot be retrieved by name across all namespaces", "give -n NAMESPACE, not -A")
    if not targets or any(target.word.lower() == "all" and target.name is None for target in targets):
        return tuple(Selection(row) for row in (*kinds.KINDS, *more()))
    names: dict[KindRow, list[str | None]] = {}
    for target in targets:
        names.setdefault(_row(target.word, resource, more), []).append(target.name)
    # `deploy/curl deploy` is refused by the grammar, so the names of a kind are all None or none is.
    return tuple(Selection(row, tuple(name for name in found if name is not None)) for row, found in names.items())


def _row(word: str, resource: Callable[[str], ApiResource], more: Callable[[], tuple[KindRow, ...]]) -> KindRow:
    """The row of a type; UsageError for one that makes no pods."""
    row = kinds.named(word)
    if row is not None and row in kinds.CUSTOM_KINDS:
        wanted = (row.kind, row.group)
        row = next((served for served in more() if (served.kind, served.group) == wanted), None)
    if row is None:
        other = resource(word)
        raise UsageError(
            f"{other.full_name} is not a type of workload",
            f"give one of {', '.join(candidate.plural for candidate in kinds.KINDS)}",
        )
    return row
