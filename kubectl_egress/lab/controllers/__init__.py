"""The controllers of the lab's cluster: Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob, and what cleans up."""

from __future__ import annotations

from kubectl_egress.lab.controllers.loop import Controllers

__all__ = ["Controllers"]
