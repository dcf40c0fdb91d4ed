from __future__ import annotations

import copy
import ipaddress
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress import mesh
from kubectl_egress.errors import EgressError
from kubectl_egress.model import Document, Host
from tests.build import NAMESPACE
from tests.build_mesh import HOST, entry, istio, port, route, rule, tls_on_80

ALIAS = "192.0.2.7"
TLS = {"mode": "SIMPLE", "sni": "httpbin.org", "subjectAltNames": ["httpbin.org"], "caCertificates": "system"}
PORT_80 = {"port": {"number": 80}, "tls": TLS}

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
HOSTS = st.builds(
    Host, st.lists(LABELS, min_size=2, max_size=4).map(".".join) | LABELS.map(lambda label: f"*.{label}.example.com")
)


# ---- what is written ------------------------------------------------------------------------------------------------


def test_the_destination_rule_is_the_design_s() -> None:
    assert mesh.destination_rule(HOST, NAMESPACE) == {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "DestinationRule",
        "metadata": {
            "name": "egress-httpbin.org",
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/managed-by": "kubectl-egress"},
            "annotations": {"galley.istio.io/analyze-suppress": "IST0173"},
        },
        "spec": {
            "host": "httpbin.org",
            "exportTo": ["."],
            "trafficPolicy": {"portLevelSettings": [PORT_80]},
            "subsets": [{"name": "kubectl-egress", "trafficPolicy": {"portLevelSettings": [PORT_80]}}],
        },
    }


