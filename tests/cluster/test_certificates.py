"""What a sidecar takes for the host's certificate: by ours none but the right one, by the article's rule whatever its Istio does.

A host for each pair of rule and certificate, so that each is met by a new handshake, and none is resumed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import pytest

from kubectl_egress.mesh import destination_rule, service_entry, virtual_service
from kubectl_egress.model import Body, Host
from tests.cluster.client import RealLab
from tests.cluster.crowd import Crowd, crowd_of
from tests.scene import until

pytestmark = pytest.mark.cluster

ISTIO = os.environ.get("ISTIO", "1.31")
CERTIFICATES = ("good", "wrong-host", "expired", "unknown-ca", "self-signed")
NAME = "{rule}.{certificate}.example.net"
SERVED_BY: Mapping[str, frozenset[str]] = {
    "ours": frozenset({"good"}),
    # `mode: SIMPLE` and nothing else
    "article": frozenset(CERTIFICATES if ISTIO == "1.18" else {"good"}),
    # with `sni` and `caCertificates`, as one would add them: the name is not looked at
    "nameless": frozenset({"good", "wrong-host"}),
}
"""By rule: the certificates with which the host is served."""


def settings(rule: str, host: Host) -> Mapping[str, object]:
    """The control's `tls`."""
    more = {"sni": host.name, "caCertificates": "system"} if rule == "nameless" else {}
    return {"mode": "SIMPLE", **more}


def control(rule: str, host: Host, namespace: str) -> Body:
    """The article's DestinationRule, or somebody's better one."""
    policy = {"portLevelSettings": [{"port": {"number": 80}, "tls": settings(rule, host)}]}
    metadata = {"name": host.name, "namespace": namespace}
    return {"kind": "DestinationRule", "metadata": metadata, "spec": {"host": host.name, "trafficPolicy": policy}}


@pytest.fixture(scope="module")
def crowd(cluster: RealLab) -> Iterator[Crowd]:
    names = {(rule, shown): NAME.format(rule=rule, certificate=shown) for rule in SERVED_BY for shown in CERTIFICATES}
    with crowd_of(cluster, tuple(names.values())) as found:
        for (_, shown), name in names.items():
            cluster.set_certificate(name, shown)
        found.start(["caller"])
        found.scene.rolled_out("caller")
        namespace = found.scene.namespace
        rules = {host: rule for host, (rule, _) in zip(found.hosts, names, strict=True)}
        found.create(
            destination_rule(host, namespace) if rule == "ours" else control(rule, host, namespace)
            for host, rule in rules.items()
        )
        found.create(service_entry(host, namespace, alias=found.alias(host)) for host in rules)
        found.create(virtual_service(host, namespace) for host, rule in rules.items() if rule == "ours")
        yield found


@pytest.fixture(scope="module")
def codes(crowd: Crowd) -> Mapping[str, str]:
    """By host: the status of `http://HOST`, once those of a good certificate are served."""
    calls = [("", f"http://{host}/status/200") for host in crowd.hosts]

    def ask() -> Mapping[str, str] | None:
        found = dict(zip([host.name for host in crowd.hosts], crowd.answers("caller", calls), strict=True))
        good = [found[NAME.format(rule=rule, certificate="good")] for rule in SERVED_BY]
        return found if good == ["200"] * len(good) else None

    until(ask, "a good certificate is served")
    # Not the first answer: a proxy that has just heard of one host may not have heard of the next.
    found = until(ask, "a good certificate is served")
    assert found is not None, "until returns what counts as true"
    return found


@pytest.mark.parametrize("certificate", CERTIFICATES)
@pytest.mark.parametrize("rule", SERVED_BY)
def test_a_host_is_served_by_certificates_alone_that_the_rule_takes(
    crowd: Crowd, codes: Mapping[str, str], rule: str, certificate: str
) -> None:
    name = NAME.format(rule=rule, certificate=certificate)
    takes = certificate in SERVED_BY[rule]
    assert codes[name] == ("200" if takes else "503")
    counters = crowd.scene.counters()
    assert (counters.total(name) > 0) is takes
    assert (counters.failed_handshakes.get(name, 0) > 0) is not takes
    assert name not in counters.clear_requests
