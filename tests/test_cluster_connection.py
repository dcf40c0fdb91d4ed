from __future__ import annotations

import base64
import io
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from kubectl_egress.cluster import Cluster, ConnectionOptions, connect
from kubectl_egress.cluster.connection import parse_timeout
from kubectl_egress.errors import EgressError, ForbiddenError, UnreachableError, UsageError
from tests.fake_api import Answer, FakeApi, fake_api, write_kubeconfig


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path) as running:
        running.on("GET", "/version", Answer({"gitVersion": "v1.36.3"}))
        yield running


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def dial(config: Path, **options: Any) -> Cluster:
    return connect(ConnectionOptions(kubeconfig=str(config), **options))


def write_plain(config: Path, server: str) -> None:
    """A kubeconfig for a server without TLS, or one that nobody can reach."""
    write_kubeconfig(config, server)
    edit(config, clusters=[{"name": "lab", "cluster": {"server": server}}])


def edit(config: Path, **changes: Any) -> None:
    document = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**document, **changes}))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", None),
        ("0s", None),
        ("30", 30.0),
        ("1s", 1.0),
        ("2m", 120.0),
        ("3h", 10800.0),
        ("1m30s", 90.0),
        ("250ms", 0.25),
    ],
)
def test_timeouts_are_read_as_kubectl_reads_them(text: str, seconds: float | None) -> None:
    assert parse_timeout(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 s", "five", "1d", "1.s2", "٣"])
def test_other_timeouts_are_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="Invalid timeout value"):
        parse_timeout(text)


def test_the_token_and_the_context_s_namespace_are_used(api: FakeApi, tmp_path: Path) -> None:
    cluster = dial(tmp_path / "config")
    assert (cluster.namespace, cluster.version()) == ("shop", "v1.36.3")
    assert api.requests[-1].headers["authorization"] == "Bearer s3cret"
    assert api.requests[-1].headers["user-agent"].startswith("kubectl-egress/")


def test_the_namespace_flag_wins(api: FakeApi, tmp_path: Path) -> None:
    assert dial(tmp_path / "config", namespace="other").namespace == "other"


def test_impersonation_by_flags_replaces_the_kubeconfig_s(api: FakeApi, tmp_path: Path) -> None:
    write_kubeconfig(tmp_path / "config", api.url, token="t", **{"as": "ann", "as-groups": ["a", "b"]})
    dial(tmp_path / "config").version()
    assert (api.requests[-1].headers["impersonate-user"], api.requests[-1].groups) == ("ann", ("a", "b"))
    dial(tmp_path / "config", as_user="bob", as_groups=("x", "y", "z")).version()
    assert (api.requests[-1].headers["impersonate-user"], api.requests[-1].groups) == ("bob", ("x", "y", "z"))


def test_groups_without_a_user_are_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without impersonating a user"):
        connect(ConnectionOptions(as_groups=("a",)))


