"""Many pods on a real API server: what `inspect -A` and `verify` ask of it, and what they take. PODS=2000 for more of them."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import build
from tests.cluster.build import BuildError
from tests.cluster.client import RealLab, not_built
from tests.cluster.scenes import scene_of
from tests.scene import HOST, Scene, until

pytestmark = [pytest.mark.cluster, pytest.mark.any_istio]

CALLED = "api.example.com"
REPLICAS = 20
NAMESPACES = 5
"""The first of them with sidecars."""
PODS = int(os.environ.get("PODS", "300"))
"""More than a page."""
DEPLOYMENTS = PODS // NAMESPACES // REPLICAS
"""In each namespace."""
PAGE = 250
MEBIBYTES = 1024
"""Of a process's peak, which the kernel counts in KiB."""
LIMIT = 120
"""MiB. With 300 pods it is 63, with 2,000 it is 85."""
PATIENCE = 300.0
READ_ONCE = (
    "deployments", "statefulsets", "daemonsets", "replicasets", "jobs", "cronjobs", "configmaps", "namespaces",
    "destinationrules", "serviceentries", "virtualservices", "sidecars", "envoyfilters",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Done:
    """What a command said, and what it took at the most, in MiB."""

    status: int
    document: Any
    peak: float


def run(scene: Scene, *arguments: str, directory: Path) -> Done:
    """Run the real command with `-o json`, and say what it took."""
    command = [sys.executable, "-m", "kubectl_egress", *arguments, "-o", "json"]
    environment = {**os.environ, "KUBECONFIG": str(scene.kubeconfig), "NO_COLOR": "1"}
    begun = time.monotonic()
    with (directory / "out").open("w+") as out, (directory / "err").open("w+") as err:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        # Of this child alone, which getrusage would not say.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        text = out.read()
        assert text, err.read()
    peak = usage.ru_maxrss / MEBIBYTES
    print(f"{PODS} pods: {' '.join(arguments)}: {time.monotonic() - begun:.1f} s, {peak:.0f} MiB")
    return Done(process.returncode, json.loads(text), peak)


def lists(scene: Scene) -> Counter[str]:
    """How many times somebody has listed each resource in all namespaces."""
    text = scene.cluster.transport.text("/metrics", {}, longest=50_000_000)
    pattern = r'^apiserver_request_total\{[^}]*resource="(\w+)",scope="cluster"[^}]*verb="LIST"[^}]*\} (\S+)$'
    found: Counter[str] = Counter()
    for resource, count in re.findall(pattern, text, re.MULTILINE):
        found[resource] += int(float(count))
    return found


@pytest.fixture(scope="module")
def crowded(cluster: RealLab) -> Iterator[Scene]:
    """A migrated caller that is real, and beside it and in four other namespaces pods that kwok says to run."""
    cluster.reset()
    try:
        node = cluster.fake_node()
    except BuildError as error:
        not_built(error)
    with scene_of(cluster) as scene:
        scene.deploy("caller")
        scene.migrate()
        with scene_of(cluster) as a, scene_of(cluster) as b, scene_of(cluster) as c, scene_of(cluster) as d:
            begun = time.monotonic()
            for place in (scene, a, b, c, d):
                # The namespaces have sidecars; a pod that says no has none.
                template: dict[str, Any] = {
                    "labels": {"sidecar.istio.io/inject": str(place is scene).lower()},
                    "nodeName": node,
                }
                for number in range(DEPLOYMENTS):
                    env = {"URL": f"https://{CALLED}/{number}"}
                    spec = {"replicas": REPLICAS}
                    place.create(
                        build.workload(name=f"fake-{number}", namespace=place.namespace, spec=spec, env=env, **template)
                    )
            until(lambda: available(scene) >= PODS + 1, "every pod is said to run", PATIENCE)
            print(f"{PODS} pods after {time.monotonic() - begun:.0f} s")
            yield scene


def available(scene: Scene) -> int:
    """Replicas, everywhere."""
    bodies = scene.cluster.list("apps/v1", "deployments", None)
    return sum((body.get("status") or {}).get("availableReplicas", 0) for body in bodies)


def test_inspect_of_all_namespaces(crowded: Scene, tmp_path: Path) -> None:
    pods = len(list(crowded.cluster.list("v1", "pods", None, metadata_only=True)))
    page_by_page_and_once = {"pods": math.ceil(pods / PAGE), **dict.fromkeys(READ_ONCE, 1)}

    def inspected() -> tuple[Done, dict[str, int]]:
        before = lists(crowded)
        done = run(crowded, "inspect", "-A", directory=tmp_path)
        asked = lists(crowded) - before
        return done, {name: asked[name] for name in page_by_page_and_once}

    done, asked = inspected()
    if asked != page_by_page_and_once:
        # A controller whose watch has ended lists anew, once: what the command asks for it asks for each time.
        done, asked = inspected()
    assert asked == page_by_page_and_once
    assert done.status == 0
    items = [item for item in done.document["items"] if item["host"] == CALLED]
    assert len(items) == DEPLOYMENTS * NAMESPACES
    # In the mesh no sidecar answers, and elsewhere there is none: neither is nothing to see.
    assert {item["visibility"] for item in items} == {"unknown"}
    assert done.peak < LIMIT, f"{done.peak:.0f} MiB"


def test_verify_among_them(crowded: Scene, tmp_path: Path) -> None:
    done = run(crowded, "verify", "-n", crowded.namespace, directory=tmp_path)
    [item] = done.document["items"]
    assert (done.status, item["host"], item["verdict"]) == (0, HOST, "verified")
    assert done.peak < LIMIT, f"{done.peak:.0f} MiB"
