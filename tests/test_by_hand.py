"""The way back by hand: what a shell makes of the commands, with a kubectl that says what a test wants."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_egress import journal, kinds
from kubectl_egress.model import Host, Ref
from kubectl_egress.plan import Command, by_hand, plan_undo
from kubectl_egress.plan.by_hand_waiting import old_pods
from tests.build import NAMESPACE, config_map, container, deployment
from tests.test_plan import HTTPBIN, OTHER, World, by_config_map, curl, migration

WILDCARD = Host("*.example.com")


def commands(world: World, *hosts: Host) -> list[Command]:
    survey = world.survey()
    journals = {one.host: one for one in map(journal.from_config_map, (doc.body for doc in survey.journals))}
    templates = {one.ref: kinds.pod_template(one.document.body) or {} for one in survey.workloads}
    return list(by_hand(plan_undo(survey, hosts), [journals[host] for host in hosts], {}, templates))


def ends_at_once(tmp_path: Path, line: str, pods: str, selected: str | None = None) -> bool:
    """Whether the loop ends; `pods`: what kubectl answers; `selected`: and what, where it is asked for pods with a label."""
    (tmp_path / "pods").write_text(pods)
    (tmp_path / "selected").write_text(pods if selected is None else selected)
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        f'#!/bin/sh\ncase "$*" in *" -l "*) cat {tmp_path / "selected"} ;; *) cat {tmp_path / "pods"} ;; esac\n'
    )
    kubectl.chmod(kubectl.stat().st_mode | stat.S_IXUSR)
    # It would sleep: then it has not ended.
    line = line.replace("sleep 2", "exit 9")
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode in (0, 9), done
    assert done.stderr == ""
    return done.returncode == 0


def loop_of(world: World, *hosts: Host) -> str:
    [line] = [one.line for one in commands(world, *hosts) if one.line.startswith("until")]
    return line


def pods_of(world: World) -> str:
    """The pods of the Deployments as they are now, as YAML."""
    specs = [body["spec"]["template"]["spec"] for ref, body in world.objects.items() if ref.kind == "Deployment"]
    return yaml.safe_dump({"items": [{"spec": spec} for spec in specs]})


def test_closed_pods_are_known_by_their_alias(tmp_path: Path) -> None:
    world = World(curl())
    world.do(migration(world, HTTPBIN).steps)
    [alias] = world.objects[Ref("Deployment", NAMESPACE, "curl")]["spec"]["template"]["spec"]["hostAliases"]
    line = loop_of(world, HTTPBIN)
    assert ends_at_once(tmp_path, line, "")
    assert ends_at_once(tmp_path, line, f"{alias['ip']}0 10.0.0.1")
    assert not ends_at_once(tmp_path, line, f"10.0.0.1 {alias['ip']}")


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("curl http://httpbin.org/get", True),
        ('"http://httpbin.org"', True),
        ("HTTP://HTTPBIN.org/x", True),
        ("http://httpbin.org:80/x", True),
        ("http://httpbin.org:443", True),
        ("http://httpbin.org./x", True),
        ("http://me:secret@httpbin.org/", True),
        ("ws://httpbin.org/socket", True),
        (r"http:\\/\\/httpbin.org\\/get", True),
        ("https://httpbin.org/get", False),
        ("http://httpbin.org:8080/", False),
        ("http://httpbin.org.example.com/", False),
        ("http://api.httpbin.org/", False),
        ("http://httpbin.orgs/", False),
        ("http://example.com/httpbin.org", False),
        ("http://example.com/a@httpbin.org", False),
    ],
)
@pytest.mark.parametrize("how", [{}, {"fail_open": True}])
def test_a_pod_that_has_the_url_is_waited_for_whether_it_has_an_alias_or_not(
    text: str, calls: bool, how: dict[str, Any], tmp_path: Path
) -> None:
    """An alias that somebody took out, a pod from a template in between: what counts is whether it calls http://."""
    world = World(curl())
    world.do(migration(world, HTTPBIN, **how).steps)
    assert ends_at_once(tmp_path, loop_of(world, HTTPBIN), f'{{"env":[{{"value":"{text}"}}]}}\n') is not calls


