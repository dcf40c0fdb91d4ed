"""A namespace of a lab in which workloads call a host all the time, and everything that happens to them is counted."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any, TypeVar

from kubectl_egress.cluster import Cluster, connect
from kubectl_egress.cluster.options import ConnectionOptions
from kubectl_egress.cluster.rollout import wait_rollout
from kubectl_egress.errors import ApiError, NotFoundError, UnreachableError
from kubectl_egress.lab.client import Counters, Lab
from kubectl_egress.mesh import object_name
from kubectl_egress.model import Body, Host, PatchOperation, Ref
from tests import build
from tests.warm import Run as Run
from tests.warm import WarmProcess

NAMESPACE = "test-ext-svc"
HOST = "httpbin.org"
PATIENCE = 30.0
MESH_KINDS = ("DestinationRule", "ServiceEntry", "VirtualService")
NATIVE = {"sidecar.istio.io/nativeSidecar": "true"}
"""The proxy starts before the application and ends after it, so that no request of a pod is without it."""

Found = TypeVar("Found")
_numbers = itertools.count(1)


def calling_script(*asked: str, first: str = ":") -> str:
    """A caller's script that asks curl for each of `asked` (words for the shell) in turn, all the time, after the command `first`.

    It ends as it should: told to go, it lets the request finish that it has begun (curl ignores the signal), says `end`, and
    stays until its log has been read. So each request of each pod is accounted for, and none is cut by a kill.
    """
    requests = "".join(
        f"  said=$(trap '' TERM; curl -s -m 5 -o /dev/null -w '%{{http_code}}' {one}); echo \"request $said $?\"\n"
        for one in asked
    )
    return f"""\
trap 'going=1' TERM
while [ -z "$going" ]; do
  {first}
{requests}  sleep .2
done
echo end
trap '' TERM
sleep .4
"""


@dataclass(frozen=True, slots=True)
class Request:
    """What became of one request, as curl says it."""

    code: str
    """000 where there was no answer."""
    exit_status: int

    @property
    def served(self) -> bool:
        """Whether the server's own 200 came back."""
        return self.code == "200" and self.exit_status == 0


def until(ask: Callable[[], Found], what: str, patience: float = PATIENCE) -> Found:
    """The first answer that counts as true; AssertionError with `what` was waited for if there is none in time."""
    deadline = time.monotonic() + patience
    while not (found := ask()):
        assert time.monotonic() < deadline, f"not in {patience:.0f} s: {what}"
        time.sleep(0.05)
    return found


