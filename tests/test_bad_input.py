"""What is typed wrong: one line what, one line remedy, the right exit status, nothing asked of any cluster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kubectl_egress import cli
from tests.fake_api import fake_api

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "there-is-none"))
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/kubectl-egress"])


USAGE = [
    # hosts
    ("migrate https://httpbin.org/status", "'https://httpbin.org/status' is a URL, not a host", "Here: httpbin.org"),
    ("migrate https://bob:pw@httpbin.org", "'https://***@httpbin.org' is a URL, not a host", "Here: httpbin.org"),
    ("migrate 1.2.3.4", "'1.2.3.4' is an IP address: TLS origination needs a host name", "Give a host name"),
    ("migrate [::1]:443", "'[::1]:443' is an IP address: TLS origination needs a host name", "Give a host name"),
    ("migrate localhost", "'localhost' is not outside the cluster", "In-cluster calls need no ServiceEntry"),
    ("migrate payments", "'payments' is not outside the cluster", "In-cluster calls need no ServiceEntry"),
    ("migrate web.shop.svc.cluster.local", "is not outside the cluster", "In-cluster calls need no ServiceEntry"),
    ("migrate *.org", "'*.org' is a whole top-level domain", "Give a host name"),
    ("migrate httpbin.org:99999", "'99999' is not a port", "A port is a number from 1 to 65535."),
    ("migrate httpbin_.org", "'httpbin_.org' is not a host name", "Give a host name"),
    ("verify 1.2.3.4", "'1.2.3.4' is an IP address", "Give a host name"),
    ("undo https://httpbin.org -y", "'https://httpbin.org' is a URL", "Here: httpbin.org"),
    # which hosts
    ("migrate", "name the hosts to migrate, or say --all", "kubectl egress inspect shows which there are"),
    ("migrate httpbin.org --all", "hosts and --all do not go together", "name the hosts to migrate, or say --all"),
    ("undo", "name the hosts to undo, or say --all", "kubectl egress verify shows which are migrated"),
    ("undo httpbin.org --all", "hosts and --all do not go together", "name the hosts to undo, or say --all"),
    # flags
    ("migrate httpbin.org --dry-run=sever", "Invalid dry-run value (sever). Must be", "client plans without writing"),
    ("undo httpbin.org --dry-run=sever", "Invalid dry-run value (sever). Must be", "client plans without writing"),
    ("migrate httpbin.org --timeout 5x", 'invalid argument "5x" for "--timeout" flag', "use a number of seconds"),
    ("migrate httpbin.org --window soon", 'invalid argument "soon" for "--window" flag', "use a number of seconds"),
    ("verify --window soon", 'invalid argument "soon" for "--window" flag', "use a number of seconds"),
    ("undo httpbin.org --timeout 5x", 'invalid argument "5x" for "--timeout" flag', "use a number of seconds"),
    ("migrate httpbin.org --ignore gitops-ownd", "there is no finding 'gitops-ownd'", "did you mean gitops-owned?"),
    ("migrate httpbin.org --ignore xyz", "there is no finding 'xyz'", "kubectl egress explain lists them"),
    ("migrate httpbin.org --ignore no-sidecar", "no-sidecar cannot be ignored", "kubectl egress explain no-sidecar"),
    ("migrate httpbin.org --write", "--write goes with -f", "the cluster is changed, after a question"),
    ("migrate httpbin.org -f - --write", "--write has no file to write to", "name a file"),
    ("migrate httpbin.org -f . -l app=x", "--workload and -l do not go with -f", "give only the files"),
    ("explain no-sidecra", "there is no finding 'no-sidecra'", "did you mean no-sidecar"),
    ("inspect --as-group admins", "without impersonating a user", "--as USER --as-group GROUP"),
    ("inspect deploy/x sts", "there is no need to specify a resource type as a separate argument", "for example"),
]


@pytest.mark.parametrize(("line", "what", "remedy"), USAGE, ids=[line for line, _, _ in USAGE])
def test_wrong_usage_is_2_and_says_what_and_how(line: str, what: str, remedy: str, capsys: Capture) -> None:
    assert cli.main(line.split(" ")) == 2
    captured = capsys.readouterr()
    first, second = captured.err.splitlines()
    assert first.startswith("error: ")
    assert what in first
    assert remedy in second
    assert captured.out == ""


@pytest.mark.parametrize("command", ["migrate", "verify"])
def test_an_unknown_format_is_2(command: str, capsys: Capture) -> None:
    assert cli.main([command, "httpbin.org", "-o", "xml"]) == 2
    assert 'unable to match a printer suitable for the output format "xml", allowed' in capsys.readouterr().err


COMMANDS = ("inspect", "migrate httpbin.org -y", "verify", "undo httpbin.org -y")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_kubeconfig_is_1(command: str, capsys: Capture, tmp_path: Path) -> None:
    assert cli.main(command.split()) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"error: no kubeconfig: {tmp_path}/there-is-none does not exist, and this is not a pod of a cluster"
    assert "--kubeconfig FILE" in second


@pytest.mark.parametrize("command", COMMANDS)
def test_an_api_server_that_is_not_there_is_1(command: str, capsys: Capture, tmp_path: Path) -> None:
    with fake_api(tmp_path):
        kubeconfig = tmp_path / "config"
    assert cli.main([*command.split(), "--kubeconfig", str(kubeconfig)]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: The connection to the server 127.0.0.1:")
    assert "was refused" in first
    assert second.startswith("  check the address")


def test_a_flag_without_its_value_is_2_in_the_real_process() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "kubectl_egress", "migrate", "httpbin.org", "--ignore"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


SWALLOWED = """
import os, signal, sys
from kubectl_egress.cli import ending, interrupts

def run():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        pass
    interrupts.check()
    return 0

sys.exit(ending.ended(run))
"""


def test_a_ctrl_c_that_a_library_swallows_is_not_lost() -> None:
    run = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "Interrupted.\n")


def test_a_ctrl_c_that_was_heard_is_not_heard_twice() -> None:
    script = SWALLOWED.replace("interrupts.check()", "")
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
