"""What Prometheus is asked about external calls, what its answers mean, and where they and the proxies disagree."""

from __future__ import annotations

from kubectl_egress.prometheus.answers import History, histories, parsed
from kubectl_egress.prometheus.disagreement import disagreements, evidence
from kubectl_egress.prometheus.queries import queries

__all__ = ["History", "disagreements", "evidence", "histories", "parsed", "queries"]
