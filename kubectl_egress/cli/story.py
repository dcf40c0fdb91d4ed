"""The article's three demos and what it never tried, told with the commands themselves."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, TextIO

from kubectl_egress import manifests
from kubectl_egress.cli.output import coloured, emit
from kubectl_egress.cluster import ConnectionOptions, connect
from kubectl_egress.cluster.proxies import is_running, read_proxies
from kubectl_egress.cluster.survey import pods_of
from kubectl_egress.errors import EgressError
from kubectl_egress.lab.calls import CallLog, Calls
from kubectl_egress.model import Ref
from kubectl_egress.report.table import table

if TYPE_CHECKING:
    from kubectl_egress.cluster import Cluster
    from kubectl_egress.lab.client import Lab

NAMESPACE = "test-ext-svc"
CURL = Ref("Deployment", NAMESPACE, "curl", "apps/v1")
HOST = "httpbin.org"
STATISTICS = "/stats/prometheus?usedonly&filter=istio_"
DIFF = ("    +", "    -", "     ")
REQUESTS = "istio_requests_total{"
PATIENCE = 20.0
"""Seconds to wait for something that takes one or two."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """What one demo left behind: the proxy's statistics, and what became of the requests."""

    name: str
    series: int
    requests_total: int
    known_as: str
    calls: Calls
    in_clear: int


def tell(lab: Lab, *, undo: bool) -> bool:
    """The whole story on stdout; whether nothing reached the server in clear.

    EgressError when a command does not do what it should.
    """
    os.environ["KUBECONFIG"] = str(lab.kubeconfig)
    cluster = connect(ConnectionOptions(kubeconfig=str(lab.kubeconfig), namespace=NAMESPACE))
    stage = Stage(lab, cluster)
    try:
        chapters = [stage.opaque(), stage.named(), stage.full()]
        stage.compare(chapters)
        closed = stage.without_redirect()
        if undo:
            stage.undo()
        return stage.end([*chapters, closed])
    finally:
        stage.log.close()
        cluster.close()