def test_the_service_entry_is_the_design_s() -> None:
    assert mesh.service_entry(HOST, NAMESPACE, alias=ALIAS) == {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "ServiceEntry",
        "metadata": {
            "name": "egress-httpbin.org",
            "namespace": NAMESPACE,
            "labels": {
                "app.kubernetes.io/managed-by": "kubectl-egress",
                "networking.istio.io/enable-autoallocate-ip": "false",
            },
            "annotations": {"egress.kubectl/alias": ALIAS},
        },
        "spec": {
            "hosts": ["httpbin.org"],
            "exportTo": ["."],
            "location": "MESH_EXTERNAL",
            "resolution": "DNS",
            "ports": [
                {"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 443},
                {"number": 443, "name": "https", "protocol": "HTTPS"},
            ],
            "endpoints": [{"address": "httpbin.org."}],
        },
    }


def test_failing_open_leaves_out_the_dot_and_the_alias_and_nothing_else() -> None:
    closed: Any = copy.deepcopy(mesh.service_entry(HOST, NAMESPACE, alias=ALIAS, claims=[ALIAS]))
    assert closed["spec"].pop("addresses") == [ALIAS]
    assert closed["spec"].pop("endpoints") == [{"address": "httpbin.org."}]
    assert closed["metadata"].pop("annotations") == {"egress.kubectl/alias": ALIAS}
    assert mesh.service_entry(HOST, NAMESPACE, alias=ALIAS, claims=[ALIAS], fail_open=True) == closed


def test_a_wildcard_is_not_resolved_and_has_no_one_name_to_check() -> None:
    wildcard = Host("*.example.com")
    written: Any = mesh.service_entry(wildcard, NAMESPACE, alias=ALIAS)
    assert written["spec"]["resolution"] == "NONE"
    assert "endpoints" not in written["spec"]
    assert mesh.tls_settings(wildcard) == {"mode": "SIMPLE", "caCertificates": "system"}


def test_the_virtual_service_is_as_transparent_as_a_route_can_be() -> None:
    made: Any = mesh.virtual_service(HOST, NAMESPACE, export_to=["*"], api_version="networking.istio.io/v1")
    assert made["apiVersion"] == "networking.istio.io/v1"
    assert made["spec"]["exportTo"] == ["*"]
    (http,) = made["spec"]["http"]
    assert http["match"] == [{"port": 80}]
    assert http["route"] == [
        {"destination": {"host": "httpbin.org", "subset": "kubectl-egress", "port": {"number": 80}}}
    ]
    assert http["retries"] == {"attempts": 0}
    assert http["headers"]["request"]["set"] == {"x-forwarded-proto": "https"}
    removed = http["headers"]["request"]["remove"]
    assert "x-envoy-attempt-count" in removed
    assert not {"x-request-id", "traceparent", "authorization"} & set(removed)


def test_two_objects_share_no_part_that_a_change_of_one_would_change() -> None:
    first: Any = mesh.destination_rule(HOST, NAMESPACE)
    first["spec"]["trafficPolicy"]["portLevelSettings"][0]["tls"]["sni"] = "changed"
    assert first["spec"]["subsets"][0]["trafficPolicy"]["portLevelSettings"][0]["tls"]["sni"] == "httpbin.org"


# ---- names and addresses --------------------------------------------------------------------------------------------


@given(HOSTS, HOSTS)
def test_no_two_hosts_share_a_name(one: Host, other: Host) -> None:
    assert (mesh.object_name(one) == mesh.object_name(other)) == (one == other)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", mesh.object_name(one))


def test_a_long_host_is_cut_and_stays_apart() -> None:
    hosts = [Host(".".join(["a" * 60] * 4) + f".{end}") for end in ("example", "examplf")]
    names = {mesh.object_name(host) for host in hosts}
    assert len(names) == 2
    assert all(len(name) <= 253 for name in names)


@pytest.mark.parametrize("name", ["_dmarc.example.com", "a..b", "UPPER.example.com", "-a.example.com."])
def test_a_host_that_istio_refuses_has_no_name(name: str) -> None:
    with pytest.raises(EgressError, match="takes no host"):
        mesh.object_name(Host(name))


@given(HOSTS, st.sets(st.integers(1, 254), max_size=253))
def test_an_alias_is_a_free_address_and_the_same_each_time(host: Host, numbers: set[int]) -> None:
    taken = {f"192.0.2.{number}" for number in numbers}
    address = mesh.alias_address(host, taken)
    assert address not in taken
    assert ipaddress.ip_address(address) in mesh.ALIAS_NETWORK
    assert address.rpartition(".")[2] not in ("0", "255")
    assert address == mesh.alias_address(host, frozenset(taken))


def test_an_alias_stays_when_others_come() -> None:
    first = mesh.alias_address(HOST)
    assert mesh.alias_address(HOST, {"10.0.0.1"}) == first
    assert mesh.alias_address(HOST, {first}) != first


def test_no_alias_is_left() -> None:
    with pytest.raises(EgressError, match="no address"):
        mesh.alias_address(HOST, {f"192.0.2.{number}" for number in range(1, 255)})


def test_the_ipv6_alias_follows_from_the_ipv4_one() -> None:
    assert mesh.alias_address_v6("192.0.2.1") == "100::c000:201"
    assert ipaddress.ip_address(mesh.alias_address_v6("192.0.2.254")) in ipaddress.ip_network("100::/64")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", True),
        ("100::c000:201", True),
        ("192.0.3.1", False),
        ("100:1::1", False),
        ("", False),
        ("x", False),
    ],
)
def test_alias_addresses_are_known_by_their_prefix(address: str, expected: bool) -> None:
    assert mesh.is_alias_address(address) is expected


