"""The nouns, frozen, in the order in which a run meets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

# One Kubernetes object or a part of it, as JSON has it. Never changed in place.
Body = Mapping[str, Any]

# The address of a value in an object: mapping keys and list indices, from the top.
Steps = tuple[str | int, ...]

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "kubectl-egress"

# What pod templates read their settings from.
SOURCE_KINDS = ("ConfigMap", "Secret")

# What a sidecar's metadata says of names that the application asks for (environment of its container).
DNS_CAPTURE = "ISTIO_META_DNS_CAPTURE"
DNS_AUTO_ALLOCATE = "ISTIO_META_DNS_AUTO_ALLOCATE"
# What has the redirect of a pod with two families hold for both (the second: before Istio 1.24).
DUAL_STACK = ("ISTIO_DUAL_STACK", "ISTIO_AGENT_DUAL_STACK")


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Which object: what names it in the API, and in every line that we print."""

    kind: str
    namespace: str
    name: str
    api_version: str = field(default="", compare=False)
    group: str = ""
    """Where others have a kind of the same name as Kubernetes' own (OpenKruise's StatefulSet): theirs; empty otherwise."""

    def __post_init__(self) -> None:
        """Tell namesakes apart."""
        group = self.api_version.rpartition("/")[0]
        if self.kind in ("StatefulSet", "DaemonSet") and group not in ("", "apps"):
            object.__setattr__(self, "group", group)


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a value stands in the files that were read."""

    file: str
    document: int
    """Which document of the file, from 0; -1: the file is no YAML, and offsets count in all of it."""
    steps: Steps = ()
    shift: int = 0
    """What is to be added to an offset in the value."""


@dataclass(frozen=True, slots=True)
class Document:
    """One object as it was read, and the file and line (from 1) if it came from a file."""

    ref: Ref
    body: Body
    file: str = ""
    line: int = 0
    index: int = 0
    """Which document of the file, from 0."""
    spots: Mapping[Steps, Spot] = field(default_factory=dict)
    """Where its values stand, if not in the document: what a kustomization generates."""


@dataclass(frozen=True, slots=True, order=True)
class Host:
    """What is outside: a lower-case ASCII name without its final dot, or `*.name`, and the port of the server."""

    name: str
    port: int = 443

    @property
    def wildcard(self) -> bool:
        """Whether it stands for more than one name."""
        return self.name.startswith("*.")

    def __str__(self) -> str:
        return self.name if self.port == 443 else f"{self.name}:{self.port}"


# ---- inspect ---------------------------------------------------------------------------------------------------


class Visibility(StrEnum):
    """How much the mesh sees of the calls to a host."""

    OPAQUE = "opaque"
    NAMED = "named"
    FULL = "full"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """One splice: `old`, at offset `start` of the string before any edit, becomes `new`. Never holds a secret."""

    start: int
    old: str
    new: str

    @property
    def end(self) -> int:
        """The offset behind what is replaced."""
        return self.start + len(self.old)


@dataclass(frozen=True, slots=True)
class Url:
    """One URL in a string: where, what it calls, and the edits that turn it into `http://` (or `ws://`).

    `text` may hold credentials: print `urls.shown(text)`.
    """

    start: int
    end: int
    text: str
    scheme: str
    """Lower case: https, wss, http or ws."""
    host: Host
    edits: tuple[Edit, ...] = ()
    """Empty where the scheme is already in clear."""
    reason: str = ""
    """Why it may not be rewritten; empty if it may."""

    @property
    def encrypted(self) -> bool:
        """Whether the application itself encrypts."""
        return self.scheme in ("https", "wss")


@dataclass(frozen=True, slots=True)
class Part:
    """A setting that says a part of a call, and is changed together with those that say the rest."""

    role: str
    """`scheme`, `host` or `port`."""
    name: str = ""
    """The setting's name in the file that holds it; empty where the string is the value itself."""
    ordinal: int = 0
    """Which of the settings of that name in the string, from 0."""
    total: int = 1
    """How many settings of that name the string has."""


