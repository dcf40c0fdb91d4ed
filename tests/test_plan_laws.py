"""What holds for every workload: laws of plans and of undoing them, over generated ones."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress import inspection, journal, kinds, paths
from kubectl_egress.model import Action, Body, Host, Ref, Step
from kubectl_egress.plan import CHANGED_SINCE, plan_undo
from kubectl_egress.plan.holding import PROXY_CONFIG
from kubectl_egress.scan.parts import readings
from kubectl_egress.scan.strings import Reader
from tests.build import NAMESPACE, config_map, container, workload
from tests.test_plan import HTTPBIN, MESH, OTHER, World, migration, without_uids

THIRD = Host("b.httpbin.org")
FOURTH = Host("p.example.com", 8443)
ALL = (HTTPBIN, OTHER, THIRD, FOURTH)
HOSTS = st.sampled_from(
    [
        "httpbin.org",
        "HTTPBIN.ORG",
        "httpbin.org.",
        "api.example.com",
        "httpbin.org:443",
        "b.httpbin.org",
        "p.example.com:8443",
        "p.example.com",
    ]
)
URLS = st.builds("{}://{}/{}".format, st.sampled_from(["https", "HTTPS", "http", "wss"]), HOSTS, st.sampled_from("abc"))
TEXTS = st.lists(URLS | st.sampled_from(["x", "# no", "'", "\r\n", "ä\t"]), max_size=4).map(" ".join)
SECRET = "hunter2"
SECRET_URLS = st.builds(
    "{}://{}{}/{}?access_token=hunter2#hunter2".format,
    st.sampled_from(["https", "HTTPS", "wss"]),
    st.sampled_from(["", "hunter2@", "joe:hunter2@"]),
    HOSTS,
    st.sampled_from(["", "hunter2", "services/T0/hunter2"]),
)
PROXY_CONFIGS = st.sampled_from(
    [
        "proxyMetadata:\n  TOKEN: hunter2\n",
        '{"proxyMetadata": {"TOKEN": "hunter2"}}',
        "holdApplicationUntilProxyStarts: false\nproxyMetadata: {TOKEN: hunter2}\n",
        "# hunter2\n\n\n",
    ]
)
SECRET_TEXTS = st.lists(SECRET_URLS | st.sampled_from([SECRET, f"PASSWORD={SECRET}"]), max_size=3).map(" ".join)
# Settings that say a call together: changed as one, or told. None of them may be a URL for the other laws.
SPLIT = st.fixed_dictionaries(
    {"PAY_SCHEME": st.sampled_from(["https", "HTTPS", "wss", "https://", "http", "tcp"])},
    optional={
        "PAY_HOST": st.sampled_from(["httpbin.org", "HTTPBIN.org.", "api.example.com:443", "shop", "p.example.com"]),
        "PAY_PORT": st.sampled_from(["443", "8443", "80"]),
        "PAY_URL": st.sampled_from(["$(PAY_SCHEME)://$(PAY_HOST)/x", "$(PAY_SCHEME)://api.example.com/"]),
        "PAY_NEXT": st.sampled_from(["https://$(PAY_HOST)/x", "wss://$(PAY_HOST):$(PAY_PORT)/ https://$(PAY_HOST)"]),
    },
)
PAIRS = st.sampled_from(
    [
        "pay.scheme=https\npay.host=httpbin.org\n",
        "a:\n  scheme: https\n  host: api.example.com\nb:\n  port: 443\n  scheme: https\n  host: httpbin.org.\n",
        '{"b": {"scheme": "https", "host": "b.httpbin.org", "port": 443}, "c": {"scheme": "https", "host": "shop"}}',
    ]
)
ASKED = st.sets(st.sampled_from(ALL), min_size=1).map(sorted)
ALIASES = st.lists(
    st.sampled_from(
        [
            {"ip": "203.0.113.7", "hostnames": ["db.example.net", "cache.example.net"]},
            {"ip": "192.0.2.99", "hostnames": ["old.example.net"]},
        ]
    ),
    unique_by=str,
    max_size=2,
)


@st.composite
def containers(draw: st.DrawFn, name: str, texts: st.SearchStrategy[str]) -> dict[str, Any]:
    """One that reads its own strings and two shared ConfigMaps: in bulk, and one key."""
    made = container(
        name,
        env=[
            *(
                {"name": key, "value": text}
                for key, text in draw(st.dictionaries(st.sampled_from("AB"), texts)).items()
            ),
            *({"name": key, "value": text} for key, text in (draw(SPLIT) if draw(st.booleans()) else {}).items()),
            *(
                [{"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "single", "key": "c", "optional": True}}}]
                if draw(st.booleans())
                else []
            ),
        ],
        args=draw(st.lists(texts, max_size=2)),
    )
    source = [{"configMapRef": {"name": "settings"}}] if draw(st.booleans()) else []
    return {**made, **({"envFrom": source} if source else {})}


@st.composite
def worlds(draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXTS) -> World:
    """Up to three workloads of any kind, with init containers, aliases of their own, and files from a ConfigMap."""
    keys = st.dictionaries(st.sampled_from(["a.b", "c"]), texts, max_size=2)
    settings = draw(keys) | draw(st.one_of(st.just({}), SPLIT, st.builds(lambda text: {"pairs": text}, PAIRS)))
    bodies: list[Body] = [config_map("settings", settings), config_map("single", draw(keys))]
    for name in sorted(draw(st.sets(st.sampled_from(["one", "two", "three"]), min_size=1))):
        kind = draw(st.sampled_from(["Deployment", "Deployment", "CronJob", "Job"]))
        spec: dict[str, Any] = {"containers": [draw(containers(name, texts))]}
        if draw(st.booleans()):
            spec["containers"].append(draw(containers("second", texts)))
        if draw(st.booleans()):
            spec["initContainers"] = [draw(containers("first", texts))]
        if aliases := draw(ALIASES):
            spec["hostAliases"] = aliases
        if draw(st.booleans()):
            spec["volumes"] = [{"name": "files", "configMap": {"name": "settings"}}]
            spec["containers"][0]["volumeMounts"] = [{"name": "files", "mountPath": "/files"}]
        bodies.append(workload(kind, name, **spec))
    return World(*bodies)


def migrated(world: World) -> list[Host]:
    """The hosts that have a journal."""
    return [journal.from_config_map(one.body).host for one in world.survey().journals]


def undo(world: World, hosts: Sequence[Host]) -> list[Step]:
    return list(plan_undo(world.survey(), hosts).steps)


def copied(world: World) -> World:
    other = World()
    other.objects = copy.deepcopy(world.objects)
    return other


@given(worlds(), ASKED)
def test_plan_after_apply_is_empty_and_undo_is_identity(world: World, hosts: list[Host]) -> None:
    before = world.bodies()
    world.do(migration(world, *hosts).steps)
    assert migration(world, *hosts).steps == ()
    world.do(undo(world, migrated(world)))
    assert world.bodies() == before


@given(worlds(), st.permutations(ALL), st.permutations(ALL))
def test_hosts_may_be_migrated_and_undone_one_by_one_in_any_order(
    world: World, there: list[Host], back: list[Host]
) -> None:
    before = world.bodies()
    for host in there:
        world.do(migration(world, host).steps)
    assert migration(world, *ALL).steps == ()
    for host in back:
        world.do(undo(world, [host]) if host in migrated(world) else [])
    assert world.bodies() == before


@given(worlds(), ASKED, st.data())
def test_a_run_that_stops_anywhere_can_be_finished_and_undone(
    world: World, hosts: list[Host], data: st.DataObject
) -> None:
    before, whole = world.bodies(), copied(world)
    whole.do(migration(whole, *hosts).steps)
    steps = migration(world, *hosts).steps
    world.do(steps[: data.draw(st.integers(0, len(steps)), "steps of the migration")])
    other = copied(world)
    other.do(migration(other, *hosts).steps)
    assert without_uids(other) == without_uids(whole)
    back = undo(other, migrated(other))
    other.do(back[: data.draw(st.integers(0, len(back)), "steps of the undo")])
    for stopped in (world, other):
        stopped.do(undo(stopped, migrated(stopped)))
        assert stopped.bodies() == before


@given(worlds(), ASKED, st.data())
def test_an_undo_that_stops_anywhere_can_be_turned_round(world: World, hosts: list[Host], data: st.DataObject) -> None:
    world.do(migration(world, *hosts).steps)
    whole = copied(world)
    steps = undo(world, migrated(world))
    world.do(steps[: data.draw(st.integers(0, len(steps)), "steps")])
    world.do(migration(world, *hosts).steps)
    assert without_uids(world) == without_uids(whole)


@given(worlds(), ASKED)
def test_at_no_step_does_a_template_call_in_clear_without_its_alias_and_its_mesh_objects(
    world: World, hosts: list[Host]
) -> None:
    """But where it did so before, which is nobody's migration."""
    plain = in_clear(world)

    def holds() -> None:
        for ref, name in in_clear(world) - plain:
            spec = (kinds.pod_template(world.objects[ref]) or {})["spec"]
            assert any(name in entry["hostnames"] for entry in spec["hostAliases"]), (ref, name)
            assert {kind for kind, *_ in map(named, world.objects) if kind in MESH} == set(MESH)

    for step in migration(world, *hosts).steps:
        world.do([step])
        holds()
    for step in undo(world, migrated(world)):
        world.do([step])
        holds()
    assert in_clear(world) == plain