# ---- taking over ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "word"),
    [
        (entry(), ""),
        (entry(exportTo=["*"]), ""),
        (entry(location=None), ""),
        (entry(ports=[port(443, "TLS")]), ""),
        (entry(ports=[port(80, "HTTP", targetPort=443), port(443, "HTTPS"), port(8443, "HTTPS")]), ""),
        (entry(endpoints=[{"address": "httpbin.org."}]), ""),
        (entry(endpoints=[{"address": "httpbin.org"}]), "endpoints"),
        (entry(endpoints=[{"address": "10.1.2.3"}]), "endpoints"),
        (entry(hosts=["httpbin.org", "example.com"]), "not for this host alone"),
        (entry(hosts=["example.com"]), "example.com"),
        (entry(location="MESH_INTERNAL"), "MESH_EXTERNAL"),
        (entry(resolution="STATIC"), "STATIC"),
        (entry(resolution=None), "NONE"),
        (entry(workloadSelector={"labels": {"a": "b"}}), "selects workloads"),
        (entry(subjectAltNames=["other.example.com"]), "certificate"),
        (entry(ports=[port(80, "TCP"), port(443, "HTTPS")]), "port 80 has protocol TCP"),
        (entry(ports=[port(80, "HTTP", targetPort=8080)]), "8080"),
        (entry(ports=[port(443, "HTTP")]), "port 443 has protocol HTTP"),
        (entry(ports=[port(443, "HTTPS", targetPort=8443)]), "8443"),
        (rule(), ""),
        (rule(trafficPolicy=tls_on_80()), ""),
        (rule(trafficPolicy={"connectionPool": {"http": {"maxRetries": 1}}}), ""),
        (rule(trafficPolicy=tls_on_80(sni="other.example.com")), "sni"),
        (rule(trafficPolicy=tls_on_80(mode="DISABLE")), "mode: DISABLE"),
        (rule(trafficPolicy=tls_on_80(insecureSkipVerify=True)), "insecureSkipVerify"),
        (rule(trafficPolicy=tls_on_80(credentialName="client")), "credentialName"),
        (rule(trafficPolicy=tls_on_80(caCertificates="/etc/ca.pem")), "/etc/ca.pem"),
        (rule(workloadSelector={"matchLabels": {"a": "b"}}), "some workloads only"),
        (rule(host="*.org"), "*.org"),
        (rule(subsets=[{"name": "kubectl-egress", "labels": {"v": "1"}}]), "labels"),
        (rule(subsets=[{"name": "kubectl-egress", "trafficPolicy": tls_on_80(mode="DISABLE")}]), "DISABLE"),
        (rule(subsets=[{"name": "kubectl-egress", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}]), "mode: DISABLE"),
        (rule(subsets=[{"name": "kubectl-egress", "trafficPolicy": {"tls": dict(TLS)}}]), ""),
        (rule(subsets=[{"name": "theirs", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}]), ""),
        (rule(trafficPolicy={"tls": {"mode": "DISABLE"}}), ""),
        (route(), "only a ServiceEntry or a DestinationRule"),
    ],
)
def test_fits(document: Document, word: str) -> None:
    reason = mesh.fits(document.body, HOST)
    assert (word in reason) if word else reason == ""


def test_without_an_alias_an_endpoint_needs_no_dot() -> None:
    assert mesh.fits(entry(endpoints=[{"address": "httpbin.org"}]).body, HOST, fail_open=True) == ""


def test_the_article_s_entry_is_taken_over_field_by_field() -> None:
    theirs = entry(exportTo=["*"]).body
    before = copy.deepcopy(theirs)
    taken: Any = mesh.adopt(theirs, mesh.service_entry(HOST, NAMESPACE, alias=ALIAS))
    assert theirs == before
    assert taken["metadata"]["name"] == "httpbin"
    assert taken["metadata"]["labels"] == {"networking.istio.io/enable-autoallocate-ip": "false"}
    assert taken["metadata"]["annotations"] == {"egress.kubectl/alias": ALIAS}
    assert taken["spec"] == {
        **before["spec"],
        "ports": [
            {"number": 80, "name": "http-80", "protocol": "HTTP", "targetPort": 443},
            {"number": 443, "name": "https-443", "protocol": "HTTPS"},
        ],
        "endpoints": [{"address": "httpbin.org."}],
    }


def test_a_missing_port_gets_a_name_that_is_free() -> None:
    theirs = entry(ports=[{"number": 8080, "name": "http", "protocol": "HTTP"}]).body
    taken: Any = mesh.adopt(theirs, mesh.service_entry(HOST, NAMESPACE))
    assert [one["name"] for one in taken["spec"]["ports"]] == ["http", "http-egress", "https"]


def test_an_entry_with_addresses_gets_the_alias_too() -> None:
    taken: Any = mesh.adopt(entry(addresses=["198.51.100.1"]).body, mesh.service_entry(HOST, NAMESPACE, alias=ALIAS))
    assert taken["spec"]["addresses"] == ["198.51.100.1", ALIAS]


def test_the_article_s_rule_gets_what_it_lacks() -> None:
    theirs = rule(trafficPolicy=tls_on_80(), exportTo=["."], subsets=[{"name": "v1"}]).body
    taken: Any = mesh.adopt(theirs, mesh.destination_rule(HOST, NAMESPACE, export_to=["*"]))
    assert taken["spec"]["trafficPolicy"] == {"portLevelSettings": [PORT_80]}
    assert taken["spec"]["subsets"] == [
        {"name": "v1"},
        {"name": "kubectl-egress", "trafficPolicy": {"portLevelSettings": [PORT_80]}},
    ]
    assert taken["spec"]["exportTo"] == ["*"]


