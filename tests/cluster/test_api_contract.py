"""What the tool needs of an API server, asserted on the embedded one and on the real one.

Each row is a request and what comes back; the expected answers were read off kube-apiserver 1.36.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from kubectl_egress.cluster import Cluster, ConnectionOptions, connect
from kubectl_egress.cluster.tunnels import PodHttp, run_command
from kubectl_egress.errors import EgressError
from kubectl_egress.lab.client import Lab
from kubectl_egress.model import Body, PatchOperation, Ref
from tests.cluster.build import KUBERNETES
from tests.cluster.scenes import remove

pytestmark = [pytest.mark.cluster, pytest.mark.any_istio, pytest.mark.anywhere]

HOST = "httpbin.org"
PATCH_FAILED = ("InvalidError", 422, "Invalid", "the server rejected our request due to an error in our request")
NOT_FOUND = ("NotFoundError", 404, "NotFound")


class AnyWords(str):
    """The message of a Kubernetes whose words are not written down here: it says whatever is expected."""

    __slots__ = ()

    def __eq__(self, _: object) -> bool:
        return True

    def __ne__(self, _: object) -> bool:
        return False

    __hash__ = str.__hash__

    def __contains__(self, _: object) -> bool:
        return True

    def startswith(self, *_: object) -> bool:
        """Of course."""
        return True


@dataclass(frozen=True, slots=True)
class Server:
    """One API server, and a namespace of the test's own on it."""

    kind: str
    cluster: Cluster
    namespace: str
    words: bool
    """Whether its words are those of the Kubernetes that are pinned here."""

    def ref(self, kind: str, name: str) -> Ref:
        """An object of the namespace."""
        return Ref(kind, self.namespace, name)

    def said(self, ask: Callable[[], Any]) -> Any:
        """What is returned, or what is raised: class, status, reason, message; the namespace's name left out."""
        try:
            return ask()
        except EgressError as error:
            message = error.message.replace(self.namespace, "NS") if self.words else AnyWords(error.message)
            return type(error).__name__, getattr(error, "status", None), getattr(error, "reason", None), message


def minor(version: Body) -> str:
    """`1.36`; providers add to the number."""
    return f"{version['major']}.{version['minor'].rstrip('+')}"


@pytest.fixture(scope="module", params=["embedded", "real"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    found: Lab = request.getfixturevalue("embedded" if request.param == "embedded" else "cluster")
    kubeconfig = found.kubeconfig
    namespace = f"contract-{uuid.uuid4().hex[:8]}"
    cluster = connect(ConnectionOptions(kubeconfig=str(kubeconfig), namespace=namespace))
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    version = cluster.transport.json("GET", "/version")
    yield Server(request.param, cluster, namespace, request.param == "embedded" or minor(version) in KUBERNETES)
    # Its entry for every namespace stands in the way of the next migration until it is gone.
    remove(cluster, namespace)
    cluster.close()


def config_map(server: Server, name: str = "", **rest: Any) -> Body:
    """A ConfigMap, not yet there."""
    metadata = {"name": name or f"c-{uuid.uuid4().hex[:8]}", "namespace": server.namespace, "labels": {"x": "1"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "v"}, **rest}


def deployment(server: Server, name: str = "") -> Body:
    """A Deployment without replicas, not yet there."""
    container = {"name": "c", "image": "i", "command": ["sh", "-c", "x"], "env": [{"name": "U", "value": "https://x"}]}
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name or f"d-{uuid.uuid4().hex[:8]}", "namespace": server.namespace},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "d"}}, "template": template},
    }


