"""The lab's API server over TLS on loopback: as the Python client speaks to it, and as the real kubectl does."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from ssl import create_default_context
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from kubernetes.stream import portforward, stream

from tests.lab_api import RunningLab, running_lab

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "curl"},
    "spec": {
        "selector": {"matchLabels": {"app": "curl"}},
        "template": {
            "metadata": {"labels": {"app": "curl"}},
            "spec": {"containers": [{"name": "curl", "image": "curlimages/curl"}]},
        },
    },
}
ENTRY = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "ServiceEntry",
    "metadata": {"name": "httpbin"},
    "spec": {"hosts": ["httpbin.org"], "location": "MESH_EXTERNAL", "resolution": "DNS"},
}
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MAPS = "/api/v1/namespaces/default/configmaps"
ENTRIES = "/apis/networking.istio.io/v1/namespaces/default/serviceentries"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "x:1"}]},
}

Answer = tuple[int, Any]


class Caller:
    """Plain HTTP requests, with one user's token."""

    def __init__(self, lab: RunningLab, token: str = "admin-token") -> None:
        self._lab = lab
        self._token = token
        self._context = create_default_context(cafile=str(lab.authority))

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        request = urllib.request.Request(self._lab.url + path, method=method)
        request.add_header("Authorization", f"Bearer {self._token}")
        request.add_header("Content-Type", headers.pop("content_type", "application/json"))
        for name, value in headers.items():
            request.add_header(name, value)
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=20, context=self._context) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[RunningLab]:
    with running_lab(tmp_path) as running:
        yield running


@pytest.fixture
def call(lab: RunningLab) -> Caller:
    return Caller(lab)


def message(answer: Answer) -> tuple[int, str, str]:
    status, body = answer
    assert (body["kind"], body["status"], body["code"]) == ("Status", "Failure", status)
    return status, body.get("reason", ""), body["message"]


# ---- objects --------------------------------------------------------------------------------------------------------


def test_a_patch_that_changes_nothing_changes_no_revision(call: Caller) -> None:
    _, made = call("POST", MAPS, {"metadata": {"name": "m"}, "data": {"a": "b"}})
    operations = [{"op": "test", "path": "/data/a", "value": "b"}, {"op": "replace", "path": "/data/a", "value": "b"}]
    status, same = call("PATCH", f"{MAPS}/m", operations, content_type="application/json-patch+json")
    assert (status, same) == (200, made)


def test_the_generation_rises_with_the_spec_alone(call: Caller) -> None:
    call("POST", ENTRIES, ENTRY)
    kind = {"content_type": "application/merge-patch+json"}
    _, labelled = call("PATCH", f"{ENTRIES}/httpbin", {"metadata": {"labels": {"a": "b"}}}, **kind)
    _, changed = call("PATCH", f"{ENTRIES}/httpbin", {"spec": {"resolution": "NONE"}}, **kind)
    assert [body["metadata"]["generation"] for body in (labelled, changed)] == [1, 2]


def test_every_version_shows_the_same_object(call: Caller) -> None:
    call("POST", ENTRIES.replace("/v1/", "/v1beta1/"), {**ENTRY, "apiVersion": "networking.istio.io/v1beta1"})
    for version in ("v1", "v1beta1", "v1alpha3"):
        _, found = call("GET", ENTRIES.replace("/v1/", f"/{version}/") + "/httpbin")
        assert found["apiVersion"] == f"networking.istio.io/{version}"
        assert found["spec"] == ENTRY["spec"]


@pytest.mark.parametrize("path", ["", "/m"])
def test_a_dry_run_stores_nothing(call: Caller, path: str) -> None:
    body = {"metadata": {"name": "m"}, "data": {"a": "b"}}
    if path:
        call("POST", MAPS, body)
    _, before = call("GET", MAPS)
    changed = {**body, "data": {"a": "c"}}
    status, trial = call("PUT" if path else "POST", f"{MAPS}{path}?dryRun=All", changed)
    assert status in (200, 201)
    assert trial["data"] == {"a": "c"}
    if path:
        assert call("DELETE", f"{MAPS}{path}?dryRun=All")[0] == 200
    assert call("GET", MAPS)[1]["items"] == before["items"]


