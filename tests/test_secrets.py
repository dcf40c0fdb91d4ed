"""Secrets (`--include-secrets`): read as ConfigMaps are, copied as they are, and shown nowhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress import drift, findings, inspection, secret_values
from kubectl_egress.errors import EgressError
from kubectl_egress.journal import from_config_map, is_journal, to_config_map
from kubectl_egress.model import Action, Body, CallSite, Denied, Plan, Ref, Severity, Wait
from kubectl_egress.plan import permissions, plan_undo
from kubectl_egress.report.inspect import inspect_document, inspect_table
from kubectl_egress.report.plan import outcome_line, plan_document, plan_text
from kubectl_egress.scan import scan, shown_site, source_references
from tests.build import NAMESPACE, config_map, config_maps, container, deployment, document, secret
from tests.build_mesh import survey_of
from tests.test_plan import HTTPBIN, OTHER, World, migration

CANARY = "canary7f3a"
URL = f"https://bob:{CANARY}@httpbin.org/{CANARY}?token={CANARY}&plain={CANARY}"
PROPERTIES = f"password={CANARY}\nfirst=https://httpbin.org/{CANARY}\nsecond=https://api.example.com:443/{CANARY}\n"
KEYS = {"valueFrom": {"secretKeyRef": {"name": "creds", "key": "url"}}}
CREDS = Ref("Secret", NAMESPACE, "creds", "v1")


def caller(**more: Any) -> dict[str, Any]:
    """A Deployment that reads one key of a Secret as a variable, and all of another as files."""
    app = container(
        "app", env=[{"name": "API", **KEYS}], volumeMounts=[{"name": "files", "mountPath": "/etc/app"}], **more
    )
    return deployment("app", containers=[app], volumes=[{"name": "files", "secret": {"secretName": "files"}}])


def world(**more: Any) -> World:
    return World(
        caller(**more),
        secret("creds", {"url": URL, "other": CANARY}),
        secret("files", {"app.properties": PROPERTIES}),
    )


def secrets_in(world: World) -> dict[str, Any]:
    """The texts of every Secret."""
    found = {ref.name: secret_values.readable(body) for ref, body in world.objects.items() if ref.kind == "Secret"}
    return {name: body["data"] for name, body in found.items()}


# ---- values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("Opaque", True),
        ("", True),
        ("servicebinding.io/postgresql", True),
        ("kubernetes.io/tls", False),
        ("kubernetes.io/service-account-token", False),
        ("kubernetes.io/dockerconfigjson", False),
        ("helm.sh/release.v1", False),
        ("istio.io/key-and-cert", False),
    ],
)
def test_secrets_of_machines_are_left_alone(kind: str, read: bool) -> None:
    assert secret_values.is_read({"type": kind}) is read
    assert not secret_values.is_read({"type": "Opaque", "sops": {}})


@given(st.dictionaries(st.sampled_from("abcdef"), st.binary(max_size=20)))
def test_what_is_read_is_stored_as_it_was(values: dict[str, bytes]) -> None:
    encoded = {key: base64.b64encode(value).decode() for key, value in values.items()}
    body = {"kind": "Secret", "metadata": {"name": "x"}, "type": "Opaque", "data": encoded}
    assert secret_values.stored(secret_values.readable(body)) == body


def test_what_is_no_text_or_no_base64_is_left_as_it_is() -> None:
    body = {"data": {"bytes": "/w==", "broken": "a", "nothing": None}, "stringData": {"a": "x", "bytes": "y"}}
    assert secret_values.readable(body) == {
        "data": {"a": "x", "bytes": "y"},
        "binaryData": {"broken": "a", "nothing": None},
    }


def test_what_kubectl_apply_keeps_of_the_values_is_not_kept() -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": CANARY, "own": "kept"}
    body = secret("x", {}, metadata={"name": "x", "annotations": annotations})
    assert secret_values.readable(body)["metadata"] == {"name": "x", "annotations": {"own": "kept"}}


# ---- call sites ---------------------------------------------------------------------------------------------------


def found(body: Body, *sources: Body) -> tuple[CallSite, ...]:
    return scan(document(body), config_maps(*sources))


def test_a_secret_that_was_not_read_is_no_call_site() -> None:
    assert found(caller()) == ()


def test_nothing_is_found_in_keys_that_no_container_reads() -> None:
    assert found(deployment(env=[{"name": "API", **KEYS}]), secret("creds", {"unread": URL})) == ()


def test_a_config_map_of_the_same_name_is_another_object() -> None:
    assert found(deployment(env=[{"name": "API", **KEYS}]), config_map("creds", {"url": URL})) == ()


@pytest.mark.parametrize(
    ("more", "spec"),
    [
        ({"env": [{"name": "API", **KEYS}]}, {}),
        ({"envFrom": [{"prefix": "X_", "secretRef": {"name": "creds"}}]}, {}),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            {"volumes": [{"name": "v", "secret": {"secretName": "creds", "items": [{"key": "url", "path": "u"}]}}]},
        ),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "url"}]},
            {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "creds"}}]}}]},
        ),
    ],
)
def test_every_way_to_read_a_secret(more: dict[str, Any], spec: dict[str, Any]) -> None:
    body = deployment(containers=[container("app", **more)], **spec)
    (site,) = found(body, secret("creds", {"url": URL, "elsewhere": "x"}))
    assert (site.object, site.steps, site.entry, site.host, site.rewritable) == (
        *(CREDS, ("data", "url"), "url"),
        *(HTTPBIN, True),
    )
    assert [(kind, name) for _, kind, name in source_references(body["spec"]["template"])] == [("Secret", "creds")]


def test_of_its_url_nothing_is_shown_but_scheme_host_and_port() -> None:
    texts = {"url": URL, "port": f"https://httpbin.org:8443/{CANARY}", "plain": f"http://httpbin.org/{CANARY}"}
    app = container("app", envFrom=[{"secretRef": {"name": "creds"}}])
    sites = found(deployment(containers=[app]), secret("creds", texts))
    assert sorted(map(shown_site, sites)) == [
        *("http://httpbin.org", "https://httpbin.org", "https://httpbin.org:8443"),
    ]


def test_a_url_that_a_variable_of_a_secret_completes_is_not_shown_either() -> None:
    env = [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "creds", "key": "token"}}},
        {"name": "HOST", "value": "httpbin.org"},
        {"name": "PATH_OF_IT", "value": "/v1/$(TOKEN)"},
        {"name": "API", "value": "https://$(HOST)$(PATH_OF_IT)"},
    ]
    (site,) = found(deployment(env=env), secret("creds", {"token": CANARY}))
    assert CANARY in site.url.text
    assert shown_site(site) == "https://httpbin.org"


def test_settings_of_a_secret_say_a_call_together() -> None:
    texts = {"API_SCHEME": "https", "API_HOST": "httpbin.org", "API_PORT": "443"}
    app = container("app", envFrom=[{"secretRef": {"name": "creds"}}])
    sites = found(deployment(containers=[app]), secret("creds", texts))
    assert [(site.steps[-1], site.part.role if site.part else "", site.secret) for site in sites] == [
        ("API_SCHEME", "scheme", True),
        ("API_PORT", "port", True),
    ]


def test_user_info_whose_length_a_journal_would_tell_is_left_alone() -> None:
    app = container("app", envFrom=[{"secretRef": {"name": "creds"}}])
    texts = {"a": f"https://bob:{CANARY}@httpbin.org:443/", "b": "https://httpbin.org:443/", "c": URL}
    sites = found(deployment(containers=[app]), secret("creds", texts))
    assert [site.rewritable for site in sites] == [False, True, True]
    (same,) = found(deployment(env={"API": f"https://bob:{CANARY}@httpbin.org:443/"}))
    assert same.rewritable


# ---- findings -------------------------------------------------------------------------------------------------------


def codes(*sources: Body, **more: Any) -> dict[str, Severity]:
    survey, sites = survey_of(deployment("app", env=[{"name": "API_URL", **KEYS}]), maps=sources, **more)
    return {one.code: one.severity for one in findings.check(survey, sites, None)}


def test_settings_whose_secret_was_read_are_not_told_as_unread() -> None:
    assert "not-rewritable" in codes()
    assert "not-rewritable" in codes(secret("other", {"url": URL}), with_secrets=True)
    assert "not-rewritable" not in codes(secret("creds", {"url": URL}), with_secrets=True)


@pytest.mark.parametrize(
    "marks",
    [
        {"ownerReferences": [{"kind": "ExternalSecret", "name": "creds"}]},
        {"labels": {"reconcile.external-secrets.io/managed": "true"}},
        {"annotations": {"replicator.v1.mittwald.de/replicated-from": "x/y"}},
    ],
)
def test_a_secret_that_something_renews_stops_a_migration(marks: dict[str, Any]) -> None:
    plain = secret("creds", {"url": URL})
    renewed = {**plain, "metadata": {**plain["metadata"], **marks}}
    assert "gitops-owned" not in codes(plain, live=True)
    assert "gitops-owned" not in codes(renewed)
    assert codes(renewed, live=True)["gitops-owned"] is Severity.BLOCK


def test_another_reader_of_the_secret_is_a_warning() -> None:
    readers = {CREDS: (Ref("Deployment", NAMESPACE, "app"), Ref("Deployment", NAMESPACE, "b"))}
    assert "shared-source" not in codes(secret("creds", {"url": URL}), live=True)
    assert codes(secret("creds", {"url": URL}), live=True, readers=readers)["shared-source"] is Severity.WARN


DENIED = (Denied("get", "secrets", NAMESPACE, "may not"),)


def test_secrets_that_may_not_be_read_stop_only_who_asked_for_them() -> None:
    assert codes(denied=DENIED, with_secrets=True)["no-permission"] is Severity.BLOCK
    assert codes(denied=DENIED)["no-permission"] is Severity.WARN


# ---- migrate and undo -----------------------------------------------------------------------------------------------


def test_a_second_run_has_nothing_to_do() -> None:
    there = world()
    there.do(migration(there, HTTPBIN).steps)
    assert migration(there, HTTPBIN).steps == ()


def test_without_the_flag_secrets_stay_and_nothing_names_them() -> None:
    there = world()
    there.with_secrets = False
    plan = migration(there, HTTPBIN)
    assert Action.PATCH not in {step.action for step in plan.steps}
    assert "Secret" not in {step.ref.kind for step in plan.steps if step.ref}


def test_originals_stay_and_pods_read_copies_of_the_same_type() -> None:
    there = world()
    before = there.bodies()
    plan = migration(there, HTTPBIN)
    there.do(plan.steps)
    assert {ref: body for ref, body in there.objects.items() if ref in (CREDS, replace(CREDS, name="files"))} == {
        ref: body for ref, body in before.items() if ref.kind == "Secret"
    }
    texts = secrets_in(there)
    creds, files = sorted(name for name in texts if "-" in name)
    assert texts[creds] == {"url": URL.replace("https", "http"), "other": CANARY}
    assert texts[files] == {"app.properties": PROPERTIES.replace("https://httpbin", "http://httpbin")}
    assert there.objects[replace(CREDS, name=creds)]["type"] == "Opaque"
    template = json.dumps(there.objects[Ref("Deployment", NAMESPACE, "app")]["spec"]["template"])
    assert creds in template
    assert files in template
    assert ("create", replace(CREDS, name=creds)) in permissions(plan.steps)
    assert {verb for verb, ref in permissions(plan.steps) if ref.kind == "Secret"} == {"get", "create", "delete"}


def test_undo_is_identity() -> None:
    there = world()
    before = there.bodies()
    there.do(migration(there, HTTPBIN).steps)
    there.do(plan_undo(there.survey(), [HTTPBIN]).steps)
    assert there.objects == before


def test_every_prefix_of_a_migration_can_be_finished_and_undone() -> None:
    steps = migration(world(), HTTPBIN).steps
    whole = world()
    whole.do(steps)
    for length in range(1, len(steps) + 1):
        on, back = world(), world()
        before = back.bodies()
        on.do(steps[:length])
        on.do(migration(on, HTTPBIN).steps)
        assert {ref: body.get("data") for ref, body in on.objects.items() if not is_journal(body)} == {
            ref: body.get("data") for ref, body in whole.objects.items() if not is_journal(body)
        }
        back.do(steps[:length])
        back.do(plan_undo(back.survey(), [HTTPBIN]).steps)
        assert back.objects == before


def test_of_two_hosts_in_one_secret_each_can_be_undone_alone() -> None:
    for first, second in ((HTTPBIN, OTHER), (OTHER, HTTPBIN)):
        there = world()
        before = there.bodies()
        there.do(migration(there, HTTPBIN).steps)
        there.do(migration(there, OTHER).steps)
        there.do(plan_undo(there.survey(), [first]).steps)
        copies = [text["app.properties"] for name, text in secrets_in(there).items() if name.startswith("files-")]
        assert f"https://{first.name}" in copies[-1]
        assert f"http://{second.name}" in copies[-1]
        there.do(plan_undo(there.survey(), [second]).steps)
        assert there.objects == before


def test_every_prefix_of_an_undo_of_one_of_two_hosts_leaves_no_copy_behind_in_the_end() -> None:
    def migrated() -> World:
        there = world()
        there.do(migration(there, HTTPBIN).steps)
        there.do(migration(there, OTHER).steps)
        return there

    before = world().bodies()
    steps = plan_undo(migrated().survey(), [HTTPBIN]).steps
    for length in range(len(steps)):
        there = migrated()
        there.do(steps[:length])
        there.do(plan_undo(there.survey(), [OTHER]).steps)
        there.do(plan_undo(there.survey(), [HTTPBIN]).steps)
        assert there.objects == before


def test_a_copy_that_somebody_deleted_or_took_for_his_own_is_pointed_back_from_all_the_same() -> None:
    for taken in (True, False):
        there = world()
        before = there.bodies()
        there.do(migration(there, HTTPBIN).steps)
        for ref in [ref for ref in there.objects if ref.kind == "Secret" and "-" in ref.name]:
            if taken:
                there.objects[ref]["metadata"]["labels"] = {}
            else:
                del there.objects[ref]
        there.do(plan_undo(there.survey(), [HTTPBIN]).steps)
        assert there.objects[Ref("Deployment", NAMESPACE, "app")] == before[Ref("Deployment", NAMESPACE, "app")]


def test_an_undo_that_may_not_read_the_copies_changes_nothing() -> None:
    there = world()
    there.do(migration(there, HTTPBIN).steps)
    blind = replace(there.survey(), secrets={}, denied=DENIED)
    with pytest.raises(EgressError, match="may not be read"):
        plan_undo(blind, [HTTPBIN])


def test_a_pod_of_the_copy_is_awaited_before_anything_is_taken_away() -> None:
    there = world()
    there.do(migration(there, HTTPBIN).steps)
    steps = plan_undo(there.survey(), [HTTPBIN]).steps
    orders = {step.ref.kind if step.ref else step.wait: step.order for step in steps}
    assert orders[Wait.NO_OLD_PODS] < orders["ServiceEntry"]
    assert orders[Wait.NO_OLD_PODS] < orders["Secret"]


def drifts(there: World, **more: Any) -> list[tuple[str, str]]:
    survey = replace(there.survey(), **more)
    known = {ref: survey.secrets.get(ref) for ref in drift.originals_of(survey)}
    assert sorted(ref.name for ref in known) == ["creds", "files"]
    (found,) = drift.migrations(survey, known, None).items
    return [(one.code, one.object.name) for one in found.drifts if one.object.kind == "Secret"]


def test_drift_is_told_of_secrets_as_of_config_maps_and_not_guessed_where_they_may_not_be_read() -> None:
    there = world()
    there.do(migration(there, HTTPBIN).steps)
    assert drifts(there) == []
    assert drifts(there, secrets={}, denied=DENIED) == []
    there.objects[CREDS]["data"]["other"] = "eA=="
    assert drifts(there) == [("original-changed", "creds")]
    del there.objects[CREDS]
    assert drifts(there) == [("original-gone", "creds")]
    for ref in [ref for ref in there.objects if ref.name.startswith("files-")]:
        del there.objects[ref]
    assert drifts(there) == [("original-gone", "creds"), ("copy-gone", "files")]


# ---- nothing of it anywhere -----------------------------------------------------------------------------------------


def encoded(text: str) -> set[str]:
    """A text, and what of its base64 does not depend on what stands around it."""
    return {text, *(base64.b64encode(b"x" * shift + text.encode()).decode()[4:-4] for shift in range(3))}


def assert_hidden(text: str) -> None:
    for one in encoded(CANARY):
        assert one not in text


def names_of(body: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in body.items() if key not in ("data", "binaryData")})


@pytest.mark.parametrize("more", [{}, {"args": ["--url", "$(API)"]}, {"envFrom": [{"secretRef": {"name": "files"}}]}])
def test_a_value_of_a_secret_is_in_no_plan_report_journal_name_or_label(more: dict[str, Any]) -> None:
    there = world(**more)
    survey = there.survey()
    sites = inspection.call_sites(survey)
    told = findings.check(survey, sites, None)
    report = inspection.inspect(survey, sites, told)
    assert report.items
    assert_hidden(json.dumps(inspect_document(report)) + inspect_table(report, wide=True))
    migrated = replace(migration(there, HTTPBIN, baseline={}), findings=told)
    there.do(migrated.steps)
    undone = plan_undo(there.survey(), [HTTPBIN])
    for plan in (migrated, undone):
        assert_hidden(shown(plan))
    for ref, body in there.objects.items():
        assert_hidden(str(ref) + (json.dumps(body) if ref.kind != "Secret" else names_of(body)))


def shown(plan: Plan) -> str:
    from kubectl_egress.model import Outcome

    outcomes = [outcome_line(Outcome(step, False, "refused")) for step in plan.steps]
    return plan_text(plan) + json.dumps(plan_document(plan)) + "".join(outcomes)


def test_neither_name_nor_journal_depends_on_a_value() -> None:
    """Else whoever may read those, and no Secret, could try values until one fits; nor on how long one is."""
    made = []
    for value in ("hunter2", "hunter3", "correct horse battery staple".replace(" ", "-")):
        text = f"password={value}\nurl=https://bob:{value}@httpbin.org/{value}\nport: https://httpbin.org:443/{value}\n"
        there = World(caller(), secret("creds", {"url": text}), secret("files", {"app.properties": text}))
        there.do(migration(there, HTTPBIN).steps)
        journals = [body["data"] for body in there.objects.values() if is_journal(body)]
        made.append((sorted(map(str, there.objects)), journals))
    assert made[0] == made[1] == made[2]


def test_a_version_that_knows_no_secrets_does_not_read_such_a_journal() -> None:
    there = world()
    there.do(migration(there, HTTPBIN).steps)
    (body,) = (body for body in there.objects.values() if is_journal(body))
    assert json.loads(body["data"]["journal.json"])["format"] == 2
    journal = from_config_map(body)
    assert from_config_map(to_config_map(journal)) == journal
    assert {ref.name.partition("-")[0] for ref in journal.secrets} == {"creds", "files"}
    plain = World(deployment("app", env={"API": "https://httpbin.org/"}))
    plain.do(migration(plain, HTTPBIN).steps)
    (body,) = (body for body in plain.objects.values() if is_journal(body))
    assert json.loads(body["data"]["journal.json"])["format"] == 1
    assert from_config_map(body).secrets == frozenset()
