"""Alert rules for migrated hosts: in clear, TLS failing, silent, errors, still opaque.

Over Istio's standard metrics, as any Istio from 1.18 on exports them, reporter `source`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubectl_egress.model import MANAGED_BY, MANAGED_BY_LABEL, Host, Ref
from kubectl_egress.prometheus.queries import label

BY = "source_workload_namespace, source_workload, destination_service_name"
CLEAR_BY = "source_workload_namespace, source_workload, destination_service"
REQUESTS = "istio_requests_total"
OPENED = "istio_tcp_connections_opened_total"


@dataclass(frozen=True, slots=True)
class Watched:
    """What is migrated in one namespace."""

    namespace: str
    hosts: tuple[Host, ...]
    workloads: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When to tell somebody."""

    error_share: float = 0.05
    """4xx, 5xx and unanswered, of all."""
    silent: str = "30m"
    """Without a request, where there were some in the day before."""


def alert_rules(watched: Sequence[Watched], thresholds: Thresholds | None = None) -> dict[str, Any]:
    """The content of a rule file: one group for each namespace. `promtool check rules` accepts it."""
    limits = thresholds or Thresholds()
    return {
        "groups": [
            {"name": f"kubectl-egress.{one.namespace}", "rules": [_placed(rule, one) for rule in _rules(one, limits)]}
            for one in watched
            if one.hosts
        ]
    }


def prometheus_rule(watched: Sequence[Watched], namespace: str, thresholds: Thresholds | None = None) -> dict[str, Any]:
    """The same as an object of the Prometheus Operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "kubectl-egress",
            **({"namespace": namespace} if namespace else {}),
            "labels": {MANAGED_BY_LABEL: MANAGED_BY},
        },
        "spec": alert_rules(watched, thresholds),
    }


def _placed(rule: dict[str, Any], watched: Watched) -> dict[str, Any]:
    """The rule with its namespace, by which Alertmanager routes, and rules of the same name differ."""
    return {**rule, "labels": {**rule["labels"], "namespace": watched.namespace}}


def any_of(names: Sequence[str]) -> str:
    """A regular expression (RE2) for exactly these names, without a backslash."""
    return "|".join(name.replace(".", "[.]").replace("*", ".+") for name in names)


def selector(watched: Watched, **labels: str) -> str:
    """Series that the namespace's sidecars counted; a value that begins with `~` is a regular expression."""
    parts = ['reporter="source"', f"source_workload_namespace={label(watched.namespace)}"]
    parts += [
        f"{key}=~{label(value[1:])}" if value.startswith("~") else f"{key}={label(value)}"
        for key, value in labels.items()
    ]
    return "{" + ",".join(parts) + "}"


def _rules(watched: Watched, limits: Thresholds) -> list[dict[str, Any]]:
    hosts = any_of(sorted({host.name for host in watched.hosts}))
    return [*_urgent(watched, hosts), *_lasting(watched, hosts, limits), _opaque(watched)]


def _urgent(watched: Watched, hosts: str) -> list[dict[str, Any]]:
    unsent = selector(watched, destination_service_name=f"~{hosts}", response_flags="~(.*,)?(UF|UH|NC)(,.*)?")
    clear = selector(
        watched,
        destination_service_name="~PassthroughCluster|AllowAnyDynamicDNSCluster",
        destination_service=f"~({hosts})(:[0-9]+)?",
    )
    verify = f"kubectl egress verify -n {watched.namespace}"
    return [
        _alert(
            "EgressInClear",
            # A series that is new has no increase: its first request counts, too.
            f"sum by ({CLEAR_BY}) (increase({REQUESTS}{clear}[5m])) > 0\n"
            f"or sum by ({CLEAR_BY}) ({REQUESTS}{clear} unless {REQUESTS}{clear} offset 5m) > 0",
            "critical",
            "0m",
            "{{ $labels.source_workload }} sends requests to {{ $labels.destination_service }} in clear",
            f"No service entry takes them, and they leave as they are. Now: {verify}",
        ),
        _alert(
            "EgressTlsFailing",
            f"sum by ({BY}) (increase({REQUESTS}{unsent}[5m])) > 0",
            "critical",
            "2m",
            "{{ $labels.source_workload }} gets no TLS connection to {{ $labels.destination_service_name }}",
            "The sidecar does not accept the server's certificate (expired, another name, another CA), has no address "
            f"of it, or does not reach it. Which of these: {verify} -o wide, and the sidecar's access log",
        ),
    ]


def _lasting(watched: Watched, hosts: str, limits: Thresholds) -> list[dict[str, Any]]:
    served = selector(watched, destination_service_name=f"~{hosts}")
    wrong = selector(watched, destination_service_name=f"~{hosts}", response_code="~0|[45]..")
    verify = f"kubectl egress verify -n {watched.namespace}"
    return [
        _alert(
            "EgressErrors",
            f"sum by ({BY}) (rate({REQUESTS}{wrong}[5m]))\n"
            f"/ sum by ({BY}) (rate({REQUESTS}{served}[5m])) > {limits.error_share:g}",
            "warning",
            "10m",
            "{{ $value | humanizePercentage }} of the requests of {{ $labels.source_workload }} to "
            "{{ $labels.destination_service_name }} fail",
            "4xx and 5xx of the server, and what never came back. The codes are on the dashboard.",
        ),
        _alert(
            "EgressSilent",
            f"sum by ({BY}) (increase({REQUESTS}{served}[1d])) > 0\n"
            f"unless sum by ({BY}) (increase({REQUESTS}{served}[{limits.silent}])) > 0",
            "warning",
            "5m",
            f"{{{{ $labels.source_workload }}}} has not called {{{{ $labels.destination_service_name }}}} for {limits.silent}",
            f"It did in the day before. It may have nothing to say, or its calls no longer pass the sidecar: {verify}",
        ),
    ]


def _opaque(watched: Watched) -> dict[str, Any]:
    workloads = any_of(sorted({workload.name for workload in watched.workloads}))
    opaque = selector(watched, destination_service_name="PassthroughCluster", source_workload=f"~{workloads}")
    return _alert(
        "EgressOpaque",
        f"sum by (source_workload_namespace, source_workload) (rate({OPENED}{opaque}[15m])) > 0",
        "info",
        "1h",
        "{{ $labels.source_workload }} still calls hosts that the mesh cannot name",
        f"kubectl egress inspect -n {watched.namespace} shows which it may be",
    )


def _alert(name: str, expression: str, severity: str, lasting: str, summary: str, description: str) -> dict[str, Any]:
    annotations: Mapping[str, str] = {"summary": summary, "description": description}
    return {
        "alert": name,
        "expr": expression,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": dict(annotations),
    }