@dataclass(frozen=True, slots=True)
class CallSite:
    """A URL that the pods of a workload call, and the address at which it is found, shown and patched."""

    workload: Ref
    object: Ref
    """The object that holds the string: the workload itself, a ConfigMap or a Secret."""
    steps: Steps
    url: Url
    container: str = ""
    """The container that reads it; empty where several do (a volume that more than one mounts)."""
    entry: str = ""
    """The name of the env entry or the key of the ConfigMap, if there is one."""
    reason: str = ""
    """Why it cannot be rewritten; empty if it can."""
    file: str = ""
    line: int = 0
    spot: Spot | None = None
    """Where the string stands, if it was read from files."""
    part: Part | None = None
    """Of a call that several settings say, and that can be changed: which of them this is; the URL's span is its value's."""
    led_to: int = 0
    """Where the mesh leads port 80 of the host, or a migration is to: the server's port; 0: nothing is known to lead it."""
    secret: bool = False
    """Whether the URL, or a part of it, stands in a Secret: print no more than `scan.shown_site` does."""

    @property
    def rewritable(self) -> bool:
        """Whether a plan may touch it."""
        return not (self.reason or self.url.reason)

    @property
    def host(self) -> Host:
        """What it calls, as the URL says it."""
        return self.url.host

    @property
    def server(self) -> Host:
        """The host as `migrate` takes it: `http://HOST` calls the server that `https://HOST` reaches, or `https://HOST:PORT`."""
        if self.url.encrypted or self.host.port != 80:
            return self.host
        return Host(self.host.name, self.led_to) if self.led_to else Host(self.host.name)


# ---- what a proxy says (see proxy.py) ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The TLS transport socket of an upstream cluster, as `/config_dump` shows it."""

    sni: str = ""
    subject_alt_names: tuple[str, ...] = ()
    ca: str = ""
    """The SDS name (`file-root:system`) or the file; empty where no CA is checked."""
    auto_sni: bool = False
    auto_san: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of an upstream cluster with its counters since the proxy started (`/clusters?format=json`)."""

    address: str
    port: int
    hostname: str = ""
    connections: int = 0
    connect_failures: int = 0
    requests: int = 0
    successes: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Upstream:
    """One Envoy cluster: `outbound|80|subset|host`, `PassthroughCluster`, …"""

    name: str
    tls: TlsSettings | None
    """None: requests leave the proxy as they came."""
    config_source: str = ""
    """`metadata.filter_metadata.istio.config`: the DestinationRule in effect."""
    endpoints: tuple[Endpoint, ...] = ()
    configured_addresses: tuple[str, ...] = ()
    """`address:port` of the load assignment, before resolution: `httpbin.org.:443`."""

    @property
    def direction(self) -> str:
        """`outbound`, `inbound`, or empty for Istio's own clusters."""
        return self.name.split("|")[0] if self.name.count("|") == 3 else ""

    @property
    def port(self) -> int:
        """The service's port; 0 for Istio's own clusters."""
        return int(self.name.split("|")[1]) if self.name.count("|") == 3 else 0

    @property
    def subset(self) -> str:
        """The DestinationRule's subset, or empty."""
        return self.name.split("|")[2] if self.name.count("|") == 3 else ""

    @property
    def host(self) -> str:
        """The service's host; empty for Istio's own clusters."""
        return self.name.split("|")[3] if self.name.count("|") == 3 else ""


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """One virtual host of a route table: which authorities, and to which clusters its routes send them.

    No cluster: the proxy answers itself (Istio's `block_all`). An empty name: known only with the request.
    """

    route_table: str
    """The name of the route configuration: `80`."""
    domains: tuple[str, ...]
    clusters: tuple[str, ...]
    config_source: str = ""
    """`metadata.filter_metadata.istio.config` of the route: the VirtualService in effect."""


