from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress.lab.istiod import EmbeddedIstiod
from kubectl_egress.lab.istiod.objects import Origin, Rule
from kubectl_egress.lab.istiod.rules import effective_rule, matches, merged, port_policy
from tests.lab_istiod import (
    HOST,
    NAMESPACE,
    SUBSET,
    clusters,
    curl_pod,
    entry,
    migration,
    origination,
    rule,
    tls_of,
    virtual_hosts,
    virtual_service,
)

PLAIN = {"loadBalancer": {"simple": "ROUND_ROBIN"}}
WITHOUT_TLS: dict[str, Any] = {"trafficPolicy": PLAIN, "subsets": []}
PORT_80 = f"outbound|80||{HOST}"
SUBSET_80 = f"outbound|80|{SUBSET}|{HOST}"


def made(*objects: dict[str, Any], namespace: str = NAMESPACE) -> dict[str, Any]:
    return clusters(EmbeddedIstiod().configuration(curl_pod(namespace), objects))


def config_of(cluster: dict[str, Any]) -> str:
    return str(cluster["metadata"]["filter_metadata"]["istio"].get("config", "")).rpartition("/")[2]


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("httpbin.org", "httpbin.com", False),
        ("*.org", "org", False),
        ("*.httpbin.org", "httpbin.org", False),
        ("httpbin.org", "api.httpbin.org", False),
        ("httpbin.org", "httpbin.org", True),
        ("*.org", "httpbin.org", True),
        ("*", "httpbin.org", True),
        ("*.org", "*.httpbin.org", True),
    ],
)
def test_a_pattern_covers_a_host(pattern: str, host: str, expected: bool) -> None:
    assert matches(pattern, host) is expected


def test_without_a_rule_requests_leave_in_clear_to_the_target_port() -> None:
    cluster = made(entry())[PORT_80]
    assert tls_of(cluster) is None
    assert config_of(cluster) == ""
    address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    assert address == {"address": HOST, "port_value": 443}


def test_the_rule_of_a_migration_originates_tls_on_port_80_alone() -> None:
    found = made(entry(), rule())
    for name in (PORT_80, SUBSET_80):
        tls = tls_of(found[name])
        assert tls is not None
        assert tls["sni"] == HOST
        context = tls["common_tls_context"]["combined_validation_context"]
        assert context["default_validation_context"] == {"match_subject_alt_names": [{"exact": HOST}]}
        assert context["validation_context_sds_secret_config"] == {"name": "file-root:system"}
        assert config_of(found[name]) == "httpbin"
    assert tls_of(found[f"outbound|443||{HOST}"]) is None


def test_the_metadata_names_the_rule_as_the_real_one_does() -> None:
    istio = made(entry(), rule())[SUBSET_80]["metadata"]["filter_metadata"]["istio"]
    assert istio["config"] == f"/apis/networking.istio.io/v1/namespaces/{NAMESPACE}/destination-rule/httpbin"
    assert istio["services"] == [{"host": HOST, "name": HOST, "namespace": NAMESPACE}]
    assert istio["subset"] == SUBSET


# What stands in §9 of the measurements of the real istiod 1.31, and what follows from its code.
SHADOWS = [
    # (exportTo of the older rule without TLS, exportTo of ours, is port 80 without a subset encrypted?)
    ([], [], False),
    (["."], ["."], False),
    (["*"], ["*"], False),
    (["*"], ["."], True),
    ([], ["."], True),
    (["."], ["*"], True),
    (["."], [".", "other"], False),
    ([".", "other"], ["."], True),
]


@pytest.mark.parametrize(("older", "ours", "encrypted"), SHADOWS)
def test_an_older_rule_without_tls(older: list[str], ours: list[str], encrypted: bool) -> None:
    found = made(entry(), rule("old", age=5, exportTo=older, **WITHOUT_TLS), rule(exportTo=ours))
    assert tls_of(found[SUBSET_80]) is not None
    assert (tls_of(found[PORT_80]) is not None) is encrypted
    assert config_of(found[PORT_80]) == ("httpbin" if encrypted else "old")


def test_a_newer_rule_of_another_export_takes_the_subset_away() -> None:
    disable = {"tls": {"mode": "DISABLE"}}
    found = made(entry(), rule(age=5, exportTo=["."]), rule("new", trafficPolicy=disable, subsets=[]))
    assert SUBSET_80 not in found
    assert tls_of(found[PORT_80]) is None