class Scene:
    """A lab with one namespace that gets sidecars; close it, or use it in a `with`."""

    def __init__(self, lab: Lab, namespace: str = NAMESPACE) -> None:
        self.lab = lab
        self.namespace = namespace
        self.kubeconfig = lab.kubeconfig
        """The tool's own; a test may give it another way to the cluster than itself has."""
        self.cluster: Cluster = connect(ConnectionOptions(kubeconfig=str(lab.kubeconfig), namespace=namespace))
        labels = {"istio-injection": "enabled"}
        self._recorders: list[Recorder] = []
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        for recorder in self._recorders:
            recorder.stop()
        self.cluster.close()

    def clear(self) -> None:
        """End everything that calls, at once, and forget what was asked of the lab and what it has counted."""
        self.lab.set_configuration_delay(0)
        for kind in ("Deployment", "CronJob", "Job"):
            resource = self.cluster.resource_of(kind)
            for body in list(self.cluster.list(resource.api_version, resource.plural, self.namespace)):
                with contextlib.suppress(NotFoundError):  # a Job goes with its CronJob
                    self.delete(kind, body["metadata"]["name"])

        def gone() -> bool:
            left = list(self.cluster.list("v1", "pods", self.namespace))
            for pod in left:
                ref = Ref("Pod", self.namespace, pod["metadata"]["name"], "v1")
                with contextlib.suppress(NotFoundError):
                    self.cluster.delete(ref, uid=pod["metadata"]["uid"], grace_seconds=0)
            return not left

        until(gone, "the pods are gone")
        self.lab.set_certificate(HOST, "good")
        self.lab.reset()

    # ---- the tool

    def egress(self, *arguments: str, patience: float = 120.0) -> Run:
        """Run the real command as a user would, in this namespace, without a terminal."""
        return self.started(*arguments).ended(patience)

    def started(self, *arguments: str) -> WarmProcess:
        """The same, under way."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "NO_COLOR": "1"}
        return WarmProcess([*arguments, "-n", self.namespace], environment)

    def elsewhere(self, home: Path, *arguments: str, patience: float = 120.0) -> Run:
        """Run it on another machine: where nothing is known of other runs but what the cluster says."""
        environment = {
            "HOME": str(home),
            "PATH": "/usr/bin:/bin",
            "KUBECONFIG": str(self.lab.kubeconfig),
            "NO_COLOR": "1",
        }
        return WarmProcess([*arguments, "-n", self.namespace], environment, home).ended(patience)

    def migrate(self, *arguments: str) -> Run:
        """`migrate httpbin.org -y`, which has to succeed."""
        run = self.egress("migrate", HOST, "-y", *arguments)
        assert run.status == 0, run
        return run

    def undo(self) -> Run:
        """`undo httpbin.org -y`, which has to succeed."""
        run = self.egress("undo", HOST, "-y")
        assert run.status == 0, run
        return run

    # ---- objects

    def ref(self, kind: str, name: str) -> Ref:
        """An object of the namespace."""
        return Ref(kind, self.namespace, name)

    def create(self, body: Body) -> Body:
        """A new object."""
        return self.cluster.create(body)

    def get(self, kind: str, name: str) -> Body:
        """An object as it is."""
        return self.cluster.get(self.ref(kind, name))

    def delete(self, kind: str, name: str) -> Body:
        """Take an object away; as it was."""
        body = self.get(kind, name)
        self.cluster.delete(self.ref(kind, name), uid=body["metadata"]["uid"])
        return body

    def put_back(self, *bodies: Body) -> None:
        """Make deleted objects anew."""
        for body in bodies:
            self.create(written(body))

    def mesh_object(self, kind: str) -> str:
        """The name of the migration's own object of a kind."""
        return object_name(Host(HOST))

    def patch(self, kind: str, name: str, *operations: PatchOperation) -> None:
        """Change an object as somebody else would."""
        self.cluster.patch(self.ref(kind, name), operations)

    def objects(self) -> Mapping[tuple[str, str], Body]:
        """Everything that a migration may touch, by kind and name."""
        kinds = ("Deployment", "ConfigMap", *MESH_KINDS)
        resources = [self.cluster.resource_of(kind) for kind in kinds]
        return {
            (resource.kind, body["metadata"]["name"]): body
            for resource in resources
            for body in self.cluster.list(resource.api_version, resource.plural, self.namespace)
        }

    def versions(self) -> Mapping[tuple[str, str], str]:
        """The resourceVersion of everything that a migration may touch."""
        return {key: body["metadata"]["resourceVersion"] for key, body in self.objects().items()}

    def state(self) -> Mapping[tuple[str, str], Any]:
        """What people wrote of it: labels, annotations and spec or data, without what controllers add."""
        return {key: written(body) for key, body in self.objects().items()}

    # ---- pods

    def deploy(self, name: str = "caller", url: str = f"https://{HOST}/status/200", **rest: Any) -> Recorder:
        """A Deployment that calls a URL all the time, ready; what follows it. `rest`: as `build.pod_template` takes it."""
        annotations = {**NATIVE, **rest.pop("annotations", {})}
        command = ["sh", "-c", calling_script(url)]
        spec = {"terminationGracePeriodSeconds": 3, "command": command, **rest}
        body = build.deployment(name, self.namespace, annotations=annotations, **spec)
        self.create(body)
        self.rolled_out(name)
        self._recorders.append(Recorder(self, name))
        return self._recorders[-1]

    def rolled_out(self, name: str) -> None:
        """Wait until the Deployment has the template that it is to have."""
        wait_rollout(self.cluster, self.ref("Deployment", name), timeout=PATIENCE, progress=lambda _: None)

    def restart(self, name: str) -> None:
        """What `kubectl rollout restart` does, and no more."""
        annotations = {**self.get("Deployment", name)["spec"]["template"]["metadata"]["annotations"]}
        annotations["kubectl.kubernetes.io/restartedAt"] = str(time.time())
        steps = ("spec", "template", "metadata", "annotations")
        self.patch("Deployment", name, PatchOperation("add", steps, annotations))
        self.rolled_out(name)

    def pods(self, name: str) -> list[Body]:
        """The pods of a Deployment, terminating ones too."""
        return list(self.cluster.list("v1", "pods", self.namespace, label_selector=f"app={name}"))

    def pod(self, name: str) -> str:
        """The name of the Deployment's one pod that is not going."""
        staying = [pod for pod in self.pods(name) if "deletionTimestamp" not in pod["metadata"]]
        assert len(staying) == 1, [pod["metadata"]["name"] for pod in staying]
        return str(staying[0]["metadata"]["name"])

    def counters(self) -> Counters:
        """What reached the outside world."""
        return self.lab.counters()


