"""What a lab can be started with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

DEFAULT_HOSTS = ("httpbin.org", "api.example.com", "api.example.org")


@dataclass(frozen=True, slots=True)
class Options:
    """The same for the program that starts a lab and for the lab itself."""

    hosts: tuple[str, ...] = DEFAULT_HOSTS
    """The names of the outside world."""
    ports: tuple[int, ...] = ()
    """Ports besides 80 and 443 on which the outside world serves TLS."""
    outbound_mode: str = "ALLOW_ANY"
    """The mesh's outboundTrafficPolicy: ALLOW_ANY or REGISTRY_ONLY."""
    users: Mapping[str, tuple[Mapping[str, str], ...]] = field(default_factory=dict)
    """Users with fewer rights: name → rules (verb, resource, namespace); the kubeconfig has a context `lab-NAME` for each."""
    ipv6: bool = False
    """Whether the outside world has IPv6 too, and pods that ask for it (`families.FAMILIES`)."""
    stand_in_curl: bool = False
    """Use our own curl even where the machine has one."""

    def to_json(self) -> str:
        """For the command line of the lab."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Options:
        """The way back."""
        values: dict[str, Any] = json.loads(text)
        for name in ("hosts", "ports"):
            values[name] = tuple(values.get(name, getattr(cls(), name)))
        return cls(**values)