def test_in_the_list_of_kubeconfigs_the_first_word_counts(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.write_text(
        yaml.safe_dump(
            {
                "current-context": "far",
                "contexts": [{"name": "far", "context": {"cluster": "lab", "user": "me", "namespace": "far"}}],
                "users": [{"name": "me", "user": {"token": "not-this"}}],
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/nowhere:{tmp_path}/config:{other}")
    assert connect(ConnectionOptions()).namespace == "shop"
    far = connect(ConnectionOptions(context="far"))
    assert (far.namespace, far.version()) == ("far", "v1.36.3")
    assert api.requests[-1].headers["authorization"] == "Bearer s3cret"


def test_cluster_and_user_flags_need_no_context(api: FakeApi, tmp_path: Path) -> None:
    edit(tmp_path / "config", **{"current-context": ""})
    cluster = dial(tmp_path / "config", cluster="lab", user="me")
    assert (cluster.namespace, cluster.version()) == ("default", "v1.36.3")


def test_without_kubeconfig_or_pod_it_says_so() -> None:
    with pytest.raises(EgressError, match=r"no kubeconfig: ~/\.kube/config does not exist") as caught:
        connect(ConnectionOptions())
    assert "--kubeconfig FILE" in caught.value.remedy


def test_a_named_context_is_not_looked_for_in_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(EgressError, match=r"no kubeconfig: .* so there is no prod"):
        connect(ConnectionOptions(context="prod"))


@pytest.mark.parametrize(
    ("options", "message", "remedy"),
    [
        ({"context": "lob"}, "context was not found for specified context: lob", "there is lab"),
        ({"cluster": "x"}, 'no server found for cluster "x"', "there is lab"),
        ({"user": "you"}, 'auth info "you" does not exist', "there is me"),
    ],
)
def test_a_name_that_is_not_there_is_said_with_those_that_are(
    api: FakeApi, tmp_path: Path, options: dict[str, str], message: str, remedy: str
) -> None:
    with pytest.raises(EgressError) as caught:
        dial(tmp_path / "config", **options)
    assert caught.value.message == message
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("users: [{name: me, user: {token: s3cret}", "not YAML"),
        ("- a\n- list", "not a kubeconfig"),
        ("clusters: {lab: s3cret}", "not a kubeconfig"),
        ("contexts: []", "current-context is not set"),
        (
            "current-context: lab\ncontexts: [{name: lab, context: {cluster: a}}]\nclusters: [{name: a}]",
            'no server found for cluster "a"',
        ),
    ],
)
def test_a_broken_kubeconfig_is_one_line_without_secrets(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(EgressError) as caught:
        dial(tmp_path / "config")
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert "s3cret" not in caught.value.message + caught.value.remedy


def test_a_kubeconfig_flag_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(EgressError, match="no such file or directory"):
        dial(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("user", "message"),
    [
        (
            {"client-certificate": "gone.pem"},
            "unable to read client-cert .*gone.pem for me due to open .*: no such file or directory",
        ),
        ({"client-certificate-data": "==", "client-key-data": "=="}, "is not PEM"),
        ({"client-certificate-data": "=="}, "client-key-data or client-key must be specified for me"),
        ({"tokenFile": "gone"}, "unusable credentials: .*gone"),
        ({"exec": "login"}, "unusable credentials: exec is no mapping"),
    ],
)
def test_credentials_that_cannot_be_read(api: FakeApi, tmp_path: Path, user: dict[str, str], message: str) -> None:
    write_kubeconfig(tmp_path / "config", api.url, **user)
    with pytest.raises(EgressError, match=message):
        dial(tmp_path / "config").version()


def plugin(tmp_path: Path, script: str) -> dict[str, Any]:
    path = tmp_path / "plugin.py"
    path.write_text(script)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": [str(path)]}}


def test_an_exec_plugin_gives_the_token(api: FakeApi, tmp_path: Path) -> None:
    script = """print('{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"fresh"}}')"""
    write_kubeconfig(tmp_path / "config", api.url, **plugin(tmp_path, script))
    dial(tmp_path / "config").version()
    assert api.requests[-1].headers["authorization"] == "Bearer fresh"


@pytest.mark.parametrize(
    ("script", "message", "shown"),
    [
        (
            "import sys; sys.exit('the session has expired')",
            f"exec: executable {sys.executable} failed with exit code 1",
            "the session has expired\n",
        ),
        ("print('hello')", "decoding stdout: it is not JSON", ""),
        ("print('[]')", "configured to use API version client.authentication.k8s.io/v1, plugin returned", ""),
        ("print(SAYS % '{}')", "exec plugin didn't return a token or cert/key pair", ""),
        ("print(SAYS % 'null')", "exec plugin didn't return a status field", ""),
        ("""print(SAYS % '{"clientKeyData":"x"}')""", "exec plugin returned only certificate or key, not both", ""),
        ("""print(SAYS % '{"token":"x","expirationTimestamp":"soon"}')""", "decoding stdout: Invalid isoformat", ""),
    ],
)
def test_an_exec_plugin_that_fails_is_said_and_nobody_is_asked(
    api: FakeApi, tmp_path: Path, script: str, message: str, shown: str, capfd: pytest.CaptureFixture[str]
) -> None:
    says = """SAYS = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":%s}'"""
    write_kubeconfig(tmp_path / "config", api.url, **plugin(tmp_path, f"{says}\n{script}"))
    with pytest.raises(ForbiddenError, match=re.escape(message)):
        dial(tmp_path / "config")
    assert not api.requests
    assert capfd.readouterr().err == shown


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"interactiveMode": "Always"},
            "exec plugin cannot support interactive mode: standard input is not a terminal",
        ),
        ({"interactiveMode": "Sometimes"}, 'unknown interactiveMode: "Sometimes"'),
        ({"apiVersion": ""}, "apiVersion is missing in the kubeconfig"),
    ],
)
def test_an_exec_plugin_that_may_not_run(
    api: FakeApi, tmp_path: Path, settings: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    given = plugin(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w')")["exec"]
    write_kubeconfig(tmp_path / "config", api.url, exec={**given, **settings})
    with pytest.raises(ForbiddenError, match=message):
        dial(tmp_path / "config")
    assert not (tmp_path / "ran").exists()


def test_an_exec_plugin_that_is_not_installed(api: FakeApi, tmp_path: Path) -> None:
    settings = {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-login"}
    write_kubeconfig(tmp_path / "config", api.url, exec=settings)
    with pytest.raises(ForbiddenError, match="exec: executable no-such-login not found"):
        dial(tmp_path / "config")


# ---- on the way -----------------------------------------------------------------------------------------------------


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    write_plain(tmp_path / "config", f"http://127.0.0.1:{port}")
    with pytest.raises(UnreachableError, match=f"The connection to the server 127.0.0.1:{port} was refused"):
        dial(tmp_path / "config").version()


def test_the_name_does_not_resolve(tmp_path: Path) -> None:
    write_plain(tmp_path / "config", "http://api.invalid:6443")
    with pytest.raises(UnreachableError, match=r"lookup api\.invalid:6443: no such host"):
        dial(tmp_path / "config").version()


def test_the_certificate_is_another_ca_s(api: FakeApi, tmp_path: Path) -> None:
    with fake_api(tmp_path):
        write_kubeconfig(tmp_path / "config", api.url)
        with pytest.raises(UnreachableError, match="failed to verify certificate: ") as caught:
            dial(tmp_path / "config").version()
    assert "certificate-authority" in caught.value.remedy


def test_the_certificate_is_for_another_name(tmp_path: Path) -> None:
    with fake_api(tmp_path, "elsewhere.test") as api:
        api.on("GET", "/version", Answer({"gitVersion": "v1"}))
        with pytest.raises(UnreachableError, match=r"failed to verify certificate: .*127\.0\.0\.1"):
            dial(tmp_path / "config").version()
        settings = {"server": api.url, "certificate-authority": "ca.pem", "tls-server-name": "elsewhere.test"}
        edit(tmp_path / "config", clusters=[{"name": "lab", "cluster": settings}])
        assert dial(tmp_path / "config").version() == "v1"


def test_the_server_speaks_no_tls(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        write_kubeconfig(tmp_path / "config", f"https://127.0.0.1:{server.getsockname()[1]}")
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        with pytest.raises(EgressError, match="Unable to connect to the server"):
            dial(tmp_path / "config", request_timeout="1s").version()


def test_a_ca_that_is_none(api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(EgressError, match="unable to load root certificates: unable to parse bytes as PEM block"):
        dial(tmp_path / "config")


def test_a_certificate_and_a_key_that_are_no_pair(api: FakeApi, tmp_path: Path) -> None:
    for name in ("client", "other"):
        made = trustme.CA().issue_cert(f"{name}.test")
        made.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
        made.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
    write_kubeconfig(tmp_path / "config", api.url, **{"client-certificate": "client.pem", "client-key": "other.key"})
    with pytest.raises(EgressError, match="they are no pair"):
        dial(tmp_path / "config")


def test_a_key_is_in_no_file_once_it_has_been_read(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    made = trustme.CA().issue_cert("client.test")
    texts = {"client-certificate-data": made.cert_chain_pems[0], "client-key-data": made.private_key_pem}
    encoded = {key: base64.b64encode(pem.bytes()).decode() for key, pem in texts.items()}
    write_kubeconfig(tmp_path / "config", api.url, **encoded)
    assert dial(tmp_path / "config").version() == "v1.36.3"
    assert [*(tmp_path / "temporary").iterdir()] == []


def test_the_server_does_not_answer(api: FakeApi, tmp_path: Path) -> None:
    api.on("GET", "/version", Answer(fault="hang"))
    with pytest.raises(UnreachableError, match="did not answer in time") as caught:
        dial(tmp_path / "config", request_timeout="300ms").version()
    assert "--request-timeout" in caught.value.remedy


def test_the_server_is_no_kubernetes_api(api: FakeApi, tmp_path: Path) -> None:
    api.on("GET", "/version", Answer("<html>hello</html>"))
    with pytest.raises(UnreachableError, match="is this a Kubernetes API"):
        dial(tmp_path / "config").version()


def test_credentials_that_have_expired(api: FakeApi, tmp_path: Path) -> None:
    body = {"kind": "Status", "message": "Unauthorized", "reason": "Unauthorized", "code": 401}
    api.on("GET", "/version", Answer(body, 401))
    with pytest.raises(ForbiddenError, match="You must be logged in to the server") as caught:
        dial(tmp_path / "config").version()
    assert caught.value.status == 401


def test_nothing_of_the_client_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, kubectl_egress.cluster.survey, kubectl_egress.cluster.rollout\n"
        "print(sorted({'kubernetes', 'urllib3', 'websocket', 'yaml'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
