"""What the server says about itself: groups, versions, resources, and as much OpenAPI as kubectl asks for."""

from __future__ import annotations

from typing import Any

from kubectl_egress.lab.api.resources import RESOURCES, Resource, groups, of_group

Object = dict[str, Any]

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

VERSION = {
    "major": "1",
    "minor": "31",
    "gitVersion": "v1.31.0-kubectl-egress-lab",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}

_SUBRESOURCE_VERBS = {
    "status": ("get", "patch", "update"),
    "scale": ("get", "patch", "update"),
    "log": ("get",),
    "exec": ("create", "get"),
    "portforward": ("create", "get"),
}
_SUBRESOURCE_KINDS = {"exec": "PodExecOptions", "portforward": "PodPortForwardOptions", "scale": "Scale"}


def api_versions(address: str) -> Object:
    """`/api`."""
    client = {"clientCIDR": "0.0.0.0/0", "serverAddress": address}
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [client]}


def _group(name: str, versions: tuple[str, ...]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list() -> Object:
    """`/apis`."""
    listed = [_group(name, versions) for name, versions in groups().items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def group(name: str) -> Object | None:
    """`/apis/GROUP`, or None."""
    versions = groups().get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def resource_list(name: str, version: str) -> Object | None:
    """`/api/v1` and `/apis/GROUP/VERSION`, or None."""
    rows = of_group(name, version)
    if not rows:
        return None
    listed = [entry for row in rows for entry in (_resource(row), *_subresources(row))]
    group_version = rows[0].api_version(version)
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


def _resource(row: Resource) -> Object:
    entry: Object = {
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": list(row.verbs),
    }
    if row.short:
        entry["shortNames"] = list(row.short)
    if row.categories:
        entry["categories"] = list(row.categories)
    return entry


def _subresources(row: Resource) -> list[Object]:
    return [
        {
            "name": f"{row.plural}/{name}",
            "singularName": "",
            "namespaced": row.namespaced,
            "kind": _SUBRESOURCE_KINDS.get(name, row.kind),
            "verbs": list(_SUBRESOURCE_VERBS[name]),
            **({"group": "autoscaling", "version": "v1"} if name == "scale" else {}),
        }
        for name in row.subresources
    ]


def aggregated(names: list[str]) -> Object:
    """Aggregated discovery (apidiscovery.k8s.io/v2) of groups; the core group is ``""``."""
    known = {"": ("v1",), **groups()}
    items = [
        {
            "metadata": {"name": name} if name else {},
            "versions": [
                {
                    "version": version,
                    "resources": [_discovered(row, version) for row in of_group(name, version)],
                    "freshness": "Current",
                }
                for version in known[name]
            ],
        }
        for name in names
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _discovered(row: Resource, version: str) -> Object:
    subresources = [
        {
            "subresource": entry["name"].partition("/")[2],
            "responseKind": {
                "group": entry.get("group", row.group),
                "version": entry.get("version", version),
                "kind": entry["kind"],
            },
            "verbs": entry["verbs"],
        }
        for entry in _subresources(row)
    ]
    entry = {
        "resource": row.plural,
        "responseKind": {"group": row.group, "version": version, "kind": row.kind},
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": list(row.verbs),
        "shortNames": list(row.short),
        "categories": list(row.categories),
        "subresources": subresources,
    }
    return {key: value for key, value in entry.items() if value not in ([], "")}


# ---- OpenAPI --------------------------------------------------------------------------------------------------------


def _prefix(name: str, version: str) -> str:
    return f"apis/{name}/{version}" if name else f"api/{version}"


def openapi_index() -> Object:
    """`/openapi/v3`."""
    every = {(row.group, version) for row in RESOURCES for version in row.versions}
    prefixes = sorted(_prefix(name, version) for name, version in every)
    return {"paths": {prefix: {"serverRelativeURL": f"/openapi/v3/{prefix}?hash=lab"} for prefix in prefixes}}


def openapi(prefix: str) -> Object | None:
    """`/openapi/v3/PREFIX`, or None: no schemas, but that every patch takes `fieldValidation`.

    kubectl looks for that (kubectl/pkg/util/openapi query parameter verifier) and then leaves validation to the server.
    """
    paths = {
        path: {"patch": _patch_operation(row, version)}
        for row in RESOURCES
        for version in row.versions
        if _prefix(row.group, version) == prefix
        for path in (_object_path(row, version),)
    }
    if not paths:
        return None
    return {"openapi": "3.0.0", "info": {"title": "kubectl-egress lab", "version": "v1"}, "paths": paths}


def openapi_v2() -> Object:
    """`/openapi/v2`, for clients that know no v3."""
    paths = {
        _object_path(row, version): {"patch": _patch_operation(row, version)}
        for row in RESOURCES
        for version in row.versions
    }
    return {"swagger": "2.0", "info": {"title": "kubectl-egress lab", "version": "v1"}, "paths": paths}


def _object_path(row: Resource, version: str) -> str:
    namespace = "/namespaces/{namespace}" if row.namespaced else ""
    return f"/{_prefix(row.group, version)}{namespace}/{row.plural}/{{name}}"


def _patch_operation(row: Resource, version: str) -> Object:
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string"}}
        for name in ("dryRun", "fieldValidation", "fieldManager")
    ]
    return {
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": {"group": row.group, "version": version, "kind": row.kind},
    }
