"""What the outside world has seen: counts by name, and what arrived in clear apart from the rest."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

KEPT_REQUESTS = 2000


@dataclass(slots=True)
class Clear:
    """What arrived unencrypted at one port; bytes that make no request count as one request for each connection."""

    requests: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Ledger:
    """The counters, and the last requests and DNS queries."""

    served: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Requests over TLS, by name and status."""
    clear: dict[str, dict[str, Clear]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Clear)))
    """By name and port."""
    failed_handshakes: Counter[str] = field(default_factory=Counter)
    """TLS connections that came to no request because one side did not like what the other showed, by name."""
    requests: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))
    queries: deque[dict[str, str]] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))

    def note(self, name: str, port: int, *, encrypted: bool, request: dict[str, Any]) -> None:
        """One request, with its answer's status."""
        self.requests.append({"time": time.time(), "name": name, "port": port, "tls": encrypted, **request})
        if encrypted:
            self.served[name][str(request["status"])] += 1
        else:
            self.clear[name][str(port)].requests += 1

    def note_clear_bytes(self, name: str, port: int, count: int) -> None:
        """Bytes that arrived unencrypted."""
        self.clear[name][str(port)].bytes += count

    def reset(self) -> None:
        """Begin anew."""
        self.served.clear()
        self.clear.clear()
        self.failed_handshakes.clear()
        self.requests.clear()
        self.queries.clear()

    def as_json(self) -> dict[str, Any]:
        """The counters alone."""
        return {
            "served": {name: dict(codes) for name, codes in self.served.items()},
            "clear": {
                name: {port: {"requests": seen.requests, "bytes": seen.bytes} for port, seen in ports.items()}
                for name, ports in self.clear.items()
            },
            "failedHandshakes": dict(self.failed_handshakes),
        }
