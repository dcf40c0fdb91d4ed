"""Resource types: those that are known without asking, and what the API's discovery documents say of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kubectl_egress import kinds
from kubectl_egress.model import Body

MESH_GROUP = "networking.istio.io"
# The same schema in each; v1 from Istio 1.22 on.
MESH_VERSIONS = ("v1", "v1beta1", "v1alpha3")


@dataclass(frozen=True, slots=True)
class ApiResource:
    """One resource type as the API serves it."""

    api_version: str
    """Group and version: `apps/v1`, `v1`."""
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    singular: str = ""

    @property
    def group(self) -> str:
        """The API group; empty for the core's."""
        return self.api_version.rpartition("/")[0]

    @property
    def full_name(self) -> str:
        """Plural and group as RBAC and kubectl's messages have it: `deployments.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def names(self) -> tuple[str, ...]:
        """What kubectl accepts for TYPE, in lower case."""
        plain = (self.plural, self.singular or self.kind.lower(), *self.short_names)
        version = self.api_version.rpartition("/")[2]
        suffixes = (self.group, f"{version}.{self.group}") if self.group else ()
        return (*plain, *(f"{name}.{suffix}" for name in plain for suffix in suffixes))

    def path(self, namespace: str, name: str = "") -> str:
        """The request path of the collection, or of one object; an empty namespace means all (or none)."""
        base = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        scope = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{base}{scope}/{self.plural}" + (f"/{name}" if name else "")


def of_row(row: kinds.KindRow) -> ApiResource:
    """The resource of a row of `kinds`."""
    return ApiResource(row.api_version, row.plural, row.kind, True, row.short_names)


_WORKLOADS = tuple(map(of_row, kinds.KINDS))
_CORE = (
    ApiResource("v1", "pods", "Pod", True, ("po",)),
    ApiResource("v1", "services", "Service", True, ("svc",)),
    ApiResource("v1", "configmaps", "ConfigMap", True, ("cm",)),
    ApiResource("v1", "secrets", "Secret"),
    ApiResource("v1", "namespaces", "Namespace", False, ("ns",)),
    ApiResource("v1", "events", "Event", True, ("ev",)),
    ApiResource("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", True, ("netpol",), "networkpolicy"),
    ApiResource("networking.k8s.io/v1", "servicecidrs", "ServiceCIDR", False),  # stable since Kubernetes 1.33
)
# Short names as in Istio's own resource definitions (manifests/charts/base).
_MESH = (
    ("serviceentries", "ServiceEntry", ("se",)),
    ("destinationrules", "DestinationRule", ("dr",)),
    ("virtualservices", "VirtualService", ("vs",)),
    ("sidecars", "Sidecar", ()),
    ("envoyfilters", "EnvoyFilter", ()),
)

BUILT_IN = (*_CORE, *_WORKLOADS)


def mesh_resources(version: str) -> tuple[ApiResource, ...]:
    """Istio's kinds under one version of their group; EnvoyFilter has never had another than v1alpha3."""
    return tuple(
        ApiResource(f"{MESH_GROUP}/{'v1alpha3' if kind == 'EnvoyFilter' else version}", plural, kind, True, short_names)
        for plural, kind, short_names in _MESH
    )


def is_mesh(api_version: str) -> bool:
    """Whether it is of Istio's networking group, in whichever version."""
    return api_version.startswith(f"{MESH_GROUP}/")


def find(resources: Sequence[ApiResource], word: str) -> ApiResource | None:
    """The resource that kubectl's TYPE means; the first that fits."""
    return next((resource for resource in resources if word.lower() in resource.names), None)


def of_kind(resources: Sequence[ApiResource], kind: str, api_version: str) -> ApiResource | None:
    """The resource of a kind; any version of it where `api_version` is empty."""
    return next((r for r in resources if r.kind == kind and api_version in ("", r.api_version)), None)


def from_aggregated(document: Body) -> Iterator[ApiResource]:
    """Read an `APIGroupDiscoveryList` (Kubernetes 1.26, `apidiscovery.k8s.io` v2): preferred versions first."""
    for group in document.get("items") or ():
        name = group.get("metadata", {}).get("name", "")
        for version in group.get("versions") or ():
            prefix = f"{name}/{version['version']}" if name else version["version"]
            for resource in version.get("resources") or ():
                yield ApiResource(
                    prefix,
                    resource["resource"],
                    resource.get("responseKind", {}).get("kind", ""),
                    resource.get("scope") == "Namespaced",
                    tuple(resource.get("shortNames") or ()),
                    resource.get("singularResource", ""),
                )


def from_resource_list(document: Body) -> Iterator[ApiResource]:
    """Read an `APIResourceList`, the older form, one for each group version; sub-resources are left out."""
    for resource in document.get("resources") or ():
        if "/" not in resource["name"]:
            yield ApiResource(
                document["groupVersion"],
                resource["name"],
                resource["kind"],
                bool(resource.get("namespaced")),
                tuple(resource.get("shortNames") or ()),
                resource.get("singularName", ""),
            )


def served_kinds(groups: Body) -> tuple[kinds.KindRow, ...]:
    """The kinds of others whose group an `APIGroupList` has, under the version that we know or else the preferred one."""
    served = {one.get("name"): one for one in groups.get("groups") or ()}
    found = []
    for row in kinds.CUSTOM_KINDS:
        group = served.get(row.group)
        if group is not None:
            versions = [version.get("groupVersion") for version in group.get("versions") or ()]
            preferred = (group.get("preferredVersion") or {}).get("groupVersion", row.api_version)
            found.append(row if row.api_version in versions else replace(row, api_version=preferred))
    return tuple(found)


def served_mesh_version(group: Body) -> str | None:
    """The newest version that we know among those of an `APIGroup`; None if there is none."""
    served = {version.get("version") for version in group.get("versions") or ()}
    return next((version for version in MESH_VERSIONS if version in served), None)