def service_entry(server: Server, **spec: Any) -> Body:
    """A ServiceEntry as the tool writes it, not yet there."""
    ports = [
        {"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 443},
        {"number": 443, "name": "https", "protocol": "HTTPS"},
    ]
    whole = {
        "hosts": [HOST],
        "ports": ports,
        "resolution": "DNS",
        "location": "MESH_EXTERNAL",
        "endpoints": [{"address": f"{HOST}."}],
        "exportTo": ["."],
    }
    metadata = {"name": f"e-{uuid.uuid4().hex[:8]}", "namespace": server.namespace}
    version = server.cluster.resource_of("ServiceEntry").api_version
    return {"apiVersion": version, "kind": "ServiceEntry", "metadata": metadata, "spec": {**whole, **spec}}


def operation(op: str, path: str, value: Any = None) -> PatchOperation:
    """An operation at `/a/0/b`."""
    steps = tuple(int(step) if step.isdigit() else step for step in path.split("/")[1:])
    return PatchOperation(op, steps, value)


# ---- patches --------------------------------------------------------------------------------------------------------

MAP_PATCHES: list[tuple[str, list[PatchOperation], Any]] = [
    ("a test that holds", [operation("test", "/data/k", "v"), operation("replace", "/data/k", "w")], {"k": "w"}),
    ("a test that fails", [operation("test", "/data/k", "q"), operation("replace", "/data/k", "w")], PATCH_FAILED),
    ("a test of an absent member", [operation("test", "/data/q", "v")], PATCH_FAILED),
    ("a test of an absent member for null", [operation("test", "/data/q", None)], {"k": "v"}),
    ("a test for null below an absent member", [operation("test", "/annotations/q", None)], PATCH_FAILED),
    ("a removal of an absent member", [operation("remove", "/data/q")], PATCH_FAILED),
    # RFC 6902 says otherwise: whoever replaces has to test first.
    ("a replacement of an absent member", [operation("replace", "/data/q", "v")], {"k": "v", "q": "v"}),
    ("an addition below an absent member", [operation("add", "/metadata/annotations/q", "v")], PATCH_FAILED),
    ("a replacement below an absent member", [operation("replace", "/binaryData/q", "v")], PATCH_FAILED),
    ("a test of the resourceVersion", [operation("test", "/metadata/resourceVersion", "1")], PATCH_FAILED),
]


@pytest.mark.parametrize(
    ("operations", "wanted"), [row[1:] for row in MAP_PATCHES], ids=[row[0] for row in MAP_PATCHES]
)
def test_a_patch_of_a_config_map(server: Server, operations: list[PatchOperation], wanted: Any) -> None:
    body = server.cluster.create(config_map(server))
    ref = server.ref("ConfigMap", body["metadata"]["name"])
    answer = server.said(lambda: server.cluster.patch(ref, operations)["data"])
    assert answer == wanted
    assert server.cluster.get(ref)["data"] == (wanted if isinstance(wanted, dict) else body["data"])


TEMPLATE = "/spec/template/spec"
DEPLOYMENT_PATCHES: list[tuple[str, list[PatchOperation], Any]] = [
    ("nothing but tests", [operation("test", "/metadata/generation", 1)], 1),
    ("another generation", [operation("test", "/metadata/generation", 2)], PATCH_FAILED),
    ("another type", [operation("test", "/metadata/generation", "1")], PATCH_FAILED),
    ("an entry that is not there", [operation("test", f"{TEMPLATE}/containers/3/name", "c")], PATCH_FAILED),
    ("a whole list", [operation("test", f"{TEMPLATE}/containers/0/command", ["sh", "-c", "x"])], 1),
    ("a list's entry", [operation("replace", f"{TEMPLATE}/containers/0/env/0/value", "http://x")], 2),
    ("past a list's end", [operation("add", f"{TEMPLATE}/containers/0/command/9", "s")], PATCH_FAILED),
    # RFC 6902 knows no negative index: whoever tests an entry has to write its own.
    ("the last entry", [operation("test", f"{TEMPLATE}/containers/0/command/-1", "x")], 1),
    ("the last but two", [operation("replace", f"{TEMPLATE}/containers/0/command/-3", "bash")], 2),
    ("before a list's beginning", [operation("test", f"{TEMPLATE}/containers/0/command/-4", "sh")], PATCH_FAILED),
    ("no number", [operation("test", f"{TEMPLATE}/containers/x/name", "c")], PATCH_FAILED),
    ("an alias", [operation("add", f"{TEMPLATE}/hostAliases", [{"ip": "192.0.2.1", "hostnames": [HOST]}])], 2),
]


@pytest.mark.parametrize(
    ("operations", "wanted"), [row[1:] for row in DEPLOYMENT_PATCHES], ids=[row[0] for row in DEPLOYMENT_PATCHES]
)
def test_a_patch_of_a_deployment(server: Server, operations: list[PatchOperation], wanted: Any) -> None:
    body = server.cluster.create(deployment(server))
    ref = server.ref("Deployment", body["metadata"]["name"])
    answer = server.said(lambda: server.cluster.patch(ref, operations)["metadata"]["generation"])
    assert answer == wanted


def test_a_patch_that_changes_nothing_leaves_the_version(server: Server) -> None:
    body = server.cluster.create(config_map(server))
    ref = server.ref("ConfigMap", body["metadata"]["name"])
    same = server.cluster.patch(ref, [operation("test", "/data/k", "v")])
    assert same["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"]


def test_a_patch_may_carry_the_version_that_it_is_for(server: Server) -> None:
    body = server.cluster.create(config_map(server, "versioned"))
    ref = server.ref("ConfigMap", body["metadata"]["name"])
    answer = server.said(lambda: server.cluster.patch(ref, [operation("replace", "/metadata/resourceVersion", "1")]))
    modified = "the object has been modified; please apply your changes to the latest version and try again"
    text = f'Operation cannot be fulfilled on configmaps "versioned": {modified}'
    assert answer == ("ConflictError", 409, "Conflict", text)


def test_an_immutable_config_map_stays(server: Server) -> None:
    server.cluster.create(config_map(server, "fixed", immutable=True))
    answer = server.said(
        lambda: server.cluster.patch(server.ref("ConfigMap", "fixed"), [operation("replace", "/data/k", "w")])
    )
    text = 'ConfigMap "fixed" is invalid: data: Forbidden: field is immutable when `immutable` is set'
    assert answer == ("InvalidError", 422, "Invalid", text)


def test_a_dry_run_changes_nothing(server: Server) -> None:
    body = server.cluster.create(config_map(server))
    ref = server.ref("ConfigMap", body["metadata"]["name"])
    tried = server.cluster.patch(ref, [operation("replace", "/data/k", "w")], dry_run=True)
    gone = server.cluster.delete(ref, uid=body["metadata"]["uid"], dry_run=True)
    assert tried["data"] == {"k": "w"}
    assert (gone["kind"], gone["status"]) == ("Status", "Success")
    assert server.cluster.get(ref)["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"]
    fresh = config_map(server, "tried")
    server.cluster.create(fresh, dry_run=True)
    assert server.said(lambda: server.cluster.get(server.ref("ConfigMap", "tried")))[:3] == NOT_FOUND


# ---- create and delete ----------------------------------------------------------------------------------------------


def test_what_is_there_already(server: Server) -> None:
    server.cluster.create(config_map(server, "twice"))
    answer = server.said(lambda: server.cluster.create(config_map(server, "twice")))
    assert answer == ("ConflictError", 409, "AlreadyExists", 'configmaps "twice" already exists')


def test_a_namespace_that_is_not_there(server: Server) -> None:
    body = {**config_map(server), "metadata": {"name": "lost", "namespace": "nowhere"}}
    answer = server.said(lambda: server.cluster.create(body))
    assert answer == (*NOT_FOUND, 'namespaces "nowhere" not found')
    assert list(server.cluster.list("v1", "configmaps", "nowhere")) == []


def test_a_delete_is_for_one_object_only(server: Server) -> None:
    body = server.cluster.create(config_map(server, "once"))
    ref, uid = server.ref("ConfigMap", "once"), body["metadata"]["uid"]
    answer = server.said(lambda: server.cluster.delete(ref, uid="123"))
    text = (
        f'Operation cannot be fulfilled on ConfigMap "once": the UID in the precondition (123) does not match the UID '
        f"in record ({uid}). The object might have been deleted and then recreated"
    )
    assert answer == ("ConflictError", 409, "Conflict", text)
    assert server.cluster.delete(ref, uid=uid)["status"] == "Success"
    assert server.said(lambda: server.cluster.delete(ref, uid=uid)) == (*NOT_FOUND, 'configmaps "once" not found')


def test_a_deployment_gets_the_server_s_defaults(server: Server) -> None:
    body = server.cluster.create(deployment(server))
    spec, pod = body["spec"], body["spec"]["template"]["spec"]
    assert {key: spec[key] for key in ("progressDeadlineSeconds", "revisionHistoryLimit", "strategy")} == {
        "progressDeadlineSeconds": 600,
        "revisionHistoryLimit": 10,
        "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}, "type": "RollingUpdate"},
    }
    assert pod["containers"] == [
        {
            "name": "c",
            "image": "i",
            "imagePullPolicy": "Always",
            "command": ["sh", "-c", "x"],
            "env": [{"name": "U", "value": "https://x"}],
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
        }
    ]
    assert {key: value for key, value in pod.items() if key != "containers"} == {
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }


def test_an_alias_that_is_no_address(server: Server) -> None:
    body = server.cluster.create(deployment(server, "bad-alias"))
    change = operation("add", f"{TEMPLATE}/hostAliases", [{"ip": "nope", "hostnames": [HOST]}])
    answer = server.said(lambda: server.cluster.patch(server.ref("Deployment", body["metadata"]["name"]), [change]))
    where = "spec.template.spec.hostAliases[0].ip"
    why = 'Invalid value: "nope": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'
    assert answer == ("InvalidError", 422, "Invalid", f'Deployment.apps "bad-alias" is invalid: {where}: {why}')


def test_an_alias_for_what_is_no_host(server: Server) -> None:
    server.cluster.create(deployment(server, "bad-host"))
    change = operation("add", f"{TEMPLATE}/hostAliases", [{"ip": "192.0.2.1", "hostnames": [HOST, "A_b"]}])
    answer = server.said(lambda: server.cluster.patch(server.ref("Deployment", "bad-host"), [change]))
    assert answer[1] == 422
    assert 'spec.template.spec.hostAliases[0].hostnames[1]: Invalid value: "A_b": a lowercase RFC 1123' in answer[3]


def test_a_config_map_of_more_than_a_megabyte(server: Server) -> None:
    body = config_map(server, "large", data={"k": "x" * 2**20}, binaryData={"b": "AAAA"})
    text = 'ConfigMap "large" is invalid: []: Too long: may not be more than 1048576 bytes'
    assert server.said(lambda: server.cluster.create(body)) == ("InvalidError", 422, "Invalid", text)
    assert server.cluster.create({**body, "binaryData": {}}, dry_run=True)["kind"] == "ConfigMap"


def test_what_has_a_version_is_not_new(server: Server) -> None:
    body = config_map(server)
    body = {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}
    answer = server.said(lambda: server.cluster.create(body))
    assert answer == ("ApiError", 500, "", "resourceVersion should not be set on objects to be created")


def test_a_custom_resource_is_replaced_in_a_version_only(server: Server) -> None:
    body = service_entry(server)
    name = server.cluster.create(body)["metadata"]["name"]
    path = f"{server.cluster.resource_of('ServiceEntry').path(server.namespace)}/{name}"
    answer = server.said(lambda: server.cluster.transport.json("PUT", path, body=body))
    assert answer[1:3] == (422, "Invalid")
    what = f'serviceentries.networking.istio.io "{name}" is invalid: metadata.resourceVersion: '
    assert answer[3] == what + "Invalid value: …: must be specified for an update"


def test_a_service_that_is_a_name_alone(server: Server) -> None:
    """Nothing of it is a cluster address, whatever is left of one."""
    metadata = {"name": "outside", "namespace": server.namespace}
    spec = {"type": "ExternalName", "externalName": HOST}
    body = server.cluster.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    assert body["spec"] == {**spec, "sessionAffinity": "None"}


# ---- lists and watches ----------------------------------------------------------------------------------------------


def test_pages_show_all_and_nothing_twice(server: Server) -> None:
    names = [f"page-{number}" for number in range(7)]
    for name in names:
        body = config_map(server, name)
        server.cluster.create({**body, "metadata": {**body["metadata"], "labels": {"page": "yes"}}})
    listed = server.cluster.list("v1", "configmaps", server.namespace, label_selector="page=yes", limit=3)
    assert [body["metadata"]["name"] for body in listed] == names
    path = f"/api/v1/namespaces/{server.namespace}/configmaps"
    page = server.cluster.transport.json("GET", path, {"limit": "3", "labelSelector": "page=yes"})
    assert (page["kind"], sorted(page["metadata"])) == ("ConfigMapList", ["continue", "resourceVersion"])
    assert "kind" not in page["items"][0]


# Of another version: `{}`, `{"v":"v0"}`.
NO_TOKENS = {"no base64": "!", "no JSON": "AAAA", "no version": "e30", "another version": "eyJ2IjoidjAifQ"}


@pytest.mark.parametrize("name", NO_TOKENS)
def test_a_continue_token_that_is_none(server: Server, name: str) -> None:
    query = {"limit": "3", "continue": NO_TOKENS[name]}
    path = f"/api/v1/namespaces/{server.namespace}/configmaps"
    answer = server.said(lambda: server.cluster.transport.json("GET", path, query))
    assert answer[1:3] == (400, "BadRequest")
    assert answer[3].startswith("invalid continue token: continue key is not valid: ")


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ({"limit": "x"}, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ({"resourceVersion": "x"}, "invalid resource version: "),
        ({"labelSelector": "a in"}, "unable to parse requirement: "),
        ({"fieldSelector": "spec.nope=1"}, '"spec.nope" is not a known field selector'),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_list_that_is_asked_for_wrongly(server: Server, query: dict[str, str], why: str) -> None:
    path = f"/api/v1/namespaces/{server.namespace}/configmaps"
    answer = server.said(lambda: server.cluster.transport.json("GET", path, query))
    assert answer[1:3] == (400, "BadRequest")
    assert why in answer[3]


def test_the_shape_of_a_list(server: Server) -> None:
    """The metadata of a list of custom resources comes after its items, and says that there is nothing more."""
    server.cluster.create(service_entry(server))
    entries = server.cluster.resource_of("ServiceEntry").path(server.namespace)
    page = server.cluster.transport.json("GET", entries, {"limit": "-1"})
    assert list(page) == ["apiVersion", "items", "kind", "metadata"]
    assert (list(page["metadata"]), page["metadata"]["continue"]) == (["continue", "resourceVersion"], "")
    assert {"apiVersion", "kind", "metadata", "spec"} <= page["items"][0].keys()
    path = f"/api/v1/namespaces/{server.namespace}/pods"
    page = server.cluster.transport.json("GET", path)
    assert (list(page), page["items"]) == (["kind", "apiVersion", "metadata", "items"], [])
    assert list(page["metadata"]) == ["resourceVersion"]


def test_a_list_of_all_namespaces_is_in_the_order_of_the_store_s_keys(server: Server) -> None:
    """`a-b/x` comes before `a/x`: what is read namespace by namespace relies on it."""
    mark, made = uuid.uuid4().hex[:8], []
    for namespace in (f"{mark}", f"{mark}-b", f"{mark}0"):
        made.append(server.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))
        for name in ("x-y", "x", "x.y"):
            metadata = {"name": name, "namespace": namespace, "labels": {"mark": mark}}
            server.cluster.create({**config_map(server), "metadata": metadata})
            entry = service_entry(server)
            server.cluster.create({**entry, "metadata": metadata})
    for ref in ("ConfigMap", "ServiceEntry"):
        resource = server.cluster.resource_of(ref)
        listed = server.cluster.list(
            resource.api_version, resource.plural, None, label_selector=f"mark={mark}", limit=2
        )
        found = [f"{body['metadata']['namespace']}/{body['metadata']['name']}" for body in listed]
        assert found == [f"{mark}{end}/{name}" for end in ("-b", "", "0") for name in ("x", "x-y", "x.y")]
    for body in made:
        server.cluster.delete(Ref("Namespace", "", body["metadata"]["name"], "v1"), uid=body["metadata"]["uid"])


def test_metadata_alone(server: Server) -> None:
    server.cluster.create(config_map(server, "bare"))
    found = [
        body
        for body in server.cluster.list("v1", "configmaps", server.namespace, metadata_only=True)
        if body["metadata"]["name"] == "bare"
    ]
    assert [(body["kind"], "data" in body) for body in found] == [("PartialObjectMetadata", False)]


def test_a_watch_from_a_version_on(server: Server) -> None:
    body = server.cluster.create(config_map(server, "watched"))
    ref = server.ref("ConfigMap", "watched")
    server.cluster.patch(ref, [operation("replace", "/data/k", "w")])
    server.cluster.delete(ref, uid=body["metadata"]["uid"])
    events = server.cluster.watch(
        "v1",
        "configmaps",
        server.namespace,
        field_selector="metadata.name=watched",
        resource_version=body["metadata"]["resourceVersion"],
        timeout=2,
    )
    assert [(kind, changed["data"]["k"]) for kind, changed in events] == [("MODIFIED", "w"), ("DELETED", "w")]


# ---- mesh objects ---------------------------------------------------------------------------------------------------


def test_a_service_entry_is_kept_as_it_is(server: Server) -> None:
    body = service_entry(server)
    made = server.cluster.create(body)
    assert made["spec"] == body["spec"]
    assert made["metadata"]["generation"] == 1
    ref = server.ref("ServiceEntry", body["metadata"]["name"])
    annotated = server.cluster.patch(ref, [operation("add", "/metadata/annotations", {"a": "b"})])
    assert annotated["metadata"]["generation"] == 1
    widened = server.cluster.patch(ref, [operation("replace", "/spec/exportTo", ["*"])])
    assert widened["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    "spec",
    [
        {"nope": 1},
        {"resolution": "SOMEHOW"},
        {"hosts": []},
        {"hosts": ["*"]},
        {"resolution": "NONE"},
        {"ports": [{"number": 80, "name": "a", "protocol": "HTTP"}, {"number": 80, "name": "b", "protocol": "HTTP"}]},
    ],
    ids=[
        "unknown field",
        "unknown resolution",
        "no host",
        "any host",
        "endpoints without resolution",
        "one port twice",
    ],
)
def test_a_bad_service_entry_is_refused(server: Server, spec: dict[str, Any]) -> None:
    """The words are the schema's on the one, istiod's on the other; that it is refused is the same."""
    answer = server.said(lambda: server.cluster.create(service_entry(server, **spec)))
    assert answer[1] in (400, 422)


# ---- pods -----------------------------------------------------------------------------------------------------------

QUALITIES: Mapping[str, tuple[Mapping[str, Mapping[str, str]], str]] = {
    "nothing said": ({}, "BestEffort"),
    "a request of nothing": ({"requests": {"cpu": "0"}}, "BestEffort"),
    "a request": ({"requests": {"cpu": "1m"}}, "Burstable"),
    "one limit": ({"limits": {"cpu": "1m"}}, "Burstable"),
    "both limits": ({"limits": {"cpu": "1m", "memory": "1Mi"}}, "Guaranteed"),
    "requests as the limits": (
        {"limits": {"cpu": "1m", "memory": "1Mi"}, "requests": {"cpu": "0.001", "memory": "1024Ki"}},
        "Guaranteed",
    ),
}


@pytest.mark.parametrize("name", QUALITIES)
def test_a_pod_has_a_quality_of_service(server: Server, name: str) -> None:
    resources, wanted = QUALITIES[name]
    container = {"name": "c", "image": "i", "resources": resources}
    # Bound to a node that there is not: nobody runs it.
    spec = {"containers": [container], "nodeName": "nowhere", "terminationGracePeriodSeconds": 0}
    metadata = {"name": f"p-{uuid.uuid4().hex[:8]}", "namespace": server.namespace}
    body = server.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, dry_run=True)
    assert body["status"] == {"phase": "Pending", "qosClass": wanted}
    # Of what is limited as much is requested.
    found = body["spec"]["containers"][0]["resources"]
    assert found.get("requests", {}).keys() == {*resources.get("requests", {}), *resources.get("limits", {})}


# ---- what is not there ----------------------------------------------------------------------------------------------


def test_a_pod_that_is_not_there(server: Server) -> None:
    transport, pod = server.cluster.transport, server.ref("Pod", "nobody")
    wanted = (*NOT_FOUND, 'pods "nobody" not found')
    path = f"/api/v1/namespaces/{server.namespace}/pods/nobody"
    assert server.said(lambda: server.cluster.get(pod)) == wanted
    assert server.said(lambda: transport.json("GET", f"{path}/log")) == wanted
    assert server.said(lambda: PodHttp(transport, pod, 15000, 3.0)) == wanted
    assert server.said(lambda: run_command(transport, pod, "c", ["true"], 3.0)) == wanted


def test_a_type_that_is_not_there(server: Server) -> None:
    answer = server.said(lambda: server.cluster.transport.json("GET", "/apis/nobody.io/v1/foos"))
    assert answer[:2] == ("NotFoundError", 404)
    assert answer[3] == "the server could not find the requested resource"