def test_preconditions_are_held_to(call: Caller) -> None:
    _, made = call("POST", MAPS, {"metadata": {"name": "m"}, "data": {"a": "b"}})
    old = made["metadata"]["resourceVersion"]
    call("PATCH", f"{MAPS}/m", {"data": {"a": "c"}}, content_type="application/merge-patch+json")
    stale = {"metadata": {"resourceVersion": old}, "data": {"a": "d"}}
    modified = (
        'Operation cannot be fulfilled on configmaps "m": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    patched = call("PATCH", f"{MAPS}/m", stale, content_type="application/merge-patch+json")
    assert message(patched) == (409, "Conflict", modified)
    assert message(call("PUT", f"{MAPS}/m", made)) == (409, "Conflict", modified)
    for preconditions in ({"uid": "other"}, {"resourceVersion": old}):
        assert call("DELETE", f"{MAPS}/m", {"preconditions": preconditions})[0] == 409
    status, deleted = call("DELETE", f"{MAPS}/m", {"preconditions": {"uid": made["metadata"]["uid"]}})
    assert (status, deleted["status"]) == (200, "Success")


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("GET", f"{DEPLOYMENTS}/x", None, 404, 'deployments.apps "x" not found'),
    ("POST", MAPS.replace("default", "nowhere"), {"metadata": {"name": "m"}}, 404, 'namespaces "nowhere" not found'),
    ("GET", "/apis/gateway.networking.k8s.io/v1/gateways", None, 404, "the server could not find the requested resource"),
    ("GET", f"{MAPS}/m/status", None, 501, "the lab's API server does not do this: configmaps/status"),
    ("POST", MAPS, {"metadata": {"name": "Upper"}}, 422, 'ConfigMap "Upper" is invalid: metadata.name: Invalid value: "Upper"'),
    ("POST", MAPS, {"metadata": {"name": "m"}, "data": {"a": 1}}, 400, "cannot unmarshal number into Go struct field ConfigMap.data"),
    ("POST", DEPLOYMENTS, {"metadata": {"name": "d"}}, 422, "spec.template.spec.containers: Required value"),
    ("POST", DEPLOYMENTS, {**DEPLOYMENT, "apiVersion": "apps/v1beta1"}, 400, "does not match the expected API version (apps/v1)"),
    ("POST", ENTRIES, {**ENTRY, "spec": {"resolution": "DYNAMIC_DNS"}}, 400, 'webhook "rev.validation.istio.io" denied the request'),
    ("GET", f"{MAPS}?labelSelector=a%20b", None, 400, "unable to parse requirement"),
    ("GET", f"{MAPS}?watch=1&resourceVersion=x", None, 400, "invalid resource version"),
    ("GET", f"{MAPS}?continue=x", None, 400, "invalid continue token"),
    ("POST", "/api/v1/configmaps", {"metadata": {"name": "m"}}, 405, "the server does not allow this method"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "code", "text"), REFUSED)
def test_what_is_refused_is_refused_with_a_status(
    call: Caller, method: str, path: str, body: Any, code: int, text: str
) -> None:
    status, _, said = message(call(method, path, body))
    assert status == code
    assert text in said


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"spec": {"selector": {"matchLabels": {"app": "other"}}}}, "spec.selector"),
        ({"spec": {"template": {"metadata": {"labels": {"app": "x"}}}}}, "spec.template.metadata.labels"),
        ({"spec": {"template": {"spec": {"containers": []}}}}, "spec.template.spec.containers"),
        ({"spec": {"template": {"spec": {"hostAliases": [{"ip": "x"}]}}}}, "spec.template.spec.hostAliases[0].ip"),
    ],
)
def test_a_broken_change_names_its_field(call: Caller, change: Any, field: str) -> None:
    call("POST", DEPLOYMENTS, DEPLOYMENT)
    status, body = call("PATCH", f"{DEPLOYMENTS}/curl", change, content_type="application/merge-patch+json")
    assert (status, body["reason"]) == (422, "Invalid")
    assert field in [cause["field"] for cause in body["details"]["causes"]]


