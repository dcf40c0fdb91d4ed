"""A Grafana dashboard of external hosts, which none of Istio's own has: rates, codes, latency, and what is still opaque.

The dashboard model is documented at https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubectl_egress.report.dashboard.alerts import OPENED, REQUESTS, Watched, any_of

SCHEMA_VERSION = 39
UID = "kubectl-egress"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
OF = 'reporter="source",source_workload_namespace=~"$namespace",source_workload=~"$workload"'
HOSTS = f'{OF},destination_service_name=~"$host"'
BUCKETS = "istio_request_duration_milliseconds_bucket"
RATE = "[$__rate_interval]"
BY_HOST = "by (destination_service_name)"
WIDTH = 24


def grafana_dashboard(watched: Sequence[Watched]) -> dict[str, Any]:
    """The dashboard as JSON that Grafana imports; its hosts and namespaces are those that are migrated."""
    hosts = sorted({host.name for one in watched for host in one.hosts})
    namespaces = sorted({one.namespace for one in watched})
    return {
        "uid": UID,
        "title": "External hosts (kubectl egress)",
        "description": "HTTPS calls to external hosts as the sidecars see them since they originate TLS.",
        "tags": ["istio", "egress", "kubectl-egress"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables(namespaces, hosts)},
        "panels": _placed(_panels(hosts)),
    }


def _variables(namespaces: Sequence[str], hosts: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}},
        _choice("namespace", "Namespace", namespaces),
        _query(
            "workload",
            "Workload",
            f'label_values({REQUESTS}{{reporter="source",source_workload_namespace=~"$namespace"}}, source_workload)',
        ),
        _choice("host", "Host", hosts),
    ]


def _choice(name: str, label: str, values: Sequence[str]) -> dict[str, Any]:
    """A fixed list: what is migrated."""
    return {
        "name": name,
        "label": label,
        "type": "custom",
        "query": ",".join(values),
        "multi": True,
        "includeAll": True,
        "allValue": any_of(values) or ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _query(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


Panel = dict[str, Any]


def _panels(hosts: Sequence[str]) -> list[tuple[int, int, Panel]]:
    """Width, height and content of each, in reading order."""
    stats = [(6, 4, panel) for panel in _stats(any_of(hosts) or ".*")]
    return [*stats, *((12, 8, panel) for panel in _series()), (24, 9, _table())]


WRONG = f'{HOSTS},response_code=~"0|[45].."'
OPAQUE = f'{OF},destination_service_name="PassthroughCluster"'


def _stats(named: str) -> list[Panel]:
    """What a glance is for."""
    clear = (
        f'{OF},destination_service_name=~"PassthroughCluster|AllowAnyDynamicDNSCluster",'
        f'destination_service=~"({named})(:[0-9]+)?"'
    )
    requests = f"sum(rate({REQUESTS}{{{HOSTS}}}{RATE}))"
    return [
        _stat("Requests to external hosts", requests, "reqps", "blue"),
        _stat("Errors", f"sum(rate({REQUESTS}{{{WRONG}}}{RATE})) / {requests}", "percentunit", "green", (0.01, 0.05)),
        _stat("In clear", f"sum(increase({REQUESTS}{{{clear}}}[$__range])) or vector(0)", "short", "green", (0, 1)),
        _stat("Still opaque", f"sum(rate({OPENED}{{{OPAQUE}}}{RATE})) or vector(0)", "cps", "text"),
    ]


def _series() -> list[Panel]:
    """What happened when."""
    host, by_code = "{{destination_service_name}}", "by (destination_service_name, response_code)"
    rate = f"(rate({REQUESTS}{{{HOSTS}}}{RATE}))"
    quantiles = [
        (
            f"histogram_quantile({rank}, sum by (destination_service_name, le) (rate({BUCKETS}{{{HOSTS}}}{RATE})))",
            f"{host} p{round(rank * 100)}",
        )
        for rank in (0.5, 0.95, 0.99)
    ]
    wrong = f"sum {BY_HOST} (rate({REQUESTS}{{{WRONG}}}{RATE})) / sum {BY_HOST} {rate}"
    unsent = f'(rate({REQUESTS}{{{HOSTS},response_flags!="-"}}{RATE}))'
    return [
        _lines("Requests by host", [(f"sum {BY_HOST} {rate}", host)], "reqps"),
        _lines("Answers by code", [(f"sum {by_code} {rate}", host + " {{response_code}}")], "reqps", stacked=True),
        _lines("Latency by host", quantiles, "ms"),
        _lines("Errors by host", [(wrong, host)], "percentunit"),
        _lines(
            "Not sent, by why (response flags: UF no TLS connection, UH no address, NC no rule)",
            [(f"sum by (destination_service_name, response_flags) {unsent}", host + " {{response_flags}}")],
            "reqps",
        ),
        _lines(
            "Still opaque: connections to hosts without a name, and those that the application encrypts",
            [
                (f"sum by (source_workload) (rate({OPENED}{{{OPAQUE}}}{RATE}))", "{{source_workload}}"),
                (
                    f"sum by (source_workload, destination_service_name) (rate({OPENED}{{{HOSTS}}}{RATE}))",
                    "{{source_workload}} → " + host,
                ),
            ],
            "cps",
        ),
    ]


def _target(expression: str, legend: str, ref: str, *, instant: bool = False) -> dict[str, Any]:
    return {
        "datasource": SOURCE,
        "expr": expression,
        "legendFormat": legend,
        "refId": ref,
        **({"instant": True, "range": False, "format": "table"} if instant else {}),
    }


def _stat(title: str, expression: str, unit: str, colour: str, limits: tuple[float, float] | None = None) -> Panel:
    steps: list[dict[str, Any]] = [{"color": colour, "value": None}]
    if limits is not None:
        first, second = limits
        steps += [{"color": "orange", "value": first}] if first else []
        steps += [{"color": "red", "value": second}]
    return {
        "type": "stat",
        "title": title,
        "datasource": SOURCE,
        "targets": [_target(expression, title, "A")],
        "fieldConfig": {
            "defaults": {"unit": unit, "thresholds": {"mode": "absolute", "steps": steps}, "noValue": "none"},
            "overrides": [],
        },
        "options": {
            "colorMode": "value",
            "graphMode": "area",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
    }


def _lines(title: str, targets: Sequence[tuple[str, str]], unit: str, *, stacked: bool = False) -> Panel:
    custom = {"fillOpacity": 25 if stacked else 8, "lineWidth": 2, "showPoints": "never"}
    return {
        "type": "timeseries",
        "title": title,
        "datasource": SOURCE,
        "targets": [_target(expr, legend, chr(ord("A") + number)) for number, (expr, legend) in enumerate(targets)],
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "min": 0,
                "custom": {**custom, **({"stacking": {"mode": "normal", "group": "A"}} if stacked else {})},
            },
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "lastNotNull"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def _table() -> Panel:
    by = "by (source_workload_namespace, source_workload, destination_service_name)"
    queries = (
        f"sum {by} (rate({REQUESTS}{{{HOSTS}}}[$__range]))",
        f"sum {by} (rate({REQUESTS}{{{WRONG}}}[$__range])) / sum {by} (rate({REQUESTS}{{{HOSTS}}}[$__range]))",
        f"histogram_quantile(0.95, sum {by[:-1]}, le) (rate({BUCKETS}{{{HOSTS}}}[$__range])))",
    )
    names = ("Requests/s", "Errors", "p95 ms")
    return {
        "type": "table",
        "title": "Who calls whom",
        "datasource": SOURCE,
        "targets": [_target(query, "", ref, instant=True) for query, ref in zip(queries, "ABC", strict=True)],
        "transformations": [
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True},
                    "renameByName": {
                        "source_workload_namespace": "Namespace",
                        "source_workload": "Workload",
                        "destination_service_name": "Host",
                        **{f"Value #{ref}": name for ref, name in zip("ABC", names, strict=True)},
                    },
                },
            },
        ],
        "fieldConfig": {
            "defaults": {},
            "overrides": [
                {
                    "matcher": {"id": "byName", "options": name},
                    "properties": [{"id": "unit", "value": unit}, {"id": "decimals", "value": 2}],
                }
                for name, unit in zip(names, ("reqps", "percentunit", "ms"), strict=True)
            ],
        },
        "options": {"showHeader": True},
    }


def _placed(panels: Sequence[tuple[int, int, Panel]]) -> list[Panel]:
    """Each panel with its number and its place, row by row."""
    placed, x, y, row = [], 0, 0, 0
    for number, (width, height, panel) in enumerate(panels, 1):
        if x + width > WIDTH:
            x, y, row = 0, y + row, 0
        placed.append({"id": number, "gridPos": {"x": x, "y": y, "w": width, "h": height}, **panel})
        x, row = x + width, max(row, height)
    return placed
