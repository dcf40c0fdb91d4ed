"""A Grafana dashboard and Prometheus alert rules for what is migrated."""

from __future__ import annotations

from kubectl_egress.report.dashboard.alerts import Thresholds, Watched, alert_rules, prometheus_rule
from kubectl_egress.report.dashboard.grafana import grafana_dashboard

__all__ = ["Thresholds", "Watched", "alert_rules", "grafana_dashboard", "prometheus_rule"]
