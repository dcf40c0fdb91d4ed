"""What becomes of a migration that something happens to while the workload calls: request by request, and in clear.

Each fault is caused twice: in a migration as it is by default, where nothing may leave in clear, and in one with
`--fail-open`, which shows what the host alias is worth, and that the counter counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.scene import HOST, MESH_KINDS, Recorder, Request, Scene
from tests.warm import start_lab

pytestmark = pytest.mark.lab

CALLER = "caller"
OLDER = "a-rule-of-somebody-else"
SERVED = "served"
UNAVAILABLE = "503"
NO_CONNECTION = "no connection"
IN_CLEAR = "in clear"
Mend = Callable[[], None]


@dataclass(frozen=True)
class Migrated:
    """A scene with a migrated caller in it."""

    scene: Scene
    caller: Recorder
    fails_open: bool


@pytest.fixture(scope="module", params=[False, True], ids=["fails-closed", "fails-open"])
def migrated(request: pytest.FixtureRequest) -> Iterator[Migrated]:
    with start_lab() as lab, Scene(lab) as scene:
        caller = scene.deploy(CALLER)
        scene.migrate(*(["--fail-open"] if request.param else []))
        assert ("hostAliases" in scene.get("Deployment", CALLER)["spec"]["template"]["spec"]) is not request.param
        yield Migrated(scene, caller, request.param)


# ---- faults: each causes something, and says how to mend it -------------------------------------------------------------


def redirect_removed(scene: Scene) -> Mend:
    pod = scene.pod(CALLER)
    scene.lab.remove_redirect(pod, scene.namespace)
    return lambda: scene.lab.restore_redirect(pod, scene.namespace)


def proxy_killed(scene: Scene) -> Mend:
    scene.lab.kill_proxy(scene.pod(CALLER), scene.namespace, stay_dead=True)
    return lambda: scene.restart(CALLER)


def deleted(*kinds: str) -> Callable[[Scene], Mend]:
    def cause(scene: Scene) -> Mend:
        # Backwards, as undo does: an entry that is there without rule and route sends requests to port 443 in clear.
        bodies = [scene.delete(kind, scene.mesh_object(kind)) for kind in reversed(kinds)]
        return lambda: scene.put_back(*reversed(bodies))

    return cause


def older_rule(*, export_to: str, without_route: bool = False) -> Callable[[Scene], Mend]:
    """A rule of somebody else without TLS, and ours made anew after it."""

    def cause(scene: Scene) -> Mend:
        rule = scene.delete("DestinationRule", scene.mesh_object("DestinationRule"))
        policy = {"loadBalancer": {"simple": "ROUND_ROBIN"}}
        spec = {"host": HOST, "exportTo": [export_to], "trafficPolicy": policy}
        metadata = {"name": OLDER, "namespace": scene.namespace}
        scene.create({**rule, "metadata": metadata, "spec": spec})
        scene.put_back(rule)
        routes = [scene.delete("VirtualService", scene.mesh_object("VirtualService"))] if without_route else []

        def mend() -> None:
            scene.delete("DestinationRule", OLDER)
            scene.put_back(*routes)

        return mend

    return cause


@dataclass(frozen=True)
class Fault:
    """What happens, and what then becomes of `http://httpbin.org/status/200`."""

    cause: Callable[[Scene], Mend]
    closed: str
    open: str


FAULTS = {
    "the redirect is removed": Fault(redirect_removed, NO_CONNECTION, IN_CLEAR),
    "the proxy is killed": Fault(proxy_killed, NO_CONNECTION, NO_CONNECTION),
    "the rule is deleted": Fault(deleted("DestinationRule"), UNAVAILABLE, UNAVAILABLE),
    "the entry is deleted": Fault(deleted("ServiceEntry"), NO_CONNECTION, IN_CLEAR),
    "the route is deleted": Fault(deleted("VirtualService"), SERVED, SERVED),
    "all three are deleted": Fault(deleted(*MESH_KINDS), NO_CONNECTION, IN_CLEAR),
    "an older rule without TLS": Fault(older_rule(export_to="."), SERVED, SERVED),
    "an older rule without TLS, exported everywhere": Fault(older_rule(export_to="*"), SERVED, SERVED),
    "an older rule, exported everywhere, and no route": Fault(
        older_rule(export_to="*", without_route=True), SERVED, SERVED
    ),
    # Two faults at once, and the only pair that is known to send in clear with the alias too.
    "an older rule, exported alike, and no route": Fault(
        older_rule(export_to=".", without_route=True), IN_CLEAR, IN_CLEAR
    ),
}


def is_so(request: Request, result: str) -> bool:
    """Whether a request went as a result says; what left in clear may have got any answer."""
    if result == SERVED:
        return request.served
    if result == UNAVAILABLE:
        return request.code == "503"
    return result == IN_CLEAR or (request.code in ("000", "503") and not request.served)


@pytest.mark.parametrize("name", FAULTS)
def test_what_a_fault_costs(migrated: Migrated, name: str) -> None:
    fault = FAULTS[name]
    expected = fault.open if migrated.fails_open else fault.closed
    scene, caller = migrated.scene, migrated.caller
    caller.healthy()
    scene.lab.reset()
    mend = fault.cause(scene)
    try:
        caller.next(4)  # until the proxy has heard of it, as before
        seen = caller.next(5)
        counters = scene.counters()
    finally:
        mend()
    assert [request for request in seen if not is_so(request, expected)] == []
    if expected == IN_CLEAR:
        assert counters.in_clear > 0
    else:
        assert counters.in_clear == 0, counters
        assert not counters.clear_bytes, counters


def test_a_new_pod_after_a_fault_is_as_closed_as_the_old_one(migrated: Migrated) -> None:
    """The proxy of a new pod hears of the deleted objects never, and not late."""
    scene, caller = migrated.scene, migrated.caller
    caller.healthy()
    scene.lab.reset()
    mend = deleted(*MESH_KINDS)(scene)
    try:
        scene.restart(CALLER)
        caller.next(5)
        assert (scene.counters().in_clear > 0) is migrated.fails_open
    finally:
        mend()