def test_a_job_template_cannot_be_changed(call: Caller) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}
    path = "/apis/batch/v1/namespaces/default/jobs"
    call("POST", path, {"metadata": {"name": "j"}, "spec": {"template": template}})
    change = {"spec": {"template": {"spec": {"dnsPolicy": "Default"}}}}
    status, body = call("PATCH", f"{path}/j", change, content_type="application/merge-patch+json")
    assert (status, body["details"]["causes"][0]["field"]) == (422, "spec.template")


@pytest.mark.parametrize("kind", ["application/apply-patch+yaml", "text/plain"])
def test_a_patch_of_another_type_is_refused(call: Caller, kind: str) -> None:
    call("POST", DEPLOYMENTS, DEPLOYMENT)
    assert call("PATCH", f"{DEPLOYMENTS}/curl", {}, content_type=kind)[0] == 415


# ---- who may what ---------------------------------------------------------------------------------------------------


def test_an_unknown_token_is_unauthorized(lab: RunningLab) -> None:
    assert message(Caller(lab, "wrong")("GET", MAPS)) == (401, "Unauthorized", "Unauthorized")


def test_a_user_may_what_the_rules_allow_and_nothing_else(lab: RunningLab, call: Caller) -> None:
    call("POST", DEPLOYMENTS, DEPLOYMENT)
    reader = Caller(lab, "reader-token")
    assert reader("GET", f"{DEPLOYMENTS}/curl")[0] == 200
    listed = (
        'deployments.apps is forbidden: User "reader" cannot list resource "deployments" '
        'in API group "apps" in the namespace "default"'
    )
    assert message(reader("GET", DEPLOYMENTS)) == (403, "Forbidden", listed)
    everywhere = message(reader("GET", "/api/v1/pods"))[2]
    assert (
        everywhere
        == 'pods is forbidden: User "reader" cannot list resource "pods" in API group "" at the cluster scope'
    )
    assert message(call("GET", DEPLOYMENTS, **{"Impersonate-User": "reader"})) == (403, "Forbidden", listed)
    assert reader("GET", MAPS, **{"Impersonate-User": "kubernetes-admin"})[0] == 403


