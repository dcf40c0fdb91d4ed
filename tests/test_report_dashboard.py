from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kubectl_egress.manifests import dump
from kubectl_egress.model import Host, Ref
from kubectl_egress.prometheus import queries
from kubectl_egress.report.dashboard import Thresholds, Watched, alert_rules, grafana_dashboard, prometheus_rule
from tests.alerting import ALERTS, firing, needs_promtool, promtool
from tests.grafana import strange

SHOP = Watched(
    "shop",
    (Host("httpbin.org"), Host("api.example.com"), Host("*.example.net")),
    (Ref("Deployment", "shop", "curl"), Ref("CronJob", "shop", "nightly")),
)
BANK = Watched("bank", (Host("httpbin.org"),), (Ref("Deployment", "bank", "teller"),))


def rules_in(directory: Path, *watched: Watched) -> Path:
    file = directory / "rules.yaml"
    file.write_text(dump([alert_rules(watched)]))
    return file


def test_nothing_is_migrated() -> None:
    assert alert_rules([]) == {"groups": []}
    assert alert_rules([Watched("shop", (), ())]) == {"groups": []}


def test_a_group_for_each_namespace_with_every_alert() -> None:
    groups = alert_rules([SHOP, BANK])["groups"]
    assert [group["name"] for group in groups] == ["kubectl-egress.shop", "kubectl-egress.bank"]
    for group in groups:
        assert {rule["alert"] for rule in group["rules"]} == ALERTS
        for rule in group["rules"]:
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["description"]


def test_the_operators_object_holds_the_same() -> None:
    body = prometheus_rule([SHOP], "shop", Thresholds(error_share=0.2, silent="6h"))
    assert (body["kind"], body["metadata"]["namespace"]) == ("PrometheusRule", "shop")
    text = json.dumps(body["spec"])
    assert "> 0.2" in text
    assert "[6h]" in text


def expressions(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_the_dashboard_is_whole() -> None:
    dashboard = json.loads(json.dumps(grafana_dashboard([SHOP, BANK])))
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another"
        assert max(x for x, _ in cells) < 24
        taken |= cells
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$([a-z]+)\b", " ".join(expressions(dashboard))))
    assert used == names - {"datasource"}
    hosts = next(variable for variable in dashboard["templating"]["list"] if variable["name"] == "host")
    assert hosts["query"] == "*.example.net,api.example.com,httpbin.org"
    assert re.fullmatch(hosts["allValue"], "httpbin.org")
    assert not re.fullmatch(hosts["allValue"], "httpbin-org")


def test_grafana_s_own_types_know_all_of_it() -> None:
    assert strange(json.loads(json.dumps(grafana_dashboard([SHOP, BANK])))) == []
    assert strange(json.loads(json.dumps(grafana_dashboard([])))) == []


def stat(dashboard: dict[str, Any]) -> dict[str, Any]:
    return dashboard["panels"][0]  # type: ignore[no-any-return]


MISTAKES: Mapping[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a name that nobody knows": (lambda one: one.update(titel="Hosts"), "dashboard.titel: not known"),
    "a setting in the wrong place": (lambda one: stat(one).update(unit="ms"), "unit: not known"),
    "a panel's own option": (
        lambda one: stat(one)["options"].update(colourMode="value"),
        "options.colourMode: not known",
    ),
    "a value that is none": (lambda one: stat(one)["options"].update(colorMode="loud"), "'loud' is none of"),
    "a number in words": (lambda one: stat(one)["gridPos"].update(w="6"), "'6' is no int"),
    "a query's format": (lambda one: stat(one)["targets"][0].update(format="tables"), "'tables' is none of"),
    "a transformation without its name": (
        lambda one: one["panels"][-1]["transformations"][0].update(id=1),
        "1 is no str",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_they_find_what_grafana_would_silently_leave_out(name: str) -> None:
    make, said = MISTAKES[name]
    dashboard = json.loads(json.dumps(grafana_dashboard([SHOP])))
    make(dashboard)
    [found] = strange(dashboard)
    assert said in found


@needs_promtool
def test_prometheus_accepts_the_rules_the_queries_and_the_panels(tmp_path: Path) -> None:
    assert "10 rules found" in promtool("check", "rules", rules_in(tmp_path, SHOP, BANK).name, directory=tmp_path)
    every = [re.sub(r"\$__[a-z_]+", "5m", text) for text in expressions(grafana_dashboard([SHOP]))]
    every += [*queries("shop", 300).values()]
    every = [re.sub(r"\$[a-z]+\b", ".*", text) for text in every]
    recorded = [{"record": f"egress:{number}", "expr": text} for number, text in enumerate(every)]
    (tmp_path / "panels.yaml").write_text(dump([{"groups": [{"name": "panels", "rules": recorded}]}]))
    assert f"{len(every)} rules found" in promtool("check", "rules", "panels.yaml", directory=tmp_path)


def labels(**more: str) -> str:
    own = {
        "reporter": "source",
        "source_workload": "curl",
        "source_workload_namespace": "shop",
        "destination_service": "httpbin.org",
        "destination_service_name": "httpbin.org",
        "response_code": "200",
        "response_flags": "-",
        **more,
    }
    return "{" + ",".join(f'{key}="{value}"' for key, value in own.items()) + "}"


CLEAR = labels(destination_service_name="PassthroughCluster")
CASES = {
    "calm": ([("istio_requests_total" + labels(), "0+60x60")], set()),
    "in clear, from the first request on": (
        [("istio_requests_total" + labels(), "0+60x60"), ("istio_requests_total" + CLEAR, "_x57 1 1 1 1")],
        {"EgressInClear"},
    ),
    "in clear, with the port": (
        [
            (
                "istio_requests_total"
                + labels(destination_service_name="PassthroughCluster", destination_service="httpbin.org:80"),
                "0+1x60",
            )
        ],
        {"EgressInClear"},
    ),
    "another host in clear is not ours": (
        [
            (
                "istio_requests_total"
                + labels(destination_service_name="PassthroughCluster", destination_service="httpbin.org.evil.com"),
                "0+1x60",
            )
        ],
        set(),
    ),
    "no certificate": (
        [
            ("istio_requests_total" + labels(), "0+60x60"),
            ("istio_requests_total" + labels(response_code="503", response_flags="UF,URX"), "0+1x60"),
        ],
        {"EgressTlsFailing"},
    ),
    "errors of the server": (
        [
            ("istio_requests_total" + labels(), "0+60x60"),
            ("istio_requests_total" + labels(response_code="500"), "0+20x60"),
        ],
        {"EgressErrors"},
    ),
    "silent": ([("istio_requests_total" + labels(), "0+60x20 1200x40")], {"EgressSilent"}),
    "another namespace is not ours": (
        [("istio_requests_total" + labels(source_workload_namespace="bank", response_code="500"), "0+20x60")],
        set(),
    ),
}


@needs_promtool
@pytest.mark.parametrize("name", CASES)
def test_each_alert_fires_for_its_own_reason(name: str, tmp_path: Path) -> None:
    series, wanted = CASES[name]
    rules_in(tmp_path, SHOP)
    fired = firing(tmp_path, series, "60m")
    assert fired == wanted
