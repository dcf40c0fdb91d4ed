"""The graph: one edge for each workload and host, from what is written and from what was seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kubectl_egress import urls
from kubectl_egress.graph.flows import Flow, names_seen
from kubectl_egress.inspection import InspectReport
from kubectl_egress.model import CallSite, Host, Proxy, Ref, Survey, Visibility

NAMELESS = "hosts without a name"
"""What stands for PassthroughCluster."""

DEGRADED = 0.001
FAILING = 0.2
"""Error shares, as Kiali draws them: 0.1 % and 20 %."""


class Health(StrEnum):
    """How the calls go; the worst last."""

    IDLE = "idle"
    UNSEEN = "unseen"
    GOOD = "good"
    DEGRADED = "degraded"
    FAILING = "failing"
    CLEAR = "in clear"


@dataclass(frozen=True, slots=True)
class Edge:
    """The calls of one workload to one host."""

    workload: Ref
    host: Host | None
    """None: hosts without a name."""
    visibility: Visibility
    flow: Flow | None = None
    """None: nothing was seen."""
    call_sites: int = 0
    """How many URLs say so; 0: seen, and written nowhere that can be read."""
    migrated: bool = False
    fails_closed: bool | None = None
    findings: tuple[str, ...] = ()
    """Codes of what stops its migration."""
    inferred: bool = False
    """Whether the flow had no name, and is taken for this host's since no other is written."""

    @property
    def name(self) -> str:
        """The host."""
        return NAMELESS if self.host is None else str(self.host)

    @property
    def unit(self) -> str:
        """`requests` or `connections`; '' where nothing was seen."""
        if self.flow is None:
            return ""
        return "requests" if self.flow.requests or self.flow.in_clear or self.flow.blocked else "connections"

    @property
    def count(self) -> int:
        """How many of them."""
        if self.flow is None:
            return 0
        return self.flow.requests + self.flow.in_clear + self.flow.blocked or self.flow.connections

    @property
    def rate(self) -> float | None:
        """Of them, in a second; None: nobody looked."""
        return self.count / self.flow.seconds if self.flow is not None and self.flow.seconds else None

    @property
    def error_share(self) -> float | None:
        """4xx, 5xx, unanswered and blocked, of all; None where the mesh sees no answers."""
        flow = self.flow
        if flow is None or not (flow.requests or flow.blocked):
            return None
        errors = sum(count for code, count in flow.by_code.items() if code[:1] not in ("1", "2", "3"))
        return (errors + flow.blocked) / (flow.requests + flow.blocked)

    @property
    def p95(self) -> float | None:
        """ms."""
        return self.flow.p95 if self.flow else None

    @property
    def health(self) -> Health:
        """How it goes, as far as the mesh sees."""
        if self.flow is not None and self.flow.in_clear:
            return Health.CLEAR
        if not self.count:
            return Health.IDLE
        share = self.error_share
        if share is None:
            return Health.UNSEEN
        return Health.FAILING if share >= FAILING else Health.DEGRADED if share >= DEGRADED else Health.GOOD


@dataclass(frozen=True, slots=True)
class Graph:
    """Everything that a picture shows."""

    namespace: str
    """Empty: all namespaces."""
    edges: tuple[Edge, ...]
    seconds: float
    """Over how long the rates are."""
    source: str
    """`the proxies`, or Prometheus and where."""
    made: str
    """UTC, ISO 8601."""
    unread: tuple[str, ...] = ()
    """What could not be read, in words."""
    workloads: int = 0
    """How many were looked at, those without external calls too."""


def hosts_of(survey: Survey, sites: Iterable[CallSite]) -> tuple[Host, ...]:
    """The external hosts that are written, or that the survey's proxies have counted."""
    domain = survey.settings.cluster_domain
    written = {site.server for site in sites}
    names = names_seen(survey.proxies.values()) - {host.name for host in written}
    return tuple(sorted(written | {Host(name) for name in names if urls.external(name, domain)}))


def graph(
    survey: Survey,
    report: InspectReport,
    found: Sequence[Flow],
    *,
    migrated: Iterable[tuple[str, Host]],
    seconds: float,
    source: str,
    made: str,
    unread: Sequence[str] = (),
) -> Graph:
    """Put what is written and what was seen together. `migrated`: namespace and host of each journal."""
    journals = set(migrated)
    by_pair = {(flow.workload, flow.host): flow for flow in found}
    edges = []
    for item in (item for item in report.items if item.called):
        flow = by_pair.pop((item.workload, item.host), None)
        edges.append(
            Edge(
                workload=item.workload,
                host=item.host,
                visibility=item.visibility,
                flow=flow,
                call_sites=len(item.calls),
                migrated=(item.workload.namespace, item.host) in journals,
                fails_closed=item.fails_closed,
                findings=tuple(dict.fromkeys(one.code for one in item.findings if one.severity == "block")),
            )
        )
    alone = _alone(edges)
    for (workload, host), flow in by_pair.items():
        index = alone.get(workload)
        if host is None and index is not None and edges[index].flow is None:
            # Its only host without a name: the bytes were for that one.
            edges[index] = replace(edges[index], flow=flow, inferred=True)
        else:
            edges.append(Edge(workload, host, _seen_as(flow), flow))
    return Graph(
        survey.namespace, tuple(sorted(edges, key=_order)), seconds, source, made, tuple(unread), report.workloads
    )


def _alone(edges: Sequence[Edge]) -> Mapping[Ref, int]:
    """By workload with one host that the mesh does not know: the index of that edge."""
    nameless: dict[Ref, list[int]] = {}
    for index, edge in enumerate(edges):
        if edge.visibility in (Visibility.OPAQUE, Visibility.BLOCKED):
            nameless.setdefault(edge.workload, []).append(index)
    return {workload: found[0] for workload, found in nameless.items() if len(found) == 1}


def _seen_as(flow: Flow) -> Visibility:
    """How a host is seen that is written nowhere."""
    if flow.blocked and not (flow.requests or flow.connections):
        return Visibility.BLOCKED
    if flow.host is None:
        return Visibility.OPAQUE
    return Visibility.FULL if flow.requests else Visibility.NAMED


def _order(edge: Edge) -> tuple[Ref, bool, str]:
    return edge.workload, edge.host is None, edge.name


def proxies_of(survey: Survey, workload: Ref) -> tuple[Proxy, ...]:
    """What the sidecars of a workload said in the survey."""
    pods = next((one.pods for one in survey.workloads if one.ref == workload), ())
    refs = (Ref("Pod", workload.namespace, pod["metadata"]["name"]) for pod in pods)
    return tuple(survey.proxies[ref] for ref in refs if ref in survey.proxies)