@pytest.mark.parametrize(("verb", "allowed"), [("get", True), ("delete", False)])
def test_a_user_may_ask_what_he_may_do(lab: RunningLab, verb: str, allowed: bool) -> None:
    attributes = {"verb": verb, "group": "apps", "resource": "deployments", "namespace": "default"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    status, body = Caller(lab, "reader-token")("POST", path, {"spec": {"resourceAttributes": attributes}})
    assert (status, body["status"]["allowed"]) == (201, allowed)


# ---- streams, as the Python client speaks them ----------------------------------------------------------------------


@pytest.fixture
def core(lab: RunningLab, call: Caller) -> client.CoreV1Api:
    call("POST", "/api/v1/namespaces/default/pods", POD)
    loaded = config.new_client_from_config(str(lab.kubeconfig()))  # type: ignore[no-untyped-call]  # it has no annotations
    return client.CoreV1Api(loaded)


def test_a_forwarded_port_carries_bytes_both_ways(core: client.CoreV1Api) -> None:
    forward = portforward(core.connect_get_namespaced_pod_portforward, "p", "default", ports="8080,8081")
    echo, bye = forward.socket(8080), forward.socket(8081)
    payload = bytes(range(256)) * 1000
    echo.sendall(payload)
    received = b""
    while len(received) < len(payload):
        received += echo.recv(65536)
    assert received == payload
    bye.sendall(b"x")
    assert bye.recv(10) == b"bye"
    forward.close()


def test_a_port_where_nobody_listens_is_told_on_the_error_channel(core: client.CoreV1Api) -> None:
    forward = portforward(core.connect_get_namespaced_pod_portforward, "p", "default", ports="9")
    assert forward.socket(9).recv(10) == b""
    assert "connection refused" in forward.error(9)


def test_exec_gives_output_and_exit_status(core: client.CoreV1Api) -> None:
    command = ["sh", "-c", "echo out; echo err >&2; exit 3"]
    run = stream(
        core.connect_get_namespaced_pod_exec,
        "p",
        "default",
        command=command,
        stdout=True,
        stderr=True,
        stdin=False,
        tty=False,
        _preload_content=False,
    )
    run.run_forever(timeout=10)
    assert (run.read_stdout(), run.read_stderr(), run.returncode) == ("out\n", "err\n", 3)


# ---- the real kubectl -----------------------------------------------------------------------------------------------

KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl on PATH")


class Kubectl:
    def __init__(self, lab: RunningLab) -> None:
        self._base = [str(KUBECTL), "--kubeconfig", str(lab.kubeconfig()), "--cache-dir", str(lab.directory / "cache")]

    def __call__(self, *arguments: str, text: Any = "", status: int = 0) -> str:
        shown = text if isinstance(text, str) else yaml.safe_dump_all(text)
        done = subprocess.run([*self._base, *arguments], input=shown, text=True, capture_output=True, timeout=60)
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr


@needs_kubectl
def test_kubectl_from_create_to_delete(lab: RunningLab) -> None:
    kubectl = Kubectl(lab)
    created = kubectl("create", "-f", "-", text=[DEPLOYMENT, ENTRY])
    assert created.splitlines() == ["deployment.apps/curl created", "serviceentry.networking.istio.io/httpbin created"]
    assert "successfully rolled out" in kubectl("rollout", "status", "deploy/curl", "--timeout=20s")
    lines = [line.split() for line in kubectl("get", "deploy,se").splitlines() if line]
    assert lines[0] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert lines[1][:4] == ["deployment.apps/curl", "1/1", "1", "1"]
    assert lines[3][1:4] == ['["httpbin.org"]', "MESH_EXTERNAL", "DNS"]
    body = yaml.safe_load(kubectl("get", "se", "httpbin", "-o", "yaml"))
    body["spec"]["resolution"] = "NONE"
    assert "replaced" in kubectl("replace", "-f", "-", text=[body])
    assert kubectl("get", "se", "httpbin", "-o", "jsonpath={.spec.resolution}") == "NONE"
    operations = [{"op": "add", "path": "/spec/template/spec/containers/0/env", "value": [{"name": "A", "value": "b"}]}]
    assert "patched" in kubectl("patch", "deploy", "curl", "--type=json", "-p", json.dumps(operations))
    assert "successfully rolled out" in kubectl("rollout", "status", "deploy/curl", "--timeout=20s")
    assert "rolled back" in kubectl("rollout", "undo", "deploy/curl")
    assert kubectl("get", "deploy", "curl", "-o", "jsonpath={.spec.template.spec.containers[0].env}") == ""
    assert "deleted" in kubectl("delete", "deploy/curl", "se/httpbin", "--timeout=20s")
    assert "No resources found" in kubectl("get", "deploy,se")


@needs_kubectl
def test_kubectl_exec_and_logs(lab: RunningLab, call: Caller) -> None:
    kubectl = Kubectl(lab)
    call("POST", "/api/v1/namespaces/default/pods", POD)
    assert kubectl("exec", "-i", "p", "--", "cat", text="input\n") == "input\n"
    assert "exit code 3" in kubectl("exec", "p", "--", "sh", "-c", "exit 3", status=3)
    assert kubectl("logs", "p", "--tail=1") == "c line 4\n"
    assert "has no logs" in kubectl("logs", "p", "--previous", status=1)


@needs_kubectl
def test_kubectl_refusals(lab: RunningLab) -> None:
    kubectl = Kubectl(lab)
    assert "has no server-side apply" in kubectl("apply", "--server-side", "-f", "-", text=[ENTRY], status=1)
    assert "doesn't have a resource type" in kubectl("get", "gateways", status=1)
    assert "Forbidden" in kubectl("get", "secrets", "--as=reader", status=1)


@needs_kubectl
def test_kubectl_creates_a_job_from_a_suspended_cron_job(lab: RunningLab) -> None:
    kubectl = Kubectl(lab)
    lab.node.finish = lambda pod: "Succeeded"
    kubectl("create", "cronjob", "c", "--image=x", "--schedule=0 0 1 1 *", "--", "true")
    kubectl("patch", "cronjob", "c", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    assert "created" in kubectl("create", "job", "j", "--from=cronjob/c")
    assert "condition met" in kubectl("wait", "--for=condition=complete", "job/j", "--timeout=20s")
