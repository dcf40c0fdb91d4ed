"""`migrate -f -o kustomize`: an overlay that builds what the edited files would build, and edits none."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_egress import cli
from kubectl_egress.plan import is_overlay

KUBECTL = shutil.which("kubectl")
HOST = "httpbin.org"
BASE = {
    "base/kustomization.yaml": "resources:\n- deployment.yaml\n- settings.yaml\n",
    "base/deployment.yaml": """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      hostAliases:
      - ip: 10.1.2.3
        hostnames: [other.example.com]
      containers:
      - name: shop
        image: shop
        args: ["--api=https://httpbin.org/a", x]
        envFrom:
        - configMapRef: {name: settings}
        env:
        - {name: API, value: "https://httpbin.org/get"}
""",
    "base/settings.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {URL: 'https://httpbin.org/b'}\n",
}
OVERLAY = ["migrate", HOST, "-f", "base", "-o", "kustomize"]


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "there-is-none"))
    return tmp_path


def write(files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def texts() -> dict[str, str]:
    return {str(path): path.read_text() for path in sorted(Path().rglob("*")) if path.is_file()}


def built(directory: str) -> list[Any]:
    """What kustomize makes of a directory, in an order that does not depend on it."""
    if KUBECTL is None:
        pytest.skip("there is no kubectl on PATH")
    done = subprocess.run([KUBECTL, "kustomize", directory], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ordered(yaml.safe_load_all(done.stdout))


def ordered(objects: Iterable[Any]) -> list[Any]:
    """By kind and name, and ports by number: an edit puts a new one where a line can be added."""
    objects = list(objects)
    for one in objects:
        one.get("spec", {}).get("ports", []).sort(key=lambda port: port["number"])
    return sorted(objects, key=lambda one: (one["kind"], one["metadata"]["name"]))


def overlaid(files: dict[str, str], *, over: str, top: str, arguments: tuple[str, ...] = ()) -> None:
    """The overlay of the files builds what the files build once they are edited; and they are not."""
    write(files)
    command = ["migrate", HOST, "-f", ".", "-R", "--write", *arguments]
    assert cli.main([*command, "-o", "kustomize"]) == 0
    after = texts()
    assert {name: after[name] for name in files} == files
    assert cli.main([*command, "-o", "kustomize"]) == 0
    assert texts() == after, "the second run changes nothing"
    made = built(over)
    shutil.rmtree(over)
    assert cli.main(command) == 0
    assert made == built(top)


def test_it_builds_what_the_edited_files_build() -> None:
    overlaid(BASE, over="base-egress", top="base")


def test_the_topmost_kustomization_is_built_on_in_its_namespace() -> None:
    files = BASE | {
        "overlays/prod/kustomization.yaml": "namespace: prod\nresources: [../../base]\n",
    }
    overlaid(files, over="overlays/prod-egress", top="overlays/prod", arguments=("--guard", "--hold", "--ipv6"))


def test_two_tops_get_an_overlay_each() -> None:
    write(BASE | {f"overlays/{name}/kustomization.yaml": "resources: [../../base]\n" for name in ("prod", "staging")})
    assert cli.main(["migrate", HOST, "-f", ".", "-R", "-o", "kustomize", "--write"]) == 0
    assert [path.parent.name for path in sorted(Path().rglob("egress-*.yaml"))] == ["prod-egress", "staging-egress"]


def test_an_entry_of_the_base_is_completed_by_a_patch() -> None:
    entry = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: theirs}
spec:
  hosts: [httpbin.org]
  resolution: DNS
  location: MESH_EXTERNAL
  ports:
  - {number: 443, name: https, protocol: HTTPS}
"""
    resources = "resources: [deployment.yaml, settings.yaml, entry.yaml]\n"
    overlaid(BASE | {"base/entry.yaml": entry, "base/kustomization.yaml": resources}, over="base-egress", top="base")


def test_without_write_it_is_a_diff_of_new_files(capsys: pytest.CaptureFixture[str]) -> None:
    write(BASE)
    assert cli.main(OVERLAY) == 0
    assert texts() == BASE
    printed = capsys.readouterr().out
    assert "+++ b/base-egress/kustomization.yaml" in printed
    assert "+++ b/base-egress/egress-httpbin.org.yaml" in printed
    assert not [line for line in printed.splitlines() if line.startswith("-") and not line.startswith("---")]
    assert cli.main([*OVERLAY, "--exit-code"]) == 3
    assert cli.main([*OVERLAY, "--write"]) == 0
    assert cli.main([*OVERLAY, "--exit-code"]) == 0
    assert is_overlay(Path("base-egress/kustomization.yaml").read_text())


def test_a_base_that_says_something_else_by_then_is_not_built() -> None:
    if KUBECTL is None:
        pytest.skip("there is no kubectl on PATH")
    write(BASE)
    assert cli.main([*OVERLAY, "--write"]) == 0
    file = Path("base/deployment.yaml")
    file.write_text(file.read_text().replace("/get", "/post"))
    done = subprocess.run([KUBECTL, "kustomize", "base-egress"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "test" in done.stderr
    assert cli.main([*OVERLAY, "--write"]) == 0, "the next run writes it anew"
    assert built("base-egress")


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"base/kustomization.yaml": "resources: [settings.yaml]\n"}, "no kustomization takes it in"),
        (
            {"base/kustomization.yaml": "resources: [settings.yaml]\npatches:\n- path: deployment.yaml\n"},
            "base/deployment.yaml is a patch of base/kustomization.yaml",
        ),
        (
            {
                "base/kustomization.yaml": "resources: [deployment.yaml]\nconfigMapGenerator:\n- {name: settings, literals: ['URL=https://httpbin.org/b']}\n",
                "base/settings.yaml": "",
            },
            "is in a literal of its configMapGenerator",
        ),
        (
            {
                "base/kustomization.yaml": "resources: [deployment.yaml]\nconfigMapGenerator:\n- {name: settings, envs: [s.env]}\n",
                "base/settings.yaml": "",
                "base/s.env": "URL=https://httpbin.org/b\n",
            },
            "generates a ConfigMap from it",
        ),
        ({"base-egress/kustomization.yaml": "resources: []\n"}, "is there already, and not an overlay of this tool"),
    ],
)
def test_what_an_overlay_cannot_reach_is_said(
    files: dict[str, str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(BASE | files)
    before = texts()
    assert cli.main([*OVERLAY, "--write"]) == 1
    assert what in capsys.readouterr().err
    assert texts() == before


def test_a_base_without_a_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write(BASE)
    monkeypatch.chdir("base")
    assert cli.main(["migrate", HOST, "-f", ".", "-o", "kustomize"]) == 1
    assert "run it from the directory above" in capsys.readouterr().err


def test_a_cluster_has_no_base(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["migrate", HOST, "-o", "kustomize"]) == 2
    assert "-o kustomize goes with -f" in capsys.readouterr().err
