from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_egress import cli
from kubectl_egress.cli import inspect as command
from kubectl_egress.cli.sources import survey_documents
from kubectl_egress.manifests import parse
from kubectl_egress.model import Survey
from tests import build
from tests.fake_api import Answer, fake_api, listing

Capture = pytest.CaptureFixture[str]

DEPLOYMENT = """\
# the shop
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  namespace: test
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - name: shop
        env:
        - name: DB_PASSWORD
          value: hunter2
        - name: API_URL
          value: https://bob:pw@httpbin.org/anything
        envFrom:
        - configMapRef: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: shop
  namespace: test
data:
  PAY_URL: https://api.stripe.com/v1
"""


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text(DEPLOYMENT)
    return "shop.yaml"


def test_a_file_on_one_screen(manifest: str, capsys: Capture) -> None:
    assert cli.main(["inspect", "-f", manifest]) == 0
    captured = capsys.readouterr()
    table = """\
NAMESPACE   WORKLOAD          HOST             CALLS     FILE           FINDINGS
test        deployment/shop   api.stripe.com   1 https   shop.yaml:28   <none>
test        deployment/shop   httpbin.org      1 https   shop.yaml:18   <none>
"""
    talk = """
2 external hosts in files; how well the mesh sees them, only a cluster knows.
Next: kubectl egress migrate api.stripe.com httpbin.org -f shop.yaml
"""
    assert captured == (table, talk)


def test_no_secret_reaches_any_output(manifest: str, capsys: Capture) -> None:
    for form in ("wide", "json", "yaml", "name"):
        assert cli.main(["inspect", "-f", manifest, "-o", form]) == 0
        captured = capsys.readouterr()
        assert "hunter2" not in captured.out + captured.err
        assert "bob" not in captured.out + captured.err


def test_json_and_yaml_are_the_same_document_and_nothing_is_said_beside_it(manifest: str, capsys: Capture) -> None:
    cli.main(["inspect", "-f", manifest, "-o=json"])
    as_json = capsys.readouterr()
    cli.main(["inspect", "-f", manifest, "-o=yaml"])
    as_yaml = capsys.readouterr()
    assert as_json.err == as_yaml.err == ""
    document = json.loads(as_json.out)
    assert [(site["file"], site["line"]) for item in document["items"] for site in item["callSites"]] == [
        ("shop.yaml", 28),
        ("shop.yaml", 18),
    ]
    assert yaml.safe_load(as_yaml.out) == document


def test_standard_input(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(DEPLOYMENT.encode())))
    assert cli.main(["inspect", "-f", "-", "-o", "name"]) == 0
    assert capsys.readouterr().out == "deployment.apps/shop\n"


