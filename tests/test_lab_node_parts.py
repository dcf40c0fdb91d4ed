"""What a container is started with, and what is said about it: pure parts of the node."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kubectl_egress.lab.parts import LabRefusal, ProxyConfiguration
from kubectl_egress.lab.pods.environment import arguments, environment, expand
from kubectl_egress.lab.pods.sidecar import Knowledge, write_first
from kubectl_egress.lab.pods.states import ContainerState, Ended, phase_of, pod_status
from kubectl_egress.lab.pods.volumes import container_mounts, file_mode, hosts_file, own_etc, volume_files, write_files

POD: dict[str, Any] = {
    "metadata": {"name": "shop-1", "namespace": "shop", "uid": "u", "labels": {"app": "shop"}},
    "spec": {"containers": [{"name": "shop"}]},
    "status": {"podIP": "10.244.0.12"},
}
OBJECTS: Mapping[tuple[str, str], dict[str, Any]] = {
    ("configmaps", "settings"): {"data": {"URL": "https://a.example", "app.properties": "x=1", "1bad": "y"}},
    ("secrets", "token"): {"data": {"key": "aHVzaA=="}},
}


def lookup(resource: str, name: str) -> dict[str, Any] | None:
    return OBJECTS.get((resource, name))


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("$A", "$A"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$(A", "$(A"),
        ("$(A)/x", "1/x"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
    ],
)
def test_references(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


@pytest.mark.parametrize(
    ("container", "name", "value"),
    [
        ({"env": [{"name": "A"}]}, "A", ""),
        ({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"}]}, "B", "12"),
        ({"env": [{"name": "B", "value": "$(A)"}, {"name": "A", "value": "1"}]}, "B", "$(A)"),
        (
            {"env": [{"name": "U", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "URL"}}}]},
            "U",
            "https://a.example",
        ),
        ({"env": [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "token", "key": "key"}}}]}, "S", "hush"),
        ({"env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}]}, "N", "shop"),
        ({"env": [{"name": "I", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}, "I", "10.244.0.12"),
        ({"env": [{"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}]}, "L", "shop"),
        ({"envFrom": [{"configMapRef": {"name": "settings"}}]}, "URL", "https://a.example"),
        ({"envFrom": [{"prefix": "P_", "configMapRef": {"name": "settings"}}]}, "P_1bad", "y"),
        ({"envFrom": [{"configMapRef": {"name": "settings"}}], "env": [{"name": "URL", "value": "own"}]}, "URL", "own"),
    ],
)
def test_a_variable(container: dict[str, Any], name: str, value: str) -> None:
    assert environment(container, POD, lookup)[name] == value


@pytest.mark.parametrize(
    "container",
    [
        {"envFrom": [{"configMapRef": {"name": "none", "optional": True}}]},
        {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "k", "optional": True}}}]},
    ],
)
def test_what_is_optional_and_not_there_is_left_out(container: dict[str, Any]) -> None:
    assert set(environment(container, POD, lookup)) == {"PATH", "HOSTNAME", "HOME"}


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [{"configMapRef": {"name": "none"}}]}, 'configmap "none" not found'),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "token", "key": "k"}}}]},
            "couldn't find key k in Secret token",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nonsense"}}}]},
            "no fieldRef spec.nonsense",
        ),
    ],
)
def test_a_reference_that_leads_nowhere(container: dict[str, Any], message: str) -> None:
    with pytest.raises(LabRefusal, match=message):
        environment(container, POD, lookup)


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"args": ["a"]}, []),
        ({"command": ["sh", "-c"], "args": ["echo $(A)"]}, ["sh", "-c", "echo 1"]),
    ],
)
def test_arguments(container: dict[str, Any], expected: list[str]) -> None:
    assert arguments(container, {"A": "1"}) == expected


def test_hosts_file_has_the_aliases_last_as_the_kubelet_writes_them() -> None:
    aliased = {**POD, "spec": {"hostAliases": [{"ip": "192.0.2.1", "hostnames": ["httpbin.org", "x.example"]}]}}
    plain = hosts_file(POD, "10.244.0.12")
    assert plain.endswith("10.244.0.12\tshop-1\n")
    assert hosts_file(aliased, "10.244.0.12") == (
        plain + "\n# Entries added by HostAliases.\n192.0.2.1\thttpbin.org\tx.example\n"
    )


def test_names_are_searched_in_the_pods_own_namespace() -> None:
    etc = own_etc(POD, ["10.244.0.12"], "10.244.0.1", "PEM")
    assert (
        "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.244.0.1\n"
        in etc["/etc/resolv.conf"]
    )
    assert etc["/etc/ssl/certs/ca-certificates.crt"] == "PEM"


@pytest.mark.parametrize(
    ("volume", "files"),
    [
        ({"name": "v", "emptyDir": {}}, None),
        ({"name": "v", "configMap": {"name": "none", "optional": True}}, {}),
        ({"name": "v", "configMap": {"name": "settings", "items": [{"key": "app.properties", "path": "a/b"}]}}, {"a/b": b"x=1"}),
        ({"name": "v", "secret": {"secretName": "token"}}, {"key": b"hush"}),
        (
            {"name": "v", "projected": {"sources": [{"secret": {"name": "token"}}, {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}},
            {"key": b"hush", "n": b"shop-1"},
        ),
    ],
)  # fmt: skip
def test_the_files_of_a_volume(volume: dict[str, Any], files: dict[str, bytes] | None) -> None:
    assert volume_files(volume, POD, lookup) == files


def test_a_volume_that_the_lab_does_not_have_is_refused() -> None:
    with pytest.raises(LabRefusal, match="no volumes of type hostPath"):
        volume_files({"name": "v", "hostPath": {"path": "/"}}, POD, lookup)


def test_files_follow_their_config_map(tmp_path: Path) -> None:
    write_files(tmp_path / "v", {"a": b"1", "b/c": b"2"})
    assert not (tmp_path / "v" / "a").stat().st_mode & 0o111
    write_files(tmp_path / "v", {"a": b"3"}, file_mode({"name": "v", "configMap": {"name": "c", "defaultMode": 0o755}}))
    assert (tmp_path / "v" / "a").stat().st_mode & 0o777 == 0o755
    assert {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == {"v/a": b"3"}


def test_a_volume_path_stays_inside(tmp_path: Path) -> None:
    with pytest.raises(LabRefusal, match=r"must not contain '\.\.'"):
        write_files(tmp_path, {"../x": b""})


def test_a_sub_path_is_one_file(tmp_path: Path) -> None:
    write_files(tmp_path / "v", {"a": b"1"})
    container = {"name": "shop", "volumeMounts": [{"name": "v", "mountPath": "/etc/app/a", "subPath": "a"}]}
    (mount,) = container_mounts(container, tmp_path, frozenset())
    assert (mount.source, mount.path, mount.read_only) == (str(tmp_path / "v" / "a"), "/etc/app/a", True)


RUNNING = ContainerState(running_since="2026-01-01T00:00:00Z", ready=True)
DONE, FAILED = (Ended(code, "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z") for code in (0, 3))


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        (ContainerState(), "Pending"),
        (RUNNING, "Running"),
        (ContainerState("CrashLoopBackOff", previous=FAILED), "Running"),
        (ContainerState(ended=DONE, previous=DONE), "Succeeded"),
        (ContainerState(ended=FAILED, previous=FAILED), "Failed"),
    ],
)
def test_phase(state: ContainerState, phase: str) -> None:
    assert phase_of(POD, {"shop": state}) == phase


def test_a_status_keeps_the_time_of_a_condition_that_has_not_changed() -> None:
    old = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}]}
    before = {**POD, "status": old}
    times = []
    for ending in (False, True):
        status = pod_status(before, ["10.244.0.12"], "", {"shop": RUNNING}, ending)
        ready = next(c for c in status["conditions"] if c["type"] == "Ready")
        times.append((ready["status"], ready["lastTransitionTime"] == "2020-01-01T00:00:00Z"))
    assert times == [("True", True), ("False", False)]


def test_the_state_of_a_container_that_crashes_says_why_it_waits() -> None:
    state = ContainerState("CrashLoopBackOff", "back-off 10s", restarts=1, previous=FAILED)
    (status,) = pod_status(POD, [], "", {"shop": state}, False)["containerStatuses"]
    assert status["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert (status["lastState"]["terminated"]["exitCode"], status["restartCount"]) == (3, 1)


def test_knowledge_may_be_late() -> None:
    knowledge = Knowledge()
    knowledge.learn([{"kind": "ServiceEntry"}])
    assert knowledge.known(0) == ({"kind": "ServiceEntry"},)
    assert knowledge.known(60) == ()


def test_yesterday_nothing_was_known_however_long_the_lab_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    knowledge, started = Knowledge(), time.monotonic()
    for minutes in range(30):
        monkeypatch.setattr(time, "monotonic", lambda minutes=minutes: started + 60.0 * minutes)
        knowledge.learn([{"kind": "ServiceEntry", "number": minutes}])
    assert knowledge.known(3600) == ()
    assert knowledge.known(90) == ({"kind": "ServiceEntry", "number": 27},)


def test_configuration_files_are_moved_into_place(tmp_path: Path) -> None:
    write_first(tmp_path, ProxyConfiguration(({"name": "a"},), (), ()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cds.json", "lds.json", "rds.json"]
    assert '"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster"' in (tmp_path / "cds.json").read_text()