def test_a_newer_rule_of_the_same_export_changes_nothing() -> None:
    found = made(entry(), rule(age=5), rule("new", **WITHOUT_TLS))
    assert tls_of(found[PORT_80]) is not None
    assert config_of(found[PORT_80]) == "httpbin"


def test_of_two_subsets_of_one_name_the_older_wins() -> None:
    bare = {"name": SUBSET, "trafficPolicy": {"tls": {"mode": "DISABLE"}}}
    found = made(entry(), rule("old", age=5, trafficPolicy=PLAIN, subsets=[bare]), rule())
    assert tls_of(found[SUBSET_80]) is None


def test_an_older_rule_without_any_policy_takes_ours() -> None:
    older = rule("old", age=5, subsets=[])
    del older["spec"]["trafficPolicy"]
    assert tls_of(made(entry(), older, rule())[PORT_80]) is not None


WILDCARDS = [
    ("an older wildcard is less specific", [rule("wide", age=5, host="*.org", **WITHOUT_TLS), rule()], True),
    ("the longer wildcard wins", [rule("wide", host="*", age=5, **WITHOUT_TLS), rule(host="*.org")], True),
    ("and so it does where it has no TLS", [rule(host="*", age=5), rule("w", host="*.org", **WITHOUT_TLS)], False),
]


@pytest.mark.parametrize(("objects", "encrypted"), [row[1:] for row in WILDCARDS], ids=[row[0] for row in WILDCARDS])
def test_wildcard_rules(objects: list[dict[str, Any]], encrypted: bool) -> None:
    assert (tls_of(made(entry(), *objects)[PORT_80]) is not None) is encrypted


NAMESPACES = [
    ("a rule of a fourth namespace is never applied", [rule(namespace="other")], False),
    ("the entry's namespace is asked", [rule(namespace="entries")], True),
    ("but only for what it exports", [rule(namespace="entries", exportTo=["."])], False),
    ("to the client", [rule(namespace="entries", exportTo=[NAMESPACE])], True),
    ("and not to others", [rule(namespace="entries", exportTo=["other"])], False),
    ("the root namespace is asked last", [rule(namespace="istio-system")], True),
    (
        "the client's wildcard shadows the entry's exact rule",
        [rule(namespace="entries"), rule("w", host="*.org", **WITHOUT_TLS)],
        False,
    ),
    (
        "the entry's namespace goes before the root's",
        [rule("root", namespace="istio-system", **WITHOUT_TLS), rule(namespace="entries")],
        True,
    ),
]


@pytest.mark.parametrize(("objects", "encrypted"), [row[1:] for row in NAMESPACES], ids=[row[0] for row in NAMESPACES])
def test_where_rules_are_looked_for(objects: list[dict[str, Any]], encrypted: bool) -> None:
    found = made(entry(namespace="entries"), *objects)
    assert (tls_of(found[PORT_80]) is not None) is encrypted


def test_a_subset_that_nobody_has_leaves_the_route_without_a_cluster() -> None:
    configuration = EmbeddedIstiod().configuration(curl_pod(), [entry(), virtual_service()])
    route = virtual_hosts(configuration)[f"{HOST}:80"]["routes"][0]
    assert route["route"]["cluster"] == SUBSET_80
    assert SUBSET_80 not in clusters(configuration)


def test_a_ports_own_settings_replace_the_others_as_a_whole() -> None:
    top = {"tls": {"mode": "SIMPLE"}, **PLAIN, "portLevelSettings": [{"port": {"number": 80}, **PLAIN}]}
    found = Rule(Origin("", "r", NAMESPACE), HOST, frozenset(), top, ())
    assert port_policy(found, None, 80).tls is None
    assert port_policy(found, None, 443).tls == {"mode": "SIMPLE"}


def test_a_subset_overrides_field_by_field() -> None:
    found = Rule(Origin("", "r", NAMESPACE), HOST, frozenset(), {"tls": {"mode": "SIMPLE"}}, ())
    policy = port_policy(found, {"name": "s", "trafficPolicy": PLAIN}, 80)
    assert (policy.tls, policy.load_balancer) == ({"mode": "SIMPLE"}, {"simple": "ROUND_ROBIN"})


