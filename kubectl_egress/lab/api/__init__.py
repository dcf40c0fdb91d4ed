"""The lab's Kubernetes API: `ApiServer` over an `ObjectStore`, for users with tokens."""

from __future__ import annotations

from kubectl_egress.lab.api.access import ADMIN, Rule, User
from kubectl_egress.lab.api.defaults import NODE_NAME
from kubectl_egress.lab.api.registry import Registry
from kubectl_egress.lab.api.server import ApiServer
from kubectl_egress.lab.api.store import ObjectStore

__all__ = ["ADMIN", "NODE_NAME", "ApiServer", "ObjectStore", "Registry", "Rule", "User"]
