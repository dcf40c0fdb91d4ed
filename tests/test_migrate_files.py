"""`migrate -f`: the diff, the files, and running it again."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
import yaml

from kubectl_egress import cli

Capture = pytest.CaptureFixture[str]

HOST = "httpbin.org"
ARTICLE = Path(__file__).parent.parent / "examples" / "curl.yaml"
WRITTEN = f"egress-{HOST}.yaml"

# Comments, quoting and an odd layout are the author's.
SHOP = """\
# settings of the shop
apiVersion: v1
kind: ConfigMap
metadata: {name: shop}
data:
  API_URL:   "https://api.example.com/v1"   # the partner's
  DB_PASSWORD: hunter2
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - name: shop
        image: shop
        envFrom:
        - configMapRef: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
"""
ALIAS = """\
      hostAliases:
      - ip: 192.0.2.233
        hostnames:
        - api.example.com
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "there-is-none"))
    (tmp_path / "curl.yaml").write_bytes(ARTICLE.read_bytes())
    return tmp_path


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def refused(capsys: Capture, line: str, status: int = 1) -> tuple[str, str]:
    """The two lines of an error, with which no file is touched."""
    before = files(Path.cwd())
    assert cli.main(line.split()) == status
    assert files(Path.cwd()) == before
    what, remedy = capsys.readouterr().err.splitlines()[-2:]
    return what, remedy.strip()


# ---- the article's manifest ---------------------------------------------------------------------------------------------