def test_objects_without_a_namespace_are_in_that_of_the_flag(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    text = DEPLOYMENT.replace("  namespace: test\n", "")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert cli.main(["inspect", "-f", "-", "-n", "here", "-o", "json"]) == 0
    items = json.loads(capsys.readouterr().out)["items"]
    assert {(item["workload"]["namespace"], item["host"]) for item in items} == {
        ("here", "httpbin.org"),
        ("here", "api.stripe.com"),
    }


def test_a_file_without_calls_says_so_on_stderr(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n")
    assert cli.main(["inspect", "-f", str(tmp_path)]) == 0
    assert capsys.readouterr() == ("", "No calls to external hosts found (0 workloads read).\n")


@pytest.mark.parametrize("text", ["a: [", "{{ .Values.x }}: 1"])
def test_a_broken_file_is_two_lines_and_1(text: str, capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert cli.main(["inspect", "-f", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert len(captured.err.splitlines()) == 2


def test_a_cluster_on_one_screen(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def survey_cluster(targets: Any, selection: Any, connection: Any, asking: Any, places: Any, **_: Any) -> Survey:
        asked.append((list(targets), selection.namespace, connection.context, asking))
        return survey_documents([one for one in parse(DEPLOYMENT, "") if one.ref.kind != "ConfigMap"], "test")

    monkeypatch.setattr(command, "survey_cluster", survey_cluster)
    assert cli.main(["inspect", "deploy/shop", "-n=test", "--context", "c", "--live=off"]) == 0
    assert asked == [(["deploy/shop"], "test", "c", None)]
    captured = capsys.readouterr()
    assert (
        captured.out
        == """\
WORKLOAD          HOST          VISIBILITY   CALLS     FAILS    FINDINGS
deployment/shop   httpbin.org   unknown      1 https   <none>   <none>
"""
    )
    assert (
        captured.err
        == """
1 external host: 0 opaque, 0 named, 0 full, 1 unknown.
Next: kubectl egress migrate httpbin.org -n test --context c
"""
    )


def test_a_cluster_over_the_wire(capsys: Capture, tmp_path: Path) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    curl = build.deployment("curl", "shop", command=["sh", "-c", "curl https://httpbin.org/status/200"])
    with fake_api(tmp_path) as api:
        api.on("GET", "/api/v1/namespaces/shop", Answer(namespace))
        api.on("GET", "/apis/apps/v1/namespaces/shop/deployments", listing("DeploymentList", "apps/v1", [curl]))
        api.on("GET", "/api/v1/namespaces/shop/pods", listing("PodList", "v1", []))
        api.on("GET", "/api/v1/namespaces/shop/configmaps", listing("ConfigMapList", "v1", []))
        flags = ["-n", "shop", "--kubeconfig", str(tmp_path / "config"), "--request-timeout=5s"]
        assert cli.main(["inspect", "deploy/curl", "-o", "name", *flags]) == 0
        assert capsys.readouterr() == ("deployment.apps/curl\n", "")
        assert cli.main(["inspect", "deploy/nope", *flags]) == 1
        assert capsys.readouterr() == (
            "",
            'error: deployments.apps "nope" not found\n  kubectl get deployments -n shop lists what is there\n',
        )


def test_nothing_is_imported_that_an_inspection_does_not_use(tmp_path: Path) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    heavy = {"kubernetes", "pydantic", "rich", "ruamel", "jinja2", "kubectl_egress.plan", "kubectl_egress.verify"}
    with fake_api(tmp_path) as api:
        api.on("GET", "/api/v1/namespaces/shop", Answer(namespace))
        flags = ["-n", "shop", "--kubeconfig", str(tmp_path / "config")]
        code = (
            "import sys\nfrom kubectl_egress import cli\n"
            f"print(cli.main({['inspect', *flags]!r}), sorted({heavy!r} & sys.modules.keys()))"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "0 []"


def test_all_namespaces_row_by_row_and_then_the_rest(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def surveys_of_cluster(*_: Any, **__: Any) -> Iterator[Survey]:
        for space in ("a-longer-name", "b"):
            yield replace(survey_documents(parse(DEPLOYMENT.replace("test", space), "")), live=True)
            shown.append(capsys.readouterr().out)

    monkeypatch.setattr(command, "surveys_of_cluster", surveys_of_cluster)
    assert cli.main(["inspect", "-A", "--live=off"]) == 0
    assert [[line.split()[:3] for line in part.splitlines()] for part in shown] == [
        [
            ["NAMESPACE", "WORKLOAD", "HOST"],
            ["a-longer-name", "deployment/shop", "api.stripe.com"],
            ["a-longer-name", "deployment/shop", "httpbin.org"],
        ],
        [["b", "deployment/shop", "api.stripe.com"], ["b", "deployment/shop", "httpbin.org"]],
    ]
    assert {line.index("deployment") for part in shown for line in part.splitlines()[1 - len(part.splitlines()) :]} == {
        16
    }
    assert "2 external hosts: 0 opaque, 0 named, 0 full, 2 unknown." in capsys.readouterr().err


def test_all_namespaces_as_one_document(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    surveys = [survey_documents(parse(DEPLOYMENT.replace("test", space), "")) for space in ("a", "b")]
    monkeypatch.setattr(command, "surveys_of_cluster", lambda *_, **__: iter(surveys))
    assert cli.main(["inspect", "-A", "--live=off", "-o", "json"]) == 0
    items = json.loads(capsys.readouterr().out)["items"]
    assert [item["workload"]["namespace"] for item in items] == ["a", "a", "b", "b"]


BLOCKED = DEPLOYMENT.replace(
    "metadata: {labels: {app: shop}}",
    'metadata: {labels: {app: shop}, annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: "80"}}',
)


@pytest.mark.parametrize(
    ("text", "flag", "expected"),
    [
        (BLOCKED, "block", 3),
        (BLOCKED, "warn", 3),
        (DEPLOYMENT, "block", 0),
        (DEPLOYMENT, "warn", 0),
        (DEPLOYMENT.replace("/anything", "/anything?token=t"), "block", 0),
        (DEPLOYMENT.replace("/anything", "/anything?token=t"), "warn", 3),
    ],
)
@pytest.mark.parametrize("form", ["", "json", "github", "sarif"])
def test_fail_on_is_the_exit_status(
    text: str, flag: str, expected: int, form: str, capsys: Capture, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(text)
    output = ["-o", form] if form else []
    assert cli.main(["inspect", "-f", str(tmp_path), f"--fail-on={flag}", *output]) == expected
    assert (f"--fail-on={flag}: " in capsys.readouterr().err) == bool(expected)


def test_fail_on_takes_two_words(capsys: Capture) -> None:
    assert cli.main(["inspect", "--fail-on=all"]) == 2
    assert "it must be block or warn" in capsys.readouterr().err


def test_a_finding_has_the_line_of_what_it_was_read_from(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BLOCKED)
    path = str(tmp_path / "a.yaml")
    cli.main(["inspect", "-f", path, "-o", "github"])
    assert capsys.readouterr().out.startswith(f"::error file={path},line=10,title=port-not-captured::deployment/shop: ")
    cli.main(["inspect", "-f", path, "-o", "sarif"])
    (result,) = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 10}
    cli.main(["inspect", "-f", path, "-o", "json"])
    finding = json.loads(capsys.readouterr().out)["items"][0]["findings"][0]
    assert [(one["value"], one["line"]) for one in finding["evidence"]] == [("80", 10)]


# ---- a repository of manifests --------------------------------------------------------------------------------------

SETTINGS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  app.properties: |
    # the partner's
    pay.scheme=https
    pay.host=pay.example.com

    url=https://api.example.com:8443/v1
  issuer: https://idp.example.com/
"""
READER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  template:
    spec:
      containers:
      - name: shop
        envFrom: [secretRef: {name: all}]
        volumeMounts: [{name: v, mountPath: /etc/x}]
      volumes:
      - {name: v, configMap: {name: settings}}
"""


def test_workload_and_config_map_in_two_files_of_two_directories(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    (tmp_path / "deep" / "shop.yaml").write_text(READER)

    def said(output: str) -> str:
        assert cli.main(["inspect", "-f", str(tmp_path), "-R", "-o", output]) == 0
        return capsys.readouterr().out.replace(f"{tmp_path}/", "")

    sites = [site for item in json.loads(said("json"))["items"] for site in item["callSites"]]
    assert [(site["url"], site["file"], site["line"]) for site in sites] == [
        ("https://api.example.com:8443/v1", "settings.yaml", 10),
        ("https://pay.example.com/", "settings.yaml", 7),
        ("https://idp.example.com/", "settings.yaml", 11),
    ]
    places = [("settings.yaml", 11), ("deep/shop.yaml", 9)]
    results = json.loads(said("sarif"))["runs"][0]["results"]
    locations = [one["locations"][0]["physicalLocation"] for one in results]
    assert [(one["artifactLocation"]["uri"].lstrip("/"), one["region"]["startLine"]) for one in locations] == places
    commands = said("github").splitlines()
    assert [tuple(re.findall("file=(.*?),line=(\\d+)", line)[0]) for line in commands] == [
        (file, str(line)) for file, line in places
    ]
