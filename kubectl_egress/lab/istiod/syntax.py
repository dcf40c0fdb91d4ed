"""What names, numbers and durations in mesh objects look like, and what is said of those that look otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kubectl_egress.lab.istiod.objects import is_ip

LABEL = re.compile(r"^[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$")
SUBSET = re.compile(r"^[a-zA-Z0-9](?:[-_.a-zA-Z0-9]*[a-zA-Z0-9])?$")
DURATION = re.compile(r"^\d+(?:\.\d+)?s$")
HEADER = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")


def host_name(host: Any, field: str) -> Iterator[str]:
    """A name with a dot in it, or a wildcard: short names would be Services of Kubernetes."""
    if not isinstance(host, str) or not host or len(host) > 253:
        yield f"{field}: invalid host {host!r}"
        return
    name = host.removeprefix("*.").removesuffix(".")
    if is_ip(host) or not all(LABEL.match(label) for label in name.split(".")):
        yield f"{field}: invalid host {host!r}"
    elif "." not in name and not host.startswith("*."):
        yield f"{field}: the lab's istiod does not model short names such as {host!r}"
    elif name.endswith("svc.cluster.local"):
        yield f"{field}: the lab's istiod does not model hosts of the cluster such as {host!r}"
    elif host.endswith("."):
        yield f"{field}: the lab's istiod does not model a host with a final dot ({host!r})"


def port_number(number: Any, field: str) -> Iterator[str]:
    """A port of TCP."""
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 65535:
        yield f"{field}: port number {number} must be in the range 1..65535"