def test_without_write_the_diff_is_on_stdout_and_no_file_is_touched(directory: Path, capsys: Capture) -> None:
    before = files(directory)
    assert cli.main(["migrate", HOST, "-f", "curl.yaml"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("--- a/curl.yaml\n+++ b/curl.yaml\n")
    assert f"\n-                curl -vs https://{HOST}/status/200" in captured.out
    assert f"\n+                curl -vs http://{HOST}/status/200" in captured.out
    assert f"\n--- /dev/null\n+++ b/{WRITTEN}\n" in captured.out
    assert captured.err == ""
    assert files(directory) == before


def test_write_changes_the_url_adds_the_alias_and_nothing_else(directory: Path, capsys: Capture) -> None:
    assert cli.main(["migrate", HOST, "-f", "curl.yaml", "--write"]) == 0
    assert capsys.readouterr() == ("", f"curl.yaml edited\n{WRITTEN} written\n")
    lines = (directory / "curl.yaml").read_text().splitlines()
    alias = ["      hostAliases:", "        - ip: 192.0.2.48", "          hostnames:", f"            - {HOST}"]
    at = lines.index(alias[0])
    assert lines[at : at + 4] == alias
    rest = [line.replace(f"http://{HOST}", f"https://{HOST}") for line in lines[:at] + lines[at + 4 :]]
    assert rest == ARTICLE.read_text().splitlines()
    made = list(yaml.safe_load_all((directory / WRITTEN).read_text()))
    assert [(one["kind"], one["metadata"]["namespace"]) for one in made] == [
        ("DestinationRule", "test-ext-svc"),
        ("ServiceEntry", "test-ext-svc"),
        ("VirtualService", "test-ext-svc"),
    ]


@pytest.mark.parametrize("again", ["curl.yaml", "."])
def test_the_second_run_finds_nothing_to_do(again: str, directory: Path, capsys: Capture) -> None:
    cli.main(["migrate", HOST, "-f", "curl.yaml", "--write"])
    after = files(directory)
    capsys.readouterr()
    for line in (f"migrate {HOST} -f {again} --write", f"migrate {HOST} -f {again} --exit-code"):
        assert cli.main(line.split()) == 0
        assert capsys.readouterr() == ("", "Nothing to do.\n")
    assert cli.main(["migrate", "--all", "-f", again]) == 0
    assert capsys.readouterr() == ("", "Nothing to do: no external host is called over https.\n")
    assert files(directory) == after


def test_exit_code_3_while_something_is_left(directory: Path) -> None:
    before = files(directory)
    assert cli.main(["migrate", HOST, "-f", "curl.yaml", "--exit-code"]) == 3
    assert cli.main(["migrate", "--all", "-f", ".", "--exit-code"]) == 3
    assert files(directory) == before


def test_windows_line_ends_stay(directory: Path) -> None:
    (directory / "curl.yaml").write_bytes(ARTICLE.read_bytes().replace(b"\n", b"\r\n"))
    assert cli.main(["migrate", HOST, "-f", "curl.yaml", "--write"]) == 0
    after = (directory / "curl.yaml").read_bytes()
    assert after.count(b"\n") == after.count(b"\r\n") == ARTICLE.read_bytes().count(b"\n") + 4
    assert f"curl -vs http://{HOST}/status/200".encode() in after


# ---- several documents, no namespace -------------------------------------------------------------------------------------


def test_of_several_documents_those_change_that_call_the_host(directory: Path) -> None:
    (directory / "shop.yaml").write_text(SHOP)
    assert cli.main(["migrate", "api.example.com", "-f", "shop.yaml", "--write"]) == 0
    template = "    metadata: {labels: {app: shop}}\n    spec:\n"
    expected = SHOP.replace('"https://api', '"http://api').replace(template, template + ALIAS)
    assert (directory / "shop.yaml").read_text() == expected
    made = list(yaml.safe_load_all((directory / "egress-api.example.com.yaml").read_text()))
    # as the manifests beside them: whoever applies them says where
    assert ["namespace" in one["metadata"] for one in made] == [False, False, False]


def test_a_neighbouring_value_does_not_reach_the_diff(directory: Path, capsys: Capture) -> None:
    (directory / "shop.yaml").write_text(SHOP)
    assert cli.main(["migrate", "api.example.com", "-f", "shop.yaml"]) == 0
    assert "hunter2" not in "".join(capsys.readouterr())


def test_a_directory_and_its_directories(directory: Path, capsys: Capture) -> None:
    (directory / "deep").mkdir()
    (directory / "deep" / "shop.yaml").write_text(SHOP)
    assert cli.main(["migrate", "--all", "-f", ".", "-R", "--write"]) == 0
    assert sorted(files(directory)) == [
        "curl.yaml",
        "deep/egress-api.example.com.yaml",
        "deep/shop.yaml",
        WRITTEN,
    ]
    assert capsys.readouterr().out == ""


def test_standard_input_gives_a_diff(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SHOP.encode())))
    assert cli.main(["migrate", "api.example.com", "-f", "-"]) == 0
    assert '\n+  API_URL:   "http://api.example.com/v1"' in capsys.readouterr().out


def test_objects_as_they_would_be(capsys: Capture) -> None:
    assert cli.main(["migrate", HOST, "-f", "curl.yaml", "-o", "json"]) == 0
    captured = capsys.readouterr()
    kinds = [one["kind"] for one in json.loads(captured.out)["items"]]
    assert kinds == ["DestinationRule", "ServiceEntry", "VirtualService", "Deployment"]
    assert captured.err == ""


# ---- what is wrong -----------------------------------------------------------------------------------------------------------


def test_a_host_that_no_file_calls(capsys: Capture) -> None:
    what, remedy = refused(capsys, "migrate httpbin.ogr -f curl.yaml --write")
    assert what == "error: nothing in these files calls httpbin.ogr, as far as can be seen; nothing was changed"
    assert remedy == "did you mean httpbin.org? kubectl egress inspect -f curl.yaml shows what is called"


def test_two_hosts_of_which_no_file_calls_one(capsys: Capture) -> None:
    what, remedy = refused(capsys, f"migrate {HOST} api.example.com -f curl.yaml --write")
    assert "calls api.example.com, " in what
    assert remedy == f"external hosts that are called there: {HOST}; see kubectl egress inspect -f curl.yaml"


BAD_FILES = [
    ("a: [", "bad.yaml:1: not YAML", "Mend the file"),
    (
        "kind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n",
        "bad.yaml:3: a template that is not rendered yet",
        "Render it first (helm template",
    ),
    ("kind: ConfigMap\n\tname: x\n", "bad.yaml:2: not YAML", "Mend the file"),
]


