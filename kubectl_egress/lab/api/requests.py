"""What a request asks for: path, verb, and the form in which it wants its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_egress.lab.api.access import Attributes
from kubectl_egress.lab.api.registry import Deletion
from kubectl_egress.lab.api.resources import Resource, find
from kubectl_egress.lab.api.status import bad_request, method_not_allowed, no_such_path, not_in_the_lab
from kubectl_egress.lab.api.tables import partial, table

Body = Mapping[str, Any]
Query = Mapping[str, str]

_NUMBER = re.compile(r"[+-]?[0-9]+")
_PATH = re.compile(r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>v[^/]+)/(?P<rest>.+?)/?")


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names: a collection, an object, or a subresource of an object."""

    resource: Resource
    version: str
    namespace: str = ""
    """Empty: all of them, or a cluster's scope."""
    name: str = ""
    subresource: str = ""

    def attributes(self, verb: str) -> Attributes:
        """What authorization decides on."""
        namespace = self.namespace or (self.name if self.resource.plural == "namespaces" else "")
        return Attributes(verb, self.resource, self.subresource, namespace, self.name)

    def served(self, body: Body) -> dict[str, Any]:
        """The object in the version that was asked for."""
        return {**body, "apiVersion": self.resource.api_version(self.version)}


def target(path: str) -> Target:
    """The target of a path below /api or /apis.

    Raises StatusError (404) for what is not there.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise no_such_path()
    parts, namespace = match["rest"].split("/"), ""
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in ("status", "finalize"):
        namespace, parts = parts[1], parts[2:]
    resource = find(match["group"] or "", match["version"], parts[0])
    if resource is None or len(parts) > 3 or (namespace and not resource.namespaced):
        raise no_such_path()
    name, subresource = (*parts[1:], "", "")[:2]
    if subresource and subresource not in resource.subresources:
        raise not_in_the_lab(f"{resource.qualified}/{subresource}")
    if name and resource.namespaced and not namespace:
        raise no_such_path()
    return Target(resource, match["version"], namespace, name, subresource)


_VERBS = {"PUT": "update", "PATCH": "patch"}


def verb(method: str, aim: Target, query: Query) -> str:
    """The verb of a request, as authorization names it.

    Raises StatusError (405).
    """
    if method in ("GET", "HEAD"):
        word = "get" if aim.name else "watch" if truth(query.get("watch")) else "list"
    elif method == "POST":
        word = "create"
    elif method == "DELETE":
        word = "delete" if aim.name else "deletecollection"
    else:
        word = _VERBS.get(method, method.lower())
    fits = bool(aim.name) == (word in ("get", "update", "patch", "delete") or bool(aim.subresource))
    homeless = aim.resource.namespaced and not aim.namespace and word in ("create", "deletecollection")
    if not fits or homeless or word not in aim.resource.verbs:
        raise method_not_allowed(aim.resource)
    return word


def truth(text: str | None) -> bool:
    """A boolean of a query string."""
    return text in ("true", "1", "True")


def dry_run(query: Query, body: Body | None = None) -> bool:
    """Whether nothing is to be stored.

    Raises StatusError (400) for a value other than All.
    """
    values = {query.get("dryRun", "")} | set((body or {}).get("dryRun") or [])
    if values - {"", "All"}:
        raise bad_request(f"invalid dry run value {sorted(values - {'', 'All'})}: only All is supported")
    return "All" in values


def strict(query: Query) -> bool:
    """Whether unknown fields are to be refused.

    Raises StatusError (400) for a value that there is not.
    """
    value = query.get("fieldValidation", "")
    if value not in ("", "Ignore", "Warn", "Strict"):
        raise bad_request(
            f'fieldValidation: Unsupported value: "{value}": supported values: "Ignore", "Strict", "Warn"'
        )
    return value == "Strict"


def number(query: Query, name: str, *, lowest: int | None = 0) -> int | None:
    """A whole number of a query string.

    Raises StatusError (400).
    """
    text = query.get(name, "")
    if not text:
        return None
    if not _NUMBER.fullmatch(text):
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    value = int(text)
    if lowest is not None and value < lowest:
        raise bad_request(f"{name}: must be greater than or equal to {lowest}")
    return value


def parsed(content: bytes) -> Any:
    """The JSON of a body.

    Raises StatusError (400).
    """
    try:
        return json.loads(content)
    except ValueError as error:
        raise bad_request(f"the request body is not JSON: {error}") from error


def written(content: bytes, aim: Target) -> dict[str, Any]:
    """The object of a create or a replace, in its stored version.

    Raises StatusError (400) for what is of another kind or version than the path.
    """
    body = parsed(content)
    if not isinstance(body, dict):
        raise bad_request("the request body is not an object")
    kind, version = body.get("kind", aim.resource.kind), body.get("apiVersion", aim.resource.api_version(aim.version))
    expected = aim.resource.api_version(aim.version)
    if version != expected:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({expected})"
        )
    if kind != aim.resource.kind:
        raise bad_request(f'{kind} in version "{version}" cannot be handled as a {aim.resource.kind}')
    if not isinstance(body.setdefault("metadata", {}), dict):
        raise bad_request("metadata is not an object")
    return {**body, "kind": aim.resource.kind, "apiVersion": aim.resource.api_version()}


def deletion(content: bytes, query: Query) -> Deletion:
    """The options of a delete, from its body (DeleteOptions) and its query.

    Raises StatusError (400).
    """
    body = parsed(content) if content.strip() else {}
    if not isinstance(body, dict):
        raise bad_request("DeleteOptions is not an object")
    grace = body.get("gracePeriodSeconds", number(query, "gracePeriodSeconds"))
    preconditions = body.get("preconditions") or {}
    orphan = body.get("orphanDependents", truth(query.get("orphanDependents")))
    propagation = (
        body.get("propagationPolicy") or query.get("propagationPolicy") or ("Orphan" if orphan else "Background")
    )
    if propagation not in ("Background", "Foreground", "Orphan"):
        raise bad_request(f"propagationPolicy {propagation!r}: Background, Foreground or Orphan is needed")
    return Deletion(
        grace=grace,
        propagation=propagation,
        uid=preconditions.get("uid", ""),
        resource_version=preconditions.get("resourceVersion", ""),
        dry_run=dry_run(query, body),
    )


# ---- the form of an answer ------------------------------------------------------------------------------------------

PLAIN, TABLE, METADATA = "plain", "Table", "PartialObjectMetadata"


@dataclass(frozen=True, slots=True)
class Form:
    """How objects are to be written: plain, as a Table, or their metadata alone."""

    kind: str = PLAIN
    include: str = "Metadata"

    def one(self, aim: Target, body: Body) -> dict[str, Any]:
        """One object."""
        served = aim.served(body)
        if self.kind == TABLE:
            metadata = {"resourceVersion": body["metadata"].get("resourceVersion", "")}
            return table(aim.resource, [served], metadata, self.include)
        return partial(served) if self.kind == METADATA else served

    def many(self, aim: Target, bodies: list[Body], metadata: Body) -> dict[str, Any]:
        """A list."""
        served = [aim.served(body) for body in bodies]
        if self.kind == TABLE:
            return table(aim.resource, served, metadata, self.include)
        kind, version = f"{aim.resource.kind}List", aim.resource.api_version(aim.version)
        if self.kind == METADATA:
            items = [partial(body) for body in served]
            kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        elif "." in aim.resource.group:
            # A list of custom resources is a map to the real server: sorted, with what a struct leaves out.
            head = dict(sorted({"continue": "", **metadata}.items()))
            return {"apiVersion": version, "items": served, "kind": kind, "metadata": head}
        else:
            items = [_bare(body) for body in served]
        return {"kind": kind, "apiVersion": version, "metadata": dict(metadata), "items": items}


def _bare(body: Body) -> dict[str, Any]:
    """An item of a list of built-in objects says neither its kind nor its version; a custom resource does."""
    return {key: value for key, value in body.items() if key not in ("kind", "apiVersion")}


def form(accept: str, query: Query) -> Form:
    """The first form of an Accept header that is served; plain JSON if none is."""
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        wanted = dict(piece.partition("=")[::2] for piece in parameters)
        if media not in ("application/json", "*/*", "application/*"):
            continue
        kind = wanted.get("as", "").removesuffix("List")
        if kind in (TABLE, METADATA) and wanted.get("v") == "v1" and wanted.get("g") == "meta.k8s.io":
            return Form(kind, query.get("includeObject", "Metadata"))
        if not kind:
            break
    return Form()
