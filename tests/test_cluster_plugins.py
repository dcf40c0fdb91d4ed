"""Exec plugins: what they are told, whom they may ask, and credentials that end while we are at work."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from kubectl_egress.cluster import Cluster, ConnectionOptions, connect
from kubectl_egress.cluster.exec_plugins import run_plugin
from kubectl_egress.cluster.proxies import get_pod_port
from kubectl_egress.errors import ForbiddenError
from kubectl_egress.model import Ref
from tests.fake_api import Answer, FakeApi, fake_api, status, write_kubeconfig

VERSION = "client.authentication.k8s.io/v1"
REFUSED = status(401, "Unauthorized", "Unauthorized")


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path) as running:
        running.on("GET", "/version", Answer({"gitVersion": "v1.36.3"}))
        running.ports[("a", 80)] = lambda path: (200, path)
        yield running


def dial(directory: Path, **options: Any) -> Cluster:
    return connect(ConnectionOptions(kubeconfig=str(directory / "config"), **options))


def plugin(directory: Path, script: str, **settings: Any) -> dict[str, Any]:
    """A plugin that runs this Python, in which `give(token=…)` answers and `runs` is how often it has run before."""
    path = directory / "plugin.py"
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        f"runs = len(open({str(directory / 'runs')!r}).read()) if os.path.exists({str(directory / 'runs')!r}) else 0\n"
        f"open({str(directory / 'runs')!r}, 'a').write('x')\n"
        "def give(**status):\n"
        f"    print(json.dumps(dict(apiVersion={VERSION!r}, kind='ExecCredential', status=status)))\n"
        f"{script}\n"
    )
    path.chmod(0o755)
    return {"apiVersion": VERSION, "command": str(path), "interactiveMode": "IfAvailable", **settings}


def runs(directory: Path) -> int:
    return len((directory / "runs").read_text())


def tokens(api: FakeApi) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in api.requests]


# ---- what it is told, and whom it may ask ---------------------------------------------------------------------------------


def test_it_is_told_what_client_go_tells(api: FakeApi, tmp_path: Path) -> None:
    script = f"give(token='t'); open({str(tmp_path / 'told')!r}, 'w').write(os.environ['KUBERNETES_EXEC_INFO'])"
    settings = plugin(tmp_path, script, env=[{"name": "STAGE", "value": "prod"}])
    write_kubeconfig(tmp_path / "config", api.url, exec=settings)
    dial(tmp_path)
    told = json.loads((tmp_path / "told").read_text())
    assert told == {"apiVersion": VERSION, "kind": "ExecCredential", "spec": {"interactive": False}}
    write_kubeconfig(tmp_path / "config", api.url, exec={**settings, "provideClusterInfo": True})
    dial(tmp_path)
    cluster = json.loads((tmp_path / "told").read_text())["spec"]["cluster"]
    assert cluster["server"] == api.url
    # As the API of exec plugins has it: the certificates, and not where they are.
    assert set(cluster) == {"server", "certificate-authority-data"}


ASKING = "sys.stderr.write('code: '); sys.stderr.flush(); give(token=sys.stdin.readline().strip())"
OURS = [sys.executable, "-m", "kubectl_egress", "version", "-o", "json"]


@pytest.mark.parametrize("program", ["ours", "kubectl"])
def test_it_may_ask_who_sits_at_the_terminal_wherever_the_output_goes(
    program: str, api: FakeApi, tmp_path: Path
) -> None:
    kubectl = shutil.which("kubectl")
    if program == "kubectl" and kubectl is None:
        pytest.skip("kubectl is not installed")
    command = OURS if program == "ours" else [str(kubectl), "version", "-o", "json"]
    write_kubeconfig(tmp_path / "config", api.url, exec=plugin(tmp_path, ASKING))
    shown = typing("opensesame\n", [*command, "--kubeconfig", str(tmp_path / "config")], tmp_path)
    assert shown.startswith("code: ")
    assert "opensesame" in tokens(api)


def typing(text: str, command: Sequence[str], directory: Path) -> str:
    """What a command with a terminal for its input, and a file for its output, writes on stderr when this is typed."""
    master, terminal = pty.openpty()
    os.write(master, text.encode())
    try:
        with (directory / "output").open("w") as output:
            done = subprocess.run(
                command, stdin=terminal, stdout=output, stderr=subprocess.PIPE, text=True, timeout=60, check=False
            )
    finally:
        os.close(master)
        os.close(terminal)
    return done.stderr


def test_where_nobody_sits_it_asks_nothing_shows_nothing_and_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kubectl_egress.cluster.exec_plugins._UNATTENDED_SECONDS", 0.5)
    settings = plugin(tmp_path, "print('code: ', file=sys.stderr); import time; time.sleep(600)")
    with pytest.raises(ForbiddenError, match="timed out"):
        run_plugin(settings, {}, attended=False)
    assert capfd.readouterr() == ("", "")


# ---- credentials that do not last -----------------------------------------------------------------------------------------


def moment(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def test_a_token_that_has_ended_is_replaced_before_the_next_request_or_port_forward(
    api: FakeApi, tmp_path: Path
) -> None:
    script = f"give(token=f't{{runs}}', expirationTimestamp={moment(-1)!r} if runs < 2 else {moment(600)!r})"
    write_kubeconfig(tmp_path / "config", api.url, exec=plugin(tmp_path, script))
    cluster = dial(tmp_path)
    cluster.version()
    get_pod_port(cluster, Ref("Pod", "shop", "a"), 80, "/x")
    cluster.version()
    assert tokens(api) == ["t1", "t2", "t2"]
    assert runs(tmp_path) == 3


def test_a_token_that_the_server_refuses_is_replaced_once_even_if_it_was_to_last(api: FakeApi, tmp_path: Path) -> None:
    api.on("GET", "/version", REFUSED, Answer({"gitVersion": "v1.36.3"}))
    write_kubeconfig(tmp_path / "config", api.url, exec=plugin(tmp_path, "give(token=f't{runs}')"))
    cluster = dial(tmp_path)
    assert cluster.version() == "v1.36.3"
    assert tokens(api) == ["t0", "t1"]
    api.on("GET", "/version", REFUSED)
    with pytest.raises(ForbiddenError, match="You must be logged in"):
        cluster.version()
    assert tokens(api)[2:] == ["t1", "t2"]


def test_the_same_token_again_is_not_sent_again(api: FakeApi, tmp_path: Path) -> None:
    api.on("GET", "/version", REFUSED)
    write_kubeconfig(tmp_path / "config", api.url, exec=plugin(tmp_path, "give(token='same')"))
    with pytest.raises(ForbiddenError):
        dial(tmp_path).version()
    assert tokens(api) == ["same"]


def test_a_certificate_that_has_ended_is_replaced(tmp_path: Path) -> None:
    with fake_api(tmp_path, demanding=True) as api:
        api.on("GET", "/version", Answer({"gitVersion": "v1.36.3"}))
        other = trustme.CA().issue_cert("nobody")
        other.private_key_and_cert_chain_pem.write_to_path(tmp_path / "other.pem")
        script = (
            f"directory = {str(tmp_path)!r}\n"
            "certificate, key = ('client.pem', 'client.key') if runs else ('other.pem', 'other.pem')\n"
            "read = lambda name: open(os.path.join(directory, name)).read()\n"
            f"give(clientCertificateData=read(certificate), clientKeyData=read(key), expirationTimestamp={moment(-1)!r})"
        )
        write_kubeconfig(tmp_path / "config", api.url, exec=plugin(tmp_path, script))
        # The first is another CA's; it has ended by the time of the first request.
        assert dial(tmp_path).version() == "v1.36.3"
    assert runs(tmp_path) == 2
