"""What a sidecar still waits for: CAs and certificates that its configuration names, and nobody has given it."""

from __future__ import annotations

import json
from typing import Any

from kubectl_egress.errors import UnreachableError

PATH = "/config_dump?resource=dynamic_warming_secrets"
"""Of Envoy's admin interface. A cluster does not wait for them for longer than 15 s (SDS' initial_fetch_timeout): then it is
there, and every connection of it fails."""


def awaited(text: str) -> tuple[str, ...]:
    """The names on that page (`file-root:/etc/…`), sorted. UnreachableError for what is no such page."""
    try:
        found: Any = json.loads(text)
        return tuple(sorted(str(one["name"]) for one in found.get("configs") or ()))
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UnreachableError("the sidecar's page of secrets cannot be read") from error
