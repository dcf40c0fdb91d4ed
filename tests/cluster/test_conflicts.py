"""What the tool says of objects that others have for a host: before a migration, and when they come after it.

What istiod makes of them stands in test_fails_closed. Here one workload calls a host for each case, so that one migration
and a few runs of `verify` are enough for all; the server counts by host what arrives in clear.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from kubectl_egress.mesh import alias_of, object_name
from kubectl_egress.model import Body, Host, PatchOperation
from tests import build
from tests.cluster.client import RealLab
from tests.cluster.crowd import Crowd, crowd_of
from tests.cluster.others import (
    ROOT_NAMESPACE,
    Other,
    Place,
    claims_the_alias,
    entry,
    route,
    rule,
    subset_without_tls,
)
from tests.scene import NATIVE, Run, Scene

pytestmark = pytest.mark.cluster

ISTIO = os.environ.get("ISTIO", "1.31")
VERIFIED, LEAKING, FAILING, UNCONFIGURED, SILENT = "verified", "leaking", "failing", "unconfigured", "silent"
RULE, ENTRY, ROUTE = "DestinationRule", "ServiceEntry", "VirtualService"
ROUNDS = 8
"""Of `verify`, until it says of every host what it should."""
CALLER = "caller"
PORT_DISABLED = {"portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "DISABLE"}}]}
MORE_PORTS = [
    {"number": 443, "name": "https", "protocol": "HTTPS"},
    {"number": 8443, "name": "admin", "protocol": "HTTPS"},
]


# ---- what stands in the way before ------------------------------------------------------------------------------------


def gateways_alone(host: Host, place: Place) -> Body:
    """A VirtualService for a gateway: sidecars do not use it."""
    return route(port=443, gateways=["elsewhere/entrance"])(host, place)


@dataclass(frozen=True, slots=True)
class Before:
    """What others have for a host, and the finding that blocks its migration ('' for none)."""

    code: str
    others: Sequence[Other]


BEFORE = {
    # Taken over: without TLS it was for everything but what it is completed with.
    "rule-dot": Before("", [rule(".")]),
    "rule-star": Before("", [rule("*")]),
    "rule-unsaid": Before("", [rule()]),
    "rule-port": Before("rule-shadowed", [rule(".", policy=PORT_DISABLED)]),
    "rule-subset": Before("rule-shadowed", [rule(".", **subset_without_tls())]),
    "rule-selecting": Before("rule-shadowed", [rule(workloadSelector={"matchLabels": {"app": CALLER}})]),
    "rule-elsewhere": Before("", [rule("*", where="elsewhere", **subset_without_tls())]),
    "rule-root": Before("", [rule("*", where=ROOT_NAMESPACE, **subset_without_tls())]),
    "rule-wildcard.under": Before("", [rule(pattern="*.under.example.net", **subset_without_tls())]),
    "entry-fits": Before("", [entry()]),
    "entry-none": Before("entry-conflict", [entry(resolution="NONE")]),
    "entry-hidden": Before("host-not-visible", [entry(exportTo=["~"])]),
    "entry-elsewhere": Before("", [entry("elsewhere")]),
    "entry-elsewhere-more": Before("entry-conflict", [entry("elsewhere", ports=MORE_PORTS)]),
    "entry-wildcard.below": Before("", [entry(hosts=["*.below.example.net"], resolution="NONE")]),
    "route-dot-443": Before("route-conflict", [route(port=443, exportTo=["."])]),
    "route-443": Before("route-conflict", [route(port=443)]),
    "route-elsewhere-443": Before("route-conflict", [route("elsewhere", port=443)]),
    "route-to-gateway": Before("route-conflict", [route(port=443, gateways=["mesh", "elsewhere/egress"])]),
    "route-gateway": Before("", [gateways_alone]),
    "route-wildcard.beneath": Before("", [route(port=443, exportTo=["."], hosts=["*.beneath.example.net"])]),
}


# ---- what comes later -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class After:
    """What becomes of a migrated host, and what `verify` says then; a verdict of its own for an Istio where they differ."""

    verdict: Sequence[str]
    created: Sequence[Other] = ()
    deleted: str = ""
    """The kind of ours that somebody deletes."""
    edited: Sequence[Other] = ()
    """What was there before, harmlessly, and says this now."""
    names: str = ""
    """What the reason has to name."""
    verdicts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def expected(self) -> Sequence[str]:
        """On the Istio of this run."""
        return self.verdicts.get(ISTIO, self.verdict)


NOT_SERVED = (FAILING, UNCONFIGURED)
AFTER = {
    "nothing": After([VERIFIED]),
    "later-rule-dot": After([VERIFIED], [rule(".")]),
    "later-rule-star": After(NOT_SERVED, [rule("*")], names="DestinationRule", verdicts={"1.18": [VERIFIED]}),
    "later-subset": After(
        [LEAKING], [rule("*", **subset_without_tls())], names="DestinationRule", verdicts={"1.18": [VERIFIED]}
    ),
    "later-selecting": After(
        [LEAKING],
        [rule(**subset_without_tls(workloadSelector={"matchLabels": {"app": CALLER}}))],
        names="DestinationRule",
    ),
    "later-claims": After([LEAKING], [claims_the_alias], names="ServiceEntry"),
    "later-entry": After([VERIFIED, *NOT_SERVED], [entry(exportTo=["."])]),
    "later-route": After([VERIFIED], [route(port=443, exportTo=["."])]),
    "edited-route": After([LEAKING], edited=[route(port=443, exportTo=["."])], names="VirtualService"),
    "edited-rule": After([LEAKING], edited=[rule(".", **subset_without_tls())], names="DestinationRule"),
    "no-rule": After(NOT_SERVED, deleted=RULE),
    "no-entry": After([SILENT, *NOT_SERVED], deleted=ENTRY),
    "no-route": After([VERIFIED], deleted=ROUTE),
}


# ---- what a pod's own Sidecar shows it ----------------------------------------------------------------------------------

SIDECARS: Mapping[str, tuple[str, Body]] = {
    "narrow": ("host-not-visible", {"egress": [{"hosts": [f"{ROOT_NAMESPACE}/*"]}]}),
    "listener": (
        "host-not-visible",
        {
            "egress": [
                {"port": {"number": 80, "protocol": "HTTP", "name": "http"}, "hosts": ["./*"]},
                {"hosts": ["./*"]},
            ]
        },
    ),
    "registry-only": ("", {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}),
}
"""By Deployment of the other namespace: the finding that blocks, and the Sidecar."""


def selecting(name: str, like: str) -> Body:
    """The spec of a Sidecar for one Deployment."""
    return {"workloadSelector": {"labels": {"app": name}}, **SIDECARS[like][1]}


def host_of(name: str) -> Host:
    """The host of a case."""
    return Host(f"{name}.example.net")


BLOCKED = [host_of(name) for name, case in BEFORE.items() if case.code]
FREE = [host_of(name) for name, case in BEFORE.items() if not case.code]
CHANGED = [host_of(name) for name in AFTER]
HOSTS = [*BLOCKED, *FREE, *CHANGED]
APART = [host_of(name) for name in SIDECARS]
"""Each called by one Deployment of the other namespace."""


def harmless(host: Host, made: Body) -> Body:
    """The same object for a host that nobody calls."""
    other = f"not-{host.name}"
    return {**made, "spec": {**made["spec"], **({"host": other} if made["kind"] == RULE else {"hosts": [other]})}}


def names(hosts: Sequence[Host]) -> list[str]:
    return [host.name for host in hosts]


def caller(name: str, namespace: str, hosts: Sequence[Host]) -> Body:
    """A Deployment that calls hosts, one after the other."""
    calls = " ".join(f"-o /dev/null https://{host.name}/status/200" for host in hosts)
    return build.deployment(
        name,
        namespace,
        command=["sh", "-c", f"while sleep .3; do curl -s -m 2 {calls}; done"],
        annotations=NATIVE,
        terminationGracePeriodSeconds=1,
    )


def verdicts(scene: Scene, hosts: Sequence[Host], window: str = "10s") -> dict[str, Body]:
    """What `verify` says, by host."""
    run = scene.egress("verify", *names(hosts), "--window", window, "-o", "json")
    found = {item["host"]: item for item in run.document()["items"]}
    proven = all(item["verdict"] == VERIFIED for item in found.values())
    assert run.status == (0 if proven else 3), run
    return found


# ---- the scene --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowd(cluster: RealLab) -> Iterator[Crowd]:
    """One workload that calls all hosts, beside what others have for them."""
    with crowd_of(cluster, names([*HOSTS, *APART])) as found:
        elsewhere = found.elsewhere.namespace
        for name in SIDECARS:
            metadata = build.metadata(name, elsewhere)
            found.create([{"kind": "Sidecar", "metadata": metadata, "spec": selecting(name, name)}])
            found.elsewhere.create(caller(name, elsewhere, [host_of(name)]))
        place = {host: found.place(host) for host in HOSTS}
        found.create(
            other(host_of(name), place[host_of(name)]) for name, case in BEFORE.items() for other in case.others
        )
        found.create(
            harmless(host_of(name), other(host_of(name), place[host_of(name)]))
            for name, case in AFTER.items()
            for other in case.edited
        )
        found.scene.create(caller(CALLER, found.scene.namespace, HOSTS))
        found.scene.rolled_out(CALLER)
        time.sleep(1.05 - time.time() % 1)  # ours are to be younger, and objects tell their age by the second
        yield found


def theirs_of(crowd: Crowd, cases: Iterable[str]) -> dict[str, Body]:
    """What others wrote for the hosts of these cases, by kind and name."""
    known = {f"theirs-{host_of(name).name}" for name in cases}
    return {f"{kind}/{name}": body for (kind, name), body in crowd.scene.state().items() if name in known}


@pytest.fixture(scope="module")
def theirs(crowd: Crowd) -> Mapping[str, Body]:
    """What others wrote, as it was before anything was migrated."""
    return theirs_of(crowd, BEFORE)


@pytest.fixture(scope="module")
def planned(crowd: Crowd) -> Run:
    """The plan of a migration of all."""
    return crowd.scene.egress("migrate", *names(HOSTS), "-o", "plan")


@pytest.fixture(scope="module")
def migrated(crowd: Crowd, theirs: Mapping[str, Body], planned: Run) -> Mapping[str, Body]:
    """What `verify` says once all hosts are migrated that nothing stands in the way of."""
    run = crowd.scene.egress("migrate", *names([*FREE, *CHANGED]), "-y", "--window", "40s")
    assert run.status == 0, run
    return verdicts(crowd.scene, [*FREE, *CHANGED])


@dataclass(frozen=True)
class Later:
    """What `verify` says once others have come, and what has left in clear until then."""

    said: Mapping[str, Body]
    in_clear: Mapping[str, int]


@pytest.fixture(scope="module")
def later(crowd: Crowd, migrated: Mapping[str, Body]) -> Later:
    assert sum(crowd.in_clear().values()) == 0
    scene = crowd.scene
    for name, case in AFTER.items():
        host = host_of(name)
        place = {**crowd.place(host), "alias": alias_of(scene.get(ENTRY, object_name(host)))}
        if case.deleted:
            scene.delete(case.deleted, object_name(host))
        for other in case.edited:
            made = other(host, place)
            scene.patch(made["kind"], made["metadata"]["name"], PatchOperation("replace", ("spec",), made["spec"]))
        crowd.create(other(host, place) for other in case.created)
    for _ in range(ROUNDS):
        found = Later(verdicts(scene, CHANGED), crowd.in_clear())
        if all(found.said[host_of(name).name]["verdict"] in case.expected for name, case in AFTER.items()):
            break
    return found


# ---- what is said -----------------------------------------------------------------------------------------------------


def test_all_together_are_refused_and_nothing_is_changed(crowd: Crowd, planned: Run) -> None:
    before = crowd.scene.versions()
    run = crowd.scene.egress("migrate", *names(HOSTS), "-y")
    assert run.status == planned.status == 3, run
    for code in {case.code for case in BEFORE.values()}:
        assert code in run.err
    assert crowd.scene.versions() == before


@pytest.mark.parametrize("name", BEFORE)
def test_what_stands_in_the_way(planned: Run, name: str) -> None:
    said = [one for one in planned.document()["findings"] if one.get("host") == host_of(name).name]
    blocking = {one["code"] for one in said if one["severity"] == "block"}
    assert blocking == set(filter(None, [BEFORE[name].code])), said
    assert all(one["remedy"] for one in said)


def test_what_nothing_stands_in_the_way_of_is_verified(crowd: Crowd, migrated: Mapping[str, Body]) -> None:
    assert {name: item["verdict"] for name, item in migrated.items()} == dict.fromkeys(
        names([*FREE, *CHANGED]), VERIFIED
    )


@pytest.mark.parametrize("name", AFTER)
def test_what_is_said_of_what_comes_later(later: Later, name: str) -> None:
    case, host = AFTER[name], host_of(name).name
    item = later.said[host]
    assert item["verdict"] in case.expected, item
    assert (item["verdict"] == LEAKING) is (later.in_clear[host] > 0), (item, later.in_clear[host])
    if item["verdict"] != VERIFIED:
        assert case.names in item["reason"]


def test_an_undo_takes_ours_away_and_leaves_theirs(crowd: Crowd, theirs: Mapping[str, Body], later: Later) -> None:
    run = crowd.scene.egress("undo", "--all", "-y")
    assert run.status == 0, run
    assert not {name for _, name in crowd.scene.objects() if "egress" in name}
    assert theirs_of(crowd, BEFORE) == theirs
    script = crowd.scene.get("Deployment", CALLER)["spec"]["template"]["spec"]
    assert "http://" not in str(script)
    assert "hostAliases" not in script


# ---- the other namespace ----------------------------------------------------------------------------------------------


def blocking(run: Run, host: Host) -> set[str]:
    """The findings of a plan that block a host's migration."""
    return {one["code"] for one in run.document()["findings"] if one["severity"] == "block" and about(one, host)}


