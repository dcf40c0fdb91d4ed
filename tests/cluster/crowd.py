"""Many hosts in one namespace: a scene is dear, a host is cheap, and what stands beside one does not concern the others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kubectl_egress.cluster.tunnels import run_command
from kubectl_egress.lab.client import Lab
from kubectl_egress.model import Body, Host, Ref
from tests import build
from tests.cluster.others import ROOT_NAMESPACE
from tests.cluster.scenes import scene_of
from tests.scene import NATIVE, Scene

WRITERS = 8
LONGEST_CALL = 4
CALL = f"c() {{ n=$1; shift; echo $n $(curl -s -m {LONGEST_CALL} -o /dev/null -w '%{{http_code}}' \"$@\"); }}"
AT_ONCE = 32
"""Calls in one command, which is a URL to the API server."""
SLEEP = ["sleep", "3600"]


@dataclass(frozen=True)
class Crowd:
    """A namespace, another beside it, and hosts of the outside world, each with an alias."""

    scene: Scene
    elsewhere: Scene
    hosts: Sequence[Host]
    addresses: Mapping[str, str]
    """The hosts' own, by name."""

    def alias(self, host: Host) -> str:
        """To which the host's name leads in aliased pods."""
        return f"192.0.2.{1 + self.hosts.index(host)}"

    def place(self, host: Host) -> dict[str, str]:
        """As `others` takes it."""
        return {
            "namespace": self.scene.namespace,
            "elsewhere": self.elsewhere.namespace,
            "alias": self.alias(host),
            "address": self.addresses[host.name],
        }

    def create(self, bodies: Iterable[Body]) -> None:
        """Make objects side by side, each in its namespace."""

        def one(body: Body) -> None:
            version = body.get("apiVersion") or self.scene.cluster.resource_of(body["kind"]).api_version
            self.scene.cluster.create({**body, "apiVersion": version})

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(one, bodies))

    def clear_the_root(self) -> None:
        """Delete what was created in the root namespace, which stays."""
        kind, known = "DestinationRule", {host.name for host in self.hosts}
        resource = self.scene.cluster.resource_of(kind)
        for body in list(self.scene.cluster.list(resource.api_version, resource.plural, ROOT_NAMESPACE)):
            if body["spec"]["host"] in known:
                metadata = body["metadata"]
                self.scene.cluster.delete(Ref(kind, ROOT_NAMESPACE, metadata["name"]), uid=metadata["uid"])

    def start(
        self, names: Iterable[str], *, aliased: bool = True, annotations: Mapping[str, str] | None = None
    ) -> None:
        """Deployments that sleep, all ready: pods to call from. Each is labelled `app: NAME`."""
        aliases = [{"ip": self.alias(host), "hostnames": [host.name]} for host in self.hosts] if aliased else []
        for name in names:
            template = {"command": SLEEP, "annotations": {**NATIVE, **(annotations or {})}, "hostAliases": aliases}
            self.scene.create(build.deployment(name, self.scene.namespace, terminationGracePeriodSeconds=1, **template))

    def answers(self, name: str, calls: Sequence[tuple[str, str]]) -> list[str]:
        """From a pod: the status that each call (curl's options, URL) gives, `000` for no answer; side by side."""
        pod = self.scene.ref("Pod", self.scene.pod(name))
        found: dict[int, str] = {}
        for first in range(0, len(calls), AT_ONCE):
            lines = [
                f"c {first + n} {options} {url}&" for n, (options, url) in enumerate(calls[first : first + AT_ONCE])
            ]
            script = "\n".join([CALL, *lines, "wait"])
            said = run_command(self.scene.cluster.transport, pod, name, ["sh", "-c", script], LONGEST_CALL * 10)
            found |= {int(number): code for number, code in map(str.split, said.splitlines())}
        return [code for _, code in sorted(found.items())]

    def in_clear(self) -> dict[str, int]:
        """By host: requests that arrived unencrypted."""
        seen = self.scene.counters().clear_requests
        return {host.name: sum(seen.get(host.name, {}).values()) for host in self.hosts}

    def served(self) -> dict[str, int]:
        """By host: requests that arrived over TLS."""
        counters = self.scene.counters()
        return {host.name: counters.total(host.name) for host in self.hosts}


@contextlib.contextmanager
def crowd_of(lab: Lab, names: Sequence[str]) -> Iterator[Crowd]:
    """A crowd of hosts with these names; everything that was created is gone afterwards."""
    lab.reset()
    addresses = lab.world(names)
    with scene_of(lab) as scene, scene_of(lab) as elsewhere:
        found = Crowd(scene, elsewhere, tuple(map(Host, names)), addresses)
        try:
            yield found
        finally:
            found.clear_the_root()
