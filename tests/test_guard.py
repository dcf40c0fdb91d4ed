"""`--guard`: what its policies permit, when there is one, what stands in the way, and how it is taken back."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress import cli
from kubectl_egress.errors import EgressError
from kubectl_egress.findings import check
from kubectl_egress.journal import from_config_map, to_config_map
from kubectl_egress.model import Action, Body, Denied, Document, Finding, Guard, Plan, Severity
from kubectl_egress.plan import MigrationRequest, plan_migration, plan_undo
from kubectl_egress.plan.network_guards import kept
from kubectl_egress.policies import guard_policy, matches, restricting, way_out
from tests.build import NAMESPACE, deployment, document, metadata, workload
from tests.build_mesh import HOST, survey_of
from tests.findings_cases import scripted
from tests.network_policies import permits

LABELS = {"app": "shop"}
SERVICES = "10.96.0.0/12"
GUARD = Guard((SERVICES,))
POLICY = guard_policy("guard", NAMESPACE, {"matchLabels": LABELS}, GUARD.networks)
NAME = "egress-httpbin.org.deployment.shop"


def policy(*egress: Body, name: str = "theirs", **spec: Any) -> Document:
    whole = {"podSelector": {}, "policyTypes": ["Egress"], "egress": list(egress), **spec}
    head = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return document({**head, "metadata": metadata(name), "spec": whole})


def blocks(*cidrs: str) -> list[Body]:
    return [{"ipBlock": {"cidr": cidr}} for cidr in cidrs]


CLEAR = {"protocol": "TCP", "port": 80}
DNS = policy({"ports": [{"protocol": "UDP", "port": 53}]})
EVERYWHERE = policy({})


def shop(**template: Any) -> dict[str, Any]:
    return deployment("shop", **{"env": {"API": "https://httpbin.org/get"}, **template})


def planned(*bodies: Body, policies: tuple[Document, ...] = (), guard: Guard = GUARD, **request: Any) -> Plan:
    survey, sites = survey_of(*(bodies or (shop(),)), policies=policies)
    return plan_migration(survey, sites, (), MigrationRequest((HOST,), guard=guard, **request))


def made(plan: Plan) -> list[Body]:
    return [step.after for step in plan.steps if step.ref and step.ref.kind == "NetworkPolicy" and step.after]


def found(
    *bodies: Body, policies: tuple[Document, ...] = (), guard: Guard | None = GUARD, **more: Any
) -> list[Finding]:
    survey, sites = survey_of(*(bodies or (shop(),)), policies=policies)
    return [
        one for one in check(survey, sites, [HOST], guard=guard, **more) if one.code in ("fails-open", "guard-cuts")
    ]


# ---- what it permits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "port", "protocol", "pod", "permitted"),
    [
        ("203.0.113.9", 80, "TCP", False, False),
        ("2001:db8::1", 80, "TCP", False, False),
        ("203.0.113.9", 443, "TCP", False, True),
        ("203.0.113.9", 8080, "TCP", False, True),
        ("203.0.113.9", 1, "TCP", False, True),
        ("203.0.113.9", 65535, "TCP", False, True),
        ("10.244.1.7", 80, "TCP", True, True),
        ("10.96.0.10", 80, "TCP", False, True),
        ("10.96.0.10", 53, "UDP", False, True),
        ("192.0.2.1", 80, "TCP", False, False),
        ("169.254.169.254", 80, "TCP", False, True),
    ],
)
def test_port_80_outside_is_all_that_a_guard_forbids(
    address: str, port: int, protocol: str, pod: bool, permitted: bool
) -> None:
    assert permits([POLICY], LABELS, address, port, protocol, pod=pod) is permitted
    assert permits([POLICY], {"app": "other"}, address, port, protocol, pod=pod)


@given(st.ip_addresses(), st.integers(1, 65535), st.sampled_from(["TCP", "UDP", "SCTP"]))
def test_a_guard_and_what_is_found_to_let_out_agree_everywhere(address: Any, port: int, protocol: str) -> None:
    inside = address.is_link_local or (
        str(address).startswith("10.")
        and permits([policy({"ports": [CLEAR], "to": blocks(SERVICES)}).body], LABELS, str(address), 80)
    )
    assert permits([POLICY], LABELS, str(address), port, protocol) is ((protocol, port) != ("TCP", 80) or inside)
    for theirs in (EVERYWHERE, policy({"to": blocks("0.0.0.0/0", "::/0")}), DNS):
        out = permits([POLICY, theirs.body], LABELS, str(address), 80) and not inside
        assert not out or way_out(theirs.body, GUARD.networks)


@pytest.mark.parametrize(
    ("theirs", "way"),
    [
        (policy(), ""),
        (DNS, ""),
        (EVERYWHERE, "everywhere"),
        (policy({"ports": [CLEAR]}), "everywhere"),
        (policy({"ports": [{"port": 80}]}), "everywhere"),
        (policy({"ports": [{"protocol": "UDP", "port": 80}]}), ""),
        (policy({"ports": [{"protocol": "TCP"}]}), "everywhere"),
        (policy({"ports": [{"port": 1, "endPort": 1024}]}), "everywhere"),
        (policy({"ports": [{"port": 81, "endPort": 1024}]}), ""),
        (policy({"ports": [{"port": "http"}], "to": blocks("0.0.0.0/0")}), ""),
        (policy({"ports": [CLEAR], "to": blocks("203.0.113.0/24")}), "203.0.113.0/24"),
        (policy({"ports": [CLEAR], "to": blocks("10.96.0.0/16", "169.254.169.254/32")}), ""),
        (policy({"ports": [CLEAR], "to": blocks("10.0.0.0/8")}), "10.0.0.0/8"),
        (policy({"ports": [CLEAR], "to": blocks("::/0")}), "::/0"),
        (policy({"to": [{"namespaceSelector": {}}, {"podSelector": {}}]}), ""),
        (document(POLICY), ""),
    ],
)
def test_where_a_policy_lets_port_80_go(theirs: Document, way: str) -> None:
    assert way_out(theirs.body, GUARD.networks) == way


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        ({}, {}, True),
        ({"matchLabels": {"app": "shop"}}, LABELS, True),
        ({"matchLabels": {"app": "shop"}}, {}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["shop"]}]}, LABELS, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["shop"]}]}, LABELS, False),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["shop"]}]}, {}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, LABELS, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, LABELS, False),
    ],
)
def test_label_selectors(selector: Body, labels: dict[str, str], selected: bool) -> None:
    assert matches(selector, labels) is selected


def test_which_policies_restrict_what_a_pod_reaches() -> None:
    ingress = policy(policyTypes=["Ingress"])
    implied = policy({}, policyTypes=[])
    elsewhere = policy({}, podSelector={"matchLabels": {"app": "other"}})
    assert restricting([ingress, implied, elsewhere, DNS], NAMESPACE, LABELS) == (implied, DNS)
    assert restricting([DNS], "elsewhere", LABELS) == ()


# ---- what is written ------------------------------------------------------------------------------------------------


def test_a_guard_stands_before_the_callers_change_and_in_the_journal() -> None:
    plan = planned()
    kinds = [step.ref.kind for step in plan.steps if step.ref]
    assert kinds.index("VirtualService") < kinds.index("NetworkPolicy") < kinds.index("Deployment")
    (body,) = made(plan)
    assert (body["metadata"]["name"], body["spec"]) == (NAME, POLICY["spec"])
    journal = from_config_map(next(step.after for step in plan.steps if step.after and "data" in step.after))
    assert [record.ref.kind for record in journal.mesh][-1] == "NetworkPolicy"
    assert plan.guarded
    assert not made(planned(guard=None))  # type: ignore[arg-type]


def test_a_guard_that_is_there_is_not_written_again_and_follows_its_networks() -> None:
    known = tuple(map(document, made(planned())))
    assert made(planned(policies=known)) == []
    (changed,) = made(planned(policies=known, guard=Guard(("10.0.0.0/8",))))
    assert {"ipBlock": {"cidr": "10.0.0.0/8"}} in changed["spec"]["egress"][1]["to"]


def test_pods_that_others_restrict_get_no_guard_which_would_open_what_is_closed() -> None:
    assert made(planned(policies=(DNS,))) == []
    assert not permits([DNS.body], LABELS, "203.0.113.9", 80)
    assert permits([DNS.body, POLICY], LABELS, "203.0.113.9", 443), "this is what it would open"


def test_each_caller_has_a_guard_and_nobody_else() -> None:
    plan = planned(shop(), deployment("other"), workload("CronJob", "nightly", env={"API": "https://httpbin.org/"}))
    assert [body["spec"]["podSelector"] for body in made(plan)] == [
        {"matchLabels": {"app": "shop"}},
        {"matchLabels": {"app": "nightly"}},
    ]


def test_pods_that_no_selector_tells_apart() -> None:
    with pytest.raises(EgressError, match="also selects those of deployment/other"):
        planned(shop(), deployment("other", labels={"app": "shop"}))
    nightly = workload("CronJob", "nightly", env={"API": "https://httpbin.org/"})
    nightly["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"] = {}
    with pytest.raises(EgressError, match="its pod template has no labels"):
        planned(nightly)
    with pytest.raises(EgressError, match="somebody else's"):
        planned(policies=(policy(name=NAME, podSelector={"matchLabels": {"app": "nobody"}}),))


def test_a_guard_is_taken_back_and_never_left_unseen() -> None:
    plan = planned()
    journal = to_config_map(from_config_map(plan.steps[-1].after or {}))
    after = next(step.after for step in plan.steps if step.action is Action.PATCH)
    assert after is not None
    survey, _ = survey_of(after, journals=(document(journal),), objects=[document(one) for one in made(plan)])
    deletes = [step.ref.kind for step in plan_undo(survey, [HOST]).steps if step.action is Action.DELETE and step.ref]
    assert deletes == ["NetworkPolicy", "ConfigMap"]
    hidden = replace(
        survey,
        mesh_objects=(),
        denied=(Denied("get", "networkpolicies.networking.k8s.io", NAMESPACE, "networkpolicies is forbidden"),),
    )
    with pytest.raises(EgressError, match=f"NetworkPolicy {NAME} of the migration may not be read"):
        plan_undo(hidden, [HOST])


# ---- findings -------------------------------------------------------------------------------------------------------

RESOLVES = scripted("curl --resolve httpbin.org:443:203.0.113.9 https://httpbin.org/")


def test_what_passes_the_alias_by_is_only_said_under_a_guard() -> None:
    assert [one.severity for one in found(RESOLVES, guard=None)] == [Severity.BLOCK]
    (said,) = found(RESOLVES)
    assert said.severity is Severity.WARN
    assert "enforces NetworkPolicies" in said.remedy
    assert found() == []


def test_who_passes_the_alias_by_is_guarded_and_never_closed() -> None:
    plan = planned(RESOLVES)
    (ref,) = plan.fails_closed
    assert (plan.fails_closed[ref], ref in plan.guarded) == (False, True)
    assert list(planned().fails_closed.values()) == [True]


@pytest.mark.parametrize("fail_open", [False, True])
def test_a_policy_that_lets_port_80_out_makes_a_guard_useless(fail_open: bool) -> None:
    (said,) = found(policies=(EVERYWHERE,), fail_open=fail_open)
    assert (said.code, said.severity, said.object) == ("fails-open", Severity.BLOCK, EVERYWHERE.ref)
    assert found(policies=(EVERYWHERE,), guard=None) == []
    assert found(policies=(DNS,), fail_open=fail_open) == []


def test_a_private_network_may_be_the_cluster_s_own() -> None:
    theirs = (policy({"ports": [CLEAR], "to": blocks("10.0.0.0/8")}),)
    (said,) = found(policies=theirs)
    assert "--guard-cidr 10.0.0.0/8" in said.remedy
    assert found(policies=theirs, guard=Guard(("10.0.0.0/8",))) == []


# ---- files, and the command line ------------------------------------------------------------------------------------

MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - name: shop
        image: shop
        env:
        - {name: API, value: "https://httpbin.org/get"}
"""


