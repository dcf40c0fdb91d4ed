"""What the catalogue holds of one finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kubectl_egress.findings.scope import Found, Scope
from kubectl_egress.model import Severity


@dataclass(frozen=True, slots=True)
class Row:
    """One finding: what `explain` says of it, and the function that looks for it."""

    code: str
    severity: Severity
    title: str
    what: str
    why: str
    remedy: str
    check: Callable[[Scope], Iterator[Found]]
    ignorable: bool = False
    """Whether nothing can leave in clear although it is there: then a user may decide to go on."""
    changes: bool = False
    """Whether it concerns the change alone, not the state: left out when nothing is to be migrated."""
