"""What decides about workloads beside themselves: namespaces, ConfigMaps, mesh objects, mesh-wide settings."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping

from kubectl_egress import kinds
from kubectl_egress.cluster.cluster import Cluster
from kubectl_egress.cluster.lists import (
    CONFIG_MAPS,
    NAMESPACES,
    Read,
    built_in,
    denial,
    document,
    listed,
    side_by_side,
    together,
)
from kubectl_egress.cluster.resources import MESH_GROUP, ApiResource
from kubectl_egress.cluster.settings import REVISION_LABEL, SYSTEM_NAMESPACE, config_map_names, mesh_settings
from kubectl_egress.errors import EgressError, ForbiddenError, NotFoundError
from kubectl_egress.journal import JOURNAL_LABEL, from_config_map
from kubectl_egress.kinds import KNATIVE
from kubectl_egress.model import MANAGED_BY, MANAGED_BY_LABEL, Body, Denied, Document, MeshSettings, Ref
from kubectl_egress.scan import config_map_references


def namespaces_of(cluster: Cluster, namespace: str | None) -> Read:
    """The namespace, which has to exist; all of them for all namespaces."""
    if namespace is None:
        return listed(cluster, NAMESPACES, None)
    try:
        return Read((cluster.get(Ref("Namespace", "", namespace, "v1")),))
    except NotFoundError as error:
        remedy = "kubectl get namespaces lists them; give -n NAMESPACE"
        raise NotFoundError(error.message, remedy, status=error.status, reason=error.reason) from error
    except ForbiddenError as error:
        return Read(denied=(denial("get", "namespaces", namespace, error),))


def config_maps_of(cluster: Cluster, namespace: str | None, workloads: Iterable[Document]) -> Read:
    """The ConfigMaps that pod templates read, our own copies, and our journals."""
    return listed(cluster, CONFIG_MAPS, namespace, is_read(workloads))


def is_read(workloads: Iterable[Document]) -> Callable[[Body], bool]:
    """Whether a ConfigMap is read by a pod template, or is one of ours."""
    wanted = {
        (workload.ref.namespace, name)
        for workload in workloads
        for _, name in config_map_references(kinds.pod_template(workload.body) or {})
    }

    def keep(body: Body) -> bool:
        metadata = body["metadata"]
        return (metadata.get("namespace"), metadata["name"]) in wanted or _labels(body).get(
            MANAGED_BY_LABEL
        ) == MANAGED_BY

    return keep


def journals_and_others(bodies: Iterable[Body]) -> tuple[tuple[Document, ...], Mapping[Ref, Body]]:
    """Our journals, and the other ConfigMaps."""
    found = [document(body) for body in bodies]
    journals = [one for one in found if _is_journal(one.body)]
    others = {one.ref: one.body for one in found if not _is_journal(one.body)}
    return tuple(journals), others


def _is_journal(body: Body) -> bool:
    return _labels(body).get(MANAGED_BY_LABEL) == MANAGED_BY and _labels(body).get(JOURNAL_LABEL) == "true"


def _labels(body: Body) -> Mapping[str, str]:
    return body["metadata"].get("labels") or {}


# knative/serving pkg/apis/config/features.go: disabled unless this says otherwise.
_KNATIVE_FEATURES = Ref("ConfigMap", "knative-serving", "config-features", "v1")
_KNATIVE_ALIASES = "kubernetes.podspec-hostaliases"


def knative_aliases(cluster: Cluster, workloads: Iterable[Document]) -> bool | None:
    """Whether Knative lets its Services have host aliases; None where there are none, or where that may not be read."""
    if not any(one.ref.kind == KNATIVE.kind and one.ref.api_version == KNATIVE.api_version for one in workloads):
        return None
    try:
        features = cluster.get(_KNATIVE_FEATURES).get("data") or {}
    except NotFoundError:
        return False
    except ForbiddenError:
        return None
    return str(features.get(_KNATIVE_ALIASES, "")).lower() in ("enabled", "allowed")


def services_of(cluster: Cluster, namespace: str, names: Iterable[str]) -> tuple[Document, ...]:
    """The Services of these names that are there. ForbiddenError where they may not be read."""
    found = []
    for name in dict.fromkeys(names):
        with contextlib.suppress(NotFoundError):
            found.append(document(cluster.get(Ref("Service", namespace, name, "v1"))))
    return tuple(found)


def recorded_besides(cluster: Cluster, journals: Iterable[Document]) -> Read:
    """The Services, NetworkPolicies and CAs that migrations have made. A journal that cannot be read says nothing here."""
    refs: list[Ref] = []
    for one in journals:
        with contextlib.suppress(EgressError):
            refs += [record.ref for record in from_config_map(one.body).mesh if record.ref.kind in _BESIDES]
    return together(_get(cluster, ref) for ref in dict.fromkeys(refs))


_BESIDES = ("Service", "NetworkPolicy", "ConfigMap")


def _get(cluster: Cluster, ref: Ref) -> Read:
    try:
        return Read((cluster.get(ref),))
    except NotFoundError:
        return Read()
    except ForbiddenError as error:
        return Read(denied=(denial("get", built_in(ref.kind).full_name, ref.namespace, error),))


def mesh_of(cluster: Cluster, namespace: str | None) -> Read:
    """Istio's objects of all namespaces; where that is forbidden, of this one and of the root namespace."""
    try:
        served = cluster.mesh_resources()
    except NotFoundError as error:
        return Read(denied=(denial("list", f"serviceentries.{MESH_GROUP}", None, error),))
    with side_by_side(len(served), "mesh") as pool:
        return together(pool.map(lambda resource: _everywhere_or_near(cluster, resource, namespace), served))


def _everywhere_or_near(cluster: Cluster, resource: ApiResource, namespace: str | None) -> Read:
    """What can be read everywhere, or else close by."""
    everywhere = listed(cluster, resource, None)
    if not everywhere.denied or namespace is None:
        return everywhere
    near = [listed(cluster, resource, name) for name in dict.fromkeys((namespace, SYSTEM_NAMESPACE))]
    return together([everywhere, *near])


def revision_asked(namespaces: Iterable[Body]) -> str:
    """The revision, or a tag of one, that the namespaces ask for; empty where they do not agree."""
    revisions = {_labels(body).get(REVISION_LABEL, "") for body in namespaces}
    return revisions.pop() if len(revisions) == 1 else ""


def revision_injected(pods: Iterable[Body]) -> str:
    """The revision that has injected the pods, as the injector notes it: never a tag; empty where they do not agree."""
    noted = {(body["metadata"].get("annotations") or {}).get(REVISION_LABEL, "") for body in pods} - {""}
    return noted.pop() if len(noted) == 1 else ""


def settings_of(cluster: Cluster, revision: str) -> tuple[MeshSettings, tuple[Denied, ...]]:
    """Mesh-wide settings of a revision's control plane."""
    found: list[Body | None] = []
    denied: list[Denied] = []
    for name in config_map_names(revision):
        try:
            found.append(cluster.get(Ref("ConfigMap", SYSTEM_NAMESPACE, name, "v1")))
        except NotFoundError:
            # A managed control plane; `known` says that the defaults stand.
            found.append(None)
        except ForbiddenError as error:
            denied.append(denial("get", "configmaps", SYSTEM_NAMESPACE, error))
            found.append(None)
    return mesh_settings(*found), tuple(denied)
