"""How much a pod asks for, and the quality of service that it gets for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

Body = Mapping[str, Any]

_COUNTED = ("cpu", "memory")
_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]|[KMGTPE]i)?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def quality(containers: Sequence[Body]) -> str:
    """The class of a pod with these containers, those that initialize it among them (pkg/apis/core/v1/helper/qos)."""
    requests = [_amounts((one.get("resources") or {}).get("requests")) for one in containers]
    limits = [_amounts((one.get("resources") or {}).get("limits")) for one in containers]
    if not any(requests) and not any(limits):
        return "BestEffort"
    limited = all(each.keys() == set(_COUNTED) for each in limits)
    return "Guaranteed" if limited and requests == limits else "Burstable"


def _amounts(quantities: Body | None) -> dict[str, Decimal]:
    """What counts for the class: processor and memory, of either more than none."""
    found = {name: amount(str((quantities or {}).get(name, "0"))) for name in _COUNTED}
    return {name: value for name, value in found.items() if value}


def amount(quantity: str) -> Decimal:
    """`100m`, `1.5`, `1Gi` as a number (apimachinery/pkg/api/resource); 0 for what is none."""
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        return Decimal(0)
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix in _BINARY:
        return number * Decimal(1024) ** (_BINARY.index(suffix) + 1)
    return number.scaleb(_DECIMAL.get(suffix, 0))
