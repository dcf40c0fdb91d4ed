"""Completion, by the real kubectl and by real shells, against an API that answers, refuses, or is not there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from kubectl_egress import cli
from kubectl_egress.cli import completing
from kubectl_egress.cli.completing.words import place_of
from kubectl_egress.findings import codes, ignorable
from kubectl_egress.journal import JOURNAL_LABEL
from tests import build
from tests.fake_api import Answer, FakeApi, fake_api

COMMANDS: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
NOTHING = ":4\n"
FILES = ":0\n"


def completed(line: str) -> list[str]:
    """What completes the line; its last word is what follows the last blank."""
    return completing.completed(line.split(" "), COMMANDS).splitlines()


def choices(line: str) -> list[str]:
    *found, directive = completed(line)
    assert directive == ":4"
    return [one.partition("\t")[0] for one in found]


@pytest.fixture(autouse=True)
def no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


# ---- without a cluster ------------------------------------------------------------------------------------------------


def test_commands_with_their_summaries() -> None:
    assert choices("") == list(COMMANDS)
    assert choices("in") == ["inspect"]
    assert completed("in")[0].startswith("inspect\tShow what the workloads call")
    assert choices("nonsense ") == []


def test_flags_that_are_not_given_yet() -> None:
    assert set(choices("inspect --")) >= {"--namespace", "--context", "--as-group", "--output", "--help"}
    assert choices("inspect --names") == ["--namespace"]
    assert choices("inspect -n shop --names") == []
    assert choices("inspect --as-group a --as-gr") == ["--as-group"]
    assert choices("-n shop --conte") == ["--context"]
    assert choices("report --no-ver") == ["--no-verify"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("inspect -o ", ["json", "yaml", "name", "wide", "sarif", "github"]),
        ("inspect -o=j", ["json"]),
        ("inspect --output=ya", ["yaml"]),
        ("inspect --live ", ["auto", "off"]),
        ("migrate x.org --mode ", ["full", "named"]),
        ("migrate x.org --dry-run=", ["none", "client", "server"]),
        ("migrate x.org --dry-run=cl", ["client"]),
        ("completion ", ["bash", "zsh", "fish", "powershell", "kubectl"]),
        ("completion bash ", []),
        ("migrate --timeout ", []),
        ("demo ", []),
    ],
)
def test_values_that_can_be_listed(line: str, expected: list[str]) -> None:
    assert choices(line) == expected


def test_codes_of_findings() -> None:
    assert choices("explain ") == list(codes())
    assert choices("explain own-t") == ["own-trust"]
    assert choices("migrate x --ignore ") == [code for code in codes() if ignorable(code)]


@pytest.mark.parametrize(
    "line", ["inspect -f ", "inspect --filename=x", "inspect --kubeconfig ", "verify --client-key "]
)
def test_files_are_left_to_the_shell(line: str) -> None:
    assert completed(line) == [FILES.strip()]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_output_format_of_every_command_is_offered(command: str) -> None:
    for flag in COMMANDS[command].params:
        if "--output" in flag.opts:
            assert choices(f"{command} -o "), "the help says which there are"


@pytest.mark.parametrize("line", ["inspect -n ", "inspect dep", "migrate ", "verify ", "undo ", "inspect --context "])
def test_where_nobody_can_say_there_is_silence(line: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert completed(line) == [NOTHING.strip()]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("line", "parameter"),
    [
        ("inspect ", "targets"),
        ("inspect a b ", "targets"),
        ("migrate ", "hosts"),
        ("migrate -n shop ", "hosts"),
        ("migrate -nshop ", "hosts"),
        ("migrate --dry-run ", "hosts"),
        ("migrate --namespace ", "namespace"),
        ("migrate --namespace=", "namespace"),
        ("migrate -A", None),
    ],
)
def test_what_a_word_is_for(line: str, parameter: str | None) -> None:
    found = place_of(line.split(" "), COMMANDS).parameter
    assert (found.name if found is not None else None) == parameter


def test_no_client_is_loaded_for_what_needs_no_cluster() -> None:
    code = (
        "import sys\n"
        "from kubectl_egress.cli.completing import main\n"
        "for words in ([''], ['inspect', '--'], ['inspect', '-o', ''], ['explain', '']): main(words)\n"
        "print(sorted({'kubernetes', 'urllib3', 'yaml', 'rich', 'pydantic'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


# ---- with one ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path) as running:
        yield running


def items(*bodies: Any) -> Answer:
    return Answer({"kind": "List", "metadata": {}, "items": list(bodies)})


def test_namespaces_and_the_names_of_the_kubeconfig(api: FakeApi, tmp_path: Path) -> None:
    api.on("GET", "/api/v1/namespaces", items(*({"metadata": {"name": one}} for one in ("shop", "shipping", "web"))))
    assert choices("inspect -n sh") == ["shop", "shipping"]
    assert choices("inspect --context ") == ["lab"]
    assert choices("inspect --cluster=") == ["lab"]
    assert choices("inspect --user m") == ["me"]
    assert choices(f"inspect --kubeconfig {tmp_path}/none --user ") == []


def test_workloads_as_kubectl_s_targets(api: FakeApi) -> None:
    named = [build.deployment(name) for name in ("curl", "cart")]
    api.on("GET", "/apis/apps/v1/namespaces/shop/deployments", items(*named))
    api.on("GET", "/apis/apps/v1/namespaces/shop/statefulsets", items(build.deployment("cache")))
    assert choices("inspect ") == ["deployment/curl", "deployment/cart", "statefulset/cache"]
    assert choices("inspect deploy/cu") == ["deploy/curl"]
    assert choices("inspect deployment ca") == ["cart"]
    assert choices("migrate x.org --workload statefulset/") == ["statefulset/cache"]


def test_the_flags_on_the_line_say_which_cluster_and_who_asks(api: FakeApi) -> None:
    choices("inspect --as bob --as-group a -n other deploy/")
    request = api.requests[-1]
    assert request.path == "/apis/apps/v1/namespaces/other/deployments"
    assert (request.headers["impersonate-user"], request.groups) == ("bob", ("a",))


def test_hosts_that_are_migrated(api: FakeApi) -> None:
    api.on("GET", "/api/v1/namespaces/shop/configmaps", items())
    assert choices("undo ") == []
    assert api.requests[-1].query["labelSelector"] == JOURNAL_LABEL


def test_a_cluster_that_does_not_answer_is_not_waited_for(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubectl_egress.cli.completing.sources.PATIENCE", "200ms")
    api.on("GET", "/api/v1/namespaces", Answer(fault="hang"))
    assert choices("inspect -n ") == []


# ---- by kubectl and by shells -----------------------------------------------------------------------------------------------

PROGRAMS = Path(sys.executable).parent


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}


def test_kubectl_asks_us(api: FakeApi) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    api.on("GET", "/api/v1/namespaces", items({"metadata": {"name": "shop"}}))

    def asked(*words: str) -> list[str]:
        run = subprocess.run(
            ["kubectl", "__complete", "egress", *words], env=environment(), capture_output=True, text=True, timeout=60
        )
        return [line.partition("\t")[0] for line in run.stdout.splitlines()]

    assert asked("in") == ["inspect", ":4"]
    assert asked("inspect", "-n", "") == ["shop", ":4"]
    assert asked("inspect", "--output=w") == ["wide", ":4"]


SCRIPTS = {
    "bash": """
        source <(kubectl-egress completion bash)
        COMP_LINE="kubectl-egress {line}" COMP_POINT=999 COMP_CWORD=1
        COMP_WORDS=(kubectl-egress)
        __kubectl_egress_complete
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """,
    "fish": """
        kubectl-egress completion fish | source
        complete --do-complete "kubectl-egress {line}"
    """,
}


@pytest.mark.parametrize("shell", SCRIPTS)
@pytest.mark.parametrize(
    ("line", "expected"),
    [("in", ["inspect"]), ("list -o ", ["json", "yaml", "wide"]), ("inspect --out", ["--output"])],
)
def test_a_shell_completes_the_direct_command(shell: str, line: str, expected: list[str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    run = subprocess.run(
        [shell, "-c", SCRIPTS[shell].format(line=line)], env=environment(), capture_output=True, text=True, timeout=120
    )
    assert sorted(one.partition("\t")[0] for one in run.stdout.split("\n") if one) == sorted(expected), run.stderr


def test_zsh_completes_the_direct_command(tmp_path: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    # A terminal of zsh's own, since its completion works nowhere else.
    script = f"""
        zmodload zsh/zpty
        zpty z zsh -f
        zpty -w z "PROMPT='>'; autoload -U compinit; compinit -u -d {tmp_path}/dump; source <(kubectl-egress completion zsh); echo re''ady"
        zpty -r -m z text '*ready*'
        zpty -n -w z $'kubectl-egress insp\\t -o js\\t ; echo do\\'\\'ne\\n'
        zpty -r -m z text '*done*'
        print -r -- $text
        zpty -d z
    """
    run = subprocess.run(["zsh", "-fc", script], env=environment(), capture_output=True, text=True, timeout=120)
    # Without the bell and the colours between what was typed and what was completed.
    shown = re.sub(r"\x07|\x1b\[[0-9;?]*[a-zA-Z]", "", run.stdout)
    assert "inspect" in shown, run.stdout + run.stderr
    assert "json" in shown, run.stdout


def test_the_program_that_krew_cannot_install_is_one_that_can_be_written(tmp_path: Path) -> None:
    program = tmp_path / "kubectl_complete-egress"
    written = subprocess.run(
        ["kubectl-egress", "completion", "kubectl"], env=environment(), capture_output=True, check=True
    )
    program.write_bytes(written.stdout)
    program.chmod(0o755)
    ran = subprocess.run([program, "expl"], env=environment(), capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("explain\t")


def test_a_kubeconfig_that_is_broken_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(yaml.safe_dump(["no kubeconfig"]))
    assert choices("inspect --context ") == []
