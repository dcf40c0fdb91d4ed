"""`inspect` on a namespace of 200 workloads of every kind, and on an empty one, on the lab's API server."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubectl_egress import cli
from kubectl_egress.cluster import ConnectionOptions, connect
from kubectl_egress.model import Body
from tests.build import config_map, container, workload
from tests.lab_api import running_lab

KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")
SPACE = "default"
NUMBER = 200


def mixed(number: int) -> Body:
    """One of the workloads: what it calls, and how, goes round with its number."""
    host = f"https://api{number % 10}.example.com"
    forms = (
        {"env": {"API_URL": f"{host}/v1"}},
        {"command": ["sh", "-c", f"# see {host}\ncurl -fsS {host}/health"]},
        {"args": ["--oidc-issuer-url", host]},
        {"env": {"API_SCHEME": "https", "API_HOST": host.removeprefix("https://")}},
        {"env": {"SHOP": "http://shop.prod.svc:8080", "DB": "postgres://db:5432/x"}},
        {"containers": [container(envFrom=[{"configMapRef": {"name": "shared"}}])]},
    )
    kind = KINDS[number % len(KINDS)]
    once: dict[str, Any] = {"restartPolicy": "Never"} if kind in ("Job", "CronJob") else {}
    return workload(kind, f"w{number}", SPACE, **forms[number % len(forms)], **once)


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running_lab(tmp_path_factory.mktemp("lab")) as lab:
        cluster = connect(ConnectionOptions(kubeconfig=str(lab.kubeconfig())))
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "empty"}})
        cluster.create(config_map("shared", {"API_URL": "https://shared.example.com"}, SPACE))
        for number in range(NUMBER):
            cluster.create(mixed(number))
        cluster.close()
        yield lab.kubeconfig()


def test_two_hundred_workloads(kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", "--kubeconfig", str(kubeconfig), "--live=off", "-o", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    sites = [(item["workload"]["name"], item["host"], site) for item in report["items"] for site in item["callSites"]]
    by_form = Counter(int(name[1:]) % 6 for name, _, _ in sites)
    rounds = {form: len(range(form, NUMBER, 6)) for form in range(6)}
    assert by_form == {0: rounds[0], 1: 2 * rounds[1], 2: rounds[2], 3: rounds[3], 5: rounds[5]}
    rewritable = Counter(int(name[1:]) % 6 for name, _, site in sites if site["rewritable"])
    assert rewritable == {0: rounds[0], 1: rounds[1], 3: rounds[3], 5: rounds[5]}
    assert {host for name, host, _ in sites if int(name[1:]) % 6 == 5} == {"shared.example.com"}
    assert all(host == f"api{int(name[1:]) % 10}.example.com" for name, host, _ in sites if int(name[1:]) % 6 != 5)


def test_an_empty_namespace(kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", "-n", "empty", "--kubeconfig", str(kubeconfig)]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No calls to external hosts found in empty namespace" in captured.err
