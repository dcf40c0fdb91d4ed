"""Servers that demand something: who asks, by what, through what; and kubectl beside us, asked the same."""

from __future__ import annotations

import base64
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_egress import cli
from kubectl_egress.cluster import Cluster, ConnectionOptions, connect
from kubectl_egress.cluster.proxies import get_pod_port
from kubectl_egress.cluster.tunnels import run_command
from kubectl_egress.errors import EgressError, UnreachableError, UsageError
from kubectl_egress.model import Ref
from tests.fake_api import Answer, FakeApi, fake_api, write_kubeconfig
from tests.forward_proxies import ForwardProxy, connect_proxy, socks_proxy

POD = Ref("Pod", "shop", "a")
PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", *PROXY_VARIABLES, *map(str.lower, PROXY_VARIABLES)):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path) as running:
        yield serving(running)


@pytest.fixture
def demanding(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path, demanding=True) as running:
        yield serving(running)


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    with connect_proxy() as running:
        yield running


def serving(api: FakeApi) -> FakeApi:
    """Every way in which the tool asks: a request, a port-forward, a command."""
    api.on("GET", "/version", Answer({"gitVersion": "v1.36.3"}))
    api.ports[("a", 80)] = lambda path: (200, path)
    api.commands = lambda pod, command: (" ".join(command), "")
    return api


def dial(directory: Path, **options: Any) -> Cluster:
    return connect(ConnectionOptions(kubeconfig=str(directory / "config"), **options))


def everything(cluster: Cluster) -> tuple[str, str, str]:
    """One request of each kind."""
    command = run_command(cluster.transport, POD, "istio-proxy", ["pilot-agent"], 5)
    return cluster.version(), get_pod_port(cluster, POD, 80, "/x"), command


ANSWERS = ("v1.36.3", "/x", "pilot-agent")


def edit_cluster(directory: Path, **settings: Any) -> None:
    """Change the kubeconfig's only cluster; None takes a setting out."""
    path = directory / "config"
    document = yaml.safe_load(path.read_text())
    cluster = {**document["clusters"][0]["cluster"], **settings}
    document["clusters"][0]["cluster"] = {key: value for key, value in cluster.items() if value is not None}
    path.write_text(yaml.safe_dump(document))


def plugin(directory: Path, status: Mapping[str, str]) -> dict[str, Any]:
    """An exec plugin that gives this status."""
    document = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    script = directory / "login.py"
    script.write_text(f"#!{sys.executable}\nprint({json.dumps(json.dumps(document))})\n")
    script.chmod(0o755)
    # Relative to the kubeconfig, as client-go has it.
    return {"apiVersion": document["apiVersion"], "command": "./login.py", "interactiveMode": "Never"}


def asked(api: FakeApi, header: str) -> set[str | None]:
    """The values of a header over all requests."""
    return {request.headers.get(header) for request in api.requests}


# ---- a server that wants a certificate ----------------------------------------------------------------------------------


def test_who_has_no_certificate_is_not_let_in(demanding: FakeApi, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError):
        dial(tmp_path).version()


def test_a_client_certificate_of_the_kubeconfig(demanding: FakeApi, tmp_path: Path) -> None:
    files = {"client-certificate": "client.pem", "client-key": "client.key"}
    write_kubeconfig(tmp_path / "config", demanding.url, **files)
    assert everything(dial(tmp_path)) == ANSWERS
    encoded = {f"{key}-data": base64.b64encode((tmp_path / name).read_bytes()).decode() for key, name in files.items()}
    write_kubeconfig(tmp_path / "config", demanding.url, **encoded)
    assert everything(dial(tmp_path)) == ANSWERS


