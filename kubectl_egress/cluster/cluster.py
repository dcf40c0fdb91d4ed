"""One cluster, asked as one user: raw JSON in and out, refusals as errors."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kubectl_egress import kinds, paths
from kubectl_egress.cluster import resources
from kubectl_egress.cluster.discovery import custom_kinds, discovered
from kubectl_egress.cluster.resources import ApiResource
from kubectl_egress.errors import ApiError, ForbiddenError, NotFoundError
from kubectl_egress.kinds import KindRow
from kubectl_egress.model import Body, PatchOperation, Ref

if TYPE_CHECKING:
    # The client takes 0.3 s to import.
    from kubectl_egress.cluster.transport import Transport

# Names, labels, owners; a server that cannot do it sends whole objects, which have these too.
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


class Cluster:
    """Reads and writes of one API server; any thread may use it. Every method raises ApiError and UnreachableError."""

    def __init__(self, transport: Transport, namespace: str, *, field_manager: str = "kubectl-egress") -> None:
        """`namespace` is the current one: the flag's, the context's or `default`."""
        self.transport = transport
        self.namespace = namespace
        self.field_manager = field_manager
        self._lock = threading.Lock()
        self._mesh_version: str | None = None
        self._discovered: tuple[ApiResource, ...] | None = None
        self._custom_kinds: tuple[KindRow, ...] | None = None

    def close(self) -> None:
        """Give all connections back."""
        self.transport.close()

    def version(self) -> str:
        """The API server's version: `v1.36.3`."""
        return str(self.transport.json("GET", "/version").get("gitVersion", ""))

    # ---- reads ---------------------------------------------------------------------------------------------------

    def get(self, ref: Ref) -> Body:
        """The object; NotFoundError if it is not there."""
        resource = self.resource_of(ref.kind, ref.api_version)
        return self.transport.json("GET", resource.path(ref.namespace, ref.name))

    def list(
        self,
        api_version: str,
        plural: str,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
        metadata_only: bool = False,
    ) -> Iterator[Body]:
        """The objects of a type, as `pages` has them."""
        for page in self.pages(
            api_version,
            plural,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
            metadata_only=metadata_only,
        ):
            yield from page

    def pages(
        self,
        api_version: str,
        plural: str,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
        metadata_only: bool = False,
        anew: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[Body, ...]]:
        """The objects of a type, in pages of `limit`, each with apiVersion and kind.

        `namespace` None: all. `metadata_only` asks for names, labels and owners alone. Where the server has
        forgotten the list in the middle of its pages (410 Gone), it is begun anew, once, without objects twice;
        `anew` is told so.
        """
        path = ApiResource(api_version, plural, "").path(namespace or "")
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        query = {"limit": str(limit)} | {key: value for key, value in selectors.items() if value}
        given: set[str] = set()
        token, again = "", True
        while True:
            try:
                page = self._page(path, query | ({"continue": token} if token else {}), metadata_only)
            except ApiError as error:
                if error.status != 410 or not token or not again:
                    raise
                token, again = "", False
                anew()
                continue
            kind = str(page.get("kind", "")).removesuffix("List")
            items = [(item.get("metadata", {}).get("uid", ""), item) for item in page.get("items") or ()]
            token = page.get("metadata", {}).get("continue") or ""
            head = {} if metadata_only else {"apiVersion": page.get("apiVersion"), "kind": kind}
            yield tuple(head | item if head else item for uid, item in items if uid not in given or not uid)
            if not token:
                return
            given.update(uid for uid, _ in items)

    def _page(self, path: str, query: dict[str, str], metadata_only: bool) -> Body:
        return self.transport.json("GET", path, query, accept=_METADATA if metadata_only else "application/json")

    def watch(
        self,
        api_version: str,
        plural: str,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        timeout: float = 60.0,
    ) -> Iterator[tuple[str, Body]]:
        """Changes as (ADDED, MODIFIED or DELETED; object) for about `timeout` seconds, or until the server ends it.

        Without `resource_version` it begins with an ADDED for everything that is there. ApiError with status 410
        where the server has forgotten the version: begin anew without it.
        """
        query = {
            "watch": "true",
            "timeoutSeconds": str(max(1, int(timeout))),
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "resourceVersion": resource_version,
        }
        path = ApiResource(api_version, plural, "").path(namespace or "")
        chosen = {key: value for key, value in query.items() if value}
        with self.transport.lines(path, chosen, timeout) as lines:
            for line in lines:
                event = _event(line)
                if event is None:
                    return
                if event[0] == "ERROR":
                    raise _watch_error(event[1])
                if event[0] != "BOOKMARK":
                    yield event

    # ---- writes --------------------------------------------------------------------------------------------------

    def create(self, body: Body, *, dry_run: bool = False) -> Body:
        """Create the object and return it as the server has it; ConflictError if it is there already.

        An Istio object goes under the version that the cluster serves.
        """
        metadata = body.get("metadata", {})
        resource = self.resource_of(str(body.get("kind", "")), str(body.get("apiVersion", "")))
        query = self._write_query(dry_run) | {"fieldValidation": "Strict"}
        path = resource.path(str(metadata.get("namespace") or self.namespace))
        return self.transport.json("POST", path, query, body={**body, "apiVersion": resource.api_version})

    def patch(self, ref: Ref, operations: Sequence[PatchOperation], *, dry_run: bool = False) -> Body:
        """Apply a JSON patch and return the object as it is then.

        InvalidError if a `test` fails or the new object is refused; then nothing of it is done.
        """
        resource = self.resource_of(ref.kind, ref.api_version)
        path = resource.path(ref.namespace, ref.name)
        return self.transport.json(
            "PATCH",
            path,
            self._write_query(dry_run),
            body=[_operation(operation) for operation in operations],
            content_type="application/json-patch+json",
        )

    def delete(
        self, ref: Ref, *, uid: str, dry_run: bool = False, grace_seconds: int | None = None, propagation: str = ""
    ) -> Body:
        """Delete the object if it is still the one with this uid; ConflictError if another has its name.

        `propagation`: `Foreground`, `Background` or `Orphan`; the type's own default if empty.
        """
        resource = self.resource_of(ref.kind, ref.api_version)
        # All in the body: beside a body, the API server ignores the query.
        options: dict[str, object] = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        if dry_run:
            options["dryRun"] = ["All"]
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if propagation:
            options["propagationPolicy"] = propagation
        return self.transport.json("DELETE", resource.path(ref.namespace, ref.name), body=options)

    def _write_query(self, dry_run: bool) -> dict[str, str]:
        return {"fieldManager": self.field_manager} | ({"dryRun": "All"} if dry_run else {})

    # ---- resource types ------------------------------------------------------------------------------------------

    def resource(self, word: str) -> ApiResource:
        """What kubectl's TYPE means here; NotFoundError in kubectl's words if the cluster has no such type."""
        known = resources.find(resources.BUILT_IN, word)
        found = known or resources.find(self._discover(), word)
        if found is None:
            raise NotFoundError(
                f'the server doesn\'t have a resource type "{word}"',
                "kubectl api-resources lists what it has",
                status=404,
                reason="NotFound",
            )
        return found

    def resource_of(self, kind: str, api_version: str = "") -> ApiResource:
        """The resource of a kind; for Istio's kinds under the version that is served, whichever is asked for."""
        known = resources.of_kind(resources.BUILT_IN, kind, api_version)
        if known is not None:
            return known
        row = kinds.row(kind, api_version)
        if row is not None and (kind != "Service" or api_version):
            return resources.of_row(replace(row, api_version=api_version or row.api_version))
        mesh = resources.of_kind(resources.mesh_resources("v1"), kind, "")
        if mesh is not None and (not api_version or resources.is_mesh(api_version)):
            return next(resource for resource in self.mesh_resources() if resource.kind == kind)
        found = resources.of_kind(self._discover(), kind, api_version)
        if found is None:
            where = f' in version "{api_version}"' if api_version else ""
            raise NotFoundError(
                f'no matches for kind "{kind}"{where}',
                "kubectl api-resources lists what the cluster has",
                status=404,
                reason="NotFound",
            )
        return found

    def custom_kinds(self) -> tuple[KindRow, ...]:
        """The kinds of others that make pods and that this cluster serves; one request, and none the second time."""
        with self._lock:
            if self._custom_kinds is None:
                self._custom_kinds = custom_kinds(self.transport)
            return self._custom_kinds

    def mesh_resources(self) -> tuple[ApiResource, ...]:
        """ServiceEntry, DestinationRule, VirtualService, Sidecar, EnvoyFilter as this cluster serves them.

        NotFoundError if Istio's resource definitions are not installed.
        """
        with self._lock:
            if self._mesh_version is None:
                self._mesh_version = self._served_mesh_version()
            return resources.mesh_resources(self._mesh_version)

    def _served_mesh_version(self) -> str:
        try:
            group = self.transport.json("GET", f"/apis/{resources.MESH_GROUP}")
        except ForbiddenError as error:
            if error.status == 401:
                raise
            # Who may not ask for discovery may still read the objects; every supported Istio serves v1beta1.
            return "v1beta1"
        except NotFoundError:
            group = {}
        version = resources.served_mesh_version(group)
        if version is None:
            raise NotFoundError(
                f"Istio is not installed: the server doesn't have the API group {resources.MESH_GROUP}",
                "install Istio, or choose a cluster that has it: kubectl config get-contexts",
                status=404,
                reason="NotFound",
            )
        return version

    def _discover(self) -> tuple[ApiResource, ...]:
        """All resource types, asked once."""
        with self._lock:
            if self._discovered is None:
                self._discovered = (*discovered(self.transport, "/api"), *discovered(self.transport, "/apis"))
            return self._discovered


def _operation(operation: PatchOperation) -> Body:
    """One operation as RFC 6902 has it."""
    address = {"op": operation.op, "path": paths.json_pointer(operation.steps)}
    return address if operation.op == "remove" else {**address, "value": operation.value}


def _event(line: bytes) -> tuple[str, Body] | None:
    """One line of a watch; None for a line that was cut off, which ends it."""
    if not line.strip():
        return "BOOKMARK", {}
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return str(event.get("type", "")), event.get("object") or {}


def _watch_error(status: Body) -> ApiError:
    """The error that a watch ends with."""
    code = int(status.get("code") or 0)
    return ApiError(
        str(status.get("message", "")), "run the command again", status=code, reason=str(status.get("reason", ""))
    )
