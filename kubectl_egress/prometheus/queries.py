"""The queries, in PromQL, over Istio's standard metrics of reporter `source`."""

from __future__ import annotations

from collections.abc import Mapping

_BY = "source_workload, source_workload_namespace, destination_service_name, destination_service"


def label(value: str) -> str:
    """A label's value between quotes, as PromQL reads it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def duration(seconds: float) -> str:
    """`90s`, as PromQL writes durations."""
    return f"{max(1, round(seconds))}s"


def source(namespace: str) -> str:
    """The selector of what the sidecars of a namespace (empty: of all) sent."""
    return 'reporter="source"' + (f",source_workload_namespace={label(namespace)}" if namespace else "")


def queries(namespace: str, seconds: float) -> Mapping[str, str]:
    """By name, every query for one namespace (empty: all) over the last `seconds`.

    `requests` and `tcp` are the article's two, by code and as numbers in place of rates; `leaks` and `blocked` those that
    Istio's own tests look for egress with. `counted` and `sampled` are what Prometheus holds of each series now, and how
    old that is, to be held against the proxies' own counters.
    """
    of, over = source(namespace), duration(seconds)
    clear = f'{of},destination_service_name="PassthroughCluster"'
    blocked = f'{of},destination_service_name="BlackHoleCluster"'
    buckets = "istio_request_duration_milliseconds_bucket"
    found = {
        "requests": f"sum by ({_BY}, response_code, response_flags) (increase(istio_requests_total{{{of}}}[{over}]))",
        "tcp": f"sum by ({_BY}) (increase(istio_tcp_connections_opened_total{{{of}}}[{over}]))",
        "closed": f"sum by ({_BY}) (increase(istio_tcp_connections_closed_total{{{of}}}[{over}]))",
        "leaks": f"sum by ({_BY}) (increase(istio_requests_total{{{clear}}}[{over}]))",
        "blocked": f"sum by ({_BY}) (increase(istio_requests_total{{{blocked}}}[{over}]))",
        "counted": f"sum by ({_BY}) (istio_requests_total{{{of}}})",
        "sampled": f"max by ({_BY}) (timestamp(istio_requests_total{{{of}}}))",
        "anywhere": 'count by (destination_service_name) (istio_requests_total{destination_service_name!=""})',
    }
    for rank in (50, 95, 99):
        found[f"p{rank}"] = (
            f"histogram_quantile({rank / 100:g}, sum by ({_BY}, le) (increase({buckets}{{{of}}}[{over}])))"
        )
    return found


def article(namespace: str) -> tuple[str, str]:
    """The two queries of the article, word for word."""
    of = f'reporter="source",source_workload_namespace={label(namespace)}'
    by = "(source_workload, destination_service_name)"
    return (
        f"sum(rate(istio_requests_total{{{of}}}[1m])) by {by}",
        f"sum(rate(istio_tcp_connections_closed_total{{{of}}}[1m])) by {by}",
    )