@dataclass(frozen=True, slots=True)
class RequestSeries:
    """One series of `istio_requests_total` with reporter `source`."""

    service: str
    """`destination_service`"""
    service_name: str
    """`destination_service_name`: the host, `PassthroughCluster` or `BlackHoleCluster`."""
    code: str
    flags: str
    count: int


@dataclass(frozen=True, slots=True)
class DurationSeries:
    """`istio_request_duration_milliseconds` of one host, summed over the other labels; buckets are cumulative."""

    service: str
    buckets: tuple[tuple[float, int], ...]
    """(upper bound in ms, requests up to it), ascending, the last bound infinite."""


@dataclass(frozen=True, slots=True)
class TcpSeries:
    """`istio_tcp_connections_opened_total` and `…_closed_total` of one destination, summed over the other labels."""

    service: str
    service_name: str
    opened: int
    closed: int


@dataclass(frozen=True, slots=True)
class LoggedConnection:
    """One connection to a host without a name, as the sidecar's access log has it."""

    cluster: str
    """`PassthroughCluster`, `BlackHoleCluster` or `AllowAnyDynamicDNSCluster`."""
    address: str
    """Where the application wanted to go."""
    port: int
    server_name: str
    """The SNI of its TLS."""


@dataclass(frozen=True, slots=True)
class ProxySnapshot:
    """What one sidecar said, at one moment."""

    pod: Ref
    taken_at: float
    """Seconds of a monotonic clock."""
    upstreams: tuple[Upstream, ...]
    virtual_hosts: tuple[VirtualHost, ...]
    requests: tuple[RequestSeries, ...]
    durations: tuple[DurationSeries, ...]
    tcp: tuple[TcpSeries, ...]
    version: str = ""
    uptime: float = 0.0
    """Seconds since the proxy started; a smaller value than before means that it restarted."""
    istio_series: int = 0
    """How many series whose name begins with `istio_` were read: as many as were asked for."""
    catch_all: str = ""
    """The cluster that takes what no listener knows: `PassthroughCluster` or `BlackHoleCluster`; empty if not asked."""
    logged: tuple[LoggedConnection, ...] = ()
    """From the end of its access log, if that is on and was asked for; those with an SNI alone."""
    log_forbidden: bool = False
    """Whether the log may not be read."""


@dataclass(frozen=True, slots=True)
class ProxyUnread:
    """A sidecar that could not be read, and why, in words for a user."""

    pod: Ref
    reason: str
    forbidden: bool = False
    """Whether a permission is missing; else the sidecar does not answer."""


Proxy = ProxySnapshot | ProxyUnread


# ---- what is there, read once -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Workload:
    """An object that makes pods, its pod template and its pods."""

    document: Document
    pods: tuple[Body, ...] = ()
    """Whole pods, terminating ones too."""

    @property
    def ref(self) -> Ref:
        """Which object."""
        return self.document.ref


