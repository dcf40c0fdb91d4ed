"""The proxy's side of istiod: which objects it knows by now, and the files that Envoy reads its configuration from."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from kubectl_egress.lab.parts import Body, ProxyConfiguration

CONFIGURATION = "/etc/istio/proxy"
"""Where the proxy's container sees its files, as in a real sidecar."""
MESH_RESOURCES = ("namespaces", "services", "serviceentries", "destinationrules", "virtualservices", "sidecars")
SETTLE = 0.1
"""Seconds between new clusters and the routes to them, and between old routes and the end of their clusters."""
KEPT = 300.0

TYPES = {
    "cds.json": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "lds.json": "type.googleapis.com/envoy.config.listener.v3.Listener",
    "rds.json": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
}


class Knowledge:
    """What istiod knew at which moment, so that a proxy, or istiod itself, can be late."""

    def __init__(self) -> None:
        self._history: deque[tuple[float, tuple[Body, ...]]] = deque([(0.0, ())])

    def learn(self, objects: Sequence[Body]) -> None:
        """The mesh objects as of now."""
        moment = time.monotonic()
        self._history.append((moment, tuple(objects)))
        while len(self._history) > 1 and self._history[1][0] < moment - KEPT:
            self._history.popleft()

    def known(self, delay: float) -> tuple[Body, ...]:
        """The objects as they were `delay` seconds ago; none where that is longer ago than anything is kept."""
        limit = time.monotonic() - delay
        found: tuple[Body, ...] = ()
        for moment, objects in self._history:
            if moment > limit and delay > 0:
                break
            found = objects
        return found


def _write(directory: Path, name: str, resources: Sequence[Body]) -> None:
    """Envoy follows a file that is *moved* into its place (path_config_source)."""
    typed = [resource if "@type" in resource else {"@type": TYPES[name], **resource} for resource in resources]
    text = json.dumps({"resources": typed}, sort_keys=True)
    path = directory / name
    if path.exists() and path.read_text() == text:
        return
    beside = directory / f".{name}.new"
    beside.write_text(text)
    os.chmod(beside, 0o644)
    beside.replace(path)


def write_first(directory: Path, configuration: ProxyConfiguration) -> None:
    """The files that a proxy starts with."""
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory, "cds.json", configuration.clusters)
    _write(directory, "rds.json", configuration.routes)
    _write(directory, "lds.json", configuration.listeners)


async def write_change(directory: Path, old: ProxyConfiguration, new: ProxyConfiguration) -> None:
    """Make before break: clusters before the routes that use them, and gone only after them."""
    names = {cluster["name"] for cluster in new.clusters}
    leaving = [cluster for cluster in old.clusters if cluster["name"] not in names]
    if old.clusters != new.clusters:
        _write(directory, "cds.json", [*new.clusters, *leaving])
        await asyncio.sleep(SETTLE)
    _write(directory, "rds.json", new.routes)
    _write(directory, "lds.json", new.listeners)
    if leaving:
        await asyncio.sleep(SETTLE)
        _write(directory, "cds.json", new.clusters)
