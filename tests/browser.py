"""A headless Chromium, where there is one: pictures of pages, and what their scripts make of keys."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PATIENCE = 120


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Chromium with a profile of its own; AssertionError when it fails."""
    assert CHROMIUM is not None, "there is no Chromium on PATH"
    with tempfile.TemporaryDirectory() as profile:
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done


def picture(page: Path, file: Path, width: int, height: int, *, dark: bool = False) -> None:
    """A PNG of the page."""
    colours = ["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]
    run(*colours, f"--window-size={width},{height}", f"--screenshot={file}", page.as_uri())


def print_to(page: Path, file: Path) -> None:
    """The page as a PDF."""
    run("--no-pdf-header-footer", f"--print-to-pdf={file}", page.as_uri())


def document_after(page: Path) -> str:
    """The page's elements once its scripts have run."""
    return run("--virtual-time-budget=2000", "--dump-dom", page.as_uri()).stdout
