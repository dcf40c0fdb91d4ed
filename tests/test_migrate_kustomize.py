"""`migrate -f` where kustomizations take the manifests in, where charts are templates, and where files are generated."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kubectl_egress import cli

Capture = pytest.CaptureFixture[str]

HOST = "httpbin.org"
OWN = f"egress-{HOST}.yaml"
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  template:
    spec:
      containers:
        - name: shop
          envFrom:
            - configMapRef: {name: settings}
          env:
            - name: API
              value: https://httpbin.org/get
"""
READER = DEPLOYMENT.replace("https://httpbin.org/get", "x")
ALIAS = ["+      hostAliases:", "+        - ip: 192.0.2.48", "+          hostnames:", "+            - httpbin.org"]


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "there-is-none"))
    return tmp_path


def write(files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(text.encode())


def texts() -> dict[str, str]:
    return {str(path): path.read_bytes().decode() for path in sorted(Path().rglob("*")) if path.is_file()}


def migrated(files: dict[str, str], *arguments: str) -> dict[str, list[str]]:
    """Write the files, migrate them, and give what changed in each as lines with + and -; a second run changes nothing."""
    write(files)
    command = ["migrate", HOST, "-f", ".", "-R", "--write", *arguments]
    assert cli.main(command) == 0
    after = texts()
    assert cli.main(command) == 0
    assert texts() == after
    return {
        name: [line for line in difflib.ndiff(files.get(name, "").splitlines(), text.splitlines()) if line[0] in "+-"]
        for name, text in after.items()
        if files.get(name) != text
    }


def plain(lines: list[str]) -> list[str]:
    return [line[0] + line[2:] for line in lines]


def test_a_base_takes_the_new_file_in() -> None:
    changed = migrated(
        {
            "base/kustomization.yaml": "# the shop\nresources:\n  - deployment.yaml\n",
            "base/deployment.yaml": DEPLOYMENT,
            "overlays/prod/kustomization.yaml": "resources: [../../base]\nnamespace: prod\n",
        }
    )
    assert set(changed) == {"base/kustomization.yaml", "base/deployment.yaml", f"base/{OWN}"}
    assert plain(changed["base/kustomization.yaml"]) == [f"+  - {OWN}"]
    assert plain(changed["base/deployment.yaml"]) == [
        *ALIAS,
        "-              value: https://httpbin.org/get",
        "+              value: http://httpbin.org/get",
    ]
    assert all("namespace" not in one["metadata"] for one in yaml.safe_load_all(Path(f"base/{OWN}").read_text()))


def test_the_objects_come_in_waves_before_the_pods() -> None:
    migrated({"deployment.yaml": DEPLOYMENT})
    made = list(yaml.safe_load_all(Path(OWN).read_text()))
    waves = [(one["kind"], one["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) for one in made]
    assert waves == [("DestinationRule", "-3"), ("ServiceEntry", "-2"), ("VirtualService", "-1")]


def test_an_overlay_s_patch_is_edited_and_its_base_left_alone() -> None:
    changed = migrated(
        {
            "base/kustomization.yaml": "resources:\n- deployment.yaml\n",
            "base/deployment.yaml": READER,
            "overlays/prod/kustomization.yaml": "resources:\n- ../../base\npatches:\n- path: shop.yaml\n",
            "overlays/prod/shop.yaml": DEPLOYMENT,
        }
    )
    assert set(changed) == {f"overlays/prod/{name}" for name in ("kustomization.yaml", "shop.yaml", OWN)}
    assert plain(changed["overlays/prod/shop.yaml"])[:4] == ALIAS


def test_each_overlay_that_calls_gets_the_objects_and_one_address_for_the_host() -> None:
    overlay = {
        "kustomization.yaml": "resources:\n- ../../base\npatches:\n- path: shop.yaml\n",
        "shop.yaml": DEPLOYMENT,
    }
    files = {"base/kustomization.yaml": "resources:\n- deployment.yaml\n", "base/deployment.yaml": READER}
    for name in ("prod", "staging"):
        files |= {f"overlays/{name}/{file}": text for file, text in overlay.items()}
    changed = migrated(files)
    assert {name for name in changed if name.endswith(OWN)} == {f"overlays/prod/{OWN}", f"overlays/staging/{OWN}"}
    assert changed[f"overlays/prod/{OWN}"] == changed[f"overlays/staging/{OWN}"]


def test_two_hosts_in_two_overlays_have_an_address_each(directory: Path) -> None:
    files = {"base/kustomization.yaml": "resources:\n- deployment.yaml\n", "base/deployment.yaml": READER}
    for name, host in (("prod", HOST), ("staging", "example.com")):
        files[f"overlays/{name}/kustomization.yaml"] = "resources:\n- ../../base\npatches:\n- path: shop.yaml\n"
        files[f"overlays/{name}/shop.yaml"] = DEPLOYMENT.replace(HOST, host)
    write(files)
    assert cli.main(["migrate", "--all", "-f", ".", "-R", "--write"]) == 0
    made = [yaml.safe_load(Path(f"overlays/{name}/shop.yaml").read_text()) for name in ("prod", "staging")]
    aliases = [one["spec"]["template"]["spec"]["hostAliases"] for one in made]
    assert [one[0]["hostnames"] for one in aliases] == [[HOST], ["example.com"]]
    assert aliases[0][0]["ip"] != aliases[1][0]["ip"]


def test_what_a_kustomization_generates_is_edited_where_it_stands() -> None:
    kustomization = """\
resources: [deployment.yaml]
configMapGenerator:
- name: settings
  literals:
  - OTHER=x
  - URL="https://httpbin.org/literal"
  files:
  - app.properties
  envs:
  - app.env
"""
    changed = migrated(
        {
            "kustomization.yaml": kustomization,
            "deployment.yaml": READER + "          volumeMounts: [{name: v, mountPath: /etc/shop}]\n"
            "      volumes: [{name: v, configMap: {name: settings}}]\n",
            "app.properties": "# api\r\nurl=https://httpbin.org/properties\r\nlast=1",
            "app.env": "# https://httpbin.org\nE=https://httpbin.org:443/env\n",
        }
    )
    assert plain(changed["app.properties"]) == [
        "-url=https://httpbin.org/properties",
        "+url=http://httpbin.org/properties",
    ]
    assert Path("app.properties").read_bytes().endswith(b"\r\nlast=1")
    assert plain(changed["app.env"]) == ["-E=https://httpbin.org:443/env", "+E=http://httpbin.org/env"]
    assert plain(changed["kustomization.yaml"]) == [
        "-resources: [deployment.yaml]",
        f'+resources: ["{OWN}", deployment.yaml]',
        '-  - URL="https://httpbin.org/literal"',
        '+  - URL="http://httpbin.org/literal"',
    ]
    assert plain(changed["deployment.yaml"]) == ALIAS


def test_a_configmap_of_the_overlay_is_edited_beside_its_base_s() -> None:
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata:\n  URL: https://httpbin.org/base\n"
    changed = migrated(
        {
            "base/kustomization.yaml": "resources:\n- deployment.yaml\n- settings.yaml\n",
            "base/deployment.yaml": READER,
            "base/settings.yaml": config,
            "prod/kustomization.yaml": "resources:\n- ../base\npatches:\n- path: settings.yaml\n",
            "prod/settings.yaml": config.replace("/base", "/prod"),
        }
    )
    assert {"base/settings.yaml", "prod/settings.yaml", "base/deployment.yaml", f"base/{OWN}"} <= set(changed)
    assert f"prod/{OWN}" not in changed


def test_a_kustomization_that_was_not_given_is_found_beside_and_above(directory: Path) -> None:
    write({"kustomization.yml": "resources:\n- apps/shop.yaml\n", "apps/shop.yaml": DEPLOYMENT})
    assert cli.main(["migrate", HOST, "-f", "apps/shop.yaml", "--write"]) == 0
    assert Path("kustomization.yml").read_text() == f"resources:\n- {OWN}\n- apps/shop.yaml\n"
    assert Path(OWN).is_file()


def test_a_kustomization_without_resources_and_final_newline() -> None:
    changed = migrated({"kustomization.yaml": "patches:\n- path: shop.yaml", "shop.yaml": DEPLOYMENT})
    assert Path("kustomization.yaml").read_text() == f"resources:\n- {OWN}\npatches:\n- path: shop.yaml"
    assert OWN in changed


def test_an_inline_patch_is_told(capsys: Capture) -> None:
    inline = "patches:\n- patch: |-\n    - {op: replace, path: /a, value: https://httpbin.org/x}\n"
    migrated(
        {"kustomization.yaml": inline, "shop.yaml": DEPLOYMENT, "values.yaml": "api:\n  url: https://httpbin.org\n"}
    )
    said = capsys.readouterr().err
    assert "kustomization.yaml:5: left alone: it is in no pod template" in said
    assert "values.yaml:2: left alone" in said


def test_an_entry_of_somebody_else_s_is_completed_where_it_stands() -> None:
    entry = """\
# by hand
apiVersion: networking.istio.io/v1beta1
kind: ServiceEntry
metadata: {name: httpbin}
spec:
  hosts: [httpbin.org]
  location: MESH_EXTERNAL
  resolution: DNS
  ports:
  - {number: 80, name: http, protocol: HTTP}
  - {number: 443, name: https, protocol: HTTPS}
"""
    changed = migrated({"shop.yaml": DEPLOYMENT, "mesh.yaml": entry})
    assert plain(changed["mesh.yaml"]) == [
        "-metadata: {name: httpbin}",
        '+metadata: {labels: {"networking.istio.io/enable-autoallocate-ip": "false"}, annotations: {"egress.kubectl/alias": '
        '"192.0.2.48"}, name: httpbin}',
        "+  endpoints:",
        "+  - address: httpbin.org.",
        "-  - {number: 80, name: http, protocol: HTTP}",
        "+  - {targetPort: 443, number: 80, name: http, protocol: HTTP}",
    ]
    assert [one["kind"] for one in yaml.safe_load_all(Path(OWN).read_text())] == ["DestinationRule", "VirtualService"]


def test_a_job_in_a_manifest_gets_the_alias_too() -> None:
    job = DEPLOYMENT.replace("apps/v1", "batch/v1").replace("Deployment", "Job")
    assert plain(migrated({"job.yaml": job})["job.yaml"])[:4] == ALIAS


# ---- what is not edited ---------------------------------------------------------------------------------------------


def refused(capsys: Capture, *command: str) -> tuple[str, str]:
    before = texts()
    assert cli.main(list(command)) == 1
    assert texts() == before
    what, remedy = capsys.readouterr().err.splitlines()[-2:]
    return what, remedy.strip()


def test_a_chart_is_refused_with_the_key_of_its_values(capsys: Capture) -> None:
    write(
        {
            "chart/Chart.yaml": "name: shop\n",
            "chart/values.yaml": "# defaults\napi:\n  url: https://httpbin.org/get\n",
            "chart/templates/shop.yaml": DEPLOYMENT.replace("https://httpbin.org/get", "{{ .Values.api.url }}"),
            "chart/templates/job.yaml": "{{- if .Values.job }}\nurl: https://httpbin.org/job\n{{- end }}\n",
        }
    )
    what, remedy = refused(capsys, "migrate", HOST, "-f", "chart", "-R", "--write")
    assert "chart/templates/job.yaml:1: a template that is not rendered yet" in what
    assert "templates/job.yaml:2, values.yaml:3 (.api.url)" in what
    assert "helm template chart" in remedy


@pytest.mark.parametrize(
    "head", ["# Source: shop/templates/shop.yaml\n", "# Code generated by cdk8s. DO NOT EDIT.\n", "# auto-generated\n"]
)
def test_a_generated_file_is_shown_and_not_written(head: str, capsys: Capture) -> None:
    write({"shop.yaml": head + DEPLOYMENT})
    what, _ = refused(capsys, "migrate", HOST, "-f", "shop.yaml", "--write")
    assert "shop.yaml:1: the file is generated" in what
    assert cli.main(["migrate", HOST, "-f", "shop.yaml"]) == 0
    assert "+              value: http://httpbin.org/get" in capsys.readouterr().out


# ---- the law --------------------------------------------------------------------------------------------------------

PIECES = [
    "url: https://httpbin.org/a\n",
    'url: "https://httpbin.org/a"   # why\n',
    "url: 'it''s https://httpbin.org/b'\n",
    "url: |\n    curl https://httpbin.org/c \n    sleep 1\n",
    "url: >-\n    curl\n    https://httpbin.org/d\n",
    'url: "x \\"https://httpbin.org/e\\" é"\n',
    "url: &u https://httpbin.org/f\n",
    "url: https://example.com/httpbin.org\n",
    "url: https://httpbin.org:443/g?https://httpbin.org.evil.com\n",
]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["  ", "   "]),
)
def test_the_diff_touches_urls_and_added_lines_alone(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str], line_end: str, mark: bool, final: bool, indent: str
) -> None:
    body = "".join(indent + piece.replace("url", f"url{number}", 1) for number, piece in enumerate(pieces))
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata:\n{body}---\n{READER}"
    text = ("\ufeff" if mark else "") + (text if final else text.rstrip("\n")).replace("\n", line_end)
    file = tmp_path_factory.mktemp("law") / "all.yaml"
    file.write_bytes(text.encode())
    called = "https://httpbin.org" in text.replace("https://httpbin.org.evil", "")
    assert cli.main(["migrate", HOST, "-f", str(file), "--write"]) == (0 if called else 1)
    after = file.read_bytes().decode()
    added = [
        line for line in after.splitlines(keepends=True) if any(word[1:].strip() == line.strip() for word in ALIAS)
    ]
    assert len(added) == (4 if called else 0)
    for line in added:
        after = after.replace(line, "", 1)
    assert after.replace("http://httpbin.org", "https://httpbin.org") == text.replace("httpbin.org:443", "httpbin.org")
