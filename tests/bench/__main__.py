"""`make bench`: what the tool's speed is compared to, measured side by side; a table with each budget and whether it is met.

`python -m tests.bench [--no-lab] [-o FILE]`. Nothing here is a test: a machine that is busy measures something else.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import kubectl_egress
from kubectl_egress.urls import find_urls
from tests.bench import world
from tests.bench.measuring import EGRESS, Row, alternating, compared, run, shown, table
from tests.bench.proving import proving

DEPLOYMENTS = 2000
MANIFESTS = 200
PODS = 50


@contextlib.contextmanager
def server(deployments: int) -> Iterator[dict[str, str]]:
    """The API server with a large cluster, in a process of its own; the environment that leads to it."""
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen([sys.executable, "-m", "tests.bench.server", directory, str(deployments)])
        config = Path(directory, "config")
        try:
            while not config.exists():
                assert process.poll() is None, "the server has ended"
                time.sleep(0.1)
            yield {"KUBECONFIG": str(config)}
        finally:
            process.terminate()
            process.wait()


def starting() -> Iterator[Row]:
    """What stands between the Enter key and the first line, and between the Tab key and the candidates: processor time."""
    commands = {
        "`kubectl egress --help`": ["--help"],
        "completion of a flag of `inspect`": ["__complete", "inspect", "--"],
    }
    python = [sys.executable, "-c", "pass"]
    *ours, nothing = alternating(
        *(partial(run, [*EGRESS, *words], {}) for words in commands.values()), partial(run, python, {}), runs=11
    )
    for name, one in zip(commands, ours, strict=True):
        met = one.computing <= 4 * nothing.computing + 0.1
        ours_alone, other_alone = (replace(each, seconds=each.computing) for each in (one, nothing))
        yield compared(name, ours_alone, "`python3 -c pass`", other_alone, "4 × and 100 ms", met)


def reading(environment: dict[str, str]) -> Iterator[Row]:
    """One workload, and all of them, beside kubectl on the same server."""
    space = ["-n", world.namespace_of(0)]
    pairs = (
        (
            "`inspect deploy/NAME --live=off`",
            [*EGRESS, "inspect", "deploy/service-0000", *space, "--live=off"],
            "`kubectl get deploy NAME -o json`",
            ["kubectl", "get", "deploy", "service-0000", *space, "-o", "json"],
        ),
        (
            "completion of a workload after `inspect`",
            [*EGRESS, "__complete", "inspect", *space, "deploy/"],
            "the same after `kubectl get deploy`",
            ["kubectl", "__complete", "get", *space, "deploy", ""],
        ),
    )
    for name, ours, other_name, other in pairs:
        one, kubectl_one = alternating(partial(run, ours, environment), partial(run, other, environment))
        yield compared(name, one, other_name, kubectl_one, "8 ×", one.seconds <= 8 * kubectl_one.seconds)
    get_all = ["kubectl", "get", "deploy,pods", "-A", "-o", "json"]
    inspect_all = [*EGRESS, "inspect", "-A", "--live=off"]
    every, kubectl_all = alternating(partial(run, inspect_all, environment), partial(run, get_all, environment), runs=3)
    yield compared(
        f"`inspect -A --live=off`, {DEPLOYMENTS} Deployments, {2 * DEPLOYMENTS} pods",
        every,
        "`kubectl get deploy,pods -A -o json`",
        kubectl_all,
        "faster",
        every.seconds < kubectl_all.seconds,
    )
    yield Row("… its memory", f"{every.megabytes:.0f} MB", f"kubectl {kubectl_all.megabytes:.0f} MB",
              f"{every.megabytes / kubectl_all.megabytes:.2f}", "200 MB", every.megabytes <= 200)  # fmt: skip
    yield Row("… its first rows after", shown(every.first), f"kubectl {shown(kubectl_all.first)}",
              f"{every.first / every.seconds:.2f} of the whole", "while it reads", every.first < every.seconds / 2)  # fmt: skip


def scanning() -> Iterator[Row]:
    """URLs in manifests."""
    text = "\n".join(json.dumps(world.deployment(number), indent=1) for number in range(1000))
    rates = []
    for _ in range(5):
        begun = time.process_time()
        find_urls(text)
        rates.append(len(text) / 1e6 / (time.process_time() - begun))
    rate = statistics.median(rates)
    yield Row(f"URL scan, {len(text) / 1e6:.0f} MB of manifests", f"{rate:.0f} MB/s", "", "", "50 MB/s", rate >= 50)


def checking() -> Iterator[Row]:
    """Manifests in CI, beside Istio's own check of them; nothing where there is no istioctl (its port-forward needs SPDY)."""
    from tests.cluster.build import ISTIO, built

    directory = built(ISTIO["1.31"])
    istioctl = shutil.which("istioctl") or (str(directory / "istioctl") if directory else None)
    if istioctl is None:
        print("istioctl is not installed: its row is left out", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "manifests.json")
        whole = {"apiVersion": "apps/v1", "kind": "Deployment"}
        path.write_text("\n---\n".join(json.dumps(whole | world.deployment(number)) for number in range(MANIFESTS)))
        alone = {"KUBECONFIG": str(Path(name, "none"))}
        ours, theirs = alternating(
            partial(run, [*EGRESS, "inspect", "-f", str(path)], alone),
            partial(run, [istioctl, "analyze", "--use-kube=false", str(path)], alone),
        )
    what = f"`inspect -f`, {MANIFESTS} Deployments"
    yield compared(what, ours, "`istioctl analyze --use-kube=false`", theirs, "faster", ours.seconds < theirs.seconds)


def main() -> int:
    """Measure all, print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--no-lab", action="store_true", help="leave out what needs real proxies")
    parser.add_argument("--pods", type=int, default=PODS)
    parser.add_argument("-o", "--output", help="a file for the table, too")
    options = parser.parse_args()
    assert shutil.which("kubectl"), "kubectl is what is compared to: install it"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it gets the kernel's limits back, too
    compileall.compile_dir(Path(kubectl_egress.__file__).parent, quiet=1)  # as pip leaves it
    rows: list[Row] = []
    with server(DEPLOYMENTS) as environment:
        parts: list[Callable[[], Iterator[Row]]] = [starting, lambda: reading(environment), checking, scanning]
        parts += [] if options.no_lab else [lambda: proving(options.pods)]
        for part in parts:
            for row in part():
                rows.append(row)
                print(table([row]).splitlines()[-1], file=sys.stderr)
    print(table(rows))
    if options.output:
        Path(options.output).write_text(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
