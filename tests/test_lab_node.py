"""The whole lab: pods that run real commands behind a real Envoy, and nothing left when it has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from kubernetes import client, config
from kubernetes.stream import portforward, stream

from kubectl_egress.errors import EgressError
from kubectl_egress.lab.client import Lab, start_lab

pytestmark = pytest.mark.lab

NAMESPACE = "test-ext-svc"
HOST = "httpbin.org"
IMAGE_TROUBLE = ("ErrImagePull", "ImagePullBackOff")
PATIENCE = 20.0
Result = TypeVar("Result")
TLS = {"mode": "SIMPLE", "sni": HOST, "subjectAltNames": [HOST], "caCertificates": "system"}
POLICY = {"trafficPolicy": {"portLevelSettings": [{"port": {"number": 80}, "tls": TLS}]}}
MESH: Mapping[str, tuple[str, dict[str, Any]]] = {
    "destinationrules": ("DestinationRule", {"host": HOST, "exportTo": ["."], **POLICY, "subsets": [{"name": "kubectl-egress", **POLICY}]}),
    "serviceentries": (
        "ServiceEntry",
        {
            "hosts": [HOST], "exportTo": ["."], "location": "MESH_EXTERNAL", "resolution": "DNS",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 443}, {"number": 443, "name": "tls", "protocol": "TLS"}],
            "endpoints": [{"address": f"{HOST}."}],
        },
    ),
    "virtualservices": (
        "VirtualService",
        {
            "hosts": [HOST], "exportTo": ["."],
            "http": [{"match": [{"port": 80}], "retries": {"attempts": 0}, "route": [{"destination": {"host": HOST, "subset": "kubectl-egress", "port": {"number": 80}}}]}],
        },
    ),
}  # fmt: skip


class Cluster:
    """The lab's API through the official client, with what these tests need of it."""

    def __init__(self, lab: Lab) -> None:
        api = config.new_client_from_config(str(lab.kubeconfig))  # type: ignore[no-untyped-call]
        # The client takes plain mappings as well as its own classes; its annotations do not say so.
        core: Any = client.CoreV1Api(api)
        self.core = core
        self.apps: Any = client.AppsV1Api(api)
        self.custom: Any = client.CustomObjectsApi(api)
        labels = {"istio-injection": "enabled"}
        core.create_namespace({"metadata": {"name": NAMESPACE, "labels": labels}})

    def deploy(self, script: str, **extra: Any) -> None:
        """A Deployment `curl` whose container runs a shell script; `extra` goes to the pod's spec."""
        container = {
            "name": "curl",
            "image": "curlimages/curl",
            "command": ["sh", "-c", script],
            **extra.pop("container", {}),
        }
        metadata = {"labels": {"app": "curl"}, "annotations": extra.pop("annotations", {})}
        spec = {"terminationGracePeriodSeconds": 0, "containers": [container], **extra}
        body = {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "curl"},
            "spec": {"selector": {"matchLabels": {"app": "curl"}}, "template": {"metadata": metadata, "spec": spec}},
        }  # fmt: skip
        self.apps.create_namespaced_deployment(NAMESPACE, body)

    def pods(self) -> list[Any]:
        return list(self.core.list_namespaced_pod(NAMESPACE).items)

    def ready_pod(self) -> str:
        def ready() -> str:
            for pod in self.pods():
                statuses = pod.status.container_statuses or []
                if statuses and all(status.ready for status in statuses):
                    return str(pod.metadata.name)
            return ""

        return wait_for(ready)

    def waiting(self) -> tuple[str, str]:
        """Reason and message of the first container that waits for something else than its turn."""

        def found() -> tuple[str, str] | None:
            for pod in self.pods():
                for status in pod.status.container_statuses or []:
                    waiting = status.state.waiting
                    if waiting and waiting.reason not in ("ContainerCreating", "PodInitializing"):
                        return waiting.reason, waiting.message or ""
            return None

        return wait_for(found)

    def logs(self, pod: str, container: str = "curl", **options: Any) -> str:
        return str(self.core.read_namespaced_pod_log(pod, NAMESPACE, container=container, **options))

    def run(self, pod: str, *command: str, container: str = "curl") -> str:
        return str(
            stream(
                self.core.connect_get_namespaced_pod_exec, pod, NAMESPACE, container=container, command=list(command),
                stdin=False, stdout=True, stderr=True, tty=False,
            )
        )  # fmt: skip

    def originate_tls(self) -> None:
        for plural, (kind, spec) in MESH.items():
            body = {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "httpbin"}, "spec": spec}
            self.custom.create_namespaced_custom_object("networking.istio.io", "v1", NAMESPACE, plural, body)