def test_a_port_of_its_own_belongs_to_the_url(tmp_path: Path) -> None:
    world = World(curl())
    world.do(migration(world, HTTPBIN).steps)
    [record] = map(journal.from_config_map, (document.body for document in world.survey().journals))
    elsewhere = replace(record, host=Host("httpbin.org", 8443))
    line = old_pods(plan_undo(world.survey(), [HTTPBIN]), [elsewhere], {}, []).line
    assert not ends_at_once(tmp_path, line, "http://httpbin.org:8443/x")
    assert not ends_at_once(tmp_path, line, "http://httpbin.org/x")
    assert ends_at_once(tmp_path, line, "http://httpbin.org:443/x http://httpbin.org:84430/")


# Who calls the host in clear by itself, and would keep the loop from ending for ever.
ITSELF = deployment("other", env={"B": "http://httpbin.org/own"})


@pytest.mark.parametrize("how", [{}, {"fail_open": True}])
def test_who_called_in_clear_before_is_told_apart_by_its_label(how: dict[str, Any], tmp_path: Path) -> None:
    world = World(curl(), ITSELF)
    callers = frozenset({Ref("Deployment", NAMESPACE, "curl")})
    world.do(migration(world, HTTPBIN, workloads=callers, **how).steps)
    line = loop_of(world, HTTPBIN)
    assert "-l app!=other" in line.replace("'", "")
    its = "http://httpbin.org/own\n"
    assert ends_at_once(tmp_path, line, its, "")
    assert not ends_at_once(tmp_path, line, its, "http://httpbin.org/get\n")


@pytest.mark.parametrize(
    ("bodies", "who"),
    [
        (
            (curl(), deployment("other", labels={"app": "curl"}, env={"B": "http://httpbin.org/own"})),
            "deployment/other",
        ),
        ((deployment("curl", env={"A": "https://httpbin.org/", "B": "http://httpbin.org/own"}),), "deployment/curl"),
    ],
)
def test_where_no_label_tells_them_apart_it_is_said(bodies: tuple[Any, ...], who: str, tmp_path: Path) -> None:
    callers = frozenset({Ref("Deployment", NAMESPACE, "curl")})
    world = World(*bodies)
    world.do(migration(world, HTTPBIN, workloads=callers).steps)
    [alias] = world.objects[Ref("Deployment", NAMESPACE, "curl")]["spec"]["template"]["spec"]["hostAliases"]
    [wait] = [one for one in commands(world, HTTPBIN) if one.line.startswith("until")]
    assert f"{who} has http://httpbin.org of its own" in wait.why
    assert ends_at_once(tmp_path, wait.line, "http://httpbin.org/own"), "closed pods have an alias at least"
    assert not ends_at_once(tmp_path, wait.line, alias["ip"])
    world = World(*bodies)
    world.do(migration(world, HTTPBIN, workloads=callers, fail_open=True).steps)
    [wait] = [one for one in commands(world, HTTPBIN) if "no pod that calls http://" in one.why]
    assert wait.line == "", "open ones have nothing"
    assert f"{who} has http://httpbin.org of its own" in wait.why


@pytest.mark.parametrize("also_closed", [False, True])
def test_open_pods_are_known_by_url_and_by_copy(also_closed: bool, tmp_path: Path) -> None:
    settings, shop = by_config_map()
    world = World(settings, shop, curl(), deployment("pay", env={"A": "https://api.example.com/x"}))
    before = pods_of(world)
    world.do(migration(world, HTTPBIN, fail_open=True).steps)
    hosts = [HTTPBIN]
    if also_closed:
        world.do(migration(world, OTHER, workloads=frozenset({Ref("Deployment", NAMESPACE, "pay")})).steps)
        hosts.append(OTHER)
    line = loop_of(world, *hosts)
    assert ends_at_once(tmp_path, line, before)
    for name in ("curl", "shop", *(["pay"] if also_closed else [])):
        [spec] = [
            body["spec"]["template"]["spec"]
            for ref, body in world.objects.items()
            if ref == Ref("Deployment", NAMESPACE, name)
        ]
        assert not ends_at_once(tmp_path, line, yaml.safe_dump({"items": [{"spec": spec}]})), name


