from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from kubectl_egress.lab.istiod import EmbeddedIstiod
from kubectl_egress.lab.istiod.workload import workload_of
from kubectl_egress.lab.parts import LabRefusal
from tests.lab_istiod import NAMESPACE, curl_pod

ENABLED = {"istio-injection": "enabled"}


def space(labels: dict[str, str], name: str = NAMESPACE) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod(labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    made = curl_pod()
    made["metadata"]["labels"] |= labels or {}
    made["metadata"]["annotations"] = annotations or {}
    made["spec"] |= spec
    return made


def has_proxy(body: Any) -> bool:
    containers = [*body["spec"]["containers"], *body["spec"].get("initContainers", ())]
    return "istio-proxy" in [container["name"] for container in containers]


INJECT = "sidecar.istio.io/inject"
CASES: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    ("no label", space({}), pod(), False),
    ("switched off", space({"istio-injection": "disabled"}), pod({INJECT: "true"}), False),
    ("another revision", space({"istio.io/rev": "canary"}), pod({INJECT: "true"}), False),
    ("off by label", space(ENABLED), pod({INJECT: "false"}), False),
    ("off by annotation", space(ENABLED), pod(annotations={INJECT: "false"}), False),
    ("the label before the annotation", space(ENABLED), pod({INJECT: "false"}, {INJECT: "true"}), False),
    ("on the host's network", space(ENABLED), pod(hostNetwork=True), False),
    ("in kube-system", space(ENABLED, "kube-system"), pod(), False),
    ("an annotation alone does not call the webhook", space({}), pod(annotations={INJECT: "true"}), False),
    ("by the namespace", space(ENABLED), pod(), True),
    ("by the revision", space({"istio.io/rev": "default"}), pod(), True),
    ("by the pod's label", space({}), pod({INJECT: "true"}), True),
    ("the label before the annotation, on", space(ENABLED), pod({INJECT: "true"}, {INJECT: "false"}), True),
]  # fmt: skip


