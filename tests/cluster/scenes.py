"""Scenes on a cluster that goes on after them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

from kubectl_egress.cluster import Cluster
from kubectl_egress.errors import ConflictError, NotFoundError
from kubectl_egress.lab.client import Lab
from kubectl_egress.model import Ref
from tests.scene import NAMESPACE, Scene, until

# What makes pods, owners before what they own.
OWNERS = ("batch/v1/cronjobs", "batch/v1/jobs", "apps/v1/deployments", "apps/v1/statefulsets", "apps/v1/daemonsets",
          "apps/v1/replicasets")  # fmt: skip
AT_ONCE = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Background"}
LONGEST_END = 60.0
_numbers = itertools.count(1)


@contextlib.contextmanager
def scene_of(lab: Lab, namespace: str = "") -> Iterator[Scene]:
    """A namespace with sidecars, which takes all that is in it along when it goes: a cluster outlives its tests.

    Without a name, one that nobody had before; a name that the test cannot do without may have to wait for its turn.
    """
    name = namespace or f"{NAMESPACE}-{next(_numbers)}"

    def begun() -> Scene | None:
        # Of that name there is one that is still going.
        with contextlib.suppress(ConflictError):
            return Scene(lab, name)
        return None

    made = until(begun, f"the name {name} is free", LONGEST_END)
    assert made is not None, "until returns what counts as true"
    with made as found:
        try:
            yield found
        finally:
            remove(found.cluster, found.namespace)


def remove(cluster: Cluster, namespace: str) -> None:
    """Silence a namespace and ask for it to go.

    First the pods, without grace, then the mesh objects, of which other namespaces may see some. That the namespace itself
    is gone takes the controller five seconds at the least, for which nobody waits.
    """
    for owner in OWNERS:
        group, _, plural = owner.rpartition("/")
        _delete_all(cluster, f"/apis/{group}/namespaces/{namespace}/{plural}")

    def silent() -> bool:
        _delete_all(cluster, f"/api/v1/namespaces/{namespace}/pods")
        return not list(cluster.list("v1", "pods", namespace, metadata_only=True))

    until(silent, f"the pods of {namespace} are gone", LONGEST_END)
    for resource in cluster.mesh_resources():
        with contextlib.suppress(NotFoundError):
            _delete_all(cluster, resource.path(namespace))
    ref = Ref("Namespace", "", namespace, "v1")
    cluster.delete(ref, uid=cluster.get(ref)["metadata"]["uid"])


def _delete_all(cluster: Cluster, path: str) -> None:
    cluster.transport.json("DELETE", path, body=AT_ONCE)
