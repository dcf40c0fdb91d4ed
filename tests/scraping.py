"""A real Prometheus that scrapes the real Envoys of a lab, by way of a relay, since it stands outside their networks."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from kubectl_egress.cluster.proxies import read_proxies
from kubectl_egress.errors import EgressError
from tests.scene import Scene, until

PROMETHEUS = shutil.which("prometheus")
STATISTICS = "/stats/prometheus?usedonly&filter=istio_"


@contextmanager
def relay(scene: Scene) -> Iterator[int]:
    """A port on which `/NAME` gives the statistics of the sidecar of the Deployment's pod."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                text = statistics(scene, self.path.strip("/"))
            except (EgressError, KeyError) as error:
                self.send_error(502, str(error))
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def statistics(scene: Scene, name: str) -> str:
    """What the sidecar of the Deployment's one pod exports of Istio's metrics."""
    pods = [pod for pod in scene.pods(name) if "deletionTimestamp" not in pod["metadata"]]
    answers = read_proxies(scene.cluster, pods, [STATISTICS])
    return "\n".join(said[STATISTICS] for said in answers.values() if not hasattr(said, "reason"))


@contextmanager
def prometheus(
    directory: Path, port: int, names: Sequence[str], *, host: str = "127.0.0.1", **labels: str
) -> Iterator[str]:
    """One that scrapes the Deployments every second and listens on `host`; its URL. `labels`: what its relabelling makes of theirs."""
    assert PROMETHEUS is not None, "skipped otherwise"
    with socket.socket() as free:
        free.bind((host, 0))
        own = free.getsockname()[1]
    relabel = [{"target_label": key, "replacement": value} for key, value in labels.items()]
    jobs = [
        {
            "job_name": name,
            "metrics_path": f"/{name}",
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
            "metric_relabel_configs": relabel,
        }
        for name in names
    ]
    settings = {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}
    (directory / "prometheus.yml").write_text(yaml.safe_dump(settings))
    command = [
        PROMETHEUS,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'series'}",
        f"--web.listen-address={host}:{own}",
        "--log.level=error",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://{host}:{own}"
    finally:
        process.terminate()
        process.wait(20)


def asked(address: str, query: str) -> list[dict[str, Any]]:
    """The answer to a query; [] where nobody answers yet."""
    url = f"{address}/api/v1/query?query={urllib.request.quote(query)}"  # type: ignore[attr-defined]
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found
    except OSError:
        return []


def has_counted(address: str, query: str, least: float) -> None:
    """Wait until the sum of a query's answer is so much."""
    until(lambda: sum(float(one["value"][1]) for one in asked(address, query)) >= least, f"{query} ≥ {least}", 60)
