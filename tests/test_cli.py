from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from kubectl_egress import cli
from kubectl_egress.cli import ending, output
from kubectl_egress.errors import (
    ApiError,
    EgressError,
    ForbiddenError,
    ManifestError,
    RefusedError,
    UnreachableError,
    UsageError,
)

Capture = pytest.CaptureFixture[str]


def raising(error: BaseException) -> Callable[[], int]:
    def run() -> int:
        raise error

    return run


@pytest.fixture(autouse=True)
def _started_by_kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/kubectl-egress"])


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_reads_kubectl_egress_and_goes_to_stdout(arguments: list[str], capsys: Capture) -> None:
    assert cli.main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Usage: kubectl egress [OPTIONS] COMMAND [ARGS]...\n")
    assert captured.err == ""


@pytest.mark.parametrize("function", cli.COMMANDS)
def test_every_command_has_help_that_reads_kubectl_egress(function: Callable[..., int], capsys: Capture) -> None:
    assert cli.main([function.__name__, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: kubectl egress {function.__name__} ")


KUBECTL_FLAGS = (
    "-n, --namespace",
    "-A, --all-namespaces",
    "-l, --selector",
    "-f, --filename",
    "-R, --recursive",
    "-o, --output",
    "--context",
    "--kubeconfig",
    "--cluster",
    "--user",
    "--as ",
    "--as-group",
    "--request-timeout",
    "-v, --v",
)


@pytest.mark.parametrize("flag", KUBECTL_FLAGS)
def test_inspect_takes_kubectls_flags(flag: str, capsys: Capture) -> None:
    cli.main(["inspect", "--help"])
    assert f"\n  {flag}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspet"], 'unknown command "inspet" for "kubectl egress"\n  did you mean inspect? see'),
        (
            ["inspect", "--namespac"],
            "unknown flag: --namespac\n  did you mean --namespace? see 'kubectl egress inspect --help' for usage",
        ),
        (["inspect", "-n"], "flag needs an argument: -n"),
        (["explain", "a", "b"], "got unexpected extra argument(s) (b)"),
        (["inspect", "-o", "tabel"], 'unable to match a printer suitable for the output format "tabel", allowed'),
        (["explain", "no-sidecars"], "did you mean no-sidecar"),
        (["inspect", "--live", "maybe"], "it must be auto, off, or sample=N"),
        (["inspect", "-f", ".", "deploy/x"], "you may not specify resource arguments as well"),
        (["inspect", "-f", ".", "-l", "a=b"], "does not go with -f"),
        (["inspect", "deploy/x/y"], "may not have more than one slash"),
    ],
)
def test_wrong_usage_is_2_says_so_on_stderr_and_names_what_is_near(
    arguments: list[str], message: str, capsys: Capture
) -> None:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_an_unknown_format_lists_the_allowed_ones() -> None:
    with pytest.raises(UsageError, match=r"allowed formats are: json,name,wide,yaml$"):
        output.check_format("tabel", ("json", "yaml", "name", "wide"))
    assert output.check_format("", ("json",)) == ""


def test_version_without_a_cluster(capsys: Capture) -> None:
    assert cli.main(["version", "--client", "-o=json"]) == 0
    assert json.loads(capsys.readouterr().out)["client"].startswith("v")


def test_version_says_its_own_even_where_the_cluster_cannot_be_reached(capsys: Capture) -> None:
    assert cli.main(["version", "--kubeconfig", "/there/is/none"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("Client Version: v")
    assert captured.err.startswith("error: ")


def test_explain_lists_the_catalogue_and_gives_a_page(capsys: Capture) -> None:
    assert cli.main(["explain"]) == 0
    assert re.match(r"CODE +SEVERITY   MEANING\nno-sidecar ", capsys.readouterr().out)
    assert cli.main(["explain", "no-sidecar"]) == 0
    assert capsys.readouterr().out.startswith("no-sidecar (block): ")


# ---- how it ends --------------------------------------------------------------------------------------------------


def test_a_command_that_ends_well_keeps_its_status(capsys: Capture) -> None:
    assert ending.ended(lambda: 0) == 0
    assert ending.ended(lambda: 3) == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (EgressError("what", "how"), 1),
        (ManifestError("what", "how"), 1),
        (UnreachableError("what", "how"), 1),
        (ApiError("what", "how"), 1),
        (ForbiddenError("what", "how"), 1),
        (UsageError("what", "how"), 2),
        (RefusedError("what", "how"), 3),
    ],
)
def test_what_a_user_can_mend_is_two_lines_on_stderr(error: EgressError, status: int, capsys: Capture) -> None:
    assert ending.ended(raising(error)) == status
    assert capsys.readouterr() == ("", "error: what\n  how\n")


def test_an_error_without_a_remedy_is_one_line_and_masks_credentials(capsys: Capture) -> None:
    assert ending.ended(raising(EgressError("cannot read https://bob:pw@a.io"))) == 1
    assert capsys.readouterr().err == "error: cannot read https://***@a.io\n"


def test_an_interruption_is_130(capsys: Capture) -> None:
    assert ending.ended(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "Interrupted.\n")


def test_anything_else_is_a_bug_with_a_traceback_and_where_to_report_it(capsys: Capture) -> None:
    assert ending.ended(raising(KeyError("https://bob:pw@a.io"))) == 70
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):\n")
    assert "KeyError: 'https://***@a.io'" in err
    assert "Please report it" in err


# ---- where text goes ------------------------------------------------------------------------------------------------


class Terminal:
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_on_a_terminal_that_wants_it(
    environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert output.coloured(Terminal()) is expected  # type: ignore[arg-type]


def test_no_colour_and_no_width_without_a_terminal() -> None:
    with open("/dev/null") as stream:
        assert not output.coloured(stream)
        assert output.width(stream) is None


def test_without_a_terminal_nothing_is_changed_unless_yes_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/null") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert output.confirm("Go ahead?", yes=True)
        with pytest.raises(EgressError, match="nothing was changed"):
            output.confirm("Go ahead?", yes=False)


def test_a_reader_that_has_gone_is_no_error() -> None:
    script = "from kubectl_egress.cli.output import emit\nfor _ in range(20000): emit('x' * 100)\n"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 0


HEAVY = ("kubernetes", "ruamel", "rich", "jsonpath_ng", "yaml", "kubectl_egress.model")


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom kubectl_egress.cli import main\nassert main(['--help']) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert result.stderr == "[]\n"
