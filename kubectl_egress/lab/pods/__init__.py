"""The node: pods as namespaces and processes, as the kubelet would have them."""

from __future__ import annotations