@given(worlds(SECRET_TEXTS), ASKED, PROXY_CONFIGS)
def test_a_journal_holds_no_secret_at_any_step(world: World, hosts: list[Host], config: str) -> None:
    """Nothing of a value but which of its URLs was rewritten, and how many letters of it; and that is enough to undo it."""
    for ref, body in world.objects.items():
        if ref.kind != "ConfigMap":
            template(body).setdefault("metadata", {})["annotations"] = {PROXY_CONFIG: config, "mine": SECRET}
    before = world.bodies()

    def holds() -> None:
        for one in world.survey().journals:
            assert SECRET not in str(one.body)

    for step in migration(world, *hosts, hold=True).steps:
        world.do([step])
        holds()
    for host in migrated(world):
        for step in undo(world, [host]):
            world.do([step])
            holds()
    assert world.bodies() == before


def named(ref: Ref) -> tuple[str, str]:
    return ref.kind, ref.name


def in_clear(world: World) -> set[tuple[Ref, str]]:
    return {(site.workload, site.host.name) for site in inspection.call_sites(world.survey()) if not site.url.encrypted}


# What a migration may take out of a text: the s of a scheme, a final dot, the port.
CALLED = re.compile(r"(https?|wss?)://([^\s/:]*?)\.?(:8?443)?(?=/|\Z)", re.IGNORECASE)


