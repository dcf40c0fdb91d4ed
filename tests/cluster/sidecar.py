"""Pods of a real cluster on the lab's node: the sidecar is pilot-agent with Envoy, and istiod's pod is the node's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubectl_egress.lab import kernel, network
from kubectl_egress.lab.istiod.workload import identity_of
from kubectl_egress.lab.parts import Body
from kubectl_egress.lab.pods import probes
from kubectl_egress.lab.pods.containers import Prepared
from kubectl_egress.lab.pods.environment import arguments, environment
from kubectl_egress.lab.pods.pod import PodRunner
from kubectl_egress.lab.pods.processes import Command
from kubectl_egress.lab.pods.sandbox import PROXY, Sandbox, proxy_of
from kubectl_egress.lab.pods.states import ContainerState, now
from kubectl_egress.lab.pods.volumes import container_mounts
from tests.cluster.mirror import Api, ApiRefusalError

READY_PORT = 15021
READY_PATH = "/healthz/ready"
METRICS_VARIABLES = ("workload", "namespace", "app", "version", "canonical_name", "canonical_revision")
# An optional ConfigMap inside another volume's directory, which is read-only.
NESTED_VOLUME = "istio-ca-crl"


@dataclass(frozen=True, slots=True)
class SidecarPrograms:
    """What a sidecar's image would hold."""

    pilot_agent: Path
    envoy: Path
    bootstrap_template: Path


class SidecarRunner(PodRunner):
    """A pod whose proxy container runs what the real injector says, with the node's programs."""

    api: Api
    programs: SidecarPrograms
    tokens: dict[str, dict[str, bytes]]
    """By volume: the files with service account tokens."""

    async def _run(self) -> None:
        while True:
            try:
                self.tokens = await self._request_tokens()
                break
            except ApiRefusalError as refusal:
                self._refuse(str(refusal))
                await asyncio.sleep(1)
        await super()._run()

    async def _request_tokens(self) -> dict[str, dict[str, bytes]]:
        found: dict[str, dict[str, bytes]] = {}
        for volume in self.pod["spec"].get("volumes") or ():
            for source in (volume.get("projected") or {}).get("sources") or ():
                if "serviceAccountToken" in source and not volume["name"].startswith("kube-api-access"):
                    wanted = source["serviceAccountToken"]
                    found[volume["name"]] = {wanted["path"]: await self._request_token(wanted)}
        return found

    async def _request_token(self, wanted: Body) -> bytes:
        metadata, account = self.pod["metadata"], self.pod["spec"].get("serviceAccountName") or "default"
        spec: dict[str, Any] = {"audiences": [wanted["audience"]], "expirationSeconds": wanted["expirationSeconds"]}
        spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        return str((await self.api.ask("POST", path, body))["status"]["token"]).encode()

    def _write_volumes(self) -> None:
        super()._write_volumes()
        for volume, files in self.tokens.items():
            for name, content in files.items():
                (self._directory / "volumes" / volume / name).write_bytes(content)

    async def _prepare_proxy(self) -> Prepared:
        body = proxy_of(self.pod)
        assert body is not None, "a proxy is prepared for a pod that has one"
        # The fields of the image's own limits: there are none, and 0 would mean something else.
        entries = [one for one in body.get("env") or () if "resourceFieldRef" not in (one.get("valueFrom") or {})]
        container = {**body, "command": [str(self.programs.pilot_agent)], "env": entries}
        values = environment(container, self._pod_with_address, self._lookup)
        values["PROXY_CONFIG"] = self._proxy_config(values.get("PROXY_CONFIG", "{}"))
        identity = identity_of(self.pod)
        values |= {f"METRICS_{name.upper()}": getattr(identity, name) for name in METRICS_VARIABLES}
        mounts = [mount for mount in body.get("volumeMounts") or () if mount["name"] != NESTED_VOLUME]
        shown = container_mounts({**body, "volumeMounts": mounts}, self._directory / "volumes", self._writable)
        namespaces = await self._open_root(PROXY, shown)
        command = Command(arguments(container, values), values, "/", network.PROXY_UID, capable=True)
        return Prepared(namespaces, command)

    def _proxy_config(self, text: str) -> str:
        config = json.loads(text or "{}")
        config["binaryPath"] = str(self.programs.envoy)
        config["proxyBootstrapTemplatePath"] = str(self.programs.bootstrap_template)
        config["terminationDrainDuration"] = "1s"
        config["concurrency"] = 1
        return json.dumps(config)

    async def configure(self) -> None:
        """Nothing: the proxy is istiod's."""

    async def _is_ready(self, body: Body) -> bool:
        if body["name"] != PROXY or self.sandbox is None:
            return await super()._is_ready(body)
        return (
            await probes.http_status(self.sandbox.namespaces, probes.loopback(self.address), READY_PORT, READY_PATH)
            == 200
        )


class HostRunner(PodRunner):
    """A pod in the node's own network whose programs the harness runs: it is there to be found, and to be connected to."""

    async def _run(self) -> None:
        def own() -> kernel.Namespaces:
            return kernel.Namespaces(os.open("/proc/thread-self/ns/net", os.O_RDONLY))

        self.address = str(network.GATEWAY)
        self.addresses = (self.address,)
        self._directory.mkdir(parents=True, exist_ok=True)
        self.sandbox = Sandbox(self.address, await kernel.in_a_thread(own), self._directory)
        running = ContainerState(running_since=now(), ready=True)
        self._fixed = {body["name"]: running for body in self.pod["spec"]["containers"]}
        self._say()

    async def stop(self, grace: float) -> None:
        """Let go of it; what it stands for goes on."""
        self._ending = True
        with contextlib.suppress(asyncio.CancelledError):
            if self._task is not None:
                await self._task
        self._close_namespaces()
