"""Krew and its index's checker, built from their Go module; `tests.cluster.build` keeps them outside the checkout."""

from __future__ import annotations

from tests.cluster.build import Family
from tests.release.archives import HERE

KREW = Family(
    "krew",
    "v0.5.0",
    "sigs.k8s.io/krew/internal/version.gitTag",
    {name: f"sigs.k8s.io/krew/cmd/{name}" for name in ("krew", "validate-krew-manifest")},
    modules=HERE,
)
