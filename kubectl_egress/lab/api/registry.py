"""The rules of writing: from a body that somebody sends to the object that is stored, or a refusal."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_egress.lab.api.completion import encode_strings, give_address, select_own_pods
from kubectl_egress.lab.api.defaults import with_defaults
from kubectl_egress.lab.api.immutable import changes_refused
from kubectl_egress.lab.api.resources import BY_PLURAL, MESH_KINDS, Resource
from kubectl_egress.lab.api.shapes import check_shape
from kubectl_egress.lab.api.status import (
    Cause,
    StatusError,
    bad_request,
    conflict,
    conflict_of_deletion,
    denied,
    forbidden,
    invalid,
    invalid_value,
    not_found,
    version_required,
)
from kubectl_egress.lab.api.store import ObjectStore
from kubectl_egress.lab.api.validation import missing, problems
from kubectl_egress.lab.parts import Istiod, LabRefusal, SchemaRefusal

Body = Mapping[str, Any]
Object = dict[str, Any]

SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""The alphabet of generated names (apimachinery/pkg/util/rand)."""

_WEBHOOK = "rev.validation.istio.io"
_INJECTOR = "namespace.sidecar-injector.istio.io"


def random_suffix(length: int = 5) -> str:
    """What generateName appends."""
    return "".join(secrets.choice(SUFFIX_ALPHABET) for _ in range(length))


@dataclass(frozen=True, slots=True)
class Deletion:
    """The options of a delete."""

    grace: int | None = None
    propagation: str = "Background"
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


