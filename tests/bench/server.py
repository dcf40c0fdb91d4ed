"""An API server of a process of its own that serves a large cluster's lists from memory, page by page, to any client."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web

from tests.bench import world
from tests.fake_api import write_kubeconfig

LIMITS = (500, 250, 100)
"""The sizes of pages that clients ask for; kubectl's `--chunk-size` is the first."""

Pages = Mapping[tuple[int, int], bytes]
"""By size and number, from 0."""


def encoded(kind: str, api_version: str, items: Iterable[world.Object]) -> Pages:
    """The pages of a list, compressed as the API server does for who asks."""
    every = list(items)
    found = {}
    for limit in LIMITS:
        for start in range(0, max(len(every), 1), limit):
            number, rest = start // limit, max(0, len(every) - start - limit)
            after = {"continue": str(number + 1), "remainingItemCount": rest} if rest else {}
            page = {
                "kind": f"{kind}List",
                "apiVersion": api_version,
                "metadata": {"resourceVersion": "1", **after},
                "items": every[start : start + limit],
            }
            found[limit, number] = gzip.compress(json.dumps(page).encode(), 1)
    return found


def alone(body: world.Object) -> Pages:
    """One object, whatever the size."""
    data = gzip.compress(json.dumps(body).encode(), 1)
    return {(limit, 0): data for limit in LIMITS}


def lists(deployments: int) -> dict[str, Pages]:
    """Every list of the cluster by its path."""
    numbers = range(deployments)
    spaces = -(-deployments // world.PER_NAMESPACE)
    found = {
        "/apis/apps/v1/deployments": encoded("Deployment", "apps/v1", map(world.deployment, numbers)),
        "/api/v1/pods": encoded("Pod", "v1", _each(world.pods, numbers)),
        "/api/v1/configmaps": encoded("ConfigMap", "v1", map(world.config_map, numbers)),
        "/api/v1/namespaces": encoded("Namespace", "v1", map(world.namespace, range(spaces))),
        "/apis/apps/v1/replicasets": encoded(
            "PartialObjectMetadata", "meta.k8s.io/v1", _each(world.replica_sets, numbers)
        ),
    }
    for version, plural, kind in (
        ("apps/v1", "statefulsets", "StatefulSet"),
        ("apps/v1", "daemonsets", "DaemonSet"),
        ("batch/v1", "jobs", "Job"),
        ("batch/v1", "cronjobs", "CronJob"),
    ):
        found[f"/apis/{version}/{plural}"] = encoded(kind, version, ())
    for plural in world.MESH:
        version = "v1alpha3" if plural == "envoyfilters" else "v1"
        path = f"/apis/networking.istio.io/{version}/{plural}"
        found[path] = encoded(world.KINDS[plural], f"networking.istio.io/{version}", world.mesh_objects(plural, spaces))
    one = world.deployment(0) | {"apiVersion": "apps/v1", "kind": "Deployment"}
    space = world.namespace_of(0)
    found[f"/apis/apps/v1/namespaces/{space}/deployments/service-0000"] = alone(one)
    for path, kind, version, items in (
        ("/apis/apps/v1/namespaces/{}/deployments", "Deployment", "apps/v1", [world.deployment(0)]),
        ("/api/v1/namespaces/{}/pods", "Pod", "v1", list(world.pods(0))),
        ("/api/v1/namespaces/{}/configmaps", "ConfigMap", "v1", [world.config_map(0)]),
        (
            "/apis/apps/v1/namespaces/{}/replicasets",
            "PartialObjectMetadata",
            "meta.k8s.io/v1",
            list(world.replica_sets(0)),
        ),
    ):
        found[path.format(space)] = encoded(kind, version, items)
    whole = world.namespace(0) | {"apiVersion": "v1", "kind": "Namespace"}
    found[f"/api/v1/namespaces/{space}"] = alone(whole)
    return found


def _each(make: Any, numbers: Iterable[int]) -> Iterator[world.Object]:
    for number in numbers:
        yield from make(number)


def discovery() -> dict[str, Any]:
    """What kubectl asks before it lists: groups, versions and resources."""
    rows = {
        "apps/v1": [("deployments", "Deployment", ["deploy"]), ("replicasets", "ReplicaSet", ["rs"])],
        "v1": [("pods", "Pod", ["po"]), ("configmaps", "ConfigMap", ["cm"]), ("namespaces", "Namespace", ["ns"])],
    }
    resources = {
        version: {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": version,
            "resources": [
                {"name": plural, "singularName": kind.lower(), "namespaced": plural != "namespaces", "kind": kind,
                 "verbs": ["get", "list"], "shortNames": short}
                for plural, kind, short in found
            ],
        }
        for version, found in rows.items()
    }  # fmt: skip
    group = {"groupVersion": "apps/v1", "version": "v1"}
    istio = {"groupVersion": "networking.istio.io/v1", "version": "v1"}
    apps = {"name": "apps", "versions": [group], "preferredVersion": group}
    return {
        "/version": {"gitVersion": "v1.36.3", "major": "1", "minor": "36"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [apps]},
        "/api/v1": resources["v1"],
        "/apis/apps/v1": resources["apps/v1"],
        "/apis/networking.istio.io": {"kind": "APIGroup", "name": "networking.istio.io", "versions": [istio]},
    }


async def serve(directory: Path, deployments: int) -> None:
    """Serve until the process is told to end; `config` in the directory is a kubeconfig, written when all is ready."""
    pages = lists(deployments)
    known = {path: gzip.compress(json.dumps(body).encode()) for path, body in discovery().items()}

    async def answer(request: web.Request) -> web.Response:
        found = pages.get(request.path)
        page = (int(request.query.get("limit", LIMITS[0])), int(request.query.get("continue", "0")))
        data = found[page] if found is not None else known.get(request.path)
        if data is None:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound",
                      "message": "the server could not find the requested resource"}  # fmt: skip
            return web.json_response(status, status=404)
        headers = {"Content-Type": "application/json"}
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=data, headers=headers | {"Content-Encoding": "gzip"})
        return web.Response(body=gzip.decompress(data), headers=headers)

    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    beside = directory / "config.new"
    write_kubeconfig(beside, f"https://127.0.0.1:{runner.addresses[0][1]}")
    beside.rename(directory / "config")
    await asyncio.Event().wait()


if __name__ == "__main__":
    directory, number = islice(sys.argv, 1, 3)
    asyncio.run(serve(Path(directory), int(number)))
