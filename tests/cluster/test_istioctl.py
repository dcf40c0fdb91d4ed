"""What Istio's own tool and the real server say to what the tool writes: nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from kubectl_egress.cluster.proxies import get_pod_port
from kubectl_egress.manifests import dump
from kubectl_egress.plan.file_objects import WAVE_ANNOTATION
from tests.cluster.client import RealLab
from tests.cluster.scenes import scene_of
from tests.scene import HOST, NAMESPACE, Scene

pytestmark = [pytest.mark.cluster, pytest.mark.anywhere]

ROOT = Path(__file__).parents[2]
ARTICLE = ROOT / "examples" / "curl.yaml"


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `migrate -f -o yaml` prints for the article's Deployment."""
    command = [sys.executable, "-m", "kubectl_egress", "migrate", HOST, "-f", str(ARTICLE), "-o", "yaml"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    path = tmp_path_factory.mktemp("printed") / "printed.yaml"
    path.write_text(done.stdout)
    return path


@pytest.fixture(scope="module")
def scene(cluster: RealLab) -> Iterator[Scene]:
    with scene_of(cluster, NAMESPACE) as found:
        yield found


def run(cluster: RealLab, *command: str) -> str:
    """What a program says; it has to succeed."""
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _without_waves(text: str) -> str:
    """The same objects without what is for Argo CD, which only what is committed has to do with."""
    bodies = list(YAML(typ="safe").load_all(text))
    for body in bodies:
        body["metadata"].get("annotations", {}).pop(WAVE_ANNOTATION, None)
    return dump(bodies)


def test_istioctl_validate_has_nothing_to_say(cluster: RealLab, manifests: Path) -> None:
    said = run(cluster, str(cluster.istioctl), "validate", "-f", str(manifests))
    assert "is valid" in said
    assert "arning" not in said


def test_istioctl_analyze_has_nothing_to_say(cluster: RealLab, manifests: Path) -> None:
    said = run(cluster, str(cluster.istioctl), "analyze", "--use-kube=false", "-n", NAMESPACE, str(manifests))
    assert "No validation issues found" in said, said


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_the_server_takes_what_is_printed(cluster: RealLab, scene: Scene, manifests: Path) -> None:
    said = run(cluster, "kubectl", "create", "--dry-run=server", "--validate=strict", "-f", str(manifests))
    assert said.count("(server dry run)") == 4, said


@pytest.mark.any_istio
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("way", [("apply",), ("apply", "--server-side")], ids=["client side", "server side"])
def test_apply_of_what_is_printed_and_away_again(
    cluster: RealLab, scene: Scene, manifests: Path, way: tuple[str, ...]
) -> None:
    run(cluster, "kubectl", *way, "-f", str(manifests))
    again = run(cluster, "kubectl", *way, "-f", str(manifests))
    if "--server-side" not in way:
        assert again.count("unchanged") == 4, again
    scene.rolled_out("curl")  # its status would be a difference
    diff = run(cluster, "kubectl", "diff", *way[1:], "-f", str(manifests))
    assert diff == ""
    run(cluster, "kubectl", "delete", "-f", str(manifests))


def test_migrate_writes_what_it_prints(cluster: RealLab, scene: Scene, manifests: Path) -> None:
    run(cluster, "kubectl", "create", "-f", str(ARTICLE))
    scene.rolled_out("curl")
    # Older ones say something about the Deployment itself.
    before = run(cluster, str(cluster.istioctl), "analyze", "-n", scene.namespace)
    scene.migrate()
    unordered = manifests.with_name("unordered.yaml")
    unordered.write_text(_without_waves(manifests.read_text()))
    said = run(cluster, "kubectl", "diff", "--server-side", "--force-conflicts", "-f", str(unordered))
    assert said == ""
    assert run(cluster, str(cluster.istioctl), "analyze", "-n", scene.namespace) == before
    scene.undo()
    run(cluster, "kubectl", "delete", "-f", str(ARTICLE))


@pytest.mark.any_istio
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize(
    "way", [("apply",), ("apply", "--server-side", "--force-conflicts")], ids=["client side", "server side"]
)
def test_apply_over_what_migrate_made_and_back_through_undo(
    cluster: RealLab, scene: Scene, manifests: Path, way: tuple[str, ...]
) -> None:
    """Whoever commits what was printed after he has migrated: the cluster stays as it is, and the undo finds its way."""
    run(cluster, "kubectl", "create", "-f", str(ARTICLE))
    scene.rolled_out("curl")
    before = scene.state()
    scene.migrate()
    made = {name: body["spec"] for name, body in scene.objects().items() if "spec" in body}
    pod = scene.pod("curl")
    run(cluster, "kubectl", *way, "-f", str(manifests))
    assert {name: body["spec"] for name, body in scene.objects().items() if "spec" in body} == made
    assert scene.pod("curl") == pod, "no pod is made anew"
    listed = scene.egress("list", "--exit-code")
    assert listed.status == 0, listed
    scene.undo()
    after = scene.state()
    if "--server-side" not in way:
        annotations = after["Deployment", "curl"]["metadata"].pop("annotations")
        assert set(annotations) == {"kubectl.kubernetes.io/last-applied-configuration"}
    assert after == before
    run(cluster, "kubectl", "delete", "-f", str(ARTICLE))


def test_istioctl_reads_the_proxy_as_verify_does(cluster: RealLab, scene: Scene, tmp_path: Path) -> None:
    scene.deploy("caller")
    scene.migrate()
    verified = scene.egress("verify", "-o", "json")
    assert verified.status == 0, verified
    evidence = verified.document()["items"][0]["pods"][0]["evidence"]["configured"]
    pod = scene.ref("Pod", scene.pod("caller"))
    dump = tmp_path / "dump.json"
    dump.write_text(get_pod_port(scene.cluster, pod, 15000, "/config_dump"))
    said = run(cluster, str(cluster.istioctl), "proxy-config", "clusters", "--file", str(dump), "--fqdn", HOST)
    rows = [line.split() for line in said.splitlines()[1:]]
    rule = f"{scene.mesh_object('DestinationRule')}.{scene.namespace}"
    assert [row[0] for row in rows] == [HOST] * 4, said
    assert {row[-1] for row in rows} == {rule}, said
    assert {(row[1], row[2]) for row in rows} == {
        (port, subset) for port in ("80", "443") for subset in ("-", "kubectl-egress")
    }
    said = run(cluster, str(cluster.istioctl), "proxy-config", "routes", "--file", str(dump), "--name", "80")
    [row] = [line.split() for line in said.splitlines() if HOST in line]
    assert row[-1] == f"{scene.mesh_object('VirtualService')}.{scene.namespace}", said
    assert evidence["route"]["clusters"] == [f"outbound|80|kubectl-egress|{HOST}"]
    assert evidence["route"]["configSource"].endswith(f"/virtual-service/{scene.mesh_object('VirtualService')}")
    filters = ("--fqdn", HOST, "--port", "80", "--subset", "kubectl-egress", "-o", "json")
    [there] = json.loads(run(cluster, str(cluster.istioctl), "proxy-config", "clusters", "--file", str(dump), *filters))
    [claimed] = evidence["clusters"]
    tls = there["transportSocket"]["typedConfig"]
    names = tls["commonTlsContext"]["combinedValidationContext"]["defaultValidationContext"]
    assert claimed["name"] == there["name"]
    assert claimed["tls"]["sni"] == tls["sni"] == HOST
    assert claimed["tls"]["subjectAltNames"] == [one["exact"] for one in names["matchSubjectAltNames"]] == [HOST]
    scene.undo()
    scene.delete("Deployment", "caller")
