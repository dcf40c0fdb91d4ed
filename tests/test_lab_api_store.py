"""The lab's store, selectors, pages and watches."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kubectl_egress.lab.api.reading import Lists, WatchEvent, watch
from kubectl_egress.lab.api.requests import Target
from kubectl_egress.lab.api.resources import BY_PLURAL
from kubectl_egress.lab.api.selectors import field_test, label_test
from kubectl_egress.lab.api.status import StatusError
from kubectl_egress.lab.api.store import ObjectStore

MAPS = Target(BY_PLURAL["configmaps"], "v1", "default")


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "labels": labels or {}}, "data": data}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier=a", True),
        ("app!=web", False),
        ("app in (db, web)", True),
        ("app notin (db,web)", False),
        ("absent notin (x)", True),
        ("app", True),
        ("!app", False),
        ("!absent,app in (web),tier!=b", True),
        ("absent=", False),
        ("example.com/x", False),
    ],
)
def test_label_selectors(selector: str, matches: bool) -> None:
    assert label_test(selector)({"app": "web", "tier": "a"}) is matches


@pytest.mark.parametrize("selector", ["app in", "=x", "a b", "app=(x)", "in (a)"])
def test_what_is_no_label_selector_is_a_bad_request(selector: str) -> None:
    with pytest.raises(StatusError) as caught:
        label_test(selector)
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("metadata.name=p", True),
        ("metadata.name!=p", False),
        ("spec.nodeName=lab,status.phase=Running", True),
        ("status.phase!=Running", False),
    ],
)
def test_field_selectors(selector: str, matches: bool) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "lab"}, "status": {"phase": "Running"}}
    assert field_test(BY_PLURAL["pods"], selector)(pod) is matches


def test_a_field_that_is_not_selected_by_is_a_bad_request() -> None:
    with pytest.raises(StatusError, match=r'"spec\.replicas" is not a known field selector'):
        field_test(BY_PLURAL["deployments"], "spec.replicas=1")
    with pytest.raises(StatusError, match=r"field label not supported: spec\.replicas"):
        field_test(BY_PLURAL["pods"], "spec.replicas=1")


def test_an_update_without_change_changes_no_revision() -> None:
    store = ObjectStore()
    stored = store.create("configmaps", config_map("a", x="1"))
    assert store.update("configmaps", stored) == stored
    changed = store.update("configmaps", {**stored, "data": {"x": "2"}})
    assert int(changed["metadata"]["resourceVersion"]) == int(stored["metadata"]["resourceVersion"]) + 1
    with pytest.raises(StatusError, match="the object has been modified"):
        store.update("configmaps", {**stored, "data": {"x": "3"}})


def test_what_is_handed_out_is_a_copy() -> None:
    store = ObjectStore()
    store.create("configmaps", config_map("a", x="1"))
    for body in (*store.list("configmaps"), store.get("configmaps", "default", "a")):
        assert body is not None
        body["data"]["x"] = "changed"
    assert store.view("configmaps")[0]["data"] == {"x": "1"}


def test_a_running_pod_stays_until_it_is_removed() -> None:
    store = ObjectStore()
    store.create("pods", {"metadata": {"name": "p"}, "spec": {"nodeName": "lab"}, "status": {"phase": "Running"}})
    store.delete("pods", "default", "p")
    pod = store.get("pods", "default", "p")
    assert pod is not None
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
    store.remove("pods", "default", "p")
    assert store.get("pods", "default", "p") is None
    store.create("pods", {"metadata": {"name": "p"}, "spec": {"nodeName": "lab"}, "status": {"phase": "Succeeded"}})
    store.delete("pods", "default", "p")
    assert store.get("pods", "default", "p") is None


def test_subscribers_get_what_is_there_and_then_every_change() -> None:
    async def scenario() -> list[tuple[str, str]]:
        store = ObjectStore()
        store.create("configmaps", config_map("a"))
        events = store.subscribe()
        seen = [await anext(events)]
        store.create("configmaps", config_map("b"))
        store.delete("configmaps", "default", "a")
        seen += [await anext(events), await anext(events)]
        return [(event.type, event.object["metadata"]["name"]) for event in seen]

    assert asyncio.run(scenario()) == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]


def test_all_pages_of_a_list_show_one_moment() -> None:
    store = ObjectStore()
    for name in "abcde":
        store.create("configmaps", config_map(name))
    lists = Lists(store)
    first = lists.page(MAPS, {"limit": "2"})
    store.delete("configmaps", "default", "e")
    store.create("configmaps", config_map("ba"))
    second = lists.page(MAPS, {"limit": "2", "continue": first.metadata["continue"]})
    third = lists.page(MAPS, {"limit": "2", "continue": second.metadata["continue"]})
    names = [body["metadata"]["name"] for page in (first, second, third) for body in page.items]
    assert names == list("abcde")
    assert first.metadata["remainingItemCount"] == 3
    assert "continue" not in third.metadata
    assert {page.metadata["resourceVersion"] for page in (first, second, third)} == {"6"}
    lists.forget()
    with pytest.raises(StatusError) as caught:
        lists.page(MAPS, {"continue": first.metadata["continue"]})
    assert (caught.value.code, caught.value.reason) == (410, "Expired")


def watched(store: ObjectStore, query: dict[str, str], count: int) -> list[WatchEvent]:
    async def scenario() -> list[WatchEvent]:
        events = watch(store, MAPS, query)
        return [await anext(events) for _ in range(count)]

    return asyncio.run(scenario())


def test_a_watch_goes_on_from_a_revision_and_follows_its_selector() -> None:
    store = ObjectStore()
    stored = store.create("configmaps", config_map("a", {"app": "web"}))
    start = stored["metadata"]["resourceVersion"]
    gone = store.update("configmaps", {**stored, "metadata": {**stored["metadata"], "labels": {"app": "db"}}})
    store.update("configmaps", {**gone, "metadata": {**gone["metadata"], "labels": {"app": "web"}}})
    store.create("configmaps", config_map("b", {"app": "db"}))
    query = {"resourceVersion": start, "labelSelector": "app=web"}
    assert [event.type for event in watched(store, query, 2)] == ["DELETED", "ADDED"]


def test_a_watch_with_initial_events_says_where_they_end() -> None:
    store = ObjectStore()
    store.create("configmaps", config_map("a"))
    added, bookmark = watched(store, {"sendInitialEvents": "true"}, 2)
    assert (added.type, bookmark.type) == ("ADDED", "BOOKMARK")
    assert bookmark.object["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_watch_from_too_long_ago_gets_410() -> None:
    store = ObjectStore(history=2)
    for name in "abcd":
        store.create("configmaps", config_map(name))
    (event,) = watched(store, {"resourceVersion": "2"}, 1)
    assert (event.type, event.object["code"]) == ("ERROR", 410)
    assert watched(store, {"resourceVersion": "3"}, 1)[0].type == "ADDED"
