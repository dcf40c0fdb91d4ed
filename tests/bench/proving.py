"""`verify` on one pod and on many, each with a real Envoy, beside what somebody would type without it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from kubectl_egress.proxy import admin_paths
from tests.bench.measuring import EGRESS, Row, Run, alternating, compared, run

EXEC = "`kubectl exec … pilot-agent request`"
CALLER = "curl --silent --output /dev/null --rate 2/s https://{host}/status/200#[1-1000000]"
"""One process for all its requests, so that it is the tool that is measured and not fifty callers on the same machine."""
AWAY = 0.02
"""Seconds that a byte takes to an API server that is not next door, and as many back."""
FOLLOWED = 3
"""Files that an Envoy follows, each by an inotify of its own."""
INOTIFIES = Path("/proc/sys/fs/inotify/max_user_instances")


@contextmanager
def room(pods: int) -> Iterator[int]:
    """As many of the pods as this machine can have; meanwhile the kernel allows what they take, where it may be told to."""
    before = INOTIFIES.read_text()
    wider = f"{int(before) + FOLLOWED * pods}\n"  # beside what other programs of the same users follow
    try:
        INOTIFIES.write_text(wider)
    except OSError:
        yield min(pods, int(before) // FOLLOWED - 6)
        return
    try:
        yield pods
    finally:
        if INOTIFIES.read_text() == wider:
            INOTIFIES.write_text(before)


def proving(wanted: int) -> Iterator[Row]:
    """One pod, many, many far away; and the loops that ask the same."""
    from kubectl_egress.lab.client import start_lab
    from tests.scene import HOST, Scene, until

    with room(wanted) as pods, start_lab(quiet=True) as lab, Scene(lab) as scene, Scene(lab, "single") as alone:
        for one in (scene, alone):
            one.deploy("caller", command=CALLER.format(host=HOST).split())
            one.migrate()
        near = {"KUBECONFIG": str(lab.kubeconfig)}
        verify_one, verify = ([*EGRESS, "verify", "-n", space] for space in (alone.namespace, scene.namespace))
        scale = ["kubectl", "scale", "deploy/caller", f"--replicas={pods}", "-n", scene.namespace]
        subprocess.run(scale, env={**os.environ, **near}, check=True, capture_output=True)

        def all_ready() -> bool:
            return bool(scene.get("Deployment", "caller").get("status", {}).get("readyReplicas", 0) == pods)

        until(all_ready, f"{pods} pods are ready", 240)
        names = [pod["metadata"]["name"] for pod in scene.pods("caller")]
        first, *others = [_exec(scene.namespace, path.lstrip("/")) for path in admin_paths([HOST])]
        single, many = alternating(partial(run, verify_one, near), partial(run, verify, near), runs=3)
        yield compared(f"`verify`, {pods} pods", many, "1 pod", single, "3 ×", many.seconds <= 3 * single.seconds)
        many, loop = _beside_each_other(partial(run, verify, near), partial(_looped, names, first, near))
        yield _beside(f"… beside a loop over {pods} pods", many, f"{EXEC}, one question a pod:", loop)
        seconds = loop.seconds + sum(_looped(names, one, near).seconds for one in others)
        whole = Run(seconds, seconds, 0)
        yield _beside(
            "… beside the same loop", many, f"{EXEC}, the {1 + len(others)} questions that it asks, once each:", whole
        )
        with far_away(lab.kubeconfig) as far:
            many, loop = _beside_each_other(partial(run, verify, far), partial(_looped, names, first, far))
        where = f"an API server {2 * AWAY * 1000:.0f} ms away"
        yield _beside(f"`verify`, {pods} pods, {where}", many, f"{EXEC}, one question a pod:", loop)


def _beside_each_other(ours: Callable[[], Run], loop: Callable[[], Run]) -> tuple[Run, Run]:
    """One run of the loop, which takes minutes, between two of ours: their mean."""
    ours()  # fills the caches
    before, between, after = ours(), loop(), ours()
    seconds = (before.seconds + after.seconds) / 2
    return replace(before, seconds=seconds), between


def _beside(what: str, ours: Run, name: str, loop: Run) -> Row:
    return compared(what, ours, name, loop, "10 × faster", ours.seconds * 10 <= loop.seconds)


def _exec(namespace: str, question: str) -> Callable[[str], list[str]]:
    """What somebody types for a pod."""
    request = ["-n", namespace, "-c", "istio-proxy", "--", "pilot-agent", "request", "GET", question]
    return lambda pod: ["kubectl", "exec", pod, *request]


def _looped(pods: Sequence[str], command: Callable[[str], list[str]], environment: Mapping[str, str]) -> Run:
    begun = time.perf_counter()
    for pod in pods:
        run(command(pod), environment)
    seconds = time.perf_counter() - begun
    return Run(seconds, seconds, 0)


@contextmanager
def far_away(kubeconfig: Path) -> Iterator[dict[str, str]]:
    """The environment that leads to the API server of the kubeconfig by way of a relay that holds back every byte."""
    document = yaml.safe_load(kubeconfig.read_text())
    settings = document["clusters"][0]["cluster"]
    near = urlsplit(settings["server"])
    loop, port = asyncio.new_event_loop(), Future[int]()

    async def serve() -> None:
        relay = await asyncio.start_server(partial(_relay, near.hostname, near.port), "127.0.0.1", 0)
        port.set_result(relay.sockets[0].getsockname()[1])

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(serve(), loop).result()
    settings["server"] = f"{near.scheme}://{near.hostname}:{port.result()}"
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory, "config")
        config.write_text(yaml.safe_dump(document))
        try:
            yield {"KUBECONFIG": str(config)}
        finally:
            asyncio.run_coroutine_threadsafe(_end_others(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _end_others() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _relay(host: str, port: int, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
    answers, questions = await asyncio.open_connection(host, port)
    with suppress(asyncio.CancelledError):  # the bench has ended, and asyncio would report it
        await asyncio.gather(_held_back(near, questions), _held_back(answers, back), return_exceptions=True)


async def _held_back(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Everything, each piece as long after it came as the way takes."""
    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

    async def read() -> None:
        while data := await source.read(1 << 16):
            pieces.put_nowait((loop.time() + AWAY, data))
        pieces.put_nowait((loop.time() + AWAY, b""))

    reading = asyncio.create_task(read())
    while (piece := await pieces.get())[1]:
        await asyncio.sleep(piece[0] - loop.time())
        sink.write(piece[1])
        await sink.drain()
    await reading
    sink.close()
