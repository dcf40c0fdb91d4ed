"""`--ca` and `--client-secret`: what mounts the files, in which order, what the rule says, and how it is taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from kubectl_egress import cli, mesh
from kubectl_egress.cli.authorities import config_map_named
from kubectl_egress.errors import EgressError, UnreachableError
from kubectl_egress.findings import check
from kubectl_egress.journal import from_config_map, to_config_map
from kubectl_egress.mesh import MOUNTS, VOLUMES, volume_name, with_files, without_files
from kubectl_egress.model import AS_BEFORE, Action, Body, Host, Origination, Plan, Ref, Step, Wait
from kubectl_egress.plan import MigrationRequest, plan_migration, plan_undo
from kubectl_egress.proxy.secrets import awaited
from kubectl_egress.report.plan import plan_objects, plan_question
from tests.build import NAMESPACE, deployment, document, workload
from tests.build_mesh import HOST, codes_of, rule, survey_of
from tests.findings_cases import scripted

PEM = trustme.CA().cert_pem.bytes().decode()
OTHER = Host("api.example.com")
PRIVATE = Origination(ca="cas:ca.crt")
MUTUAL = Origination(client_secret="client")
DIRECTORY = "/etc/kubectl-egress/httpbin.org"


def shop(**template: Any) -> dict[str, Any]:
    made = deployment("shop", **{"env": {"API": "https://httpbin.org/get"}, **template})
    made["metadata"]["generation"] = 7
    return made


def planned(*bodies: Body, hosts: tuple[Host, ...] = (HOST,), objects: Any = (), **request: Any) -> Plan:
    survey, sites = survey_of(*(bodies or (shop(),)), objects=objects)
    return plan_migration(survey, sites, (), MigrationRequest(hosts, **request))


def told(step: Step) -> str:
    what = str(step.wait) if step.wait else str(step.ref.kind if step.ref else "")
    return f"{step.action} {what}"


# ---- annotations ----------------------------------------------------------------------------------------------------

NAME = volume_name(HOST)


@pytest.mark.parametrize(
    ("before", "key"),
    [
        ({}, None),
        ({"a": "b"}, None),
        ({VOLUMES: '{"mine": {"emptyDir": {}}}', MOUNTS: '{"mine": {"mountPath": "/x"}}'}, "mine"),
        ({VOLUMES: '[{"name": "mine", "emptyDir": {}}]', MOUNTS: '[{"name": "mine", "mountPath": "/x"}]'}, "mine"),
    ],
)
def test_a_volume_is_added_beside_others_once_and_taken_away_again(before: dict[str, str], key: str | None) -> None:
    after = with_files(before, HOST, PRIVATE)
    assert with_files(after, HOST, PRIVATE) == after
    both = with_files(after, OTHER, MUTUAL)
    assert without_files(without_files(both, OTHER), HOST) == before
    assert without_files(without_files(both, HOST), OTHER) == before
    for text in (both[VOLUMES], both[MOUNTS]):
        known = json.loads(text)
        names = [one["name"] for one in known] if isinstance(known, list) else list(known)
        assert names == [*([key] if key else []), NAME, volume_name(OTHER)]


def test_what_is_mounted_and_where() -> None:
    after = with_files({}, HOST, Origination(ca="cas:root.pem", client_secret="client"))
    sources = json.loads(after[VOLUMES])[NAME]["projected"]["sources"]
    assert sources == [
        {"configMap": {"name": "cas", "items": [{"key": "root.pem", "path": "ca.crt"}], "optional": True}},
        {
            "secret": {
                "name": "client",
                "items": [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}],
                "optional": True,
            }
        },
    ]
    assert json.loads(after[MOUNTS])[NAME] == {"mountPath": DIRECTORY, "readOnly": True}


@pytest.mark.parametrize("text", ["{", "3", '["x"]'])
def test_an_annotation_that_is_none(text: str) -> None:
    with pytest.raises(EgressError, match=f"{VOLUMES} of the pod template is no JSON"):
        with_files({VOLUMES: text}, HOST, PRIVATE)


# ---- the rule -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "differs"),
    [
        (AS_BEFORE, {}),
        (PRIVATE, {"caCertificates": f"{DIRECTORY}/ca.crt"}),
        (
            MUTUAL,
            {
                "mode": "MUTUAL",
                "clientCertificate": f"{DIRECTORY}/tls.crt",
                "privateKey": f"{DIRECTORY}/tls.key",
            },
        ),
    ],
)
def test_name_and_certificate_are_checked_whatever_else_is_asked(asked: Origination, differs: dict[str, str]) -> None:
    settings = mesh.tls_settings(HOST, asked)
    plain = {"mode": "SIMPLE", "sni": "httpbin.org", "subjectAltNames": ["httpbin.org"], "caCertificates": "system"}
    assert settings == {**plain, **differs}
    body: Any = mesh.destination_rule(HOST, NAMESPACE, origination=asked)
    assert mesh.fits(body, HOST) == ""
    for policy in (body["spec"]["trafficPolicy"], body["spec"]["subsets"][0]["trafficPolicy"]):
        assert policy["portLevelSettings"][0]["tls"] == settings


def test_a_rule_that_checks_by_something_else_does_not_fit() -> None:
    body: Any = mesh.destination_rule(HOST, NAMESPACE, origination=PRIVATE)
    tls = body["spec"]["trafficPolicy"]["portLevelSettings"][0]["tls"]
    tls["caCertificates"] = "/etc/other.crt"
    assert "another caCertificates" in mesh.fits(body, HOST)


def test_somebody_else_s_rule_is_not_given_our_files() -> None:
    with pytest.raises(EgressError, match="is somebody else's"):
        planned(objects=[rule()], origination={"ca": "cas:ca.crt"})
    assert planned(objects=[rule()]).steps


# ---- the plan -------------------------------------------------------------------------------------------------------


def test_the_files_come_first_in_a_rollout_of_their_own() -> None:
    plan = planned(bundle=PEM)
    assert [told(step) for step in plan.steps] == [
        "create ConfigMap",  # the journal
        "create ConfigMap",  # the CAs
        "patch Deployment",
        "wait rollout",
        "create DestinationRule",
        "create VirtualService",
        "create ServiceEntry",
        "wait named",
        "update VirtualService",
        "wait proxies",
        "patch Deployment",
        "wait rollout",
        "verify ",
        "update ConfigMap",
    ]
    first, second = (step for step in plan.steps if step.action is Action.PATCH)
    template = (first.after or {})["spec"]["template"]
    assert "hostAliases" not in template["spec"]
    assert template["spec"]["containers"] == shop()["spec"]["template"]["spec"]["containers"]
    assert {VOLUMES, MOUNTS} <= set(template["metadata"]["annotations"])
    assert plan_question(plan).endswith("patch 1 object, roll out 1 workload twice?")
    assert plan_objects(plan)[-1]["spec"] == (second.after or {})["spec"], "an object is printed once"
    assert [one.value for one in first.patch if one.steps[-1] == "generation"] == [7]
    assert [one.value for one in second.patch if one.steps[-1] == "generation"] == [8]
    assert not any("annotations" in one.steps for one in second.patch)
    bundle = plan.steps[1].after or {}
    assert bundle["data"] == {"ca.crt": PEM}
    origination = from_config_map(plan.steps[0].after or {}).origination
    assert origination.ca == f"{bundle['metadata']['name']}:ca.crt"


def test_nothing_is_mounted_where_nobody_asks() -> None:
    plan = planned()
    assert [step.action for step in plan.steps].count(Action.PATCH) == 1
    assert "annotations" not in (plan.steps[-4].after or {})["spec"]["template"]["metadata"]


def test_a_cron_job_has_no_rollout_to_wait_for() -> None:
    nightly = workload("CronJob", "nightly", env={"API": "https://httpbin.org/"})
    plan = planned(nightly, bundle=PEM)
    assert not [step for step in plan.steps if step.wait is Wait.ROLLOUT]
    assert [step.action for step in plan.steps].count(Action.PATCH) == 2


def done(plan: Plan, *bodies: Body) -> tuple[dict[str, Body], list[Body], list[Body]]:
    """Workloads by name, mesh objects with the CAs, and journals, after the steps of a plan."""
    workloads = {one["metadata"]["name"]: one for one in bodies}
    objects: dict[Ref, Body] = {}
    journals: dict[str, Body] = {}
    for step in plan.steps:
        if step.after is None:
            continue
        if "journal.json" in (step.after.get("data") or {}):
            journals[step.after["metadata"]["name"]] = to_config_map(from_config_map(step.after))
        elif step.ref is not None and step.action in (Action.CREATE, Action.UPDATE):
            objects[step.ref] = step.after
        elif step.action is Action.PATCH:
            workloads[step.after["metadata"]["name"]] = step.after
    return workloads, list(objects.values()), list(journals.values())


def test_it_is_done_once_and_taken_back_host_by_host() -> None:
    body = shop(env={"API": "https://httpbin.org/get", "B": "https://api.example.com/"}, annotations={"a": "b"})
    plan = planned(body, hosts=(HOST, OTHER), bundle=PEM, origination={"client_secret": "client"})
    assert [step.action for step in plan.steps].count(Action.PATCH) == 2, "two hosts, one rollout for the files of both"
    workloads, objects, journals = done(plan, body)
    more: dict[str, Any] = {
        "objects": [document(one) for one in objects],
        "journals": tuple(document(one) for one in journals),
    }
    survey, sites = survey_of(*workloads.values(), **more)
    assert plan_migration(survey, sites, (), MigrationRequest((HOST, OTHER))).steps == ()
    assert plan_migration(survey, sites, (), MigrationRequest((HOST, OTHER), bundle=PEM)).steps == ()

    first = plan_undo(survey, [HOST])
    half = next(step.after for step in first.steps if step.action is Action.PATCH) or {}
    left = half["spec"]["template"]["metadata"]["annotations"]
    assert list(json.loads(left[VOLUMES])) == [volume_name(OTHER)]
    gone = [step.ref.kind for step in first.steps if step.action is Action.DELETE and step.ref]
    assert gone == ["ServiceEntry", "VirtualService", "DestinationRule", "ConfigMap", "ConfigMap"]

    whole = plan_undo(survey, [HOST, OTHER])
    back = next(step.after for step in whole.steps if step.action is Action.PATCH) or {}
    assert back["spec"] == body["spec"]


# ---- findings -------------------------------------------------------------------------------------------------------

CURL = "curl {} https://httpbin.org/"


@pytest.mark.parametrize(
    ("option", "asked", "codes"),
    [
        ("--cacert /ca.crt", AS_BEFORE, ["own-trust"]),
        ("--cacert /ca.crt", PRIVATE, []),
        ("-k", AS_BEFORE, ["own-trust"]),
        ("-k", PRIVATE, []),
        ("--pinnedpubkey x", PRIVATE, ["own-trust"]),
        ("--cert /c.pem", AS_BEFORE, ["client-certificate"]),
        ("--cert /c.pem", PRIVATE, ["client-certificate"]),
        ("--cert /c.pem", MUTUAL, []),
    ],
)
def test_what_was_named_stands_in_the_way_no_more(option: str, asked: Origination, codes: list[str]) -> None:
    survey, sites = survey_of(scripted(CURL.format(option)))
    found = check(survey, sites, [HOST], origination=asked)
    assert [code for code in codes_of(found) if code in ("own-trust", "client-certificate")] == codes


# ---- the command line, and files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("configmap/cas", "cas:ca.crt"),
        ("cm/cas:root.pem", "cas:root.pem"),
        ("ca.pem", ""),
        ("./configmap/cas", ""),
    ],
)
def test_what_ca_names(given: str, named: str) -> None:
    assert config_map_named(given) == named


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "there-is-none"))
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(shop(), sort_keys=False))
    (tmp_path / "ca.crt").write_text(PEM)
    (tmp_path / "key.pem").write_text(PEM + "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n")
    (tmp_path / "none.pem").write_text("no certificate\n")
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        ("--ca key.pem", "--ca: key.pem holds a private key"),
        ("--ca none.pem", "--ca: none.pem holds no certificate"),
        ("--ca configmap/", "'configmap/' is no ConfigMap"),
        ("--client-secret a/b", "'a/b' is no name of a Secret"),
        ("--ca ca.crt --dry-run=server", "--dry-run=server does not go with --ca"),
        ("--ca ca.crt --mode named", "do not go with --mode named"),
    ],
)
def test_flags_that_do_not_fit(flags: str, what: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["migrate", "httpbin.org", "-f", "shop.yaml", *flags.split(), "--write"]) == 2
    assert what in capsys.readouterr().err
    assert not (directory / "egress-httpbin.org.yaml").exists()


def test_in_files_the_cas_stand_before_the_rule(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["migrate", "httpbin.org", "-f", "shop.yaml"]
    asked = [*command, "--ca", "ca.crt", "--client-secret", "client"]
    assert cli.main([*asked, "--write"]) == 0
    objects = list(yaml.safe_load_all((directory / "egress-httpbin.org.yaml").read_text()))
    assert [one["kind"] for one in objects] == ["ConfigMap", "DestinationRule", "ServiceEntry", "VirtualService"]
    assert objects[0]["data"] == {"ca.crt": PEM}
    annotations = yaml.safe_load((directory / "shop.yaml").read_text())["spec"]["template"]["metadata"]["annotations"]
    (source, secret) = json.loads(annotations[VOLUMES])[NAME]["projected"]["sources"]
    assert source["configMap"]["name"] == objects[0]["metadata"]["name"]
    assert secret["secret"]["name"] == "client"
    assert cli.main([*asked, "--exit-code"]) == 0, "nothing is left"
    before = (directory / "egress-httpbin.org.yaml").read_text()
    capsys.readouterr()
    assert cli.main([*command, "--write"]) == 1, "what was asked for is not forgotten in silence"
    assert "say --ca and --client-secret as before" in capsys.readouterr().err
    assert (directory / "egress-httpbin.org.yaml").read_text() == before


# ---- what a sidecar waits for ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("{}", ()),
        ('{"configs": []}', ()),
        ('{"configs": [{"name": "file-root:/b"}, {"name": "file-cert:/a~/k"}]}', ("file-cert:/a~/k", "file-root:/b")),
    ],
)
def test_what_a_sidecar_waits_for(page: str, names: tuple[str, ...]) -> None:
    assert awaited(page) == names


@pytest.mark.parametrize("page", ["", "[]", '{"configs": [{}]}', '{"configs": 3}'])
def test_a_page_that_is_none(page: str) -> None:
    with pytest.raises(UnreachableError):
        awaited(page)
