"""Where completions come from: tables, the kubeconfig, and the cluster, which is asked for little and not for long."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from kubectl_egress.cli.completing.words import Place
from kubectl_egress.cli.options import Connection, Selection

if TYPE_CHECKING:
    from kubectl_egress.cluster import Cluster, ConnectionOptions

Candidates = Iterable[tuple[str, str]]
"""What may stand there, each with what it is; the latter may be empty."""

PATIENCE = "3s"
"""How long one question to the cluster may take; whoever pressed the key is waiting."""


def values(place: Place) -> Candidates | None:
    """The values that the parameter of the place can have; None where they are files, empty where nobody can know."""
    parameter: Any = place.parameter
    if parameter.metavar in ("FILE", "DIR", "FILE|DIR"):
        return None
    source = SOURCES.get(parameter.name)
    if source is not None:
        return source(place)
    listed = re.search(r"One of: \(([^)]*)\)", parameter.help or "") if hasattr(parameter, "help") else None
    if listed:
        return [(one.strip(), "") for one in listed[1].split(",")]
    named = (parameter.metavar or "").split("|")
    # `sample=N` is a form and no value.
    return [(one, "") for one in named if one.islower()] if len(named) > 1 else ()


def _contexts(section: str) -> Callable[[Place], Candidates]:
    def found(place: Place) -> Candidates:
        from kubectl_egress.cluster.kubeconfig import names, read_files

        return [(name, "") for name in names(read_files(place.flag("kubeconfig")), section)]

    return found


def _namespaces(place: Place) -> Candidates:
    with _Asking(place) as cluster:
        return [(one["metadata"]["name"], "") for one in cluster.list("v1", "namespaces", None, metadata_only=True)]


def _workloads(place: Place) -> Candidates:
    """`deployment/curl`; after a type (`deployment cu`), names alone."""
    from kubectl_egress import kinds

    named = [word for word in place.arguments if "/" not in word]
    row = kinds.named(named[0].split(",")[0]) if named else None
    types = [row] if row else list(kinds.KINDS)
    word, slash, _ = place.typed.partition("/")
    if slash:
        only = kinds.named(word)
        types = [only] if only else []
    with _Asking(place) as cluster:
        found = []
        for one in types:
            prefix = "" if row else f"{word if slash else one.kind.lower()}/"
            found += [(prefix + body["metadata"]["name"], "") for body in _listed(cluster, one)]
    return found


def _listed(cluster: Cluster, row: Any) -> Iterable[Mapping[str, Any]]:
    from kubectl_egress.errors import ApiError

    try:
        return list(cluster.list(row.api_version, row.plural, cluster.namespace, metadata_only=True))
    except ApiError:  # a type that this cluster does not have, or that may not be listed
        return []


def _called(place: Place) -> Candidates:
    """The external hosts that the namespace's workloads call over https."""
    from kubectl_egress import inspection
    from kubectl_egress.cli.sources import survey_cluster

    selection = Selection(namespace=place.flag("namespace"))
    sites = inspection.call_sites(survey_cluster((), selection, connection(place)))
    return _unused(place, {str(site.host): f"called by {site.object.kind} {site.object.name}" for site in sites})


def _migrated(place: Place) -> Candidates:
    """The hosts of the namespace's journals."""
    from kubectl_egress.journal import JOURNAL_LABEL, from_config_map

    with _Asking(place) as cluster:
        found = cluster.list("v1", "configmaps", cluster.namespace, label_selector=JOURNAL_LABEL)
        return _unused(place, {str(from_config_map(body).host): "migrated" for body in found})


def _unused(place: Place, hosts: Mapping[str, str]) -> Candidates:
    return [(host, text) for host, text in sorted(hosts.items()) if host not in place.arguments]


def _hosts(place: Place) -> Candidates:
    return _called(place) if place.command is not None and place.command.name == "migrate" else _migrated(place)


def _codes(place: Place) -> Candidates:
    from kubectl_egress.findings.rows import ROWS

    return [(row.code, row.title) for row in ROWS]


def _ignorable(place: Place) -> Candidates:
    from kubectl_egress.findings import ignorable

    return [(code, text) for code, text in _codes(place) if ignorable(code)]


# By the parameter's name, which is the same in every command.
SOURCES: Mapping[str, Callable[[Place], Candidates]] = {
    "namespace": _namespaces,
    "context": _contexts("contexts"),
    "cluster": _contexts("clusters"),
    "user": _contexts("users"),
    "targets": _workloads,
    "workload": _workloads,
    "hosts": _hosts,
    "code": _codes,
    "ignore": _ignorable,
    "dry_run": lambda place: [("none", ""), ("client", ""), ("server", "")],
}


def connection(place: Place) -> Connection:
    """The connection flags that are given on the line that is being typed."""
    given: dict[str, Any] = {
        one.name: list(place.flags[one.name]) if one.name in ("as_group", "as_user_extra") else place.flag(one.name)
        for one in fields(Connection)
        if one.name in place.flags and one.name != "verbosity"
    }
    for name in ("insecure_skip_tls_verify", "disable_compression"):
        given[name] = name in place.flags
    return _Unattended(**{"request_timeout": PATIENCE, **given})


class _Unattended(Connection):
    """Whose exec plugin asks nothing, says nothing, and is not waited for."""

    def options(self, namespace: str = "", field_manager: str = "kubectl-egress") -> ConnectionOptions:
        return replace(super().options(namespace, field_manager), attended=False)


class _Asking:
    """The cluster that the line is for, while it is asked."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def __enter__(self) -> Cluster:
        from kubectl_egress.cluster import connect

        self._cluster = connect(connection(self._place).options(self._place.flag("namespace")))
        return self._cluster

    def __exit__(self, *failure: object) -> None:
        self._cluster.close()