def test_what_held_for_port_80_goes_on_holding() -> None:
    pool = {"tcp": {"maxConnections": 5}}
    taken: Any = mesh.adopt(
        rule(trafficPolicy={"connectionPool": pool}).body, mesh.destination_rule(HOST, NAMESPACE, export_to=["*"])
    )
    expected = {"connectionPool": pool, **PORT_80}
    assert taken["spec"]["trafficPolicy"] == {"connectionPool": pool, "portLevelSettings": [expected]}
    assert taken["spec"]["subsets"][0]["trafficPolicy"]["portLevelSettings"] == [expected]
    assert "exportTo" not in taken["spec"]


def test_an_object_of_ours_is_put_right_again() -> None:
    ours = mesh.destination_rule(HOST, NAMESPACE)
    drifted: Any = copy.deepcopy(ours)
    del drifted["spec"]["subsets"][0]["trafficPolicy"]
    drifted["spec"]["trafficPolicy"]["portLevelSettings"][0]["tls"] = {"mode": "DISABLE"}
    drifted["spec"]["trafficPolicy"]["connectionPool"] = {"tcp": {"maxConnections": 5}}
    drifted["metadata"]["uid"] = "1"
    restored: Any = mesh.adopt(drifted, ours)
    assert restored["spec"]["trafficPolicy"].pop("connectionPool") == {"tcp": {"maxConnections": 5}}
    assert restored["metadata"].pop("uid") == "1"
    assert restored == ours


POLICIES = st.sampled_from([{}, tls_on_80(), tls_on_80(sni="httpbin.org"), {"connectionPool": {"tcp": {}}}])
EXPORTS = st.sampled_from([None, ["."], ["*"], ["other"], [".", "other"]])
RULES = st.builds(
    lambda policy, export, subsets: (
        rule(trafficPolicy=policy, subsets=subsets, **({"exportTo": export} if export else {})).body
    ),
    POLICIES,
    EXPORTS,
    st.sampled_from([[], [{"name": "v1"}], [{"name": "kubectl-egress"}]]),
)
ENTRIES = st.builds(
    lambda ports, export, addresses: entry(ports=ports, exportTo=export, addresses=addresses).body,
    st.sampled_from([[], [port(80, "HTTP")], [port(443, "TLS"), port(9000, "TCP")]]),
    EXPORTS,
    st.sampled_from([None, ["198.51.100.1"]]),
)


@given(RULES | ENTRIES, st.sampled_from([["."], ["*"]]), st.booleans())
def test_taking_over_takes_nothing_away_and_is_done_once(body: Any, export: list[str], claim: bool) -> None:
    wanted = (
        mesh.destination_rule(HOST, NAMESPACE, export_to=export)
        if body["kind"] == "DestinationRule"
        else mesh.service_entry(HOST, NAMESPACE, alias=ALIAS, claims=[ALIAS] if claim else [], export_to=export)
    )
    assert mesh.fits(body, HOST) == ""
    taken = mesh.adopt(body, wanted)
    assert _holds(taken, body, but="exportTo" if body["kind"] == "DestinationRule" else "")
    assert mesh.adopt(taken, wanted) == taken
    assert mesh.fits(taken, HOST) == ""


@given(HOSTS)
def test_what_we_write_fits_and_is_left_as_it_is(host: Host) -> None:
    for wanted in (mesh.destination_rule(host, NAMESPACE), mesh.service_entry(host, NAMESPACE, alias=ALIAS)):
        assert mesh.fits(wanted, host) == ""
        assert mesh.adopt(wanted, wanted) == wanted


def _holds(larger: Any, smaller: Any, but: str) -> bool:
    if isinstance(smaller, dict):
        return all(key == but or _holds(larger[key], value, but) for key, value in smaller.items())
    if isinstance(smaller, list):
        return all(_holds(larger[number], value, but) for number, value in enumerate(smaller))
    return bool(larger == smaller)


