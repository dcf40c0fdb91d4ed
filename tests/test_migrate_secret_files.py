"""`migrate -f` with Secrets among the manifests: edited where they stand, in base64 too, and shown nowhere."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress import cli
from kubectl_egress.manifests import secrets_hidden

Capture = pytest.CaptureFixture[str]

CANARY = "canary7f3a"
HOST = "api.example.com"
URL = f"https://{HOST}/hooks/{CANARY}"
STORED = base64.b64encode(URL.encode()).decode()
SHOP = f"""\
apiVersion: v1
kind: Secret
metadata: {{name: shop}}
type: Opaque
stringData:
  API_URL:   "{URL}"   # the partner's
  DB_PASSWORD: {CANARY}
  app.properties: |
    password={CANARY}
    url={URL}
data:
  HOOK: {STORED}
  other: {base64.b64encode(CANARY.encode()).decode()}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop}}
spec:
  selector: {{matchLabels: {{app: shop}}}}
  template:
    metadata: {{labels: {{app: shop}}}}
    spec:
      containers:
      - name: shop
        image: shop
        envFrom:
        - secretRef: {{name: shop}}
"""
ALIAS = f"""\
      hostAliases:
      - ip: 192.0.2.233
        hostnames:
        - {HOST}
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "there-is-none"))
    Path("shop.yaml").write_text(SHOP)
    return tmp_path


def run(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    """Status, stdout and stderr, in which nothing of the Secret stands."""
    status = cli.main([*arguments, "-f", "shop.yaml"])
    out, err = capsys.readouterr()
    shifted = [base64.b64encode(b"x" * shift + CANARY.encode()).decode()[4:-4] for shift in range(3)]
    assert not [one for one in (CANARY, *shifted, STORED) if one in out + err]
    return status, out, err


def test_without_the_flag_nothing_is_changed_and_it_is_said(capsys: Capture) -> None:
    other = SHOP.replace("        envFrom", f"        env: [{{name: X, value: 'https://{HOST}/'}}]\n        envFrom")
    Path("shop.yaml").write_text(other)
    status, _, err = run(capsys, "migrate", HOST, "--write")
    assert status == 0
    assert Path("shop.yaml").read_text().startswith(SHOP.partition("---")[0])
    assert "shop.yaml:6: left alone: it is in a Secret; --include-secrets rewrites" in err


def test_urls_change_where_they_stand_in_plain_and_in_base64(capsys: Capture) -> None:
    status, _, _ = run(capsys, "migrate", HOST, "--include-secrets", "--write")
    assert status == 0
    plain = URL.replace("https", "http")
    wanted = SHOP.replace(URL, plain).replace(STORED, base64.b64encode(plain.encode()).decode())
    text = Path("shop.yaml").read_text()
    assert text.replace(ALIAS, "") == wanted
    assert ALIAS in text
    status, _, err = run(capsys, "migrate", HOST, "--include-secrets", "--write")
    assert (status, Path("shop.yaml").read_text()) == (0, text)
    assert "Nothing to do" in err


def test_the_diff_says_which_values_differ_and_no_value(capsys: Capture) -> None:
    _, out, _ = run(capsys, "migrate", HOST, "--include-secrets")
    assert "-  API_URL:   *** (before)   # the partner" in out
    assert "+  HOOK: *** (after)" in out
    assert "     ***\n-    *** (before)\n+    *** (after)\n" in out
    assert "+      hostAliases:" in out


def test_a_json_list_on_one_line_shows_no_secret_beside_what_changes(capsys: Capture) -> None:
    items = list(yaml.safe_load_all(SHOP))
    items[1]["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "X", "value": f"https://{HOST}/"}]
    Path("shop.yaml").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    for flags in ((), ("--include-secrets",)):
        status, out, _ = run(capsys, "migrate", HOST, *flags)
        assert status == 0
        assert f"http://{HOST}/" in out


def test_inspect_says_where_they_stand(capsys: Capture) -> None:
    _, out, _ = run(capsys, "inspect", "--include-secrets", "-o", "json")
    (item,) = json.loads(out)["items"]
    assert [(site["path"], site["line"], site["url"]) for site in item["callSites"]] == [
        (".data.HOOK", 12, f"https://{HOST}"),
        (".data.API_URL", 6, f"https://{HOST}"),
        (".data.app\\.properties", 10, f"https://{HOST}"),
    ]
    for output in ("wide", "sarif", "github"):
        assert run(capsys, "inspect", "--include-secrets", "-o", output)[0] == 0
    _, out, _ = run(capsys, "inspect", "-o", "json")
    assert json.loads(out)["items"] == []


def test_what_to_type_leads_to_the_secrets(capsys: Capture) -> None:
    _, _, err = run(capsys, "inspect", "--include-secrets")
    assert f"Next: kubectl egress migrate {HOST} -f shop.yaml --include-secrets\n" in err
    _, _, err = run(capsys, "migrate", HOST)
    assert "see kubectl egress inspect -f shop.yaml --include-secrets" in err
    _, _, err = run(capsys, "migrate", "--all")
    assert (
        err
        == "Nothing to do: no external host is called over https, as far as can be seen without --include-secrets.\n"
    )


@pytest.mark.parametrize("output", ["yaml", "json", "kustomize"])
def test_objects_with_values_are_not_printed(capsys: Capture, output: str) -> None:
    Path("kustomization.yaml").write_text("resources: [shop.yaml]\n")
    status, out, err = run(capsys, "migrate", HOST, "--include-secrets", "-o", output)
    assert (status, out) == (2, "")
    assert "would print the values of Secret shop" in err
    assert run(capsys, "migrate", HOST, "--include-secrets", "-o", "plan")[0] == 0


def test_what_sops_has_encrypted_is_left_alone(capsys: Capture) -> None:
    Path("shop.yaml").write_text(SHOP.replace("type: Opaque", "sops: {mac: x}\ntype: Opaque"))
    status, _, err = run(capsys, "migrate", HOST, "--include-secrets")
    assert status == 1
    assert "nothing in these files calls" in err


@given(
    st.lists(
        st.sampled_from(["k: v", "data: {a: b}", "stringData:\n  a: |\n    x\n    y", "type: Opaque"]), unique=True
    )
)
def test_only_values_are_hidden_and_every_line_stays(parts: list[str]) -> None:
    text = "\n".join(["kind: Secret", *parts]) + "\n"
    _, hidden = secrets_hidden(None, text)
    assert hidden.count("\n") == text.count("\n")
    assert [line for line in hidden.splitlines() if "***" not in line] == [
        line for line in text.splitlines() if line.strip() not in ("x", "y") and "{a: b}" not in line
    ]
    other = text.replace("kind: Secret", "kind: ConfigMap # not a Secret")
    assert secrets_hidden(None, other) == (None, other)
