"""Do what a Plan says on a cluster, in its order; the only place that writes."""

from __future__ import annotations

from kubectl_egress.apply.lease import LeaseLostError, wait_free
from kubectl_egress.apply.observing import observe
from kubectl_egress.apply.run import Conditions, NotProvenError, run
from kubectl_egress.apply.transaction import InterruptedMigrationError, UnfinishedError, carry_out, migrate

__all__ = [
    "Conditions",
    "InterruptedMigrationError",
    "LeaseLostError",
    "NotProvenError",
    "UnfinishedError",
    "carry_out",
    "migrate",
    "observe",
    "run",
    "wait_free",
]