def about(finding: Body, host: Host) -> bool:
    """Whether a finding concerns the host; one without a host concerns all."""
    return bool(finding.get("host", host.name) == host.name)


def test_what_a_sidecar_hides_is_not_migrated_and_what_it_refuses_is(crowd: Crowd) -> None:
    scene = crowd.elsewhere
    for name in SIDECARS:
        scene.rolled_out(name)
    plan = scene.egress("migrate", *names(APART), "-o", "plan")
    assert plan.status == 3, plan
    assert {name: blocking(plan, host_of(name)) for name in SIDECARS} == {
        name: {code} if code else set() for name, (code, _) in SIDECARS.items()
    }
    host = host_of("registry-only").name
    [item] = [one for one in scene.egress("inspect", "-o", "json").document()["items"] if one["host"] == host]
    assert item["visibility"] == "blocked"
    run = scene.egress("migrate", host, "-y")
    assert run.status == 0, run
    assert verdicts(scene, [Host(host)])[host]["verdict"] == VERIFIED
    assert scene.egress("list", "--exit-code").status == 0
    scene.patch("Sidecar", "registry-only", PatchOperation("replace", ("spec",), selecting("registry-only", "narrow")))
    for _ in range(ROUNDS):
        item = verdicts(scene, [Host(host)], "3s")[host]
        if item["verdict"] != VERIFIED:
            break
    assert item["verdict"] in (SILENT, *NOT_SERVED), item
    assert "Sidecar" in item["reason"]
    listed = scene.egress("list", "-o", "json", "--exit-code")
    assert listed.status == 3, listed
    assert "conflict" in {drift["code"] for one in listed.document()["items"] for drift in one["drift"]}
    run = scene.egress("undo", host, "-y")
    assert run.status == 0, run


def test_an_entry_that_takes_all_of_port_80_stands_in_the_way_of_every_host(crowd: Crowd) -> None:
    scene = crowd.elsewhere
    tcp = entry("elsewhere", exportTo=["."], ports=[{"number": 80, "name": "tcp", "protocol": "TCP"}])
    other = Host("database.example.net")
    body = tcp(other, crowd.place(APART[0]))
    crowd.create([body])
    try:
        plan = scene.egress("migrate", *names(APART), "-o", "plan")
        assert all("entry-conflict" in blocking(plan, host) for host in APART), plan
    finally:
        scene.delete(ENTRY, body["metadata"]["name"])
    assert sum(scene.counters().clear_requests.get(host.name, {}).get(80, 0) for host in APART) == 0