def test_a_client_certificate_by_flags(demanding: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    broken = {"client-certificate-data": "eA==", "client-key-data": "eA=="}
    write_kubeconfig(tmp_path / "config", demanding.url, **broken)
    assert everything(dial(tmp_path, client_certificate="client.pem", client_key="client.key")) == ANSWERS


def test_a_client_certificate_of_a_plugin(demanding: FakeApi, tmp_path: Path) -> None:
    texts = {"clientCertificateData": (tmp_path / "client.pem").read_text()}
    texts["clientKeyData"] = (tmp_path / "client.key").read_text()
    write_kubeconfig(tmp_path / "config", demanding.url, exec=plugin(tmp_path, texts))
    assert everything(dial(tmp_path)) == ANSWERS


# ---- a server whose own certificate is not what the kubeconfig says -----------------------------------------------------


def test_another_ca_by_a_flag(api: FakeApi, tmp_path: Path) -> None:
    edit_cluster(tmp_path, **{"certificate-authority": None, "insecure-skip-tls-verify": True})
    assert everything(dial(tmp_path, certificate_authority=str(tmp_path / "ca.pem"))) == ANSWERS
    (tmp_path / "wrong").mkdir()
    with fake_api(tmp_path / "wrong"), pytest.raises(UnreachableError, match="failed to verify certificate"):
        dial(tmp_path, certificate_authority=str(tmp_path / "wrong" / "ca.pem")).version()


def test_no_check_at_all_if_that_is_wanted(tmp_path: Path) -> None:
    with fake_api(tmp_path, "elsewhere.test") as api:
        serving(api)
        with pytest.raises(UnreachableError, match="failed to verify certificate"):
            dial(tmp_path).version()
        assert everything(dial(tmp_path, insecure_skip_tls_verify=True)) == ANSWERS
        edit_cluster(tmp_path, **{"certificate-authority": None, "insecure-skip-tls-verify": True})
        assert everything(dial(tmp_path)) == ANSWERS


def test_another_name_by_a_flag_and_never_that_of_another_server(tmp_path: Path) -> None:
    with fake_api(tmp_path, "elsewhere.test") as api:
        serving(api)
        assert everything(dial(tmp_path, tls_server_name="elsewhere.test")) == ANSWERS
        edit_cluster(tmp_path, server="https://127.0.0.1:1", **{"tls-server-name": "elsewhere.test"})
        with pytest.raises(UnreachableError, match="failed to verify certificate"):
            dial(tmp_path, server=api.url).version()


# ---- who asks -----------------------------------------------------------------------------------------------------------


def test_a_token_by_a_flag_goes_before_a_plugin_s(api: FakeApi, tmp_path: Path) -> None:
    write_kubeconfig(tmp_path / "config", api.url, exec=plugin(tmp_path, {"token": "of-the-plugin"}))
    assert everything(dial(tmp_path)) == ANSWERS
    assert asked(api, "authorization") == {"Bearer of-the-plugin"}
    api.requests.clear()
    assert everything(dial(tmp_path, token="of-the-flag")) == ANSWERS
    assert asked(api, "authorization") == {"Bearer of-the-flag"}


def test_a_token_file(api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of-the-file\n")
    write_kubeconfig(tmp_path / "config", api.url, tokenFile="token")
    assert everything(dial(tmp_path)) == ANSWERS
    assert asked(api, "authorization") == {"Bearer of-the-file"}


def test_a_token_file_that_is_replaced_and_then_gone(api: FakeApi, tmp_path: Path) -> None:
    write_kubeconfig(tmp_path / "config", api.url, tokenFile="token")
    (tmp_path / "token").write_text("first\n")
    cluster = dial(tmp_path)
    cluster.version()
    (tmp_path / "token").write_text("second\n")
    cluster.version()
    (tmp_path / "token").unlink()
    cluster.version()
    given = [request.headers["authorization"] for request in api.requests]
    assert given == ["Bearer first", "Bearer second", "Bearer second"]


def test_a_server_without_tls_gets_no_credentials(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"gitVersion": "v1"}')

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        write_kubeconfig(tmp_path / "config", "https://127.0.0.1:1")
        edit_cluster(tmp_path, **{"certificate-authority": None})
        address = f"127.0.0.1:{server.server_address[1]}"
        try:
            for given in (address, f"http://{address}"):
                assert dial(tmp_path, server=given, token="s3cret").version() == "v1"
        finally:
            server.shutdown()
    assert ["authorization" in headers for headers in seen] == [False, False]


IMPERSONATION = {
    "as_user": "bob",
    "as_uid": "7",
    "as_groups": ("x", "y"),
    "as_user_extra": ("reason=audit", "acme.com/team=sre"),
}


def test_impersonation_reaches_requests_port_forwards_and_commands(api: FakeApi, tmp_path: Path) -> None:
    assert everything(dial(tmp_path, **IMPERSONATION)) == ANSWERS
    assert {request.path.rpartition("/")[2] for request in api.requests} == {"version", "portforward", "exec"}
    assert {request.groups for request in api.requests} == {("x", "y")}
    assert asked(api, "impersonate-user") == {"bob"}
    assert asked(api, "impersonate-uid") == {"7"}
    assert asked(api, "impersonate-extra-reason") == {"audit"}
    assert asked(api, "impersonate-extra-acme.com%2fteam") == {"sre"}


def test_flags_lie_over_the_kubeconfig_s_impersonation_one_by_one(api: FakeApi, tmp_path: Path) -> None:
    write_kubeconfig(tmp_path / "config", api.url, token="t", **{"as": "ann", "as-uid": "1", "as-groups": ["a"]})
    dial(tmp_path, as_groups=("b",)).version()
    assert asked(api, "impersonate-user") == {"ann"}
    assert asked(api, "impersonate-uid") == {"1"}
    assert api.requests[-1].groups == ("b",)


@pytest.mark.parametrize("given", ["reason", "=audit"])
def test_an_extra_is_a_key_and_a_value(api: FakeApi, tmp_path: Path, given: str) -> None:
    with pytest.raises(UsageError, match="is not KEY=VALUE"):
        dial(tmp_path, as_user="bob", as_user_extra=(given,))


# ---- by which way -------------------------------------------------------------------------------------------------------


def elsewhere(api: FakeApi) -> str:
    """The server under a name that only a proxy knows."""
    return api.url.replace("127.0.0.1", "api.test")


def test_the_proxy_of_the_kubeconfig_whatever_the_environment_says(
    api: FakeApi, tmp_path: Path, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,api.test")
    url = f"http://ann:secret@{proxy.address}"
    edit_cluster(tmp_path, server=elsewhere(api), **{"proxy-url": url, "tls-server-name": "127.0.0.1"})
    assert everything(dial(tmp_path)) == ANSWERS
    assert set(proxy.asked) == {elsewhere(api).removeprefix("https://")}
    assert set(proxy.credentials) == {"Basic " + base64.b64encode(b"ann:secret").decode()}


@pytest.mark.parametrize("login", ["", "ann:s%40crt@"])
def test_a_socks_proxy_that_looks_the_name_up_as_kubectl_has_it(api: FakeApi, tmp_path: Path, login: str) -> None:
    with socks_proxy() as proxy:
        url = f"socks5://{login}{proxy.address}"
        edit_cluster(tmp_path, server=elsewhere(api), **{"proxy-url": url, "tls-server-name": "127.0.0.1"})
        assert everything(dial(tmp_path)) == ANSWERS
        assert set(proxy.credentials) == {"ann:s@crt" if login else ""}
        assert set(proxy.asked) == {elsewhere(api).removeprefix("https://")}
        kubectl = shutil.which("kubectl")
        if kubectl is not None:
            proxy.asked.clear()
            subprocess.run(
                [kubectl, "version", "--kubeconfig", tmp_path / "config"], capture_output=True, timeout=60, check=True
            )
            assert set(proxy.asked) == {elsewhere(api).removeprefix("https://")}


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_the_proxy_of_the_environment(
    variable: str, api: FakeApi, tmp_path: Path, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_cluster(tmp_path, server=elsewhere(api), **{"tls-server-name": "127.0.0.1"})
    monkeypatch.setenv(variable, f"http://{proxy.address}")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert everything(dial(tmp_path)) == ANSWERS
    assert set(proxy.asked) == {elsewhere(api).removeprefix("https://")}


def test_what_is_on_this_machine_or_excepted_is_asked_without_the_environment_s_proxy(
    api: FakeApi, tmp_path: Path, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
    assert everything(dial(tmp_path)) == ANSWERS
    edit_cluster(tmp_path, server=elsewhere(api))
    monkeypatch.setenv("NO_PROXY", ".test")
    with pytest.raises(UnreachableError, match="no such host"):
        dial(tmp_path).version()
    assert proxy.asked == []


def test_the_variables_that_kubectl_does_not_know_are_not_known_here(
    api: FakeApi, tmp_path: Path, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://{proxy.address}")
    edit_cluster(tmp_path, server=elsewhere(api))
    with pytest.raises(UnreachableError, match="no such host"):
        dial(tmp_path).version()
    assert proxy.asked == []


@pytest.mark.parametrize(("disabled", "encoding"), [(False, "gzip"), (True, "identity")])
def test_compression_is_asked_for_unless_it_is_not_wanted(
    disabled: bool, encoding: str, api: FakeApi, tmp_path: Path
) -> None:
    dial(tmp_path, disable_compression=disabled).version()
    assert asked(api, "accept-encoding") == {encoding}


# ---- kubectl beside us --------------------------------------------------------------------------------------------------

SAME_WORDS = [
    ("--context nope", "context was not found for specified context: nope"),
    ("--cluster nope", 'no server found for cluster "nope"'),
    ("--user nope", 'auth info "nope" does not exist'),
    ("--kubeconfig /nope", "stat /nope: no such file or directory"),
    ("--as-group a", "requesting uid, groups or user-extra for me without impersonating a user"),
    ("--as-uid 7", "requesting uid, groups or user-extra for me without impersonating a user"),
    (
        "--request-timeout 1x",
        "Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed",
    ),
    (
        "--client-certificate /nope --client-key /nope",
        "unable to read client-cert /nope for me due to open /nope: no such",
    ),
    ("--client-certificate config", "client-key-data or client-key must be specified for me to use the clientCert"),
    (
        "--insecure-skip-tls-verify --certificate-authority ca.pem",
        "specifying a root certificates file with the insecure flag is not allowed",
    ),
    (
        "--certificate-authority /nope",
        "unable to read certificate-authority /nope for lab due to open /nope: no such file",
    ),
    (
        "--server https://127.0.0.1:1",
        "The connection to the server 127.0.0.1:1 was refused - did you specify the right",
    ),
    ("--user plugin", "getting credentials: exec: executable no-such-login not found"),
]


@pytest.mark.parametrize(("flags", "words"), SAME_WORDS, ids=[flags for flags, _ in SAME_WORDS])
def test_kubectl_says_the_same(
    flags: str,
    words: str,
    api: FakeApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    document = yaml.safe_load((tmp_path / "config").read_text())
    exec_plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "no-such-login",
        "interactiveMode": "Never",
    }
    document["users"].append({"name": "plugin", "user": {"exec": exec_plugin}})
    (tmp_path / "config").write_text(yaml.safe_dump(document))
    assert cli.main(["inspect", "deploy/a", *flags.split()]) in (1, 2)
    assert words in capsys.readouterr().err
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    theirs = subprocess.run([kubectl, "get", "deploy/a", *flags.split()], capture_output=True, text=True, timeout=60)
    assert theirs.returncode != 0
    assert words in theirs.stderr


TARGETS = [
    ["deploy/a", "pods"],
    ["deploy", "a/b"],
    ["deploy/a/b"],
    ["/a"],
    ["deploy/"],
    ["deploy", "a", "-l", "x=y"],
    ["nope"],
    ["nope/a"],
]


@pytest.mark.parametrize("arguments", TARGETS, ids=" ".join)
def test_kubectl_refuses_the_same_targets_in_the_same_words(
    arguments: list[str],
    api: FakeApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    resources = [{"name": name, "kind": kind, "namespaced": True} for name, kind in (("deployments", "Deployment"),)]
    api.on("GET", "/api", Answer({"kind": "APIVersions", "versions": ["v1"]}))
    version = {"groupVersion": "apps/v1", "version": "v1"}
    groups = [{"name": "apps", "versions": [version], "preferredVersion": version}]
    api.on("GET", "/apis", Answer({"kind": "APIGroupList", "groups": groups}))
    core = [{"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["get", "list"]}]
    api.on("GET", "/api/v1", Answer({"kind": "APIResourceList", "groupVersion": "v1", "resources": core}))
    apps = [{**one, "verbs": ["get", "list"], "shortNames": ["deploy"]} for one in resources]
    api.on("GET", "/apis/apps/v1", Answer({"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": apps}))
    assert cli.main(["inspect", *arguments]) in (1, 2)
    ours = capsys.readouterr().err.splitlines()[0].removeprefix("error: ")
    ran = subprocess.run([kubectl, "get", *arguments], capture_output=True, text=True, timeout=60)
    theirs = ran.stderr.splitlines()[-1].removeprefix("error: ")
    assert ran.returncode == 1
    # What kubectl gives as an example is a command of its own.
    examples = re.compile(r" \(e\.g\..*")
    assert examples.sub("", ours) == examples.sub("", theirs)


def test_a_kubeconfig_without_the_entry_is_no_bug(api: FakeApi, tmp_path: Path) -> None:
    write_kubeconfig(tmp_path / "config", api.url, exec={"command": "x"})
    with pytest.raises(EgressError) as caught:
        dial(tmp_path)
    assert "apiVersion" in caught.value.message
