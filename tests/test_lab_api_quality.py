"""A pod's quality of service, as kube-apiserver has it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kubectl_egress.lab.api.quality import amount, quality

BOTH = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("quantity", "wanted"),
    [
        ("0", "0"), ("1", "1"), ("100m", "0.1"), ("1.5", "1.5"), ("1k", "1000"), ("1Ki", "1024"), ("2Gi", "2147483648"),
        ("1e3", "1000"), ("1E", "1e18"), ("5n", "5e-9"), ("much", "0"), ("", "0"),
    ],
)  # fmt: skip
def test_an_amount(quantity: str, wanted: str) -> None:
    assert amount(quantity) == Decimal(wanted)


@pytest.mark.parametrize(
    ("resources", "wanted"),
    [
        ([{}], "BestEffort"),
        ([{}, {"requests": {"cpu": "0"}}], "BestEffort"),
        ([{"limits": {"storage": "1Gi"}}], "BestEffort"),
        ([{"limits": BOTH, "requests": BOTH}], "Guaranteed"),
        ([{"limits": BOTH, "requests": {"cpu": "1000m", "memory": "1024Mi"}}], "Guaranteed"),
        ([{"limits": BOTH, "requests": BOTH}, {}], "Burstable"),
        ([{"limits": BOTH, "requests": {**BOTH, "cpu": "1m"}}], "Burstable"),
        ([{"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}], "Burstable"),
    ],
)
def test_a_class(resources: list[dict[str, Any]], wanted: str) -> None:
    assert quality([{"name": str(n), "resources": each} for n, each in enumerate(resources)]) == wanted