@dataclass(frozen=True, slots=True)
class Denied:
    """Something that could not be read for lack of permission or because the cluster does not have it."""

    verb: str
    resource: str
    """Plural and group, as RBAC has it: `serviceentries.networking.istio.io`."""
    namespace: str
    message: str
    absent: bool = False
    """Whether the cluster does not have it, which no permission mends."""


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """What the mesh config and the injector's values say of all pods; the defaults are Istio's."""

    root_namespace: str = "istio-system"
    outbound_mode: str = "ALLOW_ANY"
    dns_capture: bool = False
    auto_allocate: bool = False
    include_outbound_ports: str = ""
    exclude_outbound_ports: str = ""
    include_ip_ranges: str = "*"
    exclude_ip_ranges: str = ""
    cluster_domain: str = "cluster.local"
    interception_mode: str = "REDIRECT"
    inject_everywhere: bool = False
    """Whether namespaces without a label get sidecars (`enableNamespacesByDefault`)."""
    injection_disabled: bool = False
    """Whether pods get a sidecar only if their own template asks for it (the injector's `policy: disabled`)."""
    known: bool = False
    """Whether they were read, or are the defaults."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything that a run reads before it decides: once, and nothing afterwards."""

    namespace: str
    workloads: tuple[Workload, ...]
    config_maps: Mapping[Ref, Body] = field(default_factory=dict)
    """Those that a pod template in `workloads` reads, and our own copies."""
    secrets: Mapping[Ref, Body] = field(default_factory=dict)
    """Likewise, as `secret_values.readable` has them; empty unless that was asked for (`--include-secrets`)."""
    namespaces: Mapping[str, Body] = field(default_factory=dict)
    mesh_objects: tuple[Document, ...] = ()
    """ServiceEntry, DestinationRule, VirtualService, Sidecar and EnvoyFilter of every namespace that may be read."""
    journals: tuple[Document, ...] = ()
    """Our own journals (ConfigMaps) of the namespace."""
    settings: MeshSettings = field(default_factory=MeshSettings)
    proxies: Mapping[Ref, Proxy] = field(default_factory=dict)
    """By pod; empty with `--live=off` and for files."""
    denied: tuple[Denied, ...] = ()
    live: bool = False
    """Whether it came from a cluster, so that a missing proxy is a fact and not an omission."""
    policies: tuple[Document, ...] = ()
    """NetworkPolicies of the namespace; read where a guard was asked for."""
    knative_aliases: bool | None = None
    """Whether Knative lets its Services have host aliases; None: not read."""
    readers: Mapping[Ref, tuple[Ref, ...]] = field(default_factory=dict)
    """By ConfigMap or Secret, the workloads whose pods read it, those that were not asked for too."""
    resolved: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Addresses by host name, as the resolver of this machine says, which a pod's may not; what is missing did not resolve."""
    with_secrets: bool = False
    """Whether every Secret that a pod template names was asked for; one that is not in `secrets` could not be read."""

    @property
    def sources(self) -> Mapping[Ref, Body]:
        """What pod templates may read their settings from: ConfigMaps, and Secrets as far as they were read."""
        return {**self.config_maps, **self.secrets} if self.secrets else self.config_maps

    def source(self, ref: Ref) -> Body | None:
        """One of them."""
        return self.secrets.get(ref) if ref.kind == "Secret" else self.config_maps.get(ref)


# ---- findings -----------------------------------------------------------------------------------------------------


class Severity(StrEnum):
    """`block` stops a migration before anything is changed."""

    BLOCK = "block"
    WARN = "warn"
    INFO = "info"


@dataclass(frozen=True, slots=True, order=True)
class Evidence:
    """What a finding was read from: where, and what stands there, without secrets."""

    object: Ref
    steps: Steps = ()
    value: str = ""
    """Empty where it is no single value, or one that is not to be shown."""
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a user has to know about a workload or a host, and what to do about it."""

    code: str
    severity: Severity
    message: str
    remedy: str
    workload: Ref | None = None
    host: Host | None = None
    """None: it concerns every external host of the workload."""
    object: Ref | None = None
    """What is in the way, if it is an object."""
    steps: Steps = ()
    """Where in that object."""
    evidence: tuple[Evidence, ...] = field(default=(), compare=False)
    """The place of `object` and `steps` first, then what else was read."""


# ---- plan -----------------------------------------------------------------------------------------------------------


class Action(StrEnum):
    """What a step does."""

    CREATE = "create"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    WAIT = "wait"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Origination:
    """How the sidecar is to call the hosts of a migration; the defaults change nothing for client and server."""

    retries: int = 0
    route_timeout: str = ""
    """How long a request may take, as Istio writes durations (`15s`); empty: as long as it takes."""
    http2: bool = False
    """Whether the sidecar speaks HTTP/2 to the server."""
    short_name: str = ""
    """The name of a Service through which the host can be called as well: `http://NAME`."""
    ca: str = ""
    """`NAME:KEY` of the ConfigMap with the CAs that vouch for the server; empty: the public ones."""
    client_secret: str = ""
    """The Secret with the certificate that the server wants to see (type kubernetes.io/tls); empty: none."""


AS_BEFORE = Origination()


@dataclass(frozen=True, slots=True)
class Guard:
    """NetworkPolicies that let the callers reach port 80 inside the cluster alone (`--guard`)."""

    networks: tuple[str, ...] = ()
    """What lies inside beside the pods: CIDRs, found or given."""


@dataclass(frozen=True, slots=True)
class PatchOperation:
    """One operation of a JSON patch (RFC 6902), its address as steps."""

    op: str
    """test, add, replace or remove."""
    steps: Steps
    value: Any = None


class Wait(StrEnum):
    """What a `wait` step waits for."""

    PROXIES = "proxies"
    NAMED = "named"
    PAST = "past"
    ROLLOUT = "rollout"
    NO_OLD_PODS = "no-old-pods"


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered step: everything that doing it needs, and everything that showing it needs."""

    order: int
    action: Action
    ref: Ref | None
    """None for waits and verification that concern several objects."""
    title: str
    """One line for a person: `point env API_URL of container shop at http://`."""
    before: Body | None = None
    after: Body | None = None
    """create: the object to create; patch and update: what it will be; delete: None."""
    patch: tuple[PatchOperation, ...] = ()
    wait: Wait | None = None
    workloads: tuple[Ref, ...] = ()
    """Whose proxies or rollout a wait or a verification concerns."""


