"""`python -m tests.release`: wheel, sdist, archives and checksums into `dist/`, and Krew's manifest filled in from them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kubectl_egress import __version__
from tests.release.archives import PLATFORMS, ROOT, ReleaseError, build
from tests.release.manifest import MANIFEST, checksum, of_archives

# Beside the interpreter: the `release` extra has put it there.
UV = str(Path(sys.executable).parent / "uv")
INDEX_NAME = "egress.yaml"
"""What Krew's index calls the manifest: by the plugin's name."""


def make(dist: Path) -> Sequence[Path]:
    """Build everything into `dist`, an empty directory; what is published, the wheel first.

    `egress.yaml` and `SHA256SUMS` beside them. Raises ReleaseError, and CalledProcessError of uv's.
    """
    subprocess.run([UV, "build", "--quiet", "--out-dir", str(dist), str(ROOT)], check=True)
    (dist / ".gitignore").unlink(missing_ok=True)
    (wheel,) = dist.glob("*.whl")
    (source,) = dist.glob("*.tar.gz")
    with tempfile.TemporaryDirectory(prefix="kubectl-egress-") as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        built = list(pool.map(lambda one: build(one, wheel, __version__, UV, Path(scratch), dist), PLATFORMS))
    published = [wheel, source, *built]
    (dist / INDEX_NAME).write_text(of_archives(__version__, dist))
    (dist / "SHA256SUMS").write_text("".join(f"{checksum(one)}  {one.name}\n" for one in published))
    return published


def main() -> int:
    """Build everything, and fill in the manifest of the checkout; 0, or 1 with one line why not."""
    dist = ROOT / "dist"
    dist.mkdir(exist_ok=True)
    for old in dist.iterdir():
        old.unlink()
    try:
        published = make(dist)
    except (ReleaseError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except FileNotFoundError as error:
        print(f"error: {error.filename} is not there\n  make build installs what this needs", file=sys.stderr)
        return 1
    MANIFEST.write_text((dist / INDEX_NAME).read_text())
    for one in published:
        print(f"{one.relative_to(ROOT)}  {one.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