# And of settings that say a call together: in a string of their own, or behind their name in a file.
SCHEME = re.compile(r"(\A|scheme\W{1,4})(http|ws)s?(?=\W|\Z)", re.IGNORECASE)
HOST_ALONE = re.compile(r"(\A|host\W{1,4})([\w.-]+?)\.?(:8?443)?(?=[\"\r\n]|\Z)")
PORT = re.compile(r"(\A|port\W{1,4})8?443(?=[}\r\n]|\Z)")


def neutral(text: str) -> str:
    text = CALLED.sub(lambda match: f"{match[1].lower().rstrip('s')}://{match[2]}", text)
    return PORT.sub(r"\g<1>80", HOST_ALONE.sub(r"\1\2", SCHEME.sub(r"\1\2", text)))


@given(worlds(), ASKED)
def test_every_other_byte_stays(world: World, hosts: list[Host]) -> None:
    """Of every string of a template, and of what a copied ConfigMap holds; nothing is lost, and aliases alone are added."""
    before = world.bodies()
    world.do(migration(world, *hosts).steps)
    for ref, body in before.items():
        after = world.objects[ref]
        if ref.kind == "ConfigMap":
            assert after == body
            continue
        assert (strings(after, world) - strings(body, world)) == {}
        assert (strings(body, world) - strings(after, world)) == {}


