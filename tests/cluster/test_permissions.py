"""The README's two ClusterRoles on a real authorizer: they are enough, and what is missing of them is said."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from kubectl_egress import cli
from kubectl_egress.model import Body, Ref
from tests import build
from tests.cluster.client import RealLab
from tests.cluster.scenes import scene_of
from tests.scene import HOST, NATIVE, Run, Scene, written

pytestmark = [pytest.mark.cluster, pytest.mark.any_istio]

README = Path(__file__).parents[2] / "README.md"
READER, MIGRATOR = "kubectl-egress-reader", "kubectl-egress-migrator"
RBAC = "rbac.authorization.k8s.io/v1"
GROUP = "egress-readers"
MESH = "networking.istio.io"
Rule = tuple[str, str, str]
"""API group, resource, verb."""

INSPECT = ("inspect", "-o", "json")
NETWORKING = "networking.k8s.io"
GUARDED = ("migrate", HOST, "--guard", "--dry-run=client")
PROMETHEUS = ("verify", HOST, "--prometheus")
IN_A_FINDING = "no-permission"


@dataclass(frozen=True, slots=True)
class Missing:
    """What one command says without one permission."""

    words: str
    status: int = 0
    command: tuple[str, ...] = INSPECT
    severity: str = "warn"
    """Of the worst finding; empty where there is none, but an error."""


def unlisted(resource: str, severity: str = "warn") -> Missing:
    return Missing(f"may not list {resource}", severity=severity)


READS: Mapping[Rule, Missing] = {
    ("", "pods", "list"): unlisted("pods", "block"),
    ("", "configmaps", "list"): unlisted("configmaps", "block"),
    ("", "configmaps", "get"): Missing("may not get configmaps in namespace istio-system"),
    ("", "namespaces", "get"): Missing("may not get namespaces"),
    ("", "namespaces", "list"): Missing("may not list namespaces", command=("inspect", "-A", "-o", "json")),
    ("", "pods/portforward", "get"): Missing("may not read the sidecars", severity="block"),
    ("", "pods/portforward", "create"): Missing("may not read the sidecars", severity="block"),
    ("", "pods/log", "get"): Missing("may not read the sidecars' logs", severity="info"),
    ("apps", "deployments", "list"): Missing("may not list deployments.apps", 1, severity=""),
    ("apps", "statefulsets", "list"): unlisted("statefulsets.apps"),
    ("apps", "daemonsets", "list"): unlisted("daemonsets.apps"),
    ("apps", "replicasets", "list"): unlisted("replicasets.apps", "block"),
    ("batch", "jobs", "list"): unlisted("jobs.batch"),
    ("batch", "cronjobs", "list"): unlisted("cronjobs.batch"),
    (MESH, "serviceentries", "list"): unlisted(f"serviceentries.{MESH}", "block"),
    (MESH, "destinationrules", "list"): unlisted(f"destinationrules.{MESH}", "block"),
    (MESH, "virtualservices", "list"): unlisted(f"virtualservices.{MESH}", "block"),
    (MESH, "sidecars", "list"): unlisted(f"sidecars.{MESH}"),
    (MESH, "envoyfilters", "list"): unlisted(f"envoyfilters.{MESH}"),
    (NETWORKING, "networkpolicies", "list"): Missing("--guard: networkpolicies", 1, GUARDED, ""),
    ("", "services", "list"): Missing(
        "Prometheus cannot be looked for: services is forbidden", 1, (*PROMETHEUS, "auto"), ""
    ),
    ("", "services/proxy", "get"): Missing(
        "it takes get on services/proxy", 1, (*PROMETHEUS, "istio-system/prometheus:9090"), ""
    ),
}
REVISIONS: Rule = ("apps", "controllerrevisions", "list")
"""What a StatefulSet or a DaemonSet was before: without it, `report` has commands without revisions."""
NETWORKS: Rule = (NETWORKING, "servicecidrs", "list")
"""Where Services lie: without it, a guard names no networks."""

OURS = ("serviceentries", "destinationrules", "virtualservices")
WRITES: Sequence[Rule] = (
    *(("", "configmaps", verb) for verb in ("create", "patch", "delete")),
    *((MESH, kind, verb) for kind in OURS for verb in ("get", "create", "delete")),
    (MESH, "virtualservices", "patch"),
    *(("apps", "deployments", verb) for verb in ("get", "patch")),
)
"""Each of which a migration of a Deployment and a ConfigMap cannot do without."""
OTHERS = {
    "StatefulSet": ("apps", "statefulsets"),
    "DaemonSet": ("apps", "daemonsets"),
    "CronJob": ("batch", "cronjobs"),
}
OTHER_WRITES: Sequence[Rule] = [(*resource, verb) for resource in OTHERS.values() for verb in ("get", "patch")]
"""The same of workloads of other kinds."""
DISPENSABLE: Rule = ("apps", "deployments", "watch")
"""Without which it looks again and again."""
LIMITED = (*WRITES, *OTHER_WRITES, DISPENSABLE)

SETTING = [{"name": "API", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "API"}}}]
CALLS = "while sleep .2; do curl -s -o /dev/null $API; done"


def roles() -> list[Body]:
    """The README's YAML, as it is."""
    [text] = re.findall(r"```yaml\n(apiVersion: rbac.*?)```", README.read_text(), re.DOTALL)
    return list(YAML(typ="safe").load_all(text))


