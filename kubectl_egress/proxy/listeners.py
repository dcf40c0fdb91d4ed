"""Which TLS connections a sidecar's listeners take by the name that they ask for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kubectl_egress.errors import UnreachableError
from kubectl_egress.model import Host

ANYWHERE = 0
"""The length of a prefix that every address has."""


def path(port: int) -> str:
    """The page of Envoy's admin interface with the listeners of a port (`name_regex` has to match a whole name)."""
    return f"/config_dump?resource=dynamic_listeners&name_regex=.*_{port}"


def takes(text: str, host: Host) -> bool:
    """Whether a listener on that page takes connections to the host, wherever they go. UnreachableError for no such page."""
    try:
        found: Any = json.loads(text)
        return any(
            host.name in (match.get("server_names") or ()) and _anywhere(match)
            for listener in found.get("configs") or ()
            for match in _matches(listener)
        )
    except (ValueError, AttributeError, TypeError) as error:
        raise UnreachableError("the sidecar's page of listeners cannot be read") from error


def _matches(listener: Any) -> Iterator[Any]:
    state = (listener.get("active_state") or {}).get("listener") or {}
    return ((chain.get("filter_chain_match") or {}) for chain in state.get("filter_chains") or ())


def _anywhere(match: Any) -> bool:
    ranges = match.get("prefix_ranges") or ()
    return not ranges or any(one.get("prefix_len") == ANYWHERE for one in ranges)
