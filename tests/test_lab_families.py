"""Pods of the lab with IPv6: what their proxies listen to, and by which family they look for the outside world."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_egress.lab.families import DUAL_STACK, FAMILIES, families_of
from kubectl_egress.lab.istiod import EmbeddedIstiod
from kubectl_egress.lab.parts import LabRefusal
from kubectl_egress.lab.pods.volumes import hosts_file
from tests.lab_istiod import HOST, clusters, curl_pod, listeners, migration

V4, V6 = "10.244.0.11", "fd00:10:244::af4:b"
BOTH = {DUAL_STACK: "true"}


def pod_with(addresses: tuple[str, ...], annotations: dict[str, str]) -> dict[str, Any]:
    pod = curl_pod()
    metadata = {**pod["metadata"], "annotations": annotations}
    return {**pod, "metadata": metadata, "status": {"podIPs": [{"ip": address} for address in addresses]}}


def listened(listener: dict[str, Any]) -> list[str]:
    extra = [one["address"] for one in listener.get("additional_addresses", ())]
    return [one["socket_address"]["address"] for one in (listener["address"], *extra)]


@pytest.mark.parametrize(
    ("addresses", "annotations", "everywhere", "lookup", "admin"),
    [
        ((V4,), {}, ["0.0.0.0"], "V4_ONLY", "127.0.0.1"),
        ((V6,), {}, ["::"], "V6_ONLY", "::1"),
        ((V4, V6), {}, ["0.0.0.0"], "V4_ONLY", "127.0.0.1"),
        ((V4, V6), BOTH, ["0.0.0.0", "::"], "ALL", "127.0.0.1"),
    ],
)
def test_a_proxy_by_its_pod_s_addresses(
    addresses: tuple[str, ...], annotations: dict[str, str], everywhere: list[str], lookup: str, admin: str
) -> None:
    """pkg/bootstrap/config.go, pilot/pkg/networking/core (getWildcardsAndLocalHost), util.SelectDNSLookupFamily."""
    istiod, pod = EmbeddedIstiod(), pod_with(addresses, annotations)
    found = istiod.configuration(pod, migration())
    assert listened(listeners(found)["virtualOutbound"]) == everywhere
    assert listened(listeners(found)[f"{everywhere[0]}_80"]) == everywhere
    assert clusters(found)[f"outbound|80|kubectl-egress|{HOST}"]["dns_lookup_family"] == lookup
    bootstrap = istiod.bootstrap(pod, "/etc/istio/proxy", mark=None)
    assert bootstrap["admin"]["address"]["socket_address"]["address"] == admin
    assert bootstrap["node"]["metadata"]["INSTANCE_IPS"] == ",".join(addresses)
    assert [listened(one) for one in bootstrap["static_resources"]["listeners"]] == [everywhere] * 2


def test_families_are_asked_for_by_an_annotation() -> None:
    assert families_of(pod_with((), {})) == ("IPv4",)
    assert families_of(pod_with((), {FAMILIES: "IPv4, IPv6"})) == ("IPv4", "IPv6")
    with pytest.raises(LabRefusal, match="not IPv5"):
        families_of(pod_with((), {FAMILIES: "IPv5"}))


def test_the_hosts_file_has_each_of_the_pod_s_addresses() -> None:
    text = hosts_file(curl_pod(), V4, V6)
    name = curl_pod()["metadata"]["name"]
    assert f"\n{V4}\t{name}\n{V6}\t{name}\n" in text
