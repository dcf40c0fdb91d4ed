"""Hosts that are not outside: by their names, by the cluster's namespaces, by the mesh's own registry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubectl_egress import inspection, mesh
from kubectl_egress.findings import check
from kubectl_egress.inside import INSIDE
from kubectl_egress.model import Document, MeshSettings
from kubectl_egress.scan import REASON_REGISTRY, REASON_SERVICE
from kubectl_egress.urls import external, find_urls
from tests.build import NAMESPACE, deployment
from tests.build_mesh import entry, istio, port, route, survey_of

HOST = "httpbin.org"

OUTSIDE = [
    "httpbin.org",
    "a.internal",
    "vault.corp.internal",
    "svc.example.com",
    "local.example.com",
    "pods.org",
    "x.test",
]
NAMES = [
    *("shop", "shop.prod.svc", "shop.prod.svc.cluster.local", "shop-0.shop.prod.svc", "kubernetes.default"),
    *("10-0-0-1.prod.pod", "10-0-0-1.prod.pod.cluster.local", "localhost", "a.localhost", "localhost.localdomain"),
    *("host.docker.internal", "gateway.docker.internal", "host.containers.internal", "host.minikube.internal"),
    *("metadata.google.internal", "printer.local", "nas.home.arpa", "a.invalid"),
]
ADDRESSES = [
    *("127.0.0.1", "10.0.0.1:443", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.1", "1.2.3.4."),
    *("[::1]", "[::1]:443", "[2001:db8::1]", "[fe80::1%25eth0]", "[::ffff:10.0.0.1]", "１２７.0.0.1", "0x7F.0.0.0x1"),
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_may_be_outside(name: str) -> None:
    assert external(name)


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_inside(name: str) -> None:
    assert not external(name)


def test_every_suffix_has_a_reason_and_is_one() -> None:
    assert all(INSIDE.values())
    assert not any(external(f"a.{suffix}") for suffix in INSIDE)


def test_the_cluster_s_domain_is_read() -> None:
    assert external("shop.prod.svc.k8s.example.com")
    assert not external("shop.prod.svc.k8s.example.com", "k8s.example.com.")


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_in_every_form_are_no_hosts(address: str) -> None:
    assert [url for url in find_urls(f"https://{address}/") if not url.reason] == []
    survey, _ = survey_of(deployment(env={"A": f"https://{address}/"}))
    assert inspection.call_sites(survey) == ()


# ---- namespaces and registry ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("url", "reason"), [("https://shop.prod", REASON_SERVICE), ("https://shop.prod.com", "")])
def test_a_service_by_its_name_and_namespace(url: str, reason: str) -> None:
    survey, _ = survey_of(deployment(env={"A": url}), namespaces={"prod": {}})
    (site,) = inspection.call_sites(survey)
    assert site.reason == reason
    (own,) = inspection.call_sites(survey_of(deployment(env={"A": f"https://shop.{NAMESPACE}"}))[0])
    assert own.reason == REASON_SERVICE


def tls_route(target: str, **more: Any) -> Document:
    tls = [{"match": [{"port": 443, "sniHosts": [HOST]}], "route": [{"destination": {"host": target}}]}]
    return istio("VirtualService", "httpbin", {"hosts": [HOST], "tls": tls, **more})


OUT: list[tuple[Document, ...]] = [
    (),
    (entry(),),
    (entry(location=None),),
    (entry(location="MESH_INTERNAL", hosts=["api.httpbin.org"]),),
    (entry(location="MESH_INTERNAL", namespace="other", exportTo=["."]),),
    (entry(location="MESH_INTERNAL"), entry("more")),
    (route(),),
    (tls_route("proxy.example.com"),),
    (tls_route("egress.istio-system.svc.cluster.local"), entry()),
    (tls_route("egress.istio-system.svc.cluster.local", gateways=["edge"]),),
]
IN: list[tuple[Document, ...]] = [
    (entry(location="MESH_INTERNAL", ports=[port(443, "TLS")]),),
    (entry(location="MESH_INTERNAL", hosts=["*.org"], namespace="other"),),
    (tls_route("egress.istio-system.svc.cluster.local"),),
    (tls_route("reviews"),),
]


@pytest.mark.parametrize("objects", OUT)
def test_hosts_that_calls_leave_the_mesh_for(objects: tuple[Document, ...]) -> None:
    survey, _ = survey_of(deployment(env={"A": f"https://{HOST}"}), objects=objects)
    (site,) = inspection.call_sites(survey)
    assert site.rewritable


@pytest.mark.parametrize("objects", IN)
def test_hosts_of_the_mesh_s_own_registry(objects: tuple[Document, ...]) -> None:
    survey, _ = survey_of(deployment(env={"A": f"https://{HOST}"}), objects=objects)
    sites = inspection.call_sites(survey)
    assert [site.reason for site in sites] == [REASON_REGISTRY]
    assert inspection.inspect(survey, sites, check(survey, sites, None)).ready_hosts == ()


def test_what_the_registry_serves_depends_on_the_cluster_s_domain() -> None:
    objects = (tls_route("egress.istio-system.svc.k8s.example.com"),)
    survey, _ = survey_of(deployment(env={"A": f"https://{HOST}"}), objects=objects)
    assert inspection.call_sites(survey)[0].rewritable
    known = replace(survey, settings=MeshSettings(cluster_domain="k8s.example.com"))
    assert inspection.call_sites(known)[0].reason == REASON_REGISTRY


def test_what_a_migration_writes_is_no_registry_of_the_mesh() -> None:
    assert mesh.serving([entry(), route()]) == ()
