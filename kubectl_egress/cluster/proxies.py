"""What the sidecars say on their admin ports: by port-forward, or by a command in the container."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from kubectl_egress.cluster.cluster import Cluster
from kubectl_egress.cluster.lists import side_by_side
from kubectl_egress.errors import EgressError, ForbiddenError
from kubectl_egress.model import Body, Host, Proxy, ProxySnapshot, ProxyUnread, Ref
from kubectl_egress.proxy import access_log, admin_paths, snapshot, wire

T = TypeVar("T")

ADMIN_PORT = 15000
CONCURRENCY = 32
"""As many sidecars are asked side by side; from far away it is the way that takes the time."""
_LOG_LINES = 1000
_LOG_BYTES = 1_000_000
CONTAINER = "istio-proxy"
# Older Envoy answers 404, with these words, where it has none of a kind: that is an answer.
_NONE_THERE = "not found in config dump"


def pod_ref(pod: Body) -> Ref:
    """Which pod."""
    return Ref("Pod", pod["metadata"].get("namespace", ""), pod["metadata"]["name"], "v1")


def has_proxy(pod: Body) -> bool:
    """Whether the pod has a sidecar, be it a container or an init container that stays."""
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return any(container.get("name") == CONTAINER for container in containers)


def is_running(pod: Body) -> bool:
    """Whether its sidecar can be asked: the pod runs, and the container has started."""
    status = pod.get("status") or {}
    states = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    started = [state for state in states if state.get("name") == CONTAINER and "running" in (state.get("state") or {})]
    return status.get("phase") == "Running" and bool(started)


def not_running(pod: Body) -> ProxyUnread | None:
    """Why the sidecar of a pod that runs cannot be asked: its container does not run; None if there is nothing to say."""
    status = pod.get("status") or {}
    if is_running(pod) or status.get("phase") != "Running" or not has_proxy(pod):
        return None
    states = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    state = next((one.get("state") or {} for one in states if one.get("name") == CONTAINER), {})
    why = next((str((detail or {}).get("reason") or word) for word, detail in state.items()), "")
    return ProxyUnread(pod_ref(pod), f"its container {CONTAINER} is not running ({why})") if why else None


def read_proxies(
    cluster: Cluster,
    pods: Sequence[Body],
    paths: Sequence[str],
    *,
    concurrency: int = CONCURRENCY,
    timeout: float = 10.0,
) -> Mapping[Ref, Mapping[str, str] | ProxyUnread]:
    """Ask the sidecar of every pod for the admin paths: by pod, the texts by path, or why there are none.

    `timeout`: seconds for each answer. A pod that cannot be read costs nothing but its own entry.
    """
    return _side_by_side(pods, lambda pod: _read(cluster, pod, paths, timeout), concurrency)


def read_snapshots(
    cluster: Cluster,
    pods: Sequence[Body],
    hosts: Sequence[Host] | None,
    *,
    concurrency: int = CONCURRENCY,
    timeout: float = 10.0,
    overview: bool = False,
) -> Mapping[Ref, Proxy]:
    """What the sidecar of every pod says about the hosts (None: about everything outbound), read and understood.

    `overview`: as `inspect` shows it: no latencies, and of a sidecar that has sent to hosts without a name also what its
    access log says of them.
    """
    paths = admin_paths(None if hosts is None else [str(host) for host in hosts], overview=overview)

    def read(pod: Ref) -> Proxy:
        texts = _read(cluster, pod, paths, timeout)
        if isinstance(texts, ProxyUnread):
            return texts
        try:
            # Here and not afterwards: the texts of a thousand proxies are not to be held together.
            said = snapshot(pod, texts, time.monotonic())
            return _with_log(cluster, said) if overview and wire.has_nameless(said) else said
        except EgressError as error:
            return ProxyUnread(pod, error.message)

    return _side_by_side(pods, read, concurrency)


def _with_log(cluster: Cluster, said: ProxySnapshot) -> ProxySnapshot:
    """The snapshot with the end of the sidecar's access log; without, where that cannot be read."""
    path = f"/api/v1/namespaces/{said.pod.namespace}/pods/{said.pod.name}/log"
    query = {"container": CONTAINER, "tailLines": str(_LOG_LINES), "limitBytes": str(_LOG_BYTES)}
    try:
        text = cluster.transport.text(path, query, longest=_LOG_BYTES)
    except ForbiddenError:
        return replace(said, log_forbidden=True)
    except EgressError:
        # It only adds names to what is known without it.
        return said
    return replace(said, logged=access_log.read(text))


def _side_by_side(pods: Sequence[Body], read: Callable[[Ref], T], concurrency: int) -> Mapping[Ref, T]:
    if not pods:
        return {}
    refs = [pod_ref(pod) for pod in pods]
    with side_by_side(min(concurrency, len(refs)), "proxy") as pool:
        return dict(zip(refs, pool.map(read, refs), strict=True))


def get_pod_port(cluster: Cluster, pod: Ref, port: int, path: str, *, timeout: float = 10.0) -> str:
    """The text that a pod's port answers to GET (istiod: port 15014, `/debug/configz`), by port-forward.

    Raises ForbiddenError and other ApiErrors of the API server, UnreachableError where the port does not answer 200.
    """
    from kubectl_egress.cluster.tunnels import PodHttp

    with PodHttp(cluster.transport, pod, port, timeout) as pod_http:
        return pod_http.get(path)


def read_page(cluster: Cluster, pod: Ref, path: str, *, timeout: float = 10.0) -> str | ProxyUnread:
    """One page of a sidecar's admin interface."""
    said = _read(cluster, pod, [path], timeout)
    return said if isinstance(said, ProxyUnread) else said[path]


def _read(cluster: Cluster, pod: Ref, paths: Sequence[str], timeout: float) -> Mapping[str, str] | ProxyUnread:
    """By port-forward; if that fails, by a command; if that fails too, why."""
    try:
        return _by_port_forward(cluster, pod, paths, timeout)
    except EgressError as error:
        first = error
    try:
        return _by_command(cluster, pod, paths, timeout)
    except EgressError as second:
        if isinstance(first, ForbiddenError) and isinstance(second, ForbiddenError):
            return ProxyUnread(pod, f"neither port-forward nor exec is permitted: {first.message}", forbidden=True)
        return ProxyUnread(pod, f"port-forward: {first.message.removeprefix('port-forward: ')}; exec: {second.message}")


def _by_port_forward(cluster: Cluster, pod: Ref, paths: Sequence[str], timeout: float) -> Mapping[str, str]:
    from kubectl_egress.cluster.tunnels import PodHttp

    with PodHttp(cluster.transport, pod, ADMIN_PORT, timeout) as admin:
        return admin.get_all(paths, (200, 404))


def _by_command(cluster: Cluster, pod: Ref, paths: Sequence[str], timeout: float) -> Mapping[str, str]:
    return {path: _ask_agent(cluster, pod, path, timeout) for path in paths}


def _ask_agent(cluster: Cluster, pod: Ref, path: str, timeout: float) -> str:
    """One path by `pilot-agent request`, which adds the slash itself; some versions take 404 for a failure."""
    from kubectl_egress.cluster.tunnels import run_command

    command = ("pilot-agent", "request", "GET", path.removeprefix("/"))
    try:
        return run_command(cluster.transport, pod, CONTAINER, command, timeout)
    except EgressError as error:
        if _NONE_THERE in error.message:
            return _NONE_THERE
        raise
