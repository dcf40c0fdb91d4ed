"""What Envoy's admin interface says, read into a ProxySnapshot: which paths to ask, and what their texts mean."""

from __future__ import annotations

from kubectl_egress.proxy.admin import admin_paths, snapshot
from kubectl_egress.proxy.exposition import count_series

__all__ = ["admin_paths", "count_series", "snapshot"]
