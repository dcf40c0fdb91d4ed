"""Which aliases close a pod of which families."""

from __future__ import annotations

import pytest

from kubectl_egress import mesh
from kubectl_egress.model import Host
from tests import build

HOST = Host("httpbin.org")
V4, V6 = "192.0.2.7", "100::c000:207"


@pytest.mark.parametrize(
    ("aliases", "addresses", "closed"),
    [
        ([V4], ["10.0.0.1"], True),
        ([V4], [], True),
        ([V4], ["10.0.0.1", "fd00::1"], False),
        ([V4], ["fd00::1"], False),
        ([V6], ["10.0.0.1", "fd00::1"], False),
        ([V4, V6], ["10.0.0.1", "fd00::1"], True),
        ([V4, V6], ["fd00::1"], True),
        ([V4, V6], ["10.0.0.1"], True),
        ([], [], False),
        ([], ["10.0.0.1"], False),
    ],
)
def test_an_alias_closes_a_pod_when_it_has_each_of_the_pod_s_families(
    aliases: list[str], addresses: list[str], closed: bool
) -> None:
    pod = {**build.pod(), "status": {"podIPs": [{"ip": address} for address in addresses]}}
    assert mesh.closed_by(aliases, [pod]) is closed


def test_the_aliases_of_a_host_are_those_that_lead_nowhere() -> None:
    named = [
        {"ip": V4, "hostnames": ["httpbin.org", "other.org"]},
        {"ip": V6, "hostnames": ["httpbin.org"]},
        {"ip": "10.0.0.1", "hostnames": ["httpbin.org"]},
        {"ip": "192.0.2.8", "hostnames": ["other.org"]},
    ]
    pod = build.pod(template=build.pod_template("app", hostAliases=named))
    assert mesh.aliases_in(pod, HOST) == (V4, V6)
    assert mesh.aliases_in(build.pod(), HOST) == ()
