"""What the snapshots of the proxies prove: ProxySnapshot before and after → PodVerdict → Verdict."""

from __future__ import annotations

from kubectl_egress.verify.baseline import Baseline, measure
from kubectl_egress.verify.closing import with_closing, without_bystanders
from kubectl_egress.verify.configured import Expected, configured
from kubectl_egress.verify.judgement import decided, judge, judge_pod
from kubectl_egress.verify.latency import percentiles

__all__ = [
    "Baseline",
    "Expected",
    "configured",
    "decided",
    "judge",
    "judge_pod",
    "measure",
    "percentiles",
    "with_closing",
    "without_bystanders",
]
