"""The embedded istiod: pure functions from Kubernetes and mesh objects to the configuration of Envoy."""

from __future__ import annotations

from kubectl_egress.lab.istiod.control import EmbeddedIstiod

__all__ = ["EmbeddedIstiod"]