def rules(name: str) -> list[Rule]:
    """What a role permits, one by one."""
    [role] = [one for one in roles() if one["metadata"]["name"] == name]
    return [
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def without(missing: Rule) -> str:
    """The name of who has all of the first role but this."""
    return "-".join(("without", *filter(None, missing))).replace("/", "-")


def role_of(name: str, permitted: Iterable[Rule]) -> Body:
    made = [{"apiGroups": [group], "resources": [resource], "verbs": [verb]} for group, resource, verb in permitted]
    return {"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": name}, "rules": made}


def binding(role: str, *subjects: Body, namespace: str = "") -> Body:
    """Everywhere, or in a namespace alone."""
    metadata = {"name": f"{role}-{subjects[0]['name']}", **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": RBAC,
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": list(subjects),
    }


def user(name: str, kind: str = "User") -> Body:
    return {"kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io"}


@dataclass(frozen=True)
class Stage:
    """A namespace with a caller, and who may do what in it."""

    scene: Scene
    tokens: Mapping[str, Path]
    """By service account: a kubeconfig with nothing but its token."""

    def run(self, account: str, *command: str) -> Run:
        """A command as a service account."""
        other = copy.copy(self.scene)
        other.kubeconfig = self.tokens[account]
        return other.egress(*command)


@pytest.fixture(scope="module")
def stage(cluster: RealLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    cluster.reset()
    directory = tmp_path_factory.mktemp("accounts")
    with scene_of(cluster) as scene:
        accounts = [
            {"kind": "ServiceAccount", "name": name, "namespace": scene.namespace} for name in ("reads", "migrates")
        ]
        _, migrates = accounts
        made = [
            *roles(),
            binding(READER, *accounts),
            binding(READER, user(GROUP, "Group")),
            binding(READER, user("nearby"), namespace=scene.namespace),
            binding(MIGRATOR, migrates, namespace=scene.namespace),
            *(role_of(without(one), (rule for rule in rules(READER) if rule != one)) for one in (*READS, REVISIONS)),
            *(binding(without(one), user(without(one))) for one in (*READS, REVISIONS)),
            *(role_of(without(one), (rule for rule in rules(MIGRATOR) if rule != one)) for one in LIMITED),
            *(binding(without(one), user(without(one)), namespace=scene.namespace) for one in LIMITED),
        ]
        try:
            for account in accounts:
                metadata = {key: account[key] for key in ("name", "namespace")}
                scene.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
            for body in made:
                scene.create(body)
            data = {"API": f"https://{HOST}/status/200"}
            scene.create(build.config_map("settings", data, scene.namespace))
            scene.create(
                build.deployment(
                    "caller",
                    scene.namespace,
                    env=SETTING,
                    command=["sh", "-c", CALLS],
                    annotations=NATIVE,
                    terminationGracePeriodSeconds=1,
                )
            )
            scene.rolled_out("caller")
            tokens = {one["name"]: kubeconfig_of(scene, one, directory / one["name"]) for one in accounts}
            yield Stage(scene, tokens)
        finally:
            for body in made:
                ref = Ref(body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"], RBAC)
                scene.cluster.delete(ref, uid=scene.cluster.get(ref)["metadata"]["uid"])


def kubeconfig_of(scene: Scene, account: Body, path: Path) -> Path:
    """The cluster as the admin knows it, and a token of the account's."""
    asked = f"/api/v1/namespaces/{scene.namespace}/serviceaccounts/{account['name']}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = scene.cluster.transport.json("POST", asked, body=body)["status"]["token"]
    config = YAML(typ="safe").load(scene.kubeconfig.read_text())
    config["users"] = [{"name": one["name"], "user": {"token": token}} for one in config["users"]]
    path.touch(0o600)
    path.write_text(json.dumps(config))
    return path


def no_permissions(run: Run) -> list[tuple[str, str]]:
    """Severity and message of what an InspectReport says is not permitted."""
    return [
        (finding["severity"], finding["message"])
        for finding in run.document()["findings"]
        if finding["code"] == IN_A_FINDING
    ]


def test_the_first_role_is_enough_to_read_with(stage: Stage) -> None:
    run = stage.run("reads", *INSPECT)
    assert no_permissions(run) == []
    [item] = run.document()["items"]
    assert (item["host"], item["visibility"]) == (HOST, "opaque")


def test_without_the_second_role_nothing_is_begun(stage: Stage) -> None:
    before = stage.scene.versions()
    run = stage.run("reads", "migrate", HOST, "-y")
    assert run.status == 3, run
    assert "no-permission stands in the way" in run.err
    said = " ".join(run.out.split())
    for verb, resources in {
        "create": ("configmaps", f"destinationrules.{MESH}", f"serviceentries.{MESH}", f"virtualservices.{MESH}"),
        "patch": ("configmaps", "deployments.apps"),
        "delete": ("configmaps", f"destinationrules.{MESH}", f"serviceentries.{MESH}", f"virtualservices.{MESH}"),
        "get": ("deployments.apps",),
    }.items():
        [listed] = re.findall(rf"may not {verb} ([\w., ]+) in namespace", said)
        assert set(resources) <= set(listed.split(", ")), run.out
    assert stage.scene.versions() == before


def test_without_one_write_nothing_is_begun(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert {*WRITES, DISPENSABLE} <= set(rules(MIGRATOR))
    before = stage.scene.versions()
    place = ("-n", stage.scene.namespace, "--kubeconfig", str(stage.scene.kubeconfig), "--as-group", GROUP)
    said = {}
    for missing in (*WRITES, DISPENSABLE):
        # Of what is permitted and not asked for, a server's dry run would say it.
        status = cli.main(["migrate", HOST, "-y", "--dry-run=server", *place, "--as", without(missing)])
        out, err = capsys.readouterr()
        found = re.findall(r"may not (\w+) ([\w., ]+) in namespace", " ".join(out.split()))
        said[missing] = (status, "nothing was changed: no-permission stands in the way" in err, found)
    expected = {
        (group, kind, verb): (3, True, [(verb, f"{kind}.{group}" if group else kind)]) for group, kind, verb in WRITES
    }
    assert said == {**expected, DISPENSABLE: (0, False, [])}
    assert stage.scene.versions() == before


def test_both_roles_are_enough_to_migrate_with(stage: Stage) -> None:
    scene = stage.scene
    before = scene.state()
    run = stage.run("migrates", "migrate", HOST, "-y")
    assert run.status == 0, run
    assert "1 istiod knows the objects" in run.err, "the first role reaches istiod too"
    run = stage.run("reads", "verify", "-o", "json")
    assert (run.status, run.document()["items"][0]["verdict"]) == (0, "verified"), run
    for command in (("list", "--exit-code"), ("report",), ("graph",), ("dashboard",), ("version",)):
        run = stage.run("reads", *command)
        assert (run.status, "forbidden" in run.err + run.out) == (0, False), run
    assert scene.egress("report", "--as", without(REVISIONS)).status == 0
    run = stage.run("reads", "undo", HOST, "-y")
    assert run.status == 1, run
    assert "nothing was changed: may not " in run.err
    assert "Traceback" not in run.err
    run = stage.run("migrates", "undo", HOST, "-y")
    assert run.status == 0, run
    assert scene.state() == before
    assert scene.counters().in_clear == 0


def test_other_kinds_take_no_more_than_their_own_two_verbs(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    scene = stage.scene
    made = [other(kind, scene.namespace) for kind in OTHERS]

    def as_written() -> list[Body]:
        return [written(scene.get(body["kind"], body["metadata"]["name"])) for body in made]

    for body in made:
        scene.create(body)
    try:
        before = (scene.state(), as_written())
        place = ("-n", scene.namespace, "--kubeconfig", str(scene.kubeconfig), "--as-group", GROUP)
        said = {}
        for group, resource, verb in OTHER_WRITES:
            missing = (group, resource, verb)
            status = cli.main(["migrate", HOST, "-y", "--dry-run=server", *place, "--as", without(missing)])
            out, err = capsys.readouterr()
            said[missing] = (status, f"may not {verb} {resource}.{group} in namespace" in " ".join(out.split()), err)
        assert all((status, named) == (3, True) for status, named, _ in said.values()), said
        run = stage.run("migrates", "migrate", HOST, "-y")
        assert run.status == 0, run
        assert all("hostAliases" in str(body) for body in as_written())
        run = stage.run("migrates", "undo", HOST, "-y")
        assert run.status == 0, run
        assert (scene.state(), as_written()) == before
    finally:
        for body in made:
            scene.delete(body["kind"], body["metadata"]["name"])


def other(kind: str, namespace: str) -> Body:
    """A workload of another kind that reads the same ConfigMap."""
    spec: Body = {"serviceName": "none"} if kind == "StatefulSet" else {}
    name = kind.lower()
    more = {"restartPolicy": "Never"} if kind == "CronJob" else {}
    return build.workload(
        kind,
        name,
        namespace,
        spec=spec,
        env=SETTING,
        command=["sh", "-c", CALLS],
        annotations=NATIVE,
        terminationGracePeriodSeconds=1,
        **more,
    )


def test_impersonation_reaches_the_sidecars(stage: Stage) -> None:
    run = stage.scene.egress(*INSPECT, "--as", "somebody", "--as-group", GROUP)
    assert no_permissions(run) == []
    assert [item["visibility"] for item in run.document()["items"]] == ["opaque"]
    run = stage.scene.egress(*INSPECT, "--as", "somebody")
    assert run.status != 70, run
    assert "Traceback" not in run.err


def test_in_one_namespace_alone_what_stands_elsewhere_is_said_to_be_unseen(stage: Stage) -> None:
    run = stage.scene.egress(*INSPECT, "--as", "nearby")
    found = no_permissions(run)
    assert found, run
    assert {severity for severity, _ in found} == {"warn"}, found
    assert any("in all namespaces" in message for _, message in found)
    assert any("istio-system" in message for _, message in found)


def test_every_read_of_the_first_role_is_missed(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(rules(READER)) == {*READS, REVISIONS, NETWORKS}
    flags = ("-n", stage.scene.namespace, "--kubeconfig", str(stage.scene.kubeconfig))
    wrong = {}
    for missing, expected in READS.items():
        # In this process: the start of another one would cost more than all else.
        status = cli.main([*expected.command, *flags, "--as", without(missing)])
        run = Run(status, *capsys.readouterr())
        if not as_expected(run, expected):
            wrong[missing] = (run.status, no_permissions(run) if run.out else run.err)
    assert not wrong, "\n".join(f"{missing}: {said}" for missing, said in wrong.items())


def as_expected(run: Run, expected: Missing) -> bool:
    """Whether a command without a permission says so, and in the way that it should."""
    if run.status != expected.status:
        return False
    if not expected.severity:
        return expected.words in run.err and run.err.count("\n") <= 3
    said = [severity for severity, message in no_permissions(run) if expected.words in message]
    return bool(said) and min(said) == expected.severity  # block, info, warn: none has info and another