@given(worlds(), ASKED)
def test_settings_change_for_the_hosts_that_were_asked_for_alone(world: World, hosts: list[Host]) -> None:
    """Inside and outside of the cluster: whatever else the settings of a container say is said as before."""
    before = calls_of_settings(world, hosts)
    world.do(migration(world, *hosts).steps)
    assert calls_of_settings(world, hosts) == before


def calls_of_settings(world: World, but: list[Host]) -> list[tuple[str, str, str]]:
    survey = world.survey()
    found = []
    for one in survey.workloads:
        reader = Reader(one.ref, kinds.pod_template(one.document.body) or {}, survey.config_maps)
        found += [
            (one.ref.name, reading.name, call.url.text)
            for reading in readings(one.document, reader)
            for call in reading.calls
            if call.url.host.name not in {host.name for host in but}
        ]
    return found


class Strings(dict[tuple[str | int, ...], str]):
    """Texts by address."""

    def __sub__(self, other: Mapping[tuple[str | int, ...], str]) -> dict[tuple[str | int, ...], str]:
        return {steps: text for steps, text in self.items() if other.get(steps) != text}


def strings(body: Body, world: World) -> Strings:
    """Each string of a workload, and in place of a ConfigMap's name what it holds; without the aliases of its hosts."""
    maps = {ref.name: held["data"] for ref, held in world.objects.items() if ref.kind == "ConfigMap"}
    found = Strings()
    for steps, text in paths.walk_strings(body):
        if "hostAliases" in steps:
            continue
        if steps[-1] == "name" and steps[-2] in ("configMapRef", "configMapKeyRef", "configMap"):
            found.update({(*steps, key): neutral(value) for key, value in maps[text].items()})
        else:
            found[steps] = neutral(text)
    return found


# ---- what somebody else does meanwhile stays ------------------------------------------------------------------------------


def scaled(body: dict[str, Any]) -> None:
    body["spec"]["suspend" if body["kind"] == "CronJob" else "replicas"] = 3


def annotated(body: dict[str, Any]) -> None:
    template(body).setdefault("metadata", {})["annotations"] = {"note": "mine"}


def variable_before(body: dict[str, Any]) -> None:
    """Every index behind it moves."""
    for one in template(body)["spec"]["containers"]:
        one["env"] = [{"name": "FIRST", "value": "new"}, *one.get("env", [])]


def container_before(body: dict[str, Any]) -> None:
    template(body)["spec"]["containers"].insert(0, container("before", args=["https://elsewhere.example.net/"]))


def alias_added(body: dict[str, Any]) -> None:
    template(body)["spec"].setdefault("hostAliases", []).append({"ip": "203.0.113.9", "hostnames": ["new.example.net"]})


def template(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = paths.get(body, kinds.template_steps(body["kind"]))
    return found


CHANGES = st.lists(
    st.sampled_from([scaled, annotated, variable_before, container_before, alias_added]), unique=True, min_size=1
)


@given(worlds(), ASKED, CHANGES)
def test_undo_keeps_what_somebody_else_has_changed_since(
    world: World, hosts: list[Host], changes: list[Callable[[dict[str, Any]], None]]
) -> None:
    untouched = copied(world)
    world.do(migration(world, *hosts).steps)
    for each in (world, untouched):
        for ref, body in each.objects.items():
            if ref.kind in ("Deployment", "CronJob"):
                for change in changes:
                    change(body)
    plan = plan_undo(world.survey(), migrated(world))
    assert not [one for one in plan.findings if one.code == CHANGED_SINCE]
    world.do(plan.steps)
    assert world.bodies() == untouched.bodies()


@given(worlds(), ASKED)
def test_an_undo_deletes_nothing_that_it_has_not_made(world: World, hosts: list[Host]) -> None:
    before = set(world.objects)
    world.do(migration(world, *hosts).steps)
    deleted = {step.ref for step in undo(world, migrated(world)) if step.action is Action.DELETE}
    assert not deleted & before
    assert all(ref is not None and ref.namespace == NAMESPACE for ref in deleted)
