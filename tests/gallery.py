"""Pictures of everything that the tool shows, from a lab with calls in every state: `python -m tests.gallery DIRECTORY`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from kubectl_egress.errors import ApiError
from kubectl_egress.lab.client import start_lab
from kubectl_egress.lab.world.certificates import Certificate
from kubectl_egress.model import Body
from tests import browser, build
from tests.build_graph import EVERY_STATE, crowd
from tests.scene import NATIVE, Run, Scene

NAMESPACE = "shop"
HOSTS = (
    "httpbin.org",
    "api.example.com",
    "payments.example.org",
    "mail.example.net",
    "dark.example.net",
    "legacy.example.net",
    "tracker.example.com",
)
SCRIPT = "while true; do for url in {urls}; do curl -s -m 5 -o /dev/null $url; done; sleep .1; done"
# Full, failing, opaque, named, blocked, silent and unseen calls, each of a workload of its own and some together.
CALLERS = {
    "curl": ("https://httpbin.org/status/200",),
    "cart": (
        "https://api.example.com/status/200",
        "https://payments.example.org/status/200",
        "https://legacy.example.net/status/200",
    ),
    "reports": (
        "https://api.example.com/delay/0.05",
        *["https://api.example.com/status/200"] * 18,
        "https://api.example.com/status/404",
    ),
    "mailer": ("https://mail.example.net/status/200",),
    "importer": ("https://legacy.example.net/status/200", "https://tracker.example.com/status/200"),
    "batch": ("https://dark.example.net/status/200",),
}
UNSEEN = "sync"
"""Has no sidecar."""
IDLE = "standby"
"""Would call, and has nothing to say."""
MIGRATED = ("httpbin.org", "api.example.com", "payments.example.org")
FAILING = "payments.example.org"
"""Shows a certificate for another name, once it is migrated."""
NAMED = "mail.example.net"
BLOCKED = "dark.example.net"
OUTSIDE = {"sidecar.istio.io/inject": "false"}
CALLS = 12.0
"""Seconds of traffic before anything is looked at."""


def main(directory: Path) -> None:
    """Start the lab, drive traffic, and write every picture."""
    directory.mkdir(parents=True, exist_ok=True)
    with start_lab(hosts=HOSTS) as lab, Scene(lab, NAMESPACE) as scene:
        for name, urls in CALLERS.items():
            command = ["sh", "-c", SCRIPT.format(urls=" ".join(urls))]
            scene.create(build.deployment(name, NAMESPACE, annotations=NATIVE, command=command))
        scene.create(build.deployment(UNSEEN, NAMESPACE, annotations=OUTSIDE, command=idling("tracker.example.com")))
        scene.create(build.deployment(IDLE, NAMESPACE, annotations=NATIVE, command=idling("httpbin.org")))
        for name in (*CALLERS, UNSEEN, IDLE):
            scene.rolled_out(name)
        scene.create(named_entry())
        time.sleep(CALLS)
        write = writer(scene, directory)
        write("inspect.txt", "inspect")
        for host in MIGRATED:
            run = scene.egress("migrate", host, "-y")
            (directory / f"migrate-{host}.txt").write_text(run.out + run.err)
        try:
            scene.create(registry_only())
        except ApiError as error:
            print(f"no blocked calls: {error}", file=sys.stderr)
        scene.lab.set_certificate(FAILING, Certificate.WRONG_HOST)
        time.sleep(CALLS)
        pictures(write)
        print(f"in clear: {scene.counters().in_clear}", file=sys.stderr)
    drawings(directory)


def idling(host: str) -> list[str]:
    """A command that names a host and calls nothing."""
    return ["sh", "-c", f"API=https://{host}/ ; sleep 1000000"]


def pictures(write: Callable[..., Run]) -> None:
    """What every command shows, in each of its formats."""
    for form, ending in (("", "txt"), ("html", "html"), ("mermaid", "mmd"), ("dot", "dot"), ("json", "json")):
        write(f"graph.{ending}", "graph", *(("-o", form) if form else ()))
    for form, ending in (("", "txt"), ("wide", "wide.txt"), ("json", "json"), ("yaml", "yaml"), ("junit", "xml")):
        write(f"verify.{ending}", "verify", *(("-o", form) if form else ()))
    for form, ending in (("markdown", "md"), ("html", "html"), ("json", "json")):
        write(f"report.{ending}", "report", "-o", form)
    write("list.txt", "list", "-o", "wide")
    write("dashboard.json", "dashboard")
    write("alerts.yaml", "dashboard", "-o", "alerts")
    write("prometheusrule.yaml", "dashboard", "-o", "prometheusrule")


def writer(scene: Scene, directory: Path) -> Callable[..., Run]:
    """Writes what a command says on stdout to a file; what it says on stderr goes there too in texts for people."""

    def write(name: str, *arguments: str) -> Run:
        run = scene.egress(*arguments)
        assert run.status in (0, 3), run
        (directory / name).write_text(run.out + (run.err if name.endswith(".txt") else ""))
        return run

    return write


def named_entry() -> Body:
    """The article's demo 2 for one host."""
    ports = [{"number": 443, "name": "https", "protocol": "HTTPS"}]
    spec = {"hosts": [NAMED], "location": "MESH_EXTERNAL", "resolution": "DNS", "ports": ports, "exportTo": ["."]}
    return istio("ServiceEntry", "mail", spec)


def registry_only() -> Body:
    """One workload may call what the mesh knows, and nothing else."""
    spec = {"workloadSelector": {"labels": {"app": "batch"}}, "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
    return istio("Sidecar", "batch", {**spec, "egress": [{"hosts": ["./*"]}]})


def istio(kind: str, name: str, spec: Body) -> Body:
    """An Istio object of the gallery's namespace."""
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "networking.istio.io/v1beta1", "kind": kind, "metadata": metadata, "spec": spec}


def drawings(directory: Path) -> None:
    """PNG and PDF of the pages by day and by night, and of graphs with more in them than a lab has."""
    from kubectl_egress.report.graph import graph_html

    (directory / "graph-every-state.html").write_text(graph_html(EVERY_STATE))
    (directory / "graph-crowd.html").write_text(graph_html(crowd()))
    if browser.CHROMIUM is None:
        print("no Chromium on PATH: no PNG and no PDF", file=sys.stderr)
        return
    for name, height in (("graph", 1000), ("report", 3200), ("graph-every-state", 1250), ("graph-crowd", 2300)):
        page = directory / f"{name}.html"
        for dark in (False, True):
            browser.picture(page, directory / f"{name}{'-dark' if dark else ''}.png", 1280, height, dark=dark)
    browser.print_to(directory / "graph.html", directory / "graph.pdf")
    browser.print_to(directory / "report.html", directory / "report.pdf")


def given() -> Path:
    """Where to."""
    parser = argparse.ArgumentParser(prog="python -m tests.gallery", description=__doc__)
    parser.add_argument("directory", nargs="?", default="build/gallery", type=Path)
    directory: Path = parser.parse_args().directory
    return directory.resolve()


if __name__ == "__main__":
    main(given())