class Stage:
    """The lab, its cluster, and the log of the curl loop."""

    def __init__(self, lab: Lab, cluster: Cluster) -> None:
        self.lab = lab
        self.cluster = cluster
        self.log = CallLog(lab.directory, "curl")
        self._colour = coloured(sys.stdout)

    # ---- chapters

    def opaque(self) -> Chapter:
        """Demo 1: nothing is configured."""
        self._title("Demo 1: nothing configured", "the application calls https://, and the mesh sees bytes to nowhere")
        labels = {"istio-injection": "enabled"}
        self.cluster.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
        )
        self._create("curl.yaml")
        self._served(8)
        self._command("inspect", "deploy/curl")
        return self._chapter("demo 1")

    def named(self) -> Chapter:
        """Demo 2: a ServiceEntry by hand."""
        self._title(
            "Demo 2: a ServiceEntry", "the host has a name, by SNI; what is called, and how it goes, nobody sees"
        )
        self._create("serviceentry-demo2.yaml")
        self._until(lambda: any(f'destination_service_name="{HOST}"' in line for line in self._statistics()), HOST)
        self._served(4)
        self._command("inspect", "deploy/curl")
        return self._chapter("demo 2")

    def full(self) -> Chapter:
        """Demo 3: the sidecar originates TLS."""
        self._title("Demo 3: TLS origination", "takes the ServiceEntry over, adds what is missing, rewrites the URL")
        self._command("migrate", HOST, "-y", brief=True)
        self._served(8)
        self._command("verify")
        emit("".join(f"\n{self._dim(_told(line))}\n" for line in self._statistics() if line.startswith(REQUESTS)))
        return self._chapter("demo 3")

    def without_redirect(self) -> Chapter:
        """What the article never tried: the sidecar is out of the way while the application calls http://."""
        self._title("And without the sidecar?", "its redirect rules are taken away while the application calls http://")
        [pod] = self._pods()
        self.log.count()
        self.lab.remove_redirect(pod, NAMESPACE)
        time.sleep(2.0)
        self.lab.restore_redirect(pod, NAMESPACE)
        # Counted when calls are answered again: one that had begun without the rules may end with them.
        self._served(3)
        chapter = self._chapter("no redirect")
        emit(
            f"{chapter.calls.failed} requests failed, {chapter.in_clear} left the pod in clear: in this pod, {HOST} is "
            f"{self._alias()}, which leads nowhere.\nThe rules are back, and so are the answers.\n"
        )
        return chapter

    def undo(self) -> None:
        """Back to where demo 2 was."""
        self._title("Undo", "https:// again, the ServiceEntry as it was written by hand, nothing else left")
        self._command("undo", HOST, "-y", brief=True)
        self._served(4)

    def compare(self, chapters: list[Chapter]) -> None:
        """The three demos side by side."""
        self._title("Side by side", "the same curl loop, the same proxy's own statistics")
        names = ["", *(chapter.name.upper().replace(" ", "-") for chapter in chapters)]
        rows = [
            ["istio_* series", *(str(chapter.series) for chapter in chapters)],
            ["istio_requests_total", *(str(chapter.requests_total or "<none>") for chapter in chapters)],
            ["the mesh calls it", *(chapter.known_as for chapter in chapters)],
            ["requests answered", *(str(chapter.calls.answered) for chapter in chapters)],
            ["requests failed", *(str(chapter.calls.failed) for chapter in chapters)],
            ["requests in clear", *(str(chapter.in_clear) for chapter in chapters)],
        ]
        emit(table(names, rows))
        emit(
            "\nBy hand, in the article's order, 106 of 163 requests came back 400 on the way: clear text on port 443.\n"
            f"{sum(chapter.calls.early for chapter in chapters)} more calls came before the sidecar of their new pod was "
            "ready (Istio's holdApplicationUntilProxyStarts).\n"
        )

    def end(self, chapters: list[Chapter]) -> bool:
        """The last word: what the server outside counted."""
        counters = self.lab.counters()
        left = self.log.count()
        failed = sum(chapter.calls.failed for chapter in chapters[:3]) + left.failed
        self._title("What the server counted", "")
        emit(
            f"{counters.total(HOST)} requests over TLS, {counters.in_clear} in clear; "
            f"{failed} failed while the sidecar was in place.\n"
        )
        return counters.in_clear == 0

    # ---- the parts

    def _title(self, title: str, text: str) -> None:
        line = f"\n== {title} " + "=" * max(4, 76 - len(title))
        emit((f"\x1b[1m{line}\x1b[0m" if self._colour else line) + f"\n{text}\n" + ("\n" if text else ""))

    def _dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self._colour else text

    def _create(self, example: str) -> None:
        text = resources.files("kubectl_egress.lab").joinpath("examples", example).read_text()
        emit(f"$ kubectl create -f examples/{example}\n")
        for document in manifests.parse(text, example):
            self.cluster.create(document.body)

    def _command(self, *arguments: str, brief: bool = False) -> None:
        """One of our own commands, as it would be typed; `brief` leaves out the plan's diffs."""
        from kubectl_egress.cli import main

        emit(f"$ kubectl egress {' '.join(arguments)} -n {NAMESPACE}\n")
        with contextlib.redirect_stderr(sys.stdout), _shortened() if brief else contextlib.nullcontext():
            status = main([*arguments, "-n", NAMESPACE])
        if status == 130:
            raise KeyboardInterrupt
        if status:
            raise EgressError(f"kubectl egress {' '.join(arguments)} ended with exit status {status}")

    def _pods(self) -> list[str]:
        pods = pods_of(self.cluster, [CURL])[CURL]
        return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def _alias(self) -> str:
        [pod] = [pod for pod in pods_of(self.cluster, [CURL])[CURL] if "deletionTimestamp" not in pod["metadata"]]
        return str(pod["spec"]["hostAliases"][0]["ip"])

    def _statistics(self) -> list[str]:
        pods = [pod for pod in pods_of(self.cluster, [CURL])[CURL] if is_running(pod)]
        answers = read_proxies(self.cluster, pods, [STATISTICS]).values()
        texts = [answer[STATISTICS] for answer in answers if not hasattr(answer, "reason")]
        return [line for text in texts for line in text.splitlines() if line.startswith("istio_")]

    def _chapter(self, name: str) -> Chapter:
        lines = self._statistics()
        total = sum(int(line.rpartition(" ")[2]) for line in lines if line.startswith(REQUESTS))
        found = [match[1] for line in lines if (match := re.search(r'destination_service_name="([^"]+)"', line))]
        known = HOST if HOST in found else next(iter(found), "<none>")
        kind = "HTTP" if total else "TCP"
        return Chapter(name, len(lines), total, f"{known} ({kind})", self.log.count(), self.lab.counters().in_clear)

    def _served(self, count: int) -> None:
        """Wait until so many more requests have reached the server."""
        before = self.lab.counters().total(HOST)
        self._until(lambda: self.lab.counters().total(HOST) >= before + count, f"{count} more requests at {HOST}")

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            self.log.look()
            if time.monotonic() > deadline:
                raise EgressError(
                    f"the lab did not show {what} within {PATIENCE:.0f} s", "try again, on an idle machine"
                )
            time.sleep(0.1)


class _Brief(io.TextIOBase):
    """Passes on the steps with their titles, and leaves out the diffs below them."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def write(self, text: str) -> int:
        plain = ((line, re.sub(r"\x1b\[[\d;]*m", "", line)) for line in text.splitlines(keepends=True))
        self._stream.write("".join(line for line, shown in plain if not shown.startswith(DIFF) and shown.strip()))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()


def _told(line: str) -> str:
    """A series without the labels that say nothing."""
    name, labels = line.split("{", 1)
    kept = [
        label for label in labels.rpartition("}")[0].split(",") if not label.endswith(('="unknown"', '=""', '="-"'))
    ]
    return f"{name}{{{','.join(kept)},…}}{labels.rpartition('}')[2]}"


@contextlib.contextmanager
def _shortened() -> Iterator[None]:
    """Of what a command prints on stdout, the numbered steps and the sentences, without the diffs below them."""
    with contextlib.redirect_stdout(_Brief(sys.stdout)):
        yield