def wait_for(question: Callable[[], Result | None]) -> Result:
    """The first answer that is not empty."""
    deadline = time.monotonic() + PATIENCE
    while not (found := question()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


@pytest.fixture
def cluster(lab: Lab) -> Cluster:
    return Cluster(lab)


def loop(url: str) -> str:
    return f"while true; do curl -s -o /dev/null -w '%{{http_code}}\\n' {url}; sleep .1; done"


ALIAS = [{"ip": "192.0.2.1", "hostnames": [HOST]}]


def test_the_articles_first_demo(lab: Lab, cluster: Cluster) -> None:
    cluster.deploy(loop(f"https://{HOST}/status/200"))
    pod = cluster.ready_pod()
    wait_for(lambda: lab.counters().total(HOST) >= 3)
    assert lab.counters().in_clear == 0
    assert {(r["tls"], r["sni"]) for r in lab.requests()} == {(True, HOST)}
    statistics = cluster.run(pod, "curl", "-s", "localhost:15000/stats/prometheus")
    assert 'destination_service_name="PassthroughCluster"' in statistics
    assert cluster.run(pod, "pilot-agent", "request", "GET", "ready", container="istio-proxy").strip() == "LIVE"
    assert "200" in cluster.logs(pod, tail_lines=1)


def test_http_without_configuration_leaves_in_clear_and_is_counted(lab: Lab, cluster: Cluster) -> None:
    cluster.deploy(loop(f"http://{HOST}/status/200"))
    wait_for(lambda: lab.counters().in_clear >= 3)
    counters = lab.counters()
    assert set(counters.clear_requests[HOST]) == {80}
    assert counters.served == {}


def test_tls_origination_fails_closed(lab: Lab, cluster: Cluster) -> None:
    cluster.originate_tls()
    cluster.deploy(loop(f"http://{HOST}/status/200"), hostAliases=ALIAS)
    pod = cluster.ready_pod()
    wait_for(lambda: lab.counters().total(HOST) >= 3)

    lab.remove_redirect(pod, NAMESPACE)
    wait_for(lambda: cluster.logs(pod, tail_lines=3).split() == ["000"] * 3)
    lab.restore_redirect(pod, NAMESPACE)
    wait_for(lambda: cluster.logs(pod, tail_lines=3).split() == ["200"] * 3)
    lab.kill_proxy(pod, NAMESPACE)
    wait_for(lambda: cluster.logs(pod, tail_lines=3).split() == ["000"] * 3)
    assert lab.counters().in_clear == 0


def test_a_killed_proxy_comes_again(lab: Lab, cluster: Cluster) -> None:
    cluster.originate_tls()
    cluster.deploy(loop(f"http://{HOST}/status/200"), hostAliases=ALIAS)
    pod = cluster.ready_pod()
    lab.kill_proxy(pod, NAMESPACE, stay_dead=False)
    lab.reset()
    wait_for(lambda: lab.counters().total(HOST) >= 1)
    statuses = cluster.core.read_namespaced_pod(pod, NAMESPACE).status.container_statuses
    assert {status.name: status.restart_count for status in statuses} == {"curl": 0, "istio-proxy": 1}


def test_a_bad_certificate_is_not_accepted(lab: Lab, cluster: Cluster) -> None:
    cluster.originate_tls()
    lab.set_certificate(HOST, "wrong-host")
    cluster.deploy(loop(f"http://{HOST}/status/200"), hostAliases=ALIAS)
    pod = cluster.ready_pod()
    wait_for(lambda: cluster.logs(pod, tail_lines=3).split() == ["503"] * 3)
    assert lab.counters().total(HOST) == 0
    lab.set_certificate(HOST, "good")
    wait_for(lambda: lab.counters().total(HOST) >= 1)


def test_configuration_may_be_late_for_istiod_too(lab: Lab, cluster: Cluster) -> None:
    cluster.deploy(loop(f"http://{HOST}/status/200"), hostAliases=ALIAS)
    cluster.ready_pod()
    lab.set_configuration_delay(2)
    started = time.monotonic()
    cluster.originate_tls()
    assert "ServiceEntry" not in known_objects(cluster)
    wait_for(lambda: lab.counters().total(HOST) >= 1)
    assert time.monotonic() - started > 2
    assert "ServiceEntry" in known_objects(cluster)


def known_objects(cluster: Cluster) -> set[str]:
    """The kinds in istiod's /debug/configz, through a port-forward to its pod."""
    pod = wait_for(lambda: [p for p in cluster.core.list_namespaced_pod("istio-system").items if p.status.pod_ip])[0]
    forwarded = portforward(
        cluster.core.connect_get_namespaced_pod_portforward, pod.metadata.name, "istio-system", ports="15014"
    )
    connection = forwarded.socket(15014)
    connection.setblocking(True)
    connection.sendall(b"GET /debug/configz HTTP/1.1\r\nHost: istiod\r\n\r\n")
    answer = b""
    while chunk := connection.recv(65536):
        answer += chunk
    return {body["kind"] for body in yaml.safe_load(answer.partition(b"\r\n\r\n")[2])}


def test_a_pod_has_its_own_etc_volumes_and_environment(lab: Lab, cluster: Cluster) -> None:
    cluster.core.create_namespaced_config_map(
        NAMESPACE, {"metadata": {"name": "settings"}, "data": {"a.conf": "one", "URL": "two"}}
    )
    mounts = [
        {"name": "v", "mountPath": "/config"},
        {"name": "v", "mountPath": "/etc/app/a.conf", "subPath": "a.conf"},
        {"name": "v", "mountPath": "/usr/share/lab-test/deep"},
        {"name": "scratch", "mountPath": "/scratch"},
    ]
    script = (
        "cat /config/a.conf /etc/app/a.conf /usr/share/lab-test/deep/a.conf; echo; echo $P_URL $NAME; touch /scratch/x; ls /scratch;"
        "touch /usr/y 2>/dev/null || echo read-only; grep 192.0.2.1 /etc/hosts; touch /tmp/own; ls /tmp/own; id -u; sleep 100"
    )
    container = {
        "volumeMounts": mounts,
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "settings"}}],
        "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}],
    }
    volumes = [{"name": "v", "configMap": {"name": "settings"}}, {"name": "scratch", "emptyDir": {}}]
    cluster.deploy(script, container=container, volumes=volumes, hostAliases=ALIAS)
    pod = cluster.ready_pod()
    user = "0" if lab.single_user else "65534"
    expected = f"oneoneone\ntwo {NAMESPACE}\nx\nread-only\n192.0.2.1\t{HOST}\n/tmp/own\n{user}\n"
    wait_for(lambda: cluster.logs(pod) == expected)


