"""What admission, quotas and controllers do to a migration: said, and everything as it was before."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest

from kubectl_egress import kinds
from kubectl_egress.errors import ApiError, ConflictError, NotFoundError
from kubectl_egress.mesh import destination_rule, service_entry, virtual_service
from kubectl_egress.model import Body, Host, PatchOperation, Ref
from tests import build
from tests.cluster.client import RealLab
from tests.cluster.scenes import scene_of
from tests.scene import HOST, MESH_KINDS, Recorder, Scene, until

pytestmark = pytest.mark.cluster

CALLER = "caller"
REGISTRATION = "admissionregistration.k8s.io/v1"
MESH = "networking.istio.io"
OPERATIONS = ["CREATE", "UPDATE"]
QUOTA_PATIENCE = 90.0
"""The quota controller looks every 30 s for types that are new to it."""
UNDONE = "everything is as it was before"
numbers = itertools.count()
Around = Callable[[Scene], contextlib.AbstractContextManager[None]]


@pytest.fixture(scope="module")
def calling(cluster: RealLab) -> Iterator[tuple[Scene, Recorder]]:
    """A namespace with a caller, which all cases share: each leaves it as it was."""
    cluster.reset()
    with scene_of(cluster) as scene:
        yield scene, scene.deploy(CALLER)


# ---- what stands in the way -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def there(scene: Scene, *bodies: Body) -> Iterator[None]:
    """Objects that are gone afterwards."""
    made = [scene.create(body) for body in bodies]
    try:
        yield
    finally:
        for body in reversed(made):
            metadata = body["metadata"]
            ref = Ref(body["kind"], metadata.get("namespace", ""), metadata["name"], body["apiVersion"])
            with contextlib.suppress(NotFoundError):
                scene.cluster.delete(ref, uid=metadata["uid"])


def matched(scene: Scene, resources: Sequence[str], operations: Sequence[str]) -> Body:
    """What a policy or a webhook is about: types as `deployments.apps`, in the scene's namespace alone."""
    rules = [
        {"apiGroups": [group], "apiVersions": ["*"], "resources": [plural], "operations": list(operations)}
        for plural, _, group in (name.partition(".") for name in resources)
    ]
    selector = {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}}
    return {"rules": rules, "selector": selector}


def policy(
    *resources: str, says: str, unless: str = "false", operations: Sequence[str] = OPERATIONS, reason: str = "Invalid"
) -> Around:
    """A ValidatingAdmissionPolicy that refuses what `unless` does not hold for."""

    @contextlib.contextmanager
    def around(scene: Scene) -> Iterator[None]:
        name, about = f"policy-{next(numbers)}", matched(scene, resources, operations)
        spec = {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": about["rules"]},
            "validations": [{"expression": unless, "message": says, "reason": reason}],
        }
        bound = {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": about["selector"]},
        }
        head = {"apiVersion": REGISTRATION, "metadata": {"name": name}}
        with there(
            scene,
            {**head, "kind": "ValidatingAdmissionPolicy", "spec": spec},
            {**head, "kind": "ValidatingAdmissionPolicyBinding", "spec": bound},
        ):
            yield

    return around


def stripping(resource: str, patch: str, operations: Sequence[str] = OPERATIONS) -> Around:
    """A MutatingAdmissionPolicy with one JSON patch."""

    @contextlib.contextmanager
    def around(scene: Scene) -> Iterator[None]:
        name, about = f"policy-{next(numbers)}", matched(scene, [resource], operations)
        spec = {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": about["rules"]},
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
        }
        bound = {"policyName": name, "matchResources": {"namespaceSelector": about["selector"]}}
        head = {"apiVersion": REGISTRATION, "metadata": {"name": name}}
        with there(
            scene,
            {**head, "kind": "MutatingAdmissionPolicy", "spec": spec},
            {**head, "kind": "MutatingAdmissionPolicyBinding", "spec": bound},
        ):
            yield

    return around