TLS_SHAPES = [
    ("nothing said: all from the Host header", {"mode": "SIMPLE"}, "", {"auto_sni": True, "auto_san_validation": True}),
    ("sni alone: the name is not checked", {"mode": "SIMPLE", "sni": HOST}, HOST, None),
    ("names alone: SNI from the Host header", {"mode": "SIMPLE", "subjectAltNames": [HOST]}, "", {"auto_sni": True}),
    ("no verification", {"mode": "SIMPLE", "insecureSkipVerify": True}, "", {"auto_sni": True}),
]


@pytest.mark.parametrize(("tls", "sni", "dynamic"), [row[1:] for row in TLS_SHAPES], ids=[row[0] for row in TLS_SHAPES])
def test_what_is_left_to_the_host_header(tls: dict[str, Any], sni: str, dynamic: dict[str, bool] | None) -> None:
    policy = {"portLevelSettings": [{"port": {"number": 80}, "tls": tls}]}
    cluster = made(entry(), rule(trafficPolicy=policy, subsets=[]))[PORT_80]
    context = tls_of(cluster)
    assert context is not None
    assert context.get("sni", "") == sni
    options = next(iter(cluster["typed_extension_protocol_options"].values()))
    assert options.get("upstream_http_protocol_options") == dynamic
    verified = "combined_validation_context" in context["common_tls_context"]
    assert verified is not bool(tls.get("insecureSkipVerify"))


def test_names_of_the_entry_count_where_the_rule_has_none() -> None:
    policy = {"portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "SIMPLE", "sni": HOST}}]}
    cluster = made(entry(subjectAltNames=["other.example"]), rule(trafficPolicy=policy, subsets=[]))[PORT_80]
    context = tls_of(cluster)
    assert context is not None
    checks = context["common_tls_context"]["combined_validation_context"]["default_validation_context"]
    assert checks["match_subject_alt_names"] == [{"exact": "other.example"}]


def test_the_migration_is_whole_in_whatever_order_its_objects_come() -> None:
    forward = EmbeddedIstiod().configuration(curl_pod(), migration())
    assert forward == EmbeddedIstiod().configuration(curl_pod(), migration()[::-1])
    assert origination()["portLevelSettings"][0]["tls"]["sni"] == HOST


exports = st.frozensets(st.sampled_from(["*", ".", NAMESPACE, "other"]), max_size=2)
hosts = st.sampled_from([HOST, "*.org", "*", "other.org"])
policies = st.sampled_from([None, {"tls": {"mode": "SIMPLE"}}, PLAIN])


@st.composite
def rule_lists(draw: st.DrawFn) -> list[Rule]:
    namespaces = st.sampled_from([NAMESPACE, "entries", "istio-system", "other"])
    count = draw(st.integers(0, 6))
    return [
        Rule(
            Origin(str(index), f"r{index}", draw(namespaces)),
            draw(hosts),
            draw(exports),
            draw(policies),
            tuple({"name": name} for name in draw(st.lists(st.sampled_from("ab"), unique=True, max_size=2))),
        )
        for index in range(count)
    ]


@given(rule_lists())
def test_the_rule_in_effect_covers_the_host_and_was_seen(found: list[Rule]) -> None:
    effective = effective_rule(found, HOST, "entries", NAMESPACE, "istio-system")
    if effective is None:
        assert not any(
            rule.host == HOST and rule.origin.namespace == NAMESPACE and not rule.export_to for rule in found
        )
    else:
        assert matches(effective.host, HOST)
        assert effective.origin.namespace != "other"
        assert {subset["name"] for subset in effective.subsets} <= {s["name"] for rule in found for s in rule.subsets}


@given(rule_lists())
def test_merging_loses_no_subset_name_and_doubles_none_in_a_group(found: list[Rule]) -> None:
    groups: tuple[Rule, ...] = ()
    for one in found:
        groups = merged(groups, one)
    names = {subset["name"] for group in groups for subset in group.subsets}
    assert names == {subset["name"] for one in found for subset in one.subsets}
    for group in groups:
        inside = [subset["name"] for subset in group.subsets]
        assert len(inside) == len(set(inside))