@contextlib.contextmanager
def scene_in(lab: Lab) -> Iterator[Scene]:
    """A namespace of its own in a lab that others use too; nothing of it calls any more afterwards."""
    with Scene(lab, f"scene-{next(_numbers)}") as found:
        try:
            yield found
        finally:
            found.clear()


def written(body: Body) -> dict[str, Any]:
    """The part of an object that people write."""
    metadata = {
        key: value
        for key, value in body["metadata"].items()
        if key in ("name", "namespace", "labels", "annotations") and value
    }
    annotations = {
        key: value
        for key, value in metadata.get("annotations", {}).items()
        if not key.startswith(("deployment.", "deprecated.daemonset."))  # the controllers' own
    }
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    parts = {key: body[key] for key in ("spec", "data", "binaryData") if key in body}
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata, **parts}


class Recorder:
    """Follows the log of every pod that a Deployment ever has, from the first line to the last."""

    def __init__(self, scene: Scene, name: str) -> None:
        self._scene = scene
        self._name = name
        self._lines: dict[str, list[str]] = {}
        """By the pod's uid, in the order in which the pods appeared."""
        self._gone: set[str] = set()
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._follow_all, daemon=True)
        self._watch.start()

    def stop(self) -> None:
        """Look for new pods no more; what is followed ends with its pod or with the lab."""
        self._stopping.set()
        self._watch.join(PATIENCE)

    def pods(self) -> list[list[Request]]:
        """The requests of each pod, from its first on; AssertionError when a pod has ended and its log is not whole."""
        for uid in tuple(self._gone):
            assert "end" in self._lines[uid][-1:], f"the end of a pod's log is missing: {self._lines[uid][-3:]}"
        return [[found for line in lines if (found := _request(line))] for lines in map(list, self._lines.values())]

    def requests(self) -> list[Request]:
        """All requests of all pods."""
        return [request for pod in self.pods() for request in pod]

    def next(self, count: int, patience: float = PATIENCE) -> list[Request]:
        """The next requests, at least `count`, that are answered or given up; without the first, which may be older."""
        before = [len(pod) for pod in self.pods()]

        def more() -> list[Request]:
            seen = chain(before, repeat(0))  # a pod that is new
            return [one for pod, count in zip(self.pods(), seen, strict=False) for one in pod[count:]]

        until(lambda: len(more()) > count, f"{count} more requests of {self._name}", patience)
        return more()[1:]

    def healthy(self) -> None:
        """Wait until three requests in a row are served."""
        until(lambda: all(request.served for request in self.next(3)), f"{self._name} is served")

    def settled(self) -> None:
        """Wait until every log of a pod that is gone has been read to its end."""
        until(lambda: len(self._gone) >= len(self._lines) - 1, f"one pod of {self._name} is left")

    def _follow_all(self) -> None:
        while not self._stopping.wait(0.1):
            with contextlib.suppress(UnreachableError):
                for pod in self._scene.pods(self._name):
                    uid = pod["metadata"]["uid"]
                    if uid not in self._lines:
                        self._lines[uid] = []
                        follow = threading.Thread(target=self._follow, args=(pod["metadata"]["name"], uid), daemon=True)
                        follow.start()

    def _follow(self, pod: str, uid: str) -> None:
        path = f"/api/v1/namespaces/{self._scene.namespace}/pods/{pod}/log"
        query = {"container": self._name, "follow": "true"}
        while not self._stopping.is_set() and not self._lines[uid]:
            # Refused until the container has started, and when the pod is gone.
            with (
                contextlib.suppress(ApiError, UnreachableError),
                self._scene.cluster.transport.lines(path, query, 600) as lines,
            ):
                for line in lines:
                    self._lines[uid].append(line.decode().strip())
            self._stopping.wait(0.05)
        self._gone.add(uid)


def _request(line: str) -> Request | None:
    word, *values = line.split()
    return Request(values[0], int(values[1])) if word == "request" and len(values) == 2 else None