def dead_webhook(resource: str) -> Around:
    """A webhook that must be asked, and that nobody answers for."""

    @contextlib.contextmanager
    def around(scene: Scene) -> Iterator[None]:
        name, about = f"webhook-{next(numbers)}.example.com", matched(scene, [resource], OPERATIONS)
        webhook = {
            "name": name,
            "clientConfig": {"url": "https://127.0.0.1:9/validate"},
            "rules": about["rules"],
            "namespaceSelector": about["selector"],
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        metadata = {"name": name}
        with there(
            scene,
            {
                "apiVersion": REGISTRATION,
                "kind": "ValidatingWebhookConfiguration",
                "metadata": metadata,
                "webhooks": [webhook],
            },
        ):
            yield

    return around


def quota(hard: Mapping[str, str]) -> Around:
    """A ResourceQuota."""

    @contextlib.contextmanager
    def around(scene: Scene) -> Iterator[None]:
        metadata = build.metadata(f"quota-{next(numbers)}", scene.namespace)
        body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": dict(hard)}}
        with there(scene, body):
            until(
                lambda: scene.get("ResourceQuota", metadata["name"])["status"].get("used"),
                "the quota counts",
                QUOTA_PATIENCE,
            )
            yield

    return around


ALIASES = ("spec", "template", "spec", "hostAliases")


def tried(scene: Scene, kind: str) -> Body | None:
    """What becomes of a write like a migration's, which is not done; None: it is refused."""
    host = Host("tried.example.com")
    aliases = [{"ip": "192.0.2.1", "hostnames": [host.name]}]
    try:
        if kind == "Deployment":
            return scene.cluster.patch(scene.ref(kind, CALLER), [PatchOperation("add", ALIASES, aliases)], dry_run=True)
        made = {
            "ConfigMap": build.config_map("tried", {}, scene.namespace),
            "Pod": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": build.metadata("tried", scene.namespace),
                "spec": build.pod_template(hostAliases=aliases)["spec"],
            },
            "DestinationRule": destination_rule(host, scene.namespace),
            "ServiceEntry": service_entry(host, scene.namespace, alias="192.0.2.1"),
            "VirtualService": virtual_service(host, scene.namespace),
        }
        return scene.cluster.create(made[kind], dry_run=True)
    except ApiError:
        return None


def aliased(body: Body | None) -> bool:
    """Whether a Deployment or a pod has host aliases; one that is refused might have."""
    if body is None:
        return True
    template = kinds.pod_template(body) if body["kind"] == "Deployment" else body
    return bool((template or {})["spec"].get("hostAliases"))


@dataclass(frozen=True)
class Refusal:
    """What stands in the way, of what, and what a migration says then."""

    around: Around
    kind: str
    says: str
    """A regular expression for the error."""
    remedy: str
    """And for what follows `everything is as it was before` or `nothing was changed`."""
    written: bool = True
    """Whether it has changed something before."""


