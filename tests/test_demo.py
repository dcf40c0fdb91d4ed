"""The demo, as it is typed, and README's picture of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.terminal import masked

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubectl_egress", "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def lines(text: str) -> set[str]:
    return {masked(line) for line in text.splitlines() if line.strip()}


def block_of_readme() -> str:
    found = re.search(r"```text\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def on_the_screen() -> str:
    """What the recording shows in the end, without colours, progress, and what is only as wide as a terminal."""
    rows = (ROOT / "docs" / "demo.cast").read_text().splitlines()[1:]
    written = "".join(json.loads(row)[2] for row in rows).replace("\r\n", "\n")
    lines = (line.rpartition("\r\x1b[K")[2] for line in re.sub(r"\x1b\[[\d;]*m", "", written).split("\n"))
    return "\n".join(lines)


def test_the_demo_tells_the_story_and_nothing_was_in_clear() -> None:
    ended = run()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    told = ended.stdout
    assert [word for word in re.findall(r"(opaque|named|verified)\b", told) if word] != []
    assert re.search(
        r'istio_requests_total\{reporter="source",source_workload="curl",.*destination_service="httpbin.org",.*'
        r'destination_service_name="httpbin.org",.*request_protocol="http",response_code="200",',
        told,
    )
    assert re.search(r"\n\d+ requests over TLS, 0 in clear; 0 failed while the sidecar was in place\.\n", told)
    assert lines(block_of_readme()) <= lines(told)
    assert lines(on_the_screen()) - lines(told) == set(), "make screencast"


def test_kept_labs_go_on_until_they_are_told_to_end() -> None:
    ended = run("--keep")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    [kubeconfig] = re.findall(r"export KUBECONFIG=(\S+)", ended.stderr)
    [pid] = re.findall(r"kill (\d+)", ended.stderr)
    try:
        command = [sys.executable, "-m", "kubectl_egress", "verify", "-n", "test-ext-svc"]
        verified = subprocess.run(command, env={**os.environ, "KUBECONFIG": kubeconfig}, capture_output=True, text=True)
        assert verified.returncode == 0, verified.stdout + verified.stderr
    finally:
        os.kill(int(pid), 15)
    deadline = time.monotonic() + 10
    while Path(kubeconfig).parent.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_interrupted_demo_leaves_nothing_behind() -> None:
    command = [sys.executable, "-m", "kubectl_egress", "demo"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("== Demo 2"):
            break
    process.send_signal(2)
    rest = process.communicate(timeout=30)[0]
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    assert children_of(process.pid) == []


def children_of(parent: int) -> list[str]:
    """Processes whose environment or arguments name a lab that this parent started; all of them end with it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/status"):
        try:
            status = entry.read_text()
        except OSError:
            continue
        if f"\nPPid:\t{parent}\n" in status:
            found.append(status.split("\n", 1)[0])
    return found
