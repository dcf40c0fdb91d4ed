"""Krew's manifest of a release: `krew-manifest.yaml` with this version's addresses and the archives' checksums."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from tests.release.archives import PLATFORMS, ROOT, Platform

MANIFEST = ROOT / "krew-manifest.yaml"
_VERSION = re.compile(r"(?<![A-Za-z0-9])v\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+?)?(?=[/_\s]|$)", re.MULTILINE)
_PLATFORM = re.compile(r"(?P<head>_(?P<os>[a-z]+)_(?P<arch>[a-z0-9]+)\.tar\.gz\n\s+sha256: \")[0-9a-f]{64}")


def checksum(path: Path) -> str:
    """Its SHA-256, as Krew and `sha256sum -c` want it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def filled(text: str, version: str, archives: Mapping[Platform, Path]) -> str:
    """The manifest's text for this version and these archives; everything else in it stays.

    Raises KeyError for a platform of the manifest without an archive.
    """
    sums = {(platform.os, platform.arch): checksum(path) for platform, path in archives.items()}
    text = _VERSION.sub(f"v{version}", text)
    return _PLATFORM.sub(lambda found: found["head"] + sums[(found["os"], found["arch"])], text)


def of_archives(version: str, dist: Path) -> str:
    """The manifest of the archives in `dist`."""
    return filled(MANIFEST.read_text(), version, {one: dist / one.file_name(version) for one in PLATFORMS})