POLICY = r"ValidatingAdmissionPolicy '\S+' with binding '\S+' denied request: {}"
NO_ALIASES = "!has(object.spec.template.spec.hostAliases)"
ASK = r"a policy of the cluster refuses it, not a permission: ask those who made it"
REFUSALS = {
    "a policy, of the workload": Refusal(
        policy("deployments.apps", says="no aliases here", unless=NO_ALIASES),
        "Deployment",
        rf'deployments\.apps "{CALLER}" is forbidden: {POLICY.format("no aliases here")}',
        ASK,
    ),
    "a policy, of an entry": Refusal(
        policy(f"serviceentries.{MESH}", says="ask the network team", reason="Forbidden"),
        "ServiceEntry",
        POLICY.format("ask the network team"),
        ASK,
    ),
    "a policy, of a route": Refusal(
        policy(f"virtualservices.{MESH}", says="routes are the platform's"),
        "VirtualService",
        POLICY.format("routes are the platform's"),
        ASK,
    ),
    "a policy, of the journal": Refusal(
        policy("configmaps", says="no ConfigMaps"), "ConfigMap", POLICY.format("no ConfigMaps"), ASK, written=False
    ),
    "a quota, of the journal": Refusal(
        quota({"count/configmaps": "0"}),
        "ConfigMap",
        r"exceeded quota: quota-\d+, requested: count/configmaps=1, used: count/configmaps=\d+",
        r"the namespace's quota is used up: kubectl describe resourcequota",
        written=False,
    ),
    "a quota, of rules": Refusal(
        quota({f"count/destinationrules.{MESH}": "0"}),
        "DestinationRule",
        rf"exceeded quota: quota-\d+, requested: count/destinationrules\.{re.escape(MESH)}=1",
        r"the namespace's quota is used up: kubectl describe resourcequota",
    ),
    "a webhook that does not answer": Refusal(
        dead_webhook(f"virtualservices.{MESH}"),
        "VirtualService",
        r'failed calling webhook "webhook-\d+\.example\.com"',
        r"the cluster's own webhook does not answer: ",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_write_that_is_refused(calling: tuple[Scene, Recorder], name: str) -> None:
    scene, caller = calling
    case = REFUSALS[name]
    before = scene.state()
    with case.around(scene):
        until(lambda: tried(scene, case.kind) is None, f"{name} is in force")
        checked = scene.egress("migrate", HOST, "-y", "--dry-run=server")
        run = scene.egress("migrate", HOST, "-y")
    for said, beginning in ((checked, "nothing was changed"), (run, UNDONE if case.written else "nothing was changed")):
        assert said.status == 1, said
        assert re.search(rf"error: .*{case.says}.*\n  {beginning}; {case.remedy}.*\n\Z", said.err), said.err
    assert scene.state() == before
    caller.healthy()
    assert scene.counters().in_clear == 0


def test_pods_that_a_quota_refuses(calling: tuple[Scene, Recorder]) -> None:
    scene, caller = calling
    before = scene.state()
    with quota({"pods": "1"})(scene):
        run = scene.egress("migrate", HOST, "-y")
    assert run.status == 1, run
    assert re.search(r"the rollout fails: pods \S+ is forbidden: exceeded quota", run.err), run.err
    assert UNDONE in run.err
    assert scene.state() == before
    caller.healthy()
    assert scene.counters().in_clear == 0


@contextlib.contextmanager
def istiod_not_asked(scene: Scene) -> Iterator[None]:
    """Istio's validation leaves the namespace out."""
    resource = scene.cluster.resource_of("ValidatingWebhookConfiguration", REGISTRATION)
    found = [
        (Ref(resource.kind, "", body["metadata"]["name"], REGISTRATION), number, webhook.get("namespaceSelector") or {})
        for body in scene.cluster.list(REGISTRATION, resource.plural, None)
        for number, webhook in enumerate(body["webhooks"])
        if "istio" in webhook["name"]
    ]
    named = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [scene.namespace]}

    def select(ref: Ref, number: int, selector: Body) -> None:
        steps = ("webhooks", number, "namespaceSelector")
        scene.cluster.patch(ref, [PatchOperation("add", steps, selector)])

    try:
        for ref, number, _ in found:
            select(ref, number, {"matchExpressions": [named]})
        yield
    finally:
        for ref, number, selector in found:
            select(ref, number, selector)


def test_istiod_refuses_what_stood_there_before_it_could(calling: tuple[Scene, Recorder]) -> None:
    """A rule that no istiod of today would take, and that is taken over: the first change of it is refused."""
    scene, caller = calling
    before = scene.state()
    wrong = {"host": HOST, "exportTo": ["."], "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": -1}}}}
    head = {"apiVersion": f"{MESH}/v1beta1", "kind": "DestinationRule"}
    theirs = {**head, "metadata": build.metadata("theirs", scene.namespace), "spec": wrong}
    more = {**theirs, "metadata": build.metadata("more", scene.namespace)}
    with istiod_not_asked(scene):
        until(lambda: _taken(scene, theirs), "istiod is not asked")
    try:
        until(lambda: not _taken(scene, more, dry_run=True), "istiod is asked")
        run = scene.egress("migrate", HOST, "-y")
    finally:
        scene.delete("DestinationRule", "theirs")
    assert run.status == 1, run
    assert re.search(r"denied the request: .*max connections must be", run.err), run.err
    assert f"{UNDONE}; {ASK}" in run.err
    assert scene.state() == before
    caller.healthy()
    assert scene.counters().in_clear == 0


def _taken(scene: Scene, body: Body, *, dry_run: bool = False) -> bool:
    try:
        scene.cluster.create(body, dry_run=dry_run)
    except ConflictError:
        return True
    except ApiError:
        return False
    return True


