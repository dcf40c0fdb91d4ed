"""The alert rules and the dashboard over what a lab's real Envoys export while it goes well, and while it does not.

Each scrape stands for a minute of Prometheus's time, so that half an hour of silence is over in seconds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kubectl_egress.model import Body
from tests.alerting import answered, firing, needs_promtool, promtool, recorded
from tests.scene import HOST, MESH_KINDS, NAMESPACE, Recorder, Scene, until
from tests.scraping import statistics
from tests.warm import start_lab

pytestmark = [pytest.mark.lab, needs_promtool]

CALLER = "caller"
OTHER = "other"
PAUSE = 0.4
"""Seconds between two scrapes: time for a few requests."""
LONG = 30
"""Minutes from which on a scrape follows the other at once."""


@dataclass
class Recording:
    """A migrated caller that fails open, since one that does not has nothing to leak."""

    scene: Scene
    caller: Recorder
    calm: list[str] = field(default_factory=list)
    """A few minutes in which all is well."""

    def minutes(self, count: int, pause: float = PAUSE) -> list[str]:
        """So many scrapes of the caller's sidecar."""
        found = []
        for _ in range(count):
            time.sleep(pause)
            found.append(statistics(self.scene, CALLER))
        return found

    def files(self, directory: Path) -> None:
        """`rules.yaml`, as the command prints it."""
        (directory / "rules.yaml").write_text(self.scene.egress("dashboard", "-o", "alerts").out)


@pytest.fixture(scope="module")
def recording() -> Iterator[Recording]:
    with start_lab() as lab, Scene(lab) as scene:
        scene.create(other_http())
        made = Recording(scene, scene.deploy(CALLER))
        scene.migrate("--fail-open")
        made.caller.healthy()
        made.calm = made.minutes(6)
        yield made


def other_http() -> Body:
    """What most meshes have: something else that speaks HTTP on port 80. Without it, what leaks is TCP and has no name."""
    metadata = {"name": OTHER, "namespace": NAMESPACE}
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    spec = {"hosts": ["other.example.com"], "location": "MESH_EXTERNAL", "resolution": "DNS", "ports": ports}
    return {"apiVersion": "networking.istio.io/v1beta1", "kind": "ServiceEntry", "metadata": metadata, "spec": spec}


def leak(scene: Scene) -> Callable[[], None]:
    bodies = [scene.delete(kind, scene.mesh_object(kind)) for kind in reversed(MESH_KINDS)]
    until(lambda: scene.counters().in_clear > 0, "a request in clear", 60)
    return lambda: scene.put_back(*reversed(bodies))


def nameless_leak(scene: Scene) -> Callable[[], None]:
    other = scene.delete("ServiceEntry", OTHER)
    mend = leak(scene)

    def told() -> bool:
        """Envoy knows an address for some seconds after its last connection: a slow caller has to call again."""
        run = scene.egress("verify")
        assert run.status == 3, run
        return ":80 through PassthroughCluster may be to httpbin.org, in clear" in run.out

    def back() -> None:
        mend()
        scene.put_back(other)

    try:
        until(told, "verify names the connections that may be in clear", 120)
    except BaseException:
        back()
        raise
    return back


def another_name(scene: Scene) -> Callable[[], None]:
    scene.lab.set_certificate(HOST, "wrong-host")
    return lambda: scene.lab.set_certificate(HOST, "good")


def silence(scene: Scene) -> Callable[[], None]:
    pod = scene.pod(CALLER)
    scene.lab.remove_redirect(pod, scene.namespace)
    return lambda: scene.lab.restore_redirect(pod, scene.namespace)


CASES = {
    "a leak, at once": (leak, 4, {"EgressInClear"}),
    "a leak in a mesh without any other HTTP on port 80": (nameless_leak, 72, {"EgressSilent", "EgressOpaque"}),
    "a certificate for another name": (another_name, 5, {"EgressTlsFailing"}),
    "and a share of errors, when it lasts": (another_name, 14, {"EgressTlsFailing", "EgressErrors"}),
    # Past the sidecar, which is what the mesh alone cannot tell from silence.
    "calls that no longer pass the sidecar": (silence, 42, {"EgressSilent"}),
}


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_over_what_envoy_really_says(recording: Recording, name: str, tmp_path: Path) -> None:
    cause, minutes, wanted = CASES[name]
    recording.files(tmp_path)
    assert "5 rules found" in promtool("check", "rules", "rules.yaml", directory=tmp_path)
    calm = recording.calm
    assert firing(tmp_path, recorded(calm), f"{len(calm) - 1}m") == set()
    recording.caller.healthy()
    before = recording.minutes(3)
    mend = cause(recording.scene)
    try:
        found = [*before, *recording.minutes(minutes, PAUSE if minutes < LONG else 0.02)]
    finally:
        mend()
    recording.caller.healthy()
    assert firing(tmp_path, recorded(found), f"{len(found) - 1}m") == wanted


def test_the_panels_have_something_to_show(recording: Recording, tmp_path: Path) -> None:
    recording.caller.healthy()
    scrapes = recording.minutes(3, 0.1)
    time.sleep(6)  # Envoy merges its histograms every 5 s
    scrapes += recording.minutes(3, 2)
    dashboard = recording.scene.egress("dashboard").document()
    values = {variable["name"]: ".*" for variable in dashboard["templating"]["list"]}
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    ready = [
        re.sub(r"\$([a-z]+)\b", lambda one: values[one[1]], re.sub(r"\$__[a-z_]+", "5m", text)) for text in expressions
    ]
    assert len(ready) > 8
    shown = answered(tmp_path, recorded(scrapes), f"{len(scrapes) - 1}m", ready)
    dark = [text for text in ready if text not in shown]
    # What goes wrong, and what is TCP to the mesh, is not there when it goes well.
    assert all(re.search("PassthroughCluster|response_flags|response_code|istio_tcp_", text) for text in dark), dark
    assert [text for text in shown if "duration_milliseconds_bucket" in text]
