"""`kubectl egress dashboard`: a Grafana dashboard and alert rules for what is migrated."""

from __future__ import annotations

from typing import Annotated

import typer

from kubectl_egress.cli.options import AllNamespaces, Connection, Namespace, output_option
from kubectl_egress.cli.output import check_format, emit, emit_yaml, say
from kubectl_egress.errors import UsageError

FORMATS = ("alerts", "grafana", "prometheusrule")


def dashboard(
    connection: Connection,
    namespace: Namespace = "",
    all_namespaces: AllNamespaces = False,
    error_share: Annotated[
        float, typer.Option("--error-share", metavar="SHARE", help="Alert above this share of errors, from 0 to 1.")
    ] = 0.05,
    silent: Annotated[
        str, typer.Option("--silent", metavar="TIME", help="Alert after so long without a request (e.g. 30m, 6h).")
    ] = "30m",
    output: Annotated[str, output_option(*FORMATS)] = "grafana",
) -> int:
    """Print a Grafana dashboard, or alert rules, for the hosts that are migrated.

    The dashboard is JSON to import. The rules (in clear, TLS failing, errors, silent, still opaque) are a file for
    Prometheus, or a PrometheusRule for its operator. All of them ask Istio's standard metrics.

    \b
    Examples:
      kubectl egress dashboard -A > dashboard.json
      kubectl egress dashboard -o alerts > egress-rules.yaml
      kubectl egress dashboard -o prometheusrule | kubectl apply -f -
    """
    import json
    import re

    check_format(output, FORMATS)
    if not 0 < error_share <= 1:
        raise UsageError(f"--error-share: {error_share:g} is no share", "give a number above 0, up to 1: 0.05 is 5 %")
    if not re.fullmatch(r"[1-9][0-9]*[smhd]", silent):
        raise UsageError(f"--silent: {silent!r} is no duration of Prometheus", "give a number with a unit: 30m, 6h, 1d")
    from kubectl_egress.cli.dashboard_cluster import watched_of
    from kubectl_egress.report.dashboard import Thresholds, alert_rules, grafana_dashboard, prometheus_rule

    watched, where = watched_of(namespace, all_namespaces, connection)
    limits = Thresholds(error_share, silent)
    if output == "grafana":
        emit(json.dumps(grafana_dashboard(watched), indent=2, ensure_ascii=False) + "\n")
    else:
        emit_yaml([alert_rules(watched, limits) if output == "alerts" else prometheus_rule(watched, where, limits)])
    count = len({host for one in watched for host in one.hosts})
    say(f"For {count} migrated {'host' if count == 1 else 'hosts'}.\n")
    return 0