@pytest.mark.parametrize(("text", "what", "remedy"), BAD_FILES)
def test_one_broken_file_stops_all(text: str, what: str, remedy: str, directory: Path, capsys: Capture) -> None:
    (directory / "bad.yaml").write_text(text)
    first, second = refused(capsys, f"migrate {HOST} -f . --write")
    assert first.startswith(f"error: {what}")
    assert second.startswith(remedy)


@pytest.mark.parametrize(
    ("line", "status", "what"),
    [
        ("-f nowhere --write", 1, 'the path "nowhere" does not exist'),
        ("-f curl.yaml --dry-run=server", 2, "--dry-run=server does not go with -f"),
        ("-f curl.yaml --write --dry-run=client", 2, "--write does not go with --exit-code or --dry-run"),
        ("-f curl.yaml --write --exit-code", 2, "--write does not go with --exit-code or --dry-run"),
        ("-f curl.yaml --write --workload deploy/curl", 2, "--workload and -l do not go with -f"),
    ],
)
def test_flags_that_do_not_fit_together(line: str, status: int, what: str, capsys: Capture) -> None:
    first, remedy = refused(capsys, f"migrate {HOST} {line}", status)
    assert first == f"error: {what}"
    assert remedy


def test_a_finding_that_blocks_leaves_every_file_alone(directory: Path, capsys: Capture) -> None:
    text = ARTICLE.read_text().replace("      containers:", "      hostNetwork: true\n      containers:")
    (directory / "curl.yaml").write_text(text)
    what, remedy = refused(capsys, f"migrate {HOST} -f curl.yaml --write", 3)
    assert what == "error: nothing was changed: not-intercepted stands in the way"
    assert "kubectl egress explain not-intercepted" in remedy


def test_all_where_nothing_may_be_touched(directory: Path, capsys: Capture) -> None:
    text = ARTICLE.read_text().replace("      containers:", "      hostNetwork: true\n      containers:")
    (directory / "curl.yaml").write_text(text)
    what, remedy = refused(capsys, "migrate --all -f curl.yaml --write")
    assert what == "error: there is no host that could be migrated"
    assert remedy == "kubectl egress inspect -f curl.yaml shows what there is, and why"


# ---- settings that say a call together ------------------------------------------------------------------------------

PAY = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: pay}
data:
  PAY_SCHEME: https # as the partner wants it
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - name: shop
        image: shop
        env:
        - {name: PAY_HOST, value: api.example.com}
        - {name: PAY_PORT, value: "443"}
        envFrom: [configMapRef: {name: pay}]
"""


def test_settings_change_together_where_they_stand(capsys: Capture, directory: Path) -> None:
    (directory / "shop.yaml").write_text(PAY)
    assert cli.main(["migrate", "api.example.com", "-f", "shop.yaml", "--write"]) == 0
    written = (directory / "shop.yaml").read_text()
    assert "  PAY_SCHEME: http # as the partner wants it\n" in written
    assert '{name: PAY_PORT, value: "80"}' in written
    capsys.readouterr()
    assert (
        cli.main(["migrate", "api.example.com", "-f", "shop.yaml", "-f", WRITTEN.replace(HOST, "api.example.com")]) == 0
    )
    assert capsys.readouterr().out == ""


def test_a_setting_that_another_workload_reads_for_another_host_stays(capsys: Capture, directory: Path) -> None:
    other = PAY[PAY.index("---") :].replace("{name: shop}", "{name: other}").replace("api.example.com", "b.example.com")
    (directory / "shop.yaml").write_text(PAY + other)
    assert cli.main(["inspect", "-f", "shop.yaml", "-o", "json"]) == 0
    sites = [site for item in json.loads(capsys.readouterr().out)["items"] for site in item["callSites"]]
    assert {(site["rewritable"], site["reason"][:65]) for site in sites} == {
        (False, "said by several settings, which another workload reads as well: c"[:65])
    }