def test_a_container_that_ends_is_started_again_and_then_backs_off(cluster: Cluster) -> None:
    cluster.deploy("echo hello; exit 3")
    reason, message = cluster.waiting()
    assert (reason, "back-off 10s" in message) == ("CrashLoopBackOff", True)
    (pod,) = cluster.pods()
    status = next(status for status in pod.status.container_statuses if status.name == "curl")
    assert (status.last_state.terminated.exit_code, status.restart_count) == (3, 1)
    assert cluster.logs(pod.metadata.name, previous=True) == "hello\n"


@pytest.mark.parametrize(
    ("container", "reasons", "words"),
    [
        # and a second later "ImagePullBackOff", as the kubelet has it
        ({"command": ["no-such-program-here"]}, IMAGE_TROUBLE, "not the programs of an image"),
        ({"command": []}, IMAGE_TROUBLE, "it has no command"),
        (
            {"envFrom": [{"configMapRef": {"name": "none"}}]},
            ("CreateContainerConfigError",),
            'configmap "none" not found',
        ),
    ],
)
def test_what_cannot_be_started_says_why(
    cluster: Cluster, container: dict[str, Any], reasons: tuple[str, ...], words: str
) -> None:
    cluster.deploy("true", container=container)
    found, message = cluster.waiting()
    assert found in reasons
    assert words in message


def test_a_container_is_ready_when_its_probe_says_so(lab: Lab, cluster: Cluster) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/ready"]}}
    cluster.deploy("sleep 1; touch /tmp/ready; sleep 1000", container={"readinessProbe": probe})
    started = time.monotonic()
    cluster.ready_pod()
    assert time.monotonic() - started > 0.9


