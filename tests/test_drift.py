from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from kubectl_egress.cli import verify_cluster
from kubectl_egress.cli.verify_cluster import explained, takers_of
from kubectl_egress.drift import CODES, Migrations, migrations, originals_of, readable
from kubectl_egress.drift.mesh_objects import mesh_drifts
from kubectl_egress.errors import EgressError
from kubectl_egress.journal import MeshRecord
from kubectl_egress.mesh import SUBSET
from kubectl_egress.model import Body, Document, Guard, Host, Judgement, ProxyUnread, Ref, Survey, Verdict
from kubectl_egress.plan import MigrationRequest, plan_migration
from kubectl_egress.report.migrations import age, migrations_document, migrations_summary, migrations_table
from tests import build
from tests.build_mesh import entry, port, route, rule, sidecar, survey_of

HOST = Host("httpbin.org")
URL = "https://httpbin.org/get"
CALLER = build.deployment("app", env={"API": URL})
READER = build.deployment(
    "reader", env=[{"name": "API", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "url"}}}]
)
SETTINGS = build.config_map("settings", {"url": URL})
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def migrated(*bodies: Body, maps: Any = (), asked: Mapping[str, Any] | None = None, **change: Any) -> Survey:
    """A namespace as a migration leaves it; `change`: objects by kind (None: gone) in place of what it wrote."""
    survey, sites = survey_of(*bodies, maps=maps)
    request = MigrationRequest(
        (HOST,), run="abc123", by="eve@laptop", started="2026-01-01T00:00:00+00:00", **(asked or {})
    )
    written: dict[Ref, Body] = {build.ref(body): body for body in (*bodies, *maps)}
    for step in plan_migration(survey, sites, (), request).steps:
        if step.ref is not None and step.after is not None:
            written[step.ref] = step.after
    kept = [body for body in written.values() if change.get(body["kind"], body) is not None]
    kept = [change.get(body["kind"], body) for body in kept]
    after, _ = survey_of(
        *(body for body in kept if body["kind"] == "Deployment"),
        maps=[body for body in kept if body["kind"] == "ConfigMap" and not _journal(body)],
        objects=[build.document(body) for body in kept if "istio" in body["apiVersion"]],
        journals=tuple(build.document(body) for body in kept if _journal(body)),
    )
    return after


def _journal(body: Body) -> bool:
    return bool(body["kind"] == "ConfigMap") and str(body["metadata"]["name"]).startswith("kubectl-egress.")


def codes(survey: Survey, originals: dict[Ref, Body | None] | None = None) -> list[str]:
    found = originals if originals is not None else dict.fromkeys(originals_of(survey), SETTINGS)
    return [drift.code for drift in migrations(survey, found, None).drifts]


def test_nothing_is_migrated() -> None:
    found = migrations(survey_of(CALLER)[0], {}, None)
    assert found == Migrations(build.NAMESPACE, ())
    assert migrations_table(found, NOW) == ""
    assert migrations_document(found)["items"] == []
    assert migrations_summary(found) == "Nothing is migrated in namespace test-ext-svc.\n"


def test_what_is_as_it_was_left_has_not_drifted() -> None:
    assert [code for code in codes(migrated(CALLER)) if code != "unfinished"] == []
    assert codes(migrated(CALLER, READER, maps=(SETTINGS,))) == []


def test_the_table_at_one_glance() -> None:
    assert migrations_table(migrations(migrated(CALLER), {}, None), NOW) == (
        "HOST          CALLERS          PHASE      FAILS    DRIFT    RUN      BY           AGE\n"
        "httpbin.org   deployment/app   migrated   closed   <none>   abc123   eve@laptop   24h\n"
    )


@pytest.mark.parametrize(
    ("asked", "fails", "guarded"),
    [
        ({}, "open", "open"),
        ({"guard": Guard()}, "guarded", "guarded"),
        ({"fail_open": True}, "open", "open"),
        ({"named": True}, "", ""),
    ],
)
def test_who_passes_the_alias_by_does_not_fail_closed(asked: Mapping[str, Any], fails: str, guarded: str) -> None:
    """One of two callers finds the host's address by itself: the host is as good as its worst caller."""
    resolves = build.deployment("own", command=["sh", "-c", f"curl --resolve httpbin.org:443:203.0.113.9 {URL}"])
    for callers, said in (((CALLER, resolves), fails), ((resolves,), guarded)):
        survey = migrated(*callers, asked=asked)
        found = migrations(survey, {}, None)
        assert [one.fails for one in found.items] == [said]
        [told] = migrations_document(found)["items"]
        assert (told["failsClosed"], told.get("guarded", False)) == (False, said == "guarded")
    [closed] = migrations(migrated(CALLER), {}, None).items
    assert closed.fails == "closed"


def test_of_a_host_that_is_known_by_name_there_is_nothing_to_prove() -> None:
    survey = migrated(CALLER, asked={"named": True})
    found = migrations(survey, {}, None)
    assert "httpbin.org   <none>    named   <none>" in migrations_table(found, NOW)
    assert [one["named"] for one in migrations_document(found)["items"]] == [True]
    with pytest.raises(
        EgressError, match=r"nothing to prove in namespace \S+: of httpbin\.org the mesh knows the name alone"
    ):
        verify_cluster._pairs(survey, [])