def test_in_files_it_is_one_of_the_objects_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text(MANIFEST)
    arguments = ["migrate", "httpbin.org", "-f", ".", "--guard", "--guard-cidr", SERVICES]
    assert cli.main([*arguments, "--write"]) == 0
    text = Path("egress-httpbin.org.yaml").read_text()
    assert f"name: {NAME}" in text
    assert f"cidr: {SERVICES}" in text
    assert text.count('argocd.argoproj.io/sync-wave: "-3"') == 2
    assert cli.main([*arguments, "--exit-code"]) == 0, "nothing is left"
    capsys.readouterr()
    assert cli.main(["migrate", "httpbin.org", "-f", ".", "--exit-code"]) == 0, "and nothing is taken back"
    assert cli.main(["migrate", "httpbin.org", "-f", ".", "--retries", "2", "--write"]) == 0
    changed = Path("egress-httpbin.org.yaml").read_text()
    assert "attempts: 2" in changed
    assert f"name: {NAME}" in changed, "a guard stays"


def test_a_host_whose_name_goes_on_has_guards_of_its_own() -> None:
    names = [
        "egress-httpbin.org.deployment.shop",
        "egress-httpbin.org.au.deployment.shop",
        "egress-httpbin.org.cronjob.a",
    ]
    ours = [document(guard_policy(name, NAMESPACE, {}, ())) for name in names]
    survey, _ = survey_of(shop(), policies=tuple(ours))
    assert [one.ref.name for one in kept(HOST, survey)] == [names[0], names[2]]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--guard-cidr", "10.0.0.0/8"], "--guard-cidr goes with --guard"),
        (["--guard", "--guard-cidr", "10.0.0.1/8"], "has host bits set"),
        (["--guard", "--guard-cidr", "ten"], "--guard-cidr:"),
        (["--guard", "--guard-cidr", "0.0.0.0/0"], "is everywhere"),
        (["--guard", "--mode", "named"], "do not go with --mode named"),
    ],
)
def test_flags_that_do_not_fit(
    flags: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert cli.main(["migrate", "httpbin.org", *flags]) == 2
    assert words in capsys.readouterr().err