def test_init_containers_run_first_and_in_order(cluster: Cluster) -> None:
    volumes = [{"name": "v", "emptyDir": {}}]
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/shared"}]}
    first, second = (
        {"name": name, "image": "x", "command": ["sh", "-c", f"sleep .2; echo {name} >> /shared/log"], **mount}
        for name in ("first", "second")
    )
    cluster.deploy("cat /shared/log; sleep 1000", container=mount, volumes=volumes, initContainers=[first, second])
    pod = cluster.ready_pod()
    wait_for(lambda: cluster.logs(pod) == "first\nsecond\n")


def test_only_the_pods_that_are_named_are_late(lab: Lab, cluster: Cluster) -> None:
    lab.set_configuration_delay(60, "curl-")
    cluster.originate_tls()
    cluster.deploy(loop(f"http://{HOST}/status/200"), hostAliases=ALIAS)
    pod = cluster.ready_pod()
    assert "ServiceEntry" in known_objects(cluster)
    assert "outbound|80" not in cluster.run(pod, "pilot-agent", "request", "GET", "clusters", container="istio-proxy")
    lab.set_configuration_delay(0)
    wait_for(lambda: lab.counters().total(HOST) >= 1)


def test_a_pod_without_sidecar_has_no_redirect(lab: Lab, cluster: Cluster) -> None:
    cluster.deploy(loop(f"http://{HOST}/status/200"), annotations={"sidecar.istio.io/inject": "false"})
    pod = cluster.ready_pod()
    wait_for(lambda: lab.counters().in_clear >= 1)
    with pytest.raises(EgressError, match="no proxy"):
        lab.kill_proxy(pod, NAMESPACE)


def test_deleting_takes_every_process_along(lab: Lab, cluster: Cluster) -> None:
    cluster.deploy(f"(setsid sh -c '{loop(f'https://{HOST}/status/200')}' &) ; sleep 1000")
    cluster.ready_pod()
    wait_for(lambda: lab.counters().total(HOST) >= 1)
    cluster.apps.delete_namespaced_deployment("curl", NAMESPACE)
    wait_for(lambda: not cluster.pods())
    lab.reset()
    time.sleep(0.5)
    assert lab.counters().total(HOST) == 0


def test_our_own_curl_serves_where_the_machine_has_none() -> None:
    with start_lab(stand_in_curl=True) as lab:
        cluster = Cluster(lab)
        cluster.deploy(loop(f"https://{HOST}/status/200"))
        pod = cluster.ready_pod()
        wait_for(lambda: lab.counters().total(HOST) >= 2)
        assert cluster.run(pod, "sh", "-c", "command -v curl").strip() == "/.lab/curl"


# ---- nothing is left -----------------------------------------------------------------------------------------------


def descendants(process: int) -> list[int]:
    """The processes below one, the lab's PID namespace included."""
    found: list[int] = []
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found


def alive(processes: list[int]) -> list[int]:
    return [number for number in processes if Path(f"/proc/{number}").exists() and state_of(number) != "Z"]


def state_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


@pytest.fixture
def busy_lab() -> Iterator[Lab]:
    """A lab with a pod in it, started as its users start it."""
    with start_lab() as lab:
        cluster = Cluster(lab)
        cluster.deploy(loop(f"https://{HOST}/status/200"))
        cluster.ready_pod()
        yield lab


def test_stopping_leaves_nothing(busy_lab: Lab) -> None:
    processes = descendants(busy_lab.process.pid)
    assert len(processes) > 4
    busy_lab.stop()
    assert alive(processes) == []
    assert not busy_lab.directory.exists()


def test_killing_the_parent_leaves_no_process_and_the_next_start_no_file(busy_lab: Lab) -> None:
    processes = descendants(busy_lab.process.pid)
    os.kill(busy_lab.process.pid, signal.SIGKILL)
    busy_lab.process.wait()
    wait_for(lambda: not alive(processes))
    with start_lab():
        assert not busy_lab.directory.exists()


def test_a_program_that_is_killed_takes_its_lab_along() -> None:
    source = (
        "import json, time\nfrom kubectl_egress.lab.client import start_lab\n"
        "lab = start_lab()\nprint(json.dumps([lab.process.pid, str(lab.directory)]), flush=True)\ntime.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        pid, directory = yaml.safe_load(program.stdout.readline())
        processes = [pid, *descendants(pid)]
        program.kill()
        wait_for(lambda: not alive(processes) and not Path(directory).exists())