def test_a_rollout_that_passes_its_deadline(calling: tuple[Scene, Recorder]) -> None:
    """The application starts and never becomes ready."""
    scene, _ = calling
    template = scene.get("Deployment", CALLER)["spec"]
    probe = {"exec": {"command": ["sh", "-c", f"! grep -q {HOST} /etc/hosts"]}, "periodSeconds": 1}
    container = ("spec", "template", "spec", "containers", 0, "readinessProbe")
    scene.patch(
        "Deployment",
        CALLER,
        PatchOperation("replace", ("spec", "progressDeadlineSeconds"), 4),
        PatchOperation("add", container, probe),
    )
    scene.rolled_out(CALLER)
    before = scene.state()
    run = scene.egress("migrate", HOST, "-y")
    assert run.status == 1, run
    assert f'the rollout fails: deployment "{CALLER}" exceeded its progress deadline' in run.err
    assert UNDONE in run.err
    assert scene.state() == before
    assert scene.counters().in_clear == 0
    scene.patch("Deployment", CALLER, PatchOperation("replace", ("spec",), template))
    scene.rolled_out(CALLER)


# ---- what takes it back, or a part of it ------------------------------------------------------------------------------


@contextlib.contextmanager
def reverting(scene: Scene) -> Iterator[None]:
    """A controller that gives the Deployment its template back, whoever changes it."""
    template = scene.get("Deployment", CALLER)["spec"]["template"]
    ending = threading.Event()

    def revert() -> None:
        while not ending.wait(0.1):
            if scene.get("Deployment", CALLER)["spec"]["template"] != template:
                scene.patch("Deployment", CALLER, PatchOperation("replace", ("spec", "template"), template))

    thread = threading.Thread(target=revert)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def test_a_controller_that_takes_the_patch_back(calling: tuple[Scene, Recorder]) -> None:
    scene, caller = calling
    before = scene.state()
    with reverting(scene):
        run = scene.egress("migrate", HOST, "-y")
    assert run.status in (1, 3), run
    assert "changed back" in run.err, run.err
    assert UNDONE in run.err
    assert scene.state() == before
    caller.healthy()
    assert scene.counters().in_clear == 0


STRIP = 'has(object.{0}.hostAliases) ? [JSONPatch{{op: "remove", path: "/{1}/hostAliases"}}] : []'


@pytest.mark.parametrize(
    ("kind", "around", "says"),
    [
        (
            "Deployment",
            stripping("deployments.apps", STRIP.format("spec.template.spec", "spec/template/spec")),
            f"deployment/{CALLER} is not stored as it was written: the alias for {HOST} is not there",
        ),
        (
            "Pod",
            stripping("pods", STRIP.format("spec", "spec"), ["CREATE"]),
            f"was made without the alias for {HOST}: without its sidecar, its requests would leave in clear",
        ),
    ],
    ids=["of the workload", "of its pods"],
)
def test_a_policy_that_takes_the_alias_away(
    calling: tuple[Scene, Recorder], kind: str, around: Around, says: str
) -> None:
    scene, caller = calling
    try:
        scene.cluster.resource_of("MutatingAdmissionPolicy", REGISTRATION)
    except NotFoundError:
        pytest.skip("Kubernetes has MutatingAdmissionPolicy from 1.36 on")
    before = scene.state()
    with around(scene):
        until(lambda: not aliased(tried(scene, kind)), "the policy is in force")
        run = scene.egress("migrate", HOST, "-y")
    assert run.status == 1, run
    assert says in run.err, run.err
    assert UNDONE in run.err
    assert scene.state() == before
    caller.healthy()
    assert scene.counters().in_clear == 0


# ---- on the way back --------------------------------------------------------------------------------------------------


def test_an_undo_that_a_policy_stops_goes_on_later(calling: tuple[Scene, Recorder]) -> None:
    scene, caller = calling
    before = scene.state()
    scene.migrate()
    with policy(f"serviceentries.{MESH}", says="nothing is deleted on a Friday", operations=["DELETE"])(scene):
        entry = scene.mesh_object("ServiceEntry")
        ref, uid = scene.ref("ServiceEntry", entry), scene.get("ServiceEntry", entry)["metadata"]["uid"]

        def kept() -> bool:
            try:
                scene.cluster.delete(ref, uid=uid, dry_run=True)
            except ApiError:
                return True
            return False

        until(kept, "the policy is in force")
        run = scene.egress("undo", HOST, "-y")
    assert run.status == 1, run
    assert "nothing is deleted on a Friday" in run.err
    assert "kubectl egress undo" in run.err
    caller.healthy()
    assert f"https://{HOST}" in str(scene.get("Deployment", CALLER)["spec"])
    assert {kind for kind, name in scene.objects() if kind in MESH_KINDS} == set(MESH_KINDS)
    scene.undo()
    assert scene.state() == before
    assert scene.counters().in_clear == 0