@pytest.mark.parametrize(("namespace", "body", "expected"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_who_gets_a_sidecar(namespace: dict[str, Any], body: dict[str, Any], expected: bool) -> None:
    before = copy.deepcopy(body)
    injected = EmbeddedIstiod().inject(body, namespace)
    assert body == before
    assert has_proxy(injected) is expected
    assert (injected == body) is not expected


def test_what_a_sidecar_adds() -> None:
    injected = EmbeddedIstiod().inject(pod(initContainers=[{"name": "setup", "image": "i"}]), space(ENABLED))
    assert [container["name"] for container in injected["spec"]["initContainers"]] == ["setup", "istio-init"]
    assert [container["name"] for container in injected["spec"]["containers"]] == ["curl", "istio-proxy"]
    proxy = injected["spec"]["containers"][1]
    assert proxy["ports"][0]["containerPort"] == 15090
    assert proxy["readinessProbe"]["httpGet"] == {"path": "/healthz/ready", "port": 15021}
    environment = {entry["name"]: entry.get("value") for entry in proxy["env"]}
    assert environment["ISTIO_META_WORKLOAD_NAME"] == "curl"
    assert environment["ISTIO_META_OWNER"] == f"kubernetes://apis/apps/v1/namespaces/{NAMESPACE}/deployments/curl"
    labels = injected["metadata"]["labels"]
    assert labels["security.istio.io/tlsMode"] == "istio"
    assert labels["service.istio.io/canonical-name"] == "curl"
    assert labels["service.istio.io/canonical-revision"] == "latest"
    annotations = injected["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == "15020"
    assert annotations["kubectl.kubernetes.io/default-container"] == "curl"
    assert json.loads(annotations["sidecar.istio.io/status"])["containers"] == ["istio-proxy"]


def test_a_native_sidecar_comes_first_and_stays() -> None:
    body = pod(annotations={"sidecar.istio.io/nativeSidecar": "true"}, initContainers=[{"name": "setup", "image": "i"}])
    injected = EmbeddedIstiod().inject(body, space(ENABLED))
    names = [container["name"] for container in injected["spec"]["initContainers"]]
    assert names == ["istio-init", "istio-proxy", "setup"]
    assert injected["spec"]["initContainers"][1]["restartPolicy"] == "Always"
    assert len(injected["spec"]["containers"]) == 1


@pytest.mark.parametrize("native", ["true", "false"])
def test_the_second_time_nothing_changes(native: str) -> None:
    istiod, namespace = EmbeddedIstiod(), space(ENABLED)
    once = istiod.inject(pod(annotations={"sidecar.istio.io/nativeSidecar": native}), namespace)
    assert istiod.inject(once, namespace) == once


def test_the_redirects_arguments_say_what_the_annotations_say() -> None:
    prefix = "traffic.sidecar.istio.io/"
    annotations = {f"{prefix}excludeOutboundPorts": "80", f"{prefix}includeOutboundIPRanges": "10.0.0.0/8"}
    injected = EmbeddedIstiod().inject(pod(annotations=annotations), space(ENABLED))
    arguments = injected["spec"]["initContainers"][0]["args"]
    assert arguments[arguments.index("-o") + 1] == "80"
    assert arguments[arguments.index("-i") + 1] == "10.0.0.0/8"
    assert arguments[arguments.index("-u") + 1] == "1337"


REFUSED = [("proxy.istio.io/config", "concurrency: 2"), ("sidecar.istio.io/interceptionMode", "NONE")]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_what_is_not_modelled_is_refused_where_it_would_count(name: str, value: str) -> None:
    with pytest.raises(LabRefusal, match=name.rpartition("/")[2]):
        EmbeddedIstiod().inject(pod(annotations={name: value}), space(ENABLED))
    assert not has_proxy(EmbeddedIstiod().inject(pod(annotations={name: value}), space({})))


OWNERS = [
    ("a ReplicaSet by its hash", {"kind": "ReplicaSet", "name": "curl-5d8b7c9f4"}, ("Deployment", "curl")),
    ("a bare ReplicaSet", {"kind": "ReplicaSet", "name": "curl"}, ("ReplicaSet", "curl")),
    ("a scheduled Job", {"kind": "Job", "name": "nightly-29384756"}, ("CronJob", "nightly")),
    ("a Job", {"kind": "Job", "name": "import"}, ("Job", "import")),
    ("a StatefulSet", {"kind": "StatefulSet", "name": "db"}, ("StatefulSet", "db")),
]


@pytest.mark.parametrize(("owner", "expected"), [row[1:] for row in OWNERS], ids=[row[0] for row in OWNERS])
def test_the_workload_of_a_pod(owner: dict[str, Any], expected: tuple[str, str]) -> None:
    body = pod()
    body["metadata"]["ownerReferences"] = [{"apiVersion": "x/v1", "controller": True, **owner}]
    found = workload_of(body)
    assert (found.kind, found.name) == expected


def test_the_node_is_named_as_istio_names_it() -> None:
    node = EmbeddedIstiod().bootstrap(curl_pod(), "/etc/istio/proxy", mark=None)["node"]
    assert node["id"] == f"sidecar~10.0.0.7~curl-5d8b7c9f4-x2k8p.{NAMESPACE}~{NAMESPACE}.svc.cluster.local"
    assert node["cluster"] == f"curl.{NAMESPACE}"


def test_upstream_sockets_are_marked_only_where_that_is_asked() -> None:
    istiod = EmbeddedIstiod()
    assert "cluster_manager" not in istiod.bootstrap(curl_pod(), "/x", mark=None)
    bind = istiod.bootstrap(curl_pod(), "/x", mark=1337)["cluster_manager"]["upstream_bind_config"]
    assert [(option["name"], option["int_value"]) for option in bind["socket_options"]] == [(36, 1337)]
