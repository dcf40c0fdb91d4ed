"""The Secrets that pod templates name, one by one: a list would show the values of all that nobody asked about."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from enum import Enum, auto

from kubectl_egress import kinds, secret_values
from kubectl_egress.cluster.cluster import Cluster
from kubectl_egress.cluster.lists import SECRETS, Read, denial, side_by_side, together
from kubectl_egress.errors import EgressError, ForbiddenError, NotFoundError
from kubectl_egress.journal import from_config_map
from kubectl_egress.model import Document, Ref
from kubectl_egress.scan import source_references

_READERS = 8


class Secrets(Enum):
    """Which Secrets a survey reads."""

    NONE = auto()
    RECORDED = auto()
    """Those that journals name: what migrations have copied, and the copies."""
    NAMED = auto()
    """Those that pod templates name, too (`--include-secrets`)."""


def secrets_of(cluster: Cluster, workloads: Iterable[Document], journals: Iterable[Document], which: Secrets) -> Read:
    """The Secrets, as `secret_values.readable` has them, of types in which people put settings."""
    recorded = [] if which is Secrets.NONE else _recorded(journals)
    wanted = list(dict.fromkeys([*recorded, *(_named(workloads) if which is Secrets.NAMED else ())]))
    if not wanted:
        return Read()
    with side_by_side(_READERS, "secret") as pool:
        return together(pool.map(lambda ref: _get(cluster, ref), wanted))


def _recorded(journals: Iterable[Document]) -> Iterator[Ref]:
    """A journal that cannot be read says nothing here."""
    for one in journals:
        with contextlib.suppress(EgressError):
            yield from sorted(from_config_map(one.body).secrets)


def _named(workloads: Iterable[Document]) -> Iterator[Ref]:
    for workload in workloads:
        for _, kind, name in source_references(kinds.pod_template(workload.body) or {}):
            if kind == SECRETS.kind:
                yield Ref(kind, workload.ref.namespace, name, "v1")


def _get(cluster: Cluster, ref: Ref) -> Read:
    try:
        body = cluster.get(ref)
    except NotFoundError:
        return Read()
    except ForbiddenError as error:
        return Read(denied=(denial("get", SECRETS.full_name, ref.namespace, error),))
    return Read((secret_values.readable(body),)) if secret_values.is_read(body) else Read()