@dataclass(frozen=True, slots=True)
class Skip:
    """Something that the plan leaves alone, and why."""

    site: CallSite
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done, in order. An empty `steps` means that there is nothing to do."""

    hosts: tuple[Host, ...]
    namespace: str
    steps: tuple[Step, ...]
    skipped: tuple[Skip, ...] = ()
    findings: tuple[Finding, ...] = ()
    fails_closed: Mapping[Ref, bool] = field(default_factory=dict)
    """By workload: whether nothing can leave in clear, by construction."""
    guarded: frozenset[Ref] = frozenset()
    """The workloads whose pods a NetworkPolicy keeps from port 80 outside, where the network enforces policies."""

    @property
    def blocked(self) -> bool:
        """Whether a finding stops it."""
        return any(finding.severity is Severity.BLOCK for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step."""

    step: Step
    done: bool
    message: str = ""


# ---- verify ---------------------------------------------------------------------------------------------------------


class Judgement(StrEnum):
    """The word that `verify` gives; worst last."""

    VERIFIED = "verified"
    SILENT = "silent"
    UNKNOWN = "unknown"
    UNCONFIGURED = "unconfigured"
    FAILING = "failing"
    LEAKING = "leaking"


@dataclass(frozen=True, slots=True)
class PodVerdict:
    """What one proxy proves about one host."""

    pod: Ref
    judgement: Judgement
    reason: str
    evidence: Mapping[str, Any]
    """`configured`, `used`, `seen`, `served`, `notLeaking`: each a mapping of what was read."""
    by_code: Mapping[str, int] = field(default_factory=dict)
    """Requests in the window by response code."""
    buckets: tuple[tuple[float, int], ...] = ()
    """Latency in the window: cumulative, as `DurationSeries.buckets`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is proven about the calls of one workload to one host; as good as its worst pod."""

    host: Host
    workload: Ref
    judgement: Judgement
    reason: str
    fails_closed: bool
    pods: tuple[PodVerdict, ...]
    closed_by: tuple[str, ...] = ()
    """What closes it without a sidecar, in words; a guard too, which closes only where the network enforces it."""
    guarded: bool = False
    """Whether it has a guard."""
    history: Mapping[str, Any] | None = None
    """What Prometheus says, if it was asked: `summary`, `requests`, `disagreements`, …"""

    @property
    def by_code(self) -> Mapping[str, int]:
        """Requests in the window by response code, over all pods."""
        total: dict[str, int] = {}
        for pod in self.pods:
            for code, count in pod.by_code.items():
                total[code] = total.get(code, 0) + count
        return dict(sorted(total.items()))