def edited(body: Body, **spec: Any) -> Body:
    return {**body, "spec": {**body["spec"], **spec}}


@pytest.mark.parametrize("kind", ["DestinationRule", "ServiceEntry", "VirtualService"])
def test_a_mesh_object_that_is_gone_or_changed(kind: str) -> None:
    assert codes(migrated(CALLER, **{kind: None})) == ["object-gone"]
    body = next(one.body for one in migrated(CALLER).mesh_objects if one.ref.kind == kind)
    survey = migrated(CALLER, **{kind: edited(body, exportTo=["*"])})
    [drift] = migrations(survey, {}, None).drifts
    assert (drift.code, drift.message) == ("object-changed", "somebody else changed .spec.exportTo[0]")
    unlabelled = {**body, "metadata": {**body["metadata"], "labels": {}}}
    assert codes(migrated(CALLER, **{kind: unlabelled})) == ["object-changed"]


def conflicts(*others: Document) -> list[tuple[str, str]]:
    survey = migrated(CALLER)
    found = migrations(replace(survey, mesh_objects=(*survey.mesh_objects, *others)), {}, None)
    return [(drift.code, drift.object.name) for drift in found.drifts]


def alias() -> str:
    [journal] = readable(migrated(CALLER))
    return journal.alias


def test_what_others_have_for_the_host_is_a_drift_where_it_takes_ours_over() -> None:
    same_subset = [{"name": SUBSET, "trafficPolicy": {"tls": {"mode": "DISABLE"}}}]
    tcp: dict[str, Any] = {"hosts": ["db.example.com"], "ports": [port(80, "TCP")]}
    assert conflicts(route()) == [("conflict", "httpbin")]
    assert conflicts(rule(subsets=same_subset)) == [("conflict", "httpbin")]
    assert conflicts(entry(addresses=[alias()], **tcp)) == [("conflict", "httpbin")]
    assert conflicts(sidecar(egress=[{"hosts": ["istio-system/*"]}])) == [("conflict", "default")]
    assert conflicts(route(gateways=["shop/entrance"]), entry(addresses=["203.0.113.9"], **tcp)) == []
    assert conflicts(route(hosts=["*.org"]), rule(namespace="elsewhere")) == []


@pytest.mark.parametrize("judgement", list(Judgement))
def test_verify_names_what_others_have_where_it_is_not_verified(judgement: Judgement) -> None:
    survey = migrated(CALLER)
    seen = replace(survey, mesh_objects=(*survey.mesh_objects, route()))
    verdict = Verdict(HOST, build.ref(CALLER), judgement, "because", True, ())
    other = replace(verdict, host=Host("other.example.com"))
    [found, unconcerned] = explained([verdict, other], seen)
    named = found.reason.startswith("because; VirtualService test-ext-svc/httpbin routes the host already")
    assert named is (judgement is not Judgement.VERIFIED)
    assert unconcerned == other
    assert explained([verdict], survey) == (verdict,)


def test_verify_asks_for_the_cluster_of_an_entry_that_takes_the_alias() -> None:
    survey = migrated(CALLER)
    tcp: dict[str, Any] = {"hosts": ["db.example.com"], "ports": [port(80, "TCP")]}

    def found(*others: Document) -> dict[Host, tuple[str, ...]]:
        return takers_of(replace(survey, mesh_objects=(*survey.mesh_objects, *others)))

    assert found(entry(addresses=["192.0.2.0/24"], **tcp)) == {HOST: ("db.example.com",)}
    assert found(entry(addresses=[alias()], **{**tcp, "ports": [port(80, "HTTP")]})) == {}
    assert found(entry(addresses=[alias()], **{**tcp, "ports": [port(5432, "TCP")]})) == {}
    assert found(entry(namespace="elsewhere", addresses=[alias()], exportTo=["."], **tcp)) == {}
    assert found(entry(addresses=["203.0.113.9", "no-address"], **tcp), entry(**tcp)) == {}


def test_a_journal_that_nobody_can_read_hides_no_conflict_of_the_others() -> None:
    survey = migrated(CALLER)
    [journal] = survey.journals
    broken = Document(replace(journal.ref, name="kubectl-egress.broken"), {**journal.body, "data": {}})
    more = replace(survey, journals=(broken, journal), mesh_objects=(*survey.mesh_objects, route()))
    assert [drift.code for drift in migrations(more, {}, None).drifts] == ["unread", "conflict"]