# ---- which of several is in effect ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("httpbin.org", "httpbin.org", True),
        ("HTTPBIN.org", "httpbin.org", True),
        ("*.org", "httpbin.org", True),
        ("*", "httpbin.org", True),
        ("*.httpbin.org", "httpbin.org", False),
        ("httpbin.org", "api.httpbin.org", False),
        ("httpbin", "httpbin.org", False),
        ("*.example.com", "*.example.com", True),
        ("*.com", "*.example.com", True),
    ],
)
def test_covers(pattern: str, name: str, expected: bool) -> None:
    assert mesh.covers(pattern, name) is expected


@pytest.mark.parametrize(
    ("export", "namespace", "expected"),
    [
        (None, "elsewhere", True),
        (["*"], "elsewhere", True),
        (["."], NAMESPACE, True),
        (["."], "elsewhere", False),
        (["~"], NAMESPACE, False),
        (["one", "elsewhere"], "elsewhere", True),
    ],
)
def test_exported_to(export: list[str] | None, namespace: str, expected: bool) -> None:
    assert mesh.exported_to(entry(exportTo=export), namespace) is expected


def _effective(*documents: Document) -> mesh.EffectiveRule | None:
    return mesh.effective_rule(
        "httpbin.org", documents, namespace=NAMESPACE, service_namespace="shared", root_namespace="istio-system"
    )


@pytest.mark.parametrize(
    ("documents", "winner"),
    [
        ([], ""),
        ([rule("far", "fourth")], ""),
        ([rule("root", "istio-system"), rule("shared", "shared"), rule("own")], "own"),
        ([rule("root", "istio-system"), rule("shared", "shared")], "shared"),
        ([rule("root", "istio-system"), rule("hidden", "shared", exportTo=["."])], "root"),
        ([rule("wide", host="*.org"), rule("exact", "shared")], "wide"),
        ([rule("wide", host="*.org", created="08:00"), rule("exact", created="09:00")], "exact"),
        ([rule("wider", host="*"), rule("wide", host="*.org")], "wide"),
        ([rule("new", created="10:00"), rule("old", created="09:00")], "old"),
        ([rule("other", host="example.com")], ""),
    ],
)
def test_the_rule_in_effect(documents: list[Document], winner: str) -> None:
    found = _effective(*documents)
    assert (found.top.ref.name if found else "") == winner


def test_subsets_of_all_rules_of_the_host_hold() -> None:
    old = rule("old", created="09:00", subsets=[{"name": "v1"}])
    new = rule("new", created="10:00", subsets=[{"name": "kubectl-egress"}, {"name": "v1"}])
    found = _effective(new, old, rule("wide", host="*.org"))
    assert found is not None
    assert [one.ref.name for one in found.merged] == ["old", "new"]
    assert found.subset("kubectl-egress") == new
    assert found.subset("v1") == old
    assert found.subset("v2") is None


def test_entries_of_a_host_come_in_the_order_in_which_they_win() -> None:
    documents = [
        entry("wide", hosts=["*.org"], resolution="NONE"),
        entry("far", "shared", created="08:00"),
        entry("hidden", "shared", exportTo=["."]),
        entry("new", created="10:00"),
        entry("old", created="09:00"),
        entry("other", hosts=["example.com"]),
        rule(),
        istio("ServiceEntry", "other-group", {"hosts": ["httpbin.org"]}),
    ]
    documents[-1] = Document(documents[-1].ref, {**documents[-1].body, "apiVersion": "example.com/v1"})
    found = mesh.entries_for("httpbin.org", documents, NAMESPACE)
    assert [one.ref.name for one in found] == ["old", "new", "far", "wide"]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (route(), True),
        (route(hosts=["*.org"]), True),
        (route(hosts=["httpbin"]), False),
        (route(gateways=["mesh", "edge"]), True),
        (route(gateways=["istio-system/edge"]), False),
        (route(namespace="shared"), True),
        (route(namespace="shared", exportTo=["."]), False),
    ],
)
def test_routes_for(document: Document, expected: bool) -> None:
    assert mesh.routes_for("httpbin.org", [document, entry()], NAMESPACE) == ((document,) if expected else ())