class Registry:
    """Creates, changes and deletes objects of the store as an API server does: defaults, validation, admission."""

    def __init__(self, store: ObjectStore, istiod: Istiod) -> None:
        self.store = store
        self._istiod = istiod

    def read(self, resource: Resource, namespace: str, name: str) -> Body:
        """The stored object, not a copy.

        Raises StatusError (404).
        """
        found = self.store.peek(resource.plural, namespace, name)
        if found is None:
            raise not_found(resource, name)
        return found

    # ---- create

    def create(self, resource: Resource, namespace: str, body: Body, *, dry_run: bool = False) -> Body:
        """The stored object.

        Raises StatusError: 400, 403, 404 (namespace), 409, 422.
        """
        fresh = self._named(resource, namespace, body)
        home = self._open_namespace(resource, namespace, fresh["metadata"]["name"])
        fresh = self._admitted(resource, fresh, home)
        if dry_run:
            return self._trial(resource, fresh)
        stored = self.store.create(resource.plural, fresh)
        if resource.kind == "Namespace":
            self._furnish(stored["metadata"]["name"])
        return stored

    @staticmethod
    def _named(resource: Resource, namespace: str, body: Body) -> Object:
        fresh: Object = copy.deepcopy(dict(body))
        metadata = fresh.setdefault("metadata", {})
        if not isinstance(metadata, dict):
            check_shape(fresh, resource)
        if metadata.get("resourceVersion"):
            # Of the store, and not of validation: the real server makes a 500 of it.
            raise StatusError(500, "", "resourceVersion should not be set on objects to be created")
        for field in ("uid", "creationTimestamp", "deletionTimestamp", "generation", "selfLink", "managedFields"):
            metadata.pop(field, None)
        metadata.pop("resourceVersion", None)
        if resource.namespaced:
            if metadata.get("namespace", namespace) != namespace:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = namespace
        else:
            metadata.pop("namespace", None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + random_suffix()
        metadata.setdefault("name", "")
        if resource.kind != "Namespace":
            fresh.pop("status", None)
        return fresh

    def _open_namespace(self, resource: Resource, namespace: str, name: str) -> Body:
        """The namespace that takes the object in."""
        if not resource.namespaced:
            return {}
        home = self.store.peek("namespaces", "", namespace)
        if home is None:
            raise not_found(BY_PLURAL["namespaces"], namespace)
        if home["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise forbidden(resource, name, why)
        return home

    def _admitted(self, resource: Resource, body: Object, home: Body) -> Object:
        check_shape(body, resource)
        if causes := missing(body):
            raise invalid(resource, body["metadata"]["name"], causes)
        fresh = with_defaults(body)
        if resource.kind == "Secret":
            encode_strings(fresh)
        if resource.kind == "Service":
            give_address(fresh, {other["spec"].get("clusterIP") for other in self.store.view("services")})
        if resource.kind == "Job":
            select_own_pods(fresh)
        if causes := problems(fresh, resource):
            raise invalid(resource, fresh["metadata"]["name"], causes)
        if resource.kind == "Pod":
            fresh = self._injected(fresh, home)
        self._checked_by_istio(fresh, resource)
        return fresh

    def _injected(self, pod: Object, home: Body) -> Object:
        try:
            injected = dict(self._istiod.inject(pod, home))
        except LabRefusal as refusal:
            raise denied(_INJECTOR, str(refusal)) from refusal
        return with_defaults(injected)

    def _checked_by_istio(self, body: Body, resource: Resource) -> None:
        if body["kind"] not in MESH_KINDS:
            return
        try:
            self._istiod.admit(body)
        except SchemaRefusal as refusal:
            causes = [Cause(cause.field, cause.reason, cause.message) for cause in refusal.causes]
            raise invalid(resource, body["metadata"]["name"], causes) from refusal
        except LabRefusal as refusal:
            raise denied(_WEBHOOK, f"configuration is invalid: {refusal}") from refusal

    def _furnish(self, namespace: str) -> None:
        """What a new namespace has: its default ServiceAccount."""
        account = {"metadata": {"name": "default", "namespace": namespace}}
        self.store.create("serviceaccounts", account)

    def _trial(self, resource: Resource, body: Object) -> Body:
        """What would be stored, for a dry run: in a store that is thrown away."""
        key = body["metadata"].get("namespace", ""), body["metadata"]["name"]
        if self.store.peek(resource.plural, *key) is not None:
            self.store.create(resource.plural, body)  # raises AlreadyExists
        trial: Object = copy.deepcopy(dict(ObjectStore().create(resource.plural, body)))
        del trial["metadata"]["resourceVersion"]
        return trial

    # ---- update

    def update(self, resource: Resource, body: Body, *, subresource: str = "", dry_run: bool = False) -> Body:
        """The stored object; `subresource` is empty or `status`.

        Raises StatusError: 400, 404, 409, 422.
        """
        metadata = body["metadata"]
        old = self.read(resource, metadata.get("namespace", ""), metadata["name"])
        check_shape(body, resource)
        fresh = self._merged(resource, old, body, subresource)
        if metadata.get("uid") not in (None, "", old["metadata"]["uid"]):
            raise invalid(
                resource, metadata["name"], [invalid_value("metadata.uid", metadata["uid"], "field is immutable")]
            )
        if resource.kind in MESH_KINDS and not metadata.get("resourceVersion"):
            raise version_required(resource, metadata["name"])
        if not subresource:
            if causes := missing(fresh) or changes_refused(old, fresh, resource) or problems(fresh, resource):
                raise invalid(resource, metadata["name"], causes)
            if fresh.get("spec") != old.get("spec"):
                self._checked_by_istio(fresh, resource)
        if dry_run:
            return self._trial_update(resource, old, fresh)
        return self.store.update(resource.plural, fresh)

    @staticmethod
    def _merged(resource: Resource, old: Body, body: Body, subresource: str) -> Object:
        """The new object: of the old one what the request may not change."""
        metadata = {key: value for key, value in body["metadata"].items() if key not in ("managedFields", "selfLink")}
        if subresource == "status":
            kept = {**old["metadata"], "resourceVersion": metadata.get("resourceVersion", "")}
            return {**old, "metadata": kept, "status": copy.deepcopy(body.get("status") or {})}
        fresh: Object = {**copy.deepcopy(dict(body)), "metadata": metadata}
        fresh["apiVersion"] = old["apiVersion"]
        if "status" in resource.subresources:
            fresh.pop("status", None)
            if "status" in old:
                fresh["status"] = old["status"]
        if missing(fresh):
            return fresh
        phase = {"status": fresh["status"]} if "status" in fresh else {}
        spec = {"spec": old["spec"]} if resource.kind == "Namespace" else {}
        fresh = {**with_defaults(fresh), **phase, **spec}
        if resource.kind == "Secret":
            encode_strings(fresh)
        if resource.kind == "Service" and not fresh["spec"].get("clusterIP"):
            fresh["spec"] = {**{key: old["spec"][key] for key in _ADDRESSES if key in old["spec"]}, **fresh["spec"]}
        return fresh

    def _trial_update(self, resource: Resource, old: Body, fresh: Object) -> Body:
        wanted = fresh["metadata"].get("resourceVersion")
        if wanted not in (None, "", old["metadata"]["resourceVersion"]):
            raise conflict(resource, fresh["metadata"]["name"])
        trial = copy.deepcopy(fresh)
        kept = old["metadata"]
        for field in ("uid", "creationTimestamp", "resourceVersion", "generation", "deletionTimestamp"):
            if field in kept:
                trial["metadata"][field] = kept[field]
        if resource.generation and trial.get("spec") != old.get("spec"):
            trial["metadata"]["generation"] += 1
        return trial

    def change(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        edit: Callable[[Object], Body],
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Body:
        """Read, edit a copy, update: what a patch is. Nothing comes between, since nothing here waits."""
        current = self.read(resource, namespace, name)
        edited: Object = dict(edit(copy.deepcopy(dict(current))))
        if not isinstance(edited.get("metadata"), dict):
            raise bad_request("the patched object has no metadata")
        check_identity(resource, edited, namespace, name)
        return self.update(resource, edited, subresource=subresource, dry_run=dry_run)

    # ---- delete

    def delete(self, resource: Resource, namespace: str, name: str, options: Deletion) -> Body:
        """What was deleted, as it is now.

        Raises StatusError: 403 (a namespace that has to stay), 404, 409 (preconditions).
        """
        current = self.read(resource, namespace, name)
        metadata = current["metadata"]
        for what, wanted, found in (
            ("UID", options.uid, metadata["uid"]),
            ("ResourceVersion", options.resource_version, metadata["resourceVersion"]),
        ):
            if wanted and wanted != found:
                raise conflict_of_deletion(resource, name, what, wanted, found)
        if resource.kind == "Namespace" and name in ("default", "kube-system", "kube-public"):
            raise forbidden(resource, name, "this namespace may not be deleted")
        if not options.dry_run:
            self._take(resource, namespace, name, options, current)
        return self.store.peek(resource.plural, namespace, name) or current

    def _take(self, resource: Resource, namespace: str, name: str, options: Deletion, current: Body) -> None:
        if options.propagation == "Orphan":
            self._orphan(current["metadata"]["uid"])
        if resource.kind == "Namespace":
            self.store.mark_terminating("namespaces", "", name, {"status": {"phase": "Terminating"}})
        elif options.propagation == "Foreground" and resource.kind != "Pod":
            finalizers = [*(current["metadata"].get("finalizers") or []), "foregroundDeletion"]
            self.store.mark_terminating(resource.plural, namespace, name, {"metadata": {"finalizers": finalizers}})
        else:
            self.store.delete(resource.plural, namespace, name, grace=options.grace)

    def _orphan(self, uid: str) -> None:
        """Take an owner out of everything that it owns."""
        for plural in BY_PLURAL:
            for body in self.store.view(plural):
                owners = body["metadata"].get("ownerReferences") or []
                left = [owner for owner in owners if owner["uid"] != uid]
                if len(left) != len(owners):
                    self.store.update(plural, {**body, "metadata": {**body["metadata"], "ownerReferences": left}})


_ADDRESSES = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


def check_identity(resource: Resource, body: Body, namespace: str, name: str) -> None:
    """Refuse a body that is not of the object that the path names.

    Raises StatusError (400).
    """
    metadata = body["metadata"]
    found = metadata.get("name", "")
    if found != name:
        raise bad_request(f"the name of the object ({found}) does not match the name on the URL ({name})")
    if resource.namespaced and metadata.get("namespace", namespace) != namespace:
        raise bad_request("the namespace of the object does not match the namespace on the request")