def test_what_the_api_server_fills_in_is_no_change() -> None:
    ref = Ref("Service", build.NAMESPACE, "short", "v1")
    wanted = {"metadata": {"name": "short"}, "spec": {"ports": [{"port": 80}]}}
    served = {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "clusterIP": "10.0.0.7",
        "type": "ClusterIP",
    }
    [journal] = readable(migrated(CALLER))

    def drifts(spec: Body) -> list[str]:
        body = {"apiVersion": "v1", "kind": "Service", "metadata": build.metadata("short"), "spec": spec}
        survey, _ = survey_of(objects=[build.document(body)])
        return [one.message for one in mesh_drifts(MeshRecord(ref, None, wanted), journal, survey)]

    assert drifts(served) == []
    assert drifts({**served, "ports": [{"port": 81}]}) == ["somebody else changed .spec.ports[0].port"]


def test_an_unfinished_run_says_how_to_go_on() -> None:
    survey = migrated(CALLER)
    [journal] = survey.journals
    text = journal.body["data"]["journal.json"].replace('"migrated"', '"undoing"')
    moved = Document(journal.ref, {**journal.body, "data": {"journal.json": text}})
    found = migrations(survey_of(CALLER, journals=(moved,))[0], {}, None).drifts
    assert found[0].code == "unfinished"
    assert found[0].remedy.startswith("kubectl egress undo httpbin.org")


def test_workloads_that_others_have_changed() -> None:
    assert codes(migrated(CALLER, Deployment=None)) == ["workload-gone"]
    assert codes(migrated(CALLER, Deployment=CALLER)) == ["url-changed", "alias-lost"]
    assert codes(migrated(CALLER, Deployment=build.deployment("app"))) == ["url-changed", "alias-lost"]


def test_config_maps_that_others_have_changed() -> None:
    survey = migrated(READER, maps=(SETTINGS,))
    [original] = originals_of(survey)
    assert codes(survey, {original: None}) == ["original-gone"]
    assert codes(survey, {original: build.config_map("settings", {"url": URL, "more": "x"})}) == ["original-changed"]
    without = migrated(READER, maps=(SETTINGS,), ConfigMap=None)
    journals = survey.journals
    gone = survey_of(*(one.document.body for one in survey.workloads), objects=survey.mesh_objects, journals=journals)
    assert without.journals == ()
    assert codes(gone[0]) == ["copy-gone"]


def test_proxies_are_asked_or_it_is_not_claimed() -> None:
    pods = {"app": [build.pod("app-1")]}
    survey = migrated(CALLER)
    workload = survey.workloads[0].document.body
    template = workload["spec"]["template"]
    with_pods, _ = survey_of(
        workload,
        objects=survey.mesh_objects,
        journals=survey.journals,
        pods={"app": [build.pod("app-1", template=template)]},
    )
    ref = Ref("Pod", build.NAMESPACE, "app-1")
    found = migrations(with_pods, {}, {ref: ProxyUnread(ref, "no answer")})
    assert [(drift.code, drift.message) for drift in found.drifts] == [("unread", "no answer")]
    assert found.items[0].proxies == 1
    old, _ = survey_of(workload, objects=survey.mesh_objects, journals=survey.journals, pods=pods)
    assert codes(old) == ["alias-lost"], "the pod runs with an older template"


def test_a_journal_that_nobody_can_read_hides_no_other() -> None:
    survey = migrated(CALLER)
    broken = build.document({**broken_journal(survey), "data": {"journal.json": "{"}})
    both, _ = survey_of(
        *(one.document.body for one in survey.workloads),
        objects=survey.mesh_objects,
        journals=(*survey.journals, broken),
    )
    found = migrations(both, {}, None)
    assert len(found.items) == 1
    assert [drift.code for drift in found.drifts] == ["unread"]


def broken_journal(survey: Survey) -> dict[str, Any]:
    body = dict(survey.journals[0].body)
    return {**body, "metadata": {**body["metadata"], "name": "kubectl-egress.broken"}}


@pytest.mark.parametrize(
    ("started", "shown"),
    [
        ("2026-01-01T23:59:01+00:00", "59s"),
        ("2026-01-01T23:00:00+00:00", "60m"),
        ("2026-01-01T00:00:00+00:00", "24h"),
        ("2025-12-29T20:00:00+00:00", "3d4h"),
        ("2025-11-01T00:00:00+00:00", "62d"),
        ("2027-01-01T00:00:00+00:00", "<unknown>"),
        ("yesterday", "<unknown>"),
    ],
)
def test_age_as_kubectl_shows_it(started: str, shown: str) -> None:
    assert age(started, NOW) == shown


def test_every_code_has_a_meaning() -> None:
    assert all(CODES.values())


def test_settings_that_say_a_call_together_are_looked_at_too() -> None:
    pay = {"PAY_SCHEME": "https", "PAY_HOST": "httpbin.org", "PAY_PORT": "443"}
    assert codes(migrated(build.deployment("app", env=pay))) == []
    for changed in ("https", "tcp"):
        after = {"PAY_SCHEME": changed, "PAY_HOST": "httpbin.org", "PAY_PORT": "80"}
        body = build.deployment("app", env=after, hostAliases=[{"ip": "192.0.2.1", "hostnames": ["httpbin.org"]}])
        (drift,) = migrations(migrated(build.deployment("app", env=pay), Deployment=body), {}, None).drifts
        assert drift.code == "url-changed"
        assert ".env[0].value" in drift.message
