"""`migrate -f` with what may be asked for beyond the same as before: --hold, --ipv6, --alias, --retries and their like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_egress import cli
from kubectl_egress.plan.holding import PROXY_CONFIG

HOST = "httpbin.org"
WRITTEN = f"egress-{HOST}.yaml"
SHOP = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata:
      labels: {app: shop}   # ours
    spec:
      containers:
      - name: shop
        image: shop
        env:
        - {name: API, value: "https://httpbin.org/get"}
"""
CRON = """\
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "@daily"
  jobTemplate:
    spec:
      template:
        metadata:
          annotations:
            a: b
        spec:
          containers:
          - name: nightly
            image: nightly
            args: ["https://httpbin.org/get"]
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "there-is-none"))
    return tmp_path


def migrated(text: str, *arguments: str, name: str = "shop.yaml") -> tuple[dict[str, Any], list[Any]]:
    """The object as it is then, and the objects beside it; of the text nothing but lines with the URL has changed, and a
    second run finds nothing to do."""
    Path(name).write_text(text)
    command = ["migrate", HOST, "-f", name, *arguments]
    assert cli.main([*command, "--write"]) == 0
    after = Path(name).read_text()
    kept = [line for line in text.splitlines() if HOST not in line]
    lines = iter(after.splitlines())
    assert all(line in lines for line in kept), "lines are added, and none is changed"
    assert cli.main([*command, "--exit-code"]) == 0
    body = yaml.safe_load(after)
    return body, list(yaml.safe_load_all(Path(WRITTEN).read_text()))


def template(body: dict[str, Any]) -> Any:
    spec = body["spec"]
    return spec["jobTemplate"]["spec"]["template"] if body["kind"] == "CronJob" else spec["template"]


@pytest.mark.parametrize("text", [SHOP, CRON])
def test_hold_is_an_annotation_of_the_pod_template(text: str) -> None:
    body, _ = migrated(text, "--hold")
    annotations = template(body)["metadata"]["annotations"]
    assert yaml.safe_load(annotations[PROXY_CONFIG]) == {"holdApplicationUntilProxyStarts": True}
    assert ("a" in annotations) is (text is CRON)


def test_hold_in_a_template_that_says_nothing_of_itself() -> None:
    text = CRON.replace("        metadata:\n          annotations:\n            a: b\n", "")
    body, _ = migrated(text, "--hold")
    assert PROXY_CONFIG in template(body)["metadata"]["annotations"]


def test_a_configuration_that_is_there_is_left_to_its_author(capsys: pytest.CaptureFixture[str]) -> None:
    text = CRON.replace("a: b", f"{PROXY_CONFIG}: 'concurrency: 2'")
    Path("cron.yaml").write_text(text)
    assert cli.main(["migrate", HOST, "-f", "cron.yaml", "--hold", "--write"]) == 1
    assert "has another value" in capsys.readouterr().err
    assert Path("cron.yaml").read_text() == text
    assert not Path(WRITTEN).exists()


@pytest.mark.parametrize("text", [SHOP, CRON])
def test_ipv6_needs_an_alias_of_its_own(text: str) -> None:
    body, _ = migrated(text, "--ipv6")
    first, second = template(body)["spec"]["hostAliases"]
    assert (first["hostnames"], second["hostnames"]) == ([HOST], [HOST])
    assert first["ip"].startswith("192.0.2.")
    assert second["ip"].startswith("100::")


def test_ipv6_asked_for_later_adds_its_line_alone() -> None:
    body, _ = migrated(SHOP)
    (first,) = template(body)["spec"]["hostAliases"]
    before = Path("shop.yaml").read_text()
    assert cli.main(["migrate", HOST, "-f", "shop.yaml", "--ipv6", "--write"]) == 0
    added, known = template(yaml.safe_load(Path("shop.yaml").read_text()))["spec"]["hostAliases"]
    assert known == first
    assert added["ip"].startswith("100::")
    lines = iter(Path("shop.yaml").read_text().splitlines())
    assert all(line in lines for line in before.splitlines())


def test_a_short_name_is_a_service_and_a_route_more() -> None:
    _, objects = migrated(SHOP, "--alias", "partner")
    assert [(one["kind"], one["metadata"]["name"]) for one in objects] == [
        ("DestinationRule", f"egress-{HOST}"),
        ("ServiceEntry", f"egress-{HOST}"),
        ("VirtualService", f"egress-{HOST}"),
        ("Service", "partner"),
        ("VirtualService", "egress-partner"),
    ]
    waves = [int(one["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) for one in objects]
    assert max(waves) < 0, "before the workloads"
    assert waves[0] < waves[1], "the rule before the entry"


def test_what_is_asked_of_the_sidecar_stands_in_the_objects() -> None:
    _, (rule, _, route) = migrated(SHOP, "--retries", "2", "--route-timeout", "1500ms", "--http2")
    (http,) = route["spec"]["http"]
    assert (http["retries"]["attempts"], http["timeout"]) == (2, "1.5s")
    (settings,) = rule["spec"]["trafficPolicy"]["portLevelSettings"]
    assert settings["connectionPool"] == {"http": {"h2UpgradePolicy": "UPGRADE"}}


def test_all_of_them_in_json() -> None:
    Path("shop.json").write_text(json.dumps(yaml.safe_load(SHOP), indent=1))
    command = ["migrate", HOST, "-f", "shop.json", "--hold", "--ipv6", "--guard", "--alias", "partner"]
    assert cli.main([*command, "--write"]) == 0
    body = json.loads(Path("shop.json").read_text())
    assert len(template(body)["spec"]["hostAliases"]) == 2
    assert PROXY_CONFIG in template(body)["metadata"]["annotations"]
    assert cli.main([*command, "--exit-code"]) == 0


@pytest.mark.parametrize("given", ["shop.yaml", "."])
def test_another_port_is_migrated_and_found_again(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("shop.yaml").write_text(SHOP.replace("https://httpbin.org/get", "https://httpbin.org:8443/get"))
    command = ["migrate", f"{HOST}:8443", "-f", given]
    assert cli.main([*command, "--write"]) == 0
    (pod,) = template(yaml.safe_load(Path("shop.yaml").read_text()))["spec"]["containers"]
    assert pod["env"] == [{"name": "API", "value": "http://httpbin.org/get"}]
    _, entry, route = yaml.safe_load_all(Path(WRITTEN).read_text())
    assert [one.get("targetPort") for one in entry["spec"]["ports"]] == [8443, None, None]
    assert route["spec"]["http"][0]["rewrite"] == {"authority": "httpbin.org:8443"}
    capsys.readouterr()
    assert cli.main([*command, "--exit-code"]) == 0
    assert capsys.readouterr().err == "Nothing to do.\n"
    # The other port, later on, is not led elsewhere under the first one's callers.
    Path("late.yaml").write_text(SHOP.replace("shop", "late"))
    before = Path(WRITTEN).read_text()
    assert cli.main(["migrate", HOST, "-f", ".", "--write"]) == 1
    assert "ServiceEntry egress-httpbin.org leads port 80 of httpbin.org to port 8443" in capsys.readouterr().err
    assert (Path(WRITTEN).read_text(), Path("late.yaml").read_text()) == (before, SHOP.replace("shop", "late"))
