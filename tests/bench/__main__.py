"""`make bench`: what the tool's speed is compared to, measured side by side; a table with each budget and whether it is met.

`python -m tests.bench [--no-lab] [-o FILE]`. Nothing here is a test: a machine that is busy measures something else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kubectl_egress.urls import find_urls
from tests.bench import world
from tests.bench.measuring import Row, Run, alternating, run, shown, table

DEPLOYMENTS = 2000
EGRESS = [sys.executable, "-m", "kubectl_egress"]
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
    """What stands between the Enter key and the first line."""
    ours, python = alternating(
        lambda: run([*EGRESS, "--help"], {}), lambda: run([sys.executable, "-c", "pass"], {}), runs=11
    )
    yield Row(
        "`kubectl egress --help`",
        shown(ours.seconds),
        f"`python3 -c pass` {shown(python.seconds)}",
        f"{ours.seconds / python.seconds:.1f}",
        "4 × and 100 ms",
        ours.seconds <= 4 * python.seconds + 0.1,
    )


def reading(environment: dict[str, str]) -> Iterator[Row]:
    """One workload, and all of them, beside kubectl on the same server."""
    space = ["-n", world.namespace_of(0)]
    inspect_one = [*EGRESS, "inspect", "deploy/service-0000", *space, "--live=off"]
    get_one = ["kubectl", "get", "deploy", "service-0000", *space, "-o", "json"]
    one, kubectl_one = alternating(lambda: run(inspect_one, environment), lambda: run(get_one, environment))
    yield Row(
        "`inspect deploy/NAME --live=off`",
        shown(one.seconds),
        f"`kubectl get deploy NAME -o json` {shown(kubectl_one.seconds)}",
        f"{one.seconds / kubectl_one.seconds:.1f}",
        "8 ×",
        one.seconds <= 8 * kubectl_one.seconds,
    )
    get_all = ["kubectl", "get", "deploy,pods", "-A", "-o", "json"]
    inspect_all = [*EGRESS, "inspect", "-A", "--live=off"]
    every, kubectl_all = alternating(lambda: run(inspect_all, environment), lambda: run(get_all, environment), runs=3)
    yield Row(
        f"`inspect -A --live=off`, {DEPLOYMENTS} Deployments, {2 * DEPLOYMENTS} pods",
        shown(every.seconds),
        f"`kubectl get deploy,pods -A -o json` {shown(kubectl_all.seconds)}",
        f"{every.seconds / kubectl_all.seconds:.2f}",
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
        begun = time.perf_counter()
        find_urls(text)
        rates.append(len(text) / 1e6 / (time.perf_counter() - begun))
    rate = statistics.median(rates)
    yield Row(f"URL scan, {len(text) / 1e6:.0f} MB of manifests", f"{rate:.0f} MB/s", "", "", "50 MB/s", rate >= 50)


def possible(pods: int) -> int:
    """As many of the pods as this machine can have: each Envoy follows three files, by inotify."""
    limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    return min(pods, limit // 3 - 6)


def proving(pods: int) -> Iterator[Row]:
    """`verify` on one pod and on many, each with a real Envoy, beside a loop of `kubectl exec`."""
    from kubectl_egress.lab.client import start_lab
    from tests.scene import HOST, SCRIPT, Scene, until

    with start_lab(quiet=True) as lab, Scene(lab) as scene:
        # Twice a second, so that it is the tool that is measured and not fifty callers.
        slow = SCRIPT.replace("sleep .1", "sleep .5").format(url=f"https://{HOST}/status/200")
        scene.deploy("caller", command=["sh", "-c", slow])
        scene.migrate()
        environment = {"KUBECONFIG": str(lab.kubeconfig)}
        verify = [*EGRESS, "verify", "-n", scene.namespace]
        (single,) = alternating(lambda: run(verify, environment), runs=3)
        subprocess.run(
            ["kubectl", "scale", "deploy/caller", f"--replicas={pods}", "-n", scene.namespace],
            env={**os.environ, **environment}, check=True, capture_output=True,
        )  # fmt: skip

        def all_ready() -> bool:
            return bool(scene.get("Deployment", "caller").get("status", {}).get("readyReplicas", 0) == pods)

        until(all_ready, f"{pods} pods are ready", 240)
        many, loop = alternating(
            lambda: run(verify, environment), lambda: _exec_loop(scene, environment), runs=3
        )  # fmt: skip
        yield Row(f"`verify`, {pods} pods", shown(many.seconds), f"1 pod {shown(single.seconds)}",
                  f"{many.seconds / single.seconds:.1f}", "3 ×", many.seconds <= 3 * single.seconds)  # fmt: skip
        yield Row(
            f"… beside a loop over {pods} pods",
            shown(many.seconds),
            f"`kubectl exec … pilot-agent request GET clusters`, once a pod: {shown(loop.seconds)}",
            f"{many.seconds / loop.seconds:.2f}",
            "10 × faster",
            many.seconds * 10 <= loop.seconds,
        )


def _exec_loop(scene: object, environment: dict[str, str]) -> Run:
    pods = [pod["metadata"]["name"] for pod in scene.pods("caller")]  # type: ignore[attr-defined]
    namespace: str = scene.namespace  # type: ignore[attr-defined]
    begun = time.perf_counter()
    for pod in pods:
        request = ["pilot-agent", "request", "GET", "clusters?format=json"]
        run(["kubectl", "exec", pod, "-n", namespace, "-c", "istio-proxy", "--", *request], environment)
    seconds = time.perf_counter() - begun
    return Run(seconds, seconds, 0)


def main() -> int:
    """Measure all, print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--no-lab", action="store_true", help="leave out what needs real proxies")
    parser.add_argument("--pods", type=int, default=PODS)
    parser.add_argument("-o", "--output", help="a file for the table, too")
    options = parser.parse_args()
    assert shutil.which("kubectl"), "kubectl is what is compared to: install it"
    rows: list[Row] = []
    with server(DEPLOYMENTS) as environment:
        parts: list[Callable[[], Iterator[Row]]] = [starting, lambda: reading(environment), scanning]
        parts += [] if options.no_lab else [lambda: proving(possible(options.pods))]
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
