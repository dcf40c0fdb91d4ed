"""The embedded istiod: admission, injection, bootstrap and configuration in one place."""

from __future__ import annotations

from collections.abc import Sequence

from kubectl_egress.lab.istiod.admission import check
from kubectl_egress.lab.istiod.bootstrap import build_bootstrap
from kubectl_egress.lab.istiod.clusters import build_clusters
from kubectl_egress.lab.istiod.injection import injected
from kubectl_egress.lab.istiod.listeners import TABLE_IN_FILE, build_listeners
from kubectl_egress.lab.istiod.routes import build_routes
from kubectl_egress.lab.istiod.visibility import view
from kubectl_egress.lab.istiod.workload import identity_of
from kubectl_egress.lab.parts import Body, ProxyConfiguration


class EmbeddedIstiod:
    """Istio 1.31 for the shapes that the lab models; see `parts.Istiod` for what each method promises."""

    def __init__(
        self,
        *,
        root_namespace: str = "istio-system",
        outbound_mode: str = "ALLOW_ANY",
        directory: str = "/etc/istio/proxy",
        ca_file: str = "/etc/ssl/certs/ca-certificates.crt",
    ) -> None:
        """`outbound_mode`: the mesh's; `directory` and `ca_file`: as a proxy sees them, where rds.json is and the
        bundle that `caCertificates: system` means.
        """
        self._root = root_namespace
        self._outbound_mode = outbound_mode
        self._directory = directory
        self._ca_file = ca_file

    def admit(self, body: Body) -> None:
        """Raise LabRefusal for a mesh object that is not modelled, or that the real istiod refuses."""
        check(body)

    def inject(self, pod: Body, namespace: Body) -> Body:
        """The pod with its sidecar, or as it was.

        Raises LabRefusal for annotations that would change the sidecar in a way that is not modelled.
        """
        return injected(pod, namespace)

    def bootstrap(self, pod: Body, directory: str, *, mark: int | None) -> Body:
        """Envoy's bootstrap; see `build_bootstrap`."""
        return build_bootstrap(pod, directory, mark=mark, ca_file=self._ca_file)

    def configuration(self, pod: Body, objects: Sequence[Body]) -> ProxyConfiguration:
        """Clusters, listeners and the route table of port 80, each with its `@type`.

        A file holds one route table only, so those of other ports stand in their listeners.
        """
        seen = view(pod, objects, root=self._root, outbound_mode=self._outbound_mode)
        tables = build_routes(seen)
        return ProxyConfiguration(
            clusters=build_clusters(seen),
            listeners=build_listeners(seen, identity_of(pod), tables, f"{self._directory}/rds.json"),
            routes=tuple(table for table in tables if table["name"] == TABLE_IN_FILE),
        )
