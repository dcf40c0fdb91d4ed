"""The edge to a Kubernetes API: reads, writes, watches, port-forwards; nothing else imports `kubernetes`."""

from __future__ import annotations

from kubectl_egress.cluster.cluster import Cluster
from kubectl_egress.cluster.connection import connect
from kubectl_egress.cluster.options import ConnectionOptions

__all__ = ["Cluster", "ConnectionOptions", "connect"]
