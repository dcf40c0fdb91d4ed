"""The resources that the lab's API server serves: one row each."""

from __future__ import annotations

from dataclasses import dataclass

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Resource:
    """A row of discovery, and what the server has to know about the resource to serve it."""

    plural: str
    kind: str
    group: str
    versions: tuple[str, ...] = ("v1",)
    """The first is the one in which objects are stored; the others differ in `apiVersion` alone."""
    short: tuple[str, ...] = ()
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    generation: bool = False
    """Whether `metadata.generation` counts the changes of its spec."""
    verbs: tuple[str, ...] = ALL_VERBS

    @property
    def singular(self) -> str:
        """The name for one: the kind in lower case, for every resource here."""
        return self.kind.lower()

    @property
    def qualified(self) -> str:
        """`deployments.apps`, `pods`: how the server names it in its messages."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def api_version(self, version: str = "") -> str:
        """`apps/v1`, `v1`; the stored version unless told."""
        version = version or self.versions[0]
        return f"{self.group}/{version}" if self.group else version


_EVERYWHERE = ("all",)
_STATUS = ("status",)
_SCALED = ("scale", "status")
_MESH = "networking.istio.io"
_MESH_VERSIONS = ("v1", "v1beta1", "v1alpha3")
_MESH_CATEGORIES = ("istio-io", "networking-istio-io")


def _workload(plural: str, kind: str, group: str, short: tuple[str, ...], subresources: tuple[str, ...]) -> Resource:
    return Resource(plural, kind, group, ("v1",), short, True, subresources, _EVERYWHERE, generation=True)


def _mesh(plural: str, kind: str, short: tuple[str, ...]) -> Resource:
    return Resource(plural, kind, _MESH, _MESH_VERSIONS, short, True, _STATUS, _MESH_CATEGORIES, generation=True)


RESOURCES: tuple[Resource, ...] = (
    Resource("namespaces", "Namespace", "", short=("ns",), namespaced=False, subresources=_STATUS),
    Resource("nodes", "Node", "", short=("no",), namespaced=False, subresources=_STATUS),
    Resource(
        "pods",
        "Pod",
        "",
        short=("po",),
        subresources=("exec", "log", "portforward", "status"),
        categories=_EVERYWHERE,
    ),
    Resource("configmaps", "ConfigMap", "", short=("cm",)),
    Resource("secrets", "Secret", ""),
    Resource("services", "Service", "", short=("svc",), subresources=_STATUS, categories=_EVERYWHERE),
    Resource("serviceaccounts", "ServiceAccount", "", short=("sa",)),
    Resource("events", "Event", "", short=("ev",)),
    _workload("deployments", "Deployment", "apps", ("deploy",), _SCALED),
    _workload("replicasets", "ReplicaSet", "apps", ("rs",), _SCALED),
    _workload("statefulsets", "StatefulSet", "apps", ("sts",), _SCALED),
    _workload("daemonsets", "DaemonSet", "apps", ("ds",), _STATUS),
    Resource("controllerrevisions", "ControllerRevision", "apps"),
    _workload("jobs", "Job", "batch", (), _STATUS),
    _workload("cronjobs", "CronJob", "batch", ("cj",), _STATUS),
    Resource("networkpolicies", "NetworkPolicy", "networking.k8s.io", short=("netpol",), generation=True),
    _mesh("serviceentries", "ServiceEntry", ("se",)),
    _mesh("destinationrules", "DestinationRule", ("dr",)),
    _mesh("virtualservices", "VirtualService", ("vs",)),
    _mesh("sidecars", "Sidecar", ()),
    Resource(
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        "authorization.k8s.io",
        namespaced=False,
        verbs=("create",),
    ),
)

BY_PLURAL = {resource.plural: resource for resource in RESOURCES}
MESH_KINDS = frozenset(resource.kind for resource in RESOURCES if resource.group == _MESH)


def find(group: str, version: str, plural: str) -> Resource | None:
    """The resource of a path, or None."""
    resource = BY_PLURAL.get(plural)
    return resource if resource and resource.group == group and version in resource.versions else None


def groups() -> dict[str, tuple[str, ...]]:
    """Every named group with its versions, the preferred one first."""
    return {resource.group: resource.versions for resource in RESOURCES if resource.group}


def of_group(group: str, version: str) -> list[Resource]:
    """The resources of one group and version."""
    return [resource for resource in RESOURCES if resource.group == group and version in resource.versions]