def test_a_name_with_a_hyphen_gives_no_warning(tmp_path: Path) -> None:
    world = World(deployment("shop", env={"A": "https://my-api.example.com/x"}))
    world.do(migration(world, Host("my-api.example.com")).steps)
    line = loop_of(world, Host("my-api.example.com"))
    assert not ends_at_once(tmp_path, line, "http://my-api.example.com/x")
    assert ends_at_once(tmp_path, line, "http://my-api-example.com/x")


def test_other_hosts_and_other_ports_are_waited_for_by_nobody(tmp_path: Path) -> None:
    world = World(curl())
    world.do(migration(world, HTTPBIN, fail_open=True).steps)
    line = loop_of(world, HTTPBIN)
    assert ends_at_once(tmp_path, line, "http://httpbin.org.example.com http://httpbin.org:8080/ https://httpbin.org")
    assert not ends_at_once(tmp_path, line, "URL: http://httpbin.org")


# ---- a copy for the hosts that stay -----------------------------------------------------------------------------


def two_in_one(text: str) -> World:
    volumes = [{"name": "settings", "configMap": {"name": "settings"}}]
    mounted = container("shop", volumeMounts=[{"name": "settings", "mountPath": "/settings"}])
    settings: dict[str, Any] = config_map("settings", {"app.properties": text, "other": "s3cret"})
    world = World(settings, deployment("shop", containers=[mounted], volumes=volumes))
    world.do(migration(world, HTTPBIN, OTHER).steps)
    return world


def test_the_copy_for_the_hosts_that_stay_is_made_without_a_value_on_the_page(tmp_path: Path) -> None:
    world = two_in_one("a=https://httpbin.org/a\nb=https://api.example.com/b\n")
    [made] = [one.line for one in commands(world, HTTPBIN) if "kubectl create" in one.line]
    assert "s3cret" not in made
    [old] = [
        body
        for ref, body in world.objects.items()
        if ref.kind == "ConfigMap" and ref.name.startswith("settings-") and "kubectl-egress" not in ref.name
    ]
    answer = {
        **old,
        "metadata": {**old["metadata"], "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z"},
    }
    (tmp_path / "answer").write_text(yaml.safe_dump(answer))
    (tmp_path / "kubectl").write_text(
        f'#!/bin/sh\n[ "$1" = get ] && cat {tmp_path / "answer"} || cat > {tmp_path / "created"}\n'
    )
    (tmp_path / "kubectl").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", made], env=environment, check=True, timeout=30)
    created = yaml.safe_load((tmp_path / "created").read_text())
    plan = plan_undo(world.survey(), [HTTPBIN])
    [wanted] = [step.after for step in plan.steps if step.action == "create" and step.after]
    assert created == {**wanted, "metadata": {**wanted["metadata"]}}


def test_what_sed_cannot_do_is_said_and_not_guessed() -> None:
    world = two_in_one("a=https://HTTPBIN.org/a\nb=https://api.example.com/b\n")
    [asked] = [one for one in commands(world, HTTPBIN) if "a copy of the ConfigMap" in one.why]
    assert asked.line == ""
    assert "by hand" in asked.why


def test_the_edit_changes_urls_with_any_sed_and_leaves_no_copy(tmp_path: Path) -> None:
    world = World(curl())
    world.do(migration(world, HTTPBIN).steps)
    [line] = [one.line for one in commands(world, HTTPBIN) if one.line.startswith("KUBE_EDITOR=")]
    assert "\\|" not in line, "no alternative in a basic expression: BSD's and macOS's sed knows none"
    edited = tmp_path / "edited.yaml"
    edited.write_text("a: http://httpbin.org/x\nb: http://httpbin.org.evil.com/\nc: http://httpbin.org\n")
    # As kubectl calls an editor that needs a shell: with the file behind it, in quotes.
    done = subprocess.run(["sh", "-c", f'{line.partition(" kubectl edit")[0]}; eval "$KUBE_EDITOR \\"{edited}\\""'])
    assert done.returncode == 0
    assert edited.read_text() == "a: https://httpbin.org/x\nb: http://httpbin.org.evil.com/\nc: https://httpbin.org\n"
    assert [path.name for path in tmp_path.iterdir()] == ["edited.yaml"]
