"""What stands in the way is said before anything is changed: exit status 3, and every object as it was."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from kubectl_egress.lab.client import Lab
from kubectl_egress.mesh import API_VERSION
from kubectl_egress.model import Body, PatchOperation
from tests import build
from tests.scene import HOST, Scene
from tests.warm import start_lab

pytestmark = pytest.mark.lab

CALLER = "caller"
NUMBERS = itertools.count()


@dataclass(frozen=True)
class Case:
    """What is in the way, and the code of its finding."""

    code: str
    template: dict[str, Any] = field(default_factory=dict)
    """As `Scene.deploy` takes it."""
    objects: Sequence[tuple[str, dict[str, Any]]] = ()
    """Kind and spec of mesh objects of somebody else."""
    paused: bool = False


ROUTE = {
    "hosts": [HOST],
    "exportTo": ["."],
    "http": [{"route": [{"destination": {"host": HOST, "port": {"number": 80}}}]}],
}
TCP_ENTRY = {
    "hosts": [HOST],
    "exportTo": ["."],
    "addresses": ["203.0.113.200"],
    "resolution": "DNS",
    "ports": [{"number": 80, "name": "tcp", "protocol": "TCP"}],
}
CASES = {
    "no sidecar wanted": Case("no-sidecar", {"labels": {"sidecar.istio.io/inject": "false"}}),
    "port 80 is not captured": Case(
        "port-not-captured", {"annotations": {"traffic.sidecar.istio.io/excludeOutboundPorts": "80"}}
    ),
    "the alias's network is not captured": Case(
        "port-not-captured", {"annotations": {"traffic.sidecar.istio.io/includeOutboundIPRanges": "203.0.113.0/24"}}
    ),
    "an alias of somebody else": Case("host-aliased", {"hostAliases": [{"ip": "203.0.113.1", "hostnames": [HOST]}]}),
    "another port of the host": Case("other-port", {"env": {"ADMIN_URL": f"http://{HOST}:8080/admin"}}),
    "a proxy of the application's own": Case("own-proxy", {"env": {"http_proxy": "http://proxy.example.com:3128"}}),
    "a paused rollout": Case("rollout-paused", paused=True),
    "a route of somebody else": Case("route-conflict", objects=[("VirtualService", ROUTE)]),
    "an entry of somebody else": Case("entry-conflict", objects=[("ServiceEntry", TCP_ENTRY)]),
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    """One lab; each case has a namespace of its own."""
    with start_lab() as lab:
        yield lab


def foreign(scene: Scene, kind: str, spec: Body) -> Body:
    metadata = build.metadata("somebody-elses", scene.namespace)
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("name", CASES)
def test_refused_before_anything_is_changed(shared: Lab, name: str) -> None:
    case = CASES[name]
    with Scene(shared, f"case-{next(NUMBERS)}") as scene:
        scene.deploy(CALLER, **case.template)
        for kind, spec in case.objects:
            scene.create(foreign(scene, kind, spec))
        if case.paused:
            scene.patch("Deployment", CALLER, PatchOperation("add", ("spec", "paused"), True))
        before = scene.state()
        run = scene.egress("migrate", HOST, "-y")
        try:
            assert run.status == 3, run
            assert f"nothing was changed: {case.code} stands in the way" in run.err
            assert "Traceback" not in run.err
            assert scene.state() == before
            assert shared.counters().in_clear == 0
        finally:
            scene.delete("Deployment", CALLER)


def test_the_same_workload_without_any_of_it_is_migrated(shared: Lab) -> None:
    with Scene(shared, f"case-{next(NUMBERS)}") as scene:
        scene.deploy(CALLER)
        scene.migrate()
        assert shared.counters().in_clear == 0
        scene.undo()
        scene.delete("Deployment", CALLER)
