"""Lists and watches: pages of a consistent snapshot, and changes as they come."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_egress.lab.api.requests import Query, Target, number, truth
from kubectl_egress.lab.api.selectors import field_test, label_test
from kubectl_egress.lab.api.status import StatusError, bad_request, expired
from kubectl_egress.lab.api.store import Change, ObjectStore

Body = Mapping[str, Any]
Test = Callable[[Body], bool]

SNAPSHOTS = 32
"""How many unfinished lists are remembered."""
BOOKMARK_SECONDS = 30.0
TOKEN_VERSION = "meta.k8s.io/v1"
TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the "
    "continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing "
    "with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the "
    "time the first chunk was returned and now may show up in the list."
)
_INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and how to get the next."""

    items: tuple[Body, ...]
    metadata: Body


@dataclass(frozen=True, slots=True)
class _Snapshot:
    items: tuple[Body, ...]
    revision: int


def selection(aim: Target, query: Query) -> Test:
    """A test for the objects that a request selects: namespace, name, labels, fields.

    Raises StatusError (400).
    """
    labels = label_test(query.get("labelSelector", ""))
    fields = field_test(aim.resource, query.get("fieldSelector", ""))

    def selected(body: Body) -> bool:
        metadata = body["metadata"]
        return (
            (not aim.namespace or metadata.get("namespace") == aim.namespace)
            and (not aim.name or metadata["name"] == aim.name)
            and labels(metadata.get("labels") or {})
            and fields(body)
        )

    return selected


def _check_token(token: str) -> None:
    """Raise StatusError (400) for what was never a continue token."""
    try:
        content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from error
    version = content.get("v", "") if isinstance(content, dict) else ""
    if version != TOKEN_VERSION:
        why = f"server does not recognize this encoded version {version}"
        raise bad_request(f"invalid continue token: continue key is not valid: {why}")


def _check_version(text: str) -> None:
    if text and not text.isdecimal():
        why = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise bad_request(f"invalid resource version: resourceVersion: {why}")


class Lists:
    """Lists in pages; what is left of each is kept, so that all pages show one moment."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._snapshots: OrderedDict[str, _Snapshot] = OrderedDict()

    def page(self, aim: Target, query: Query) -> Page:
        """The page that `limit` and `continue` ask for.

        Raises StatusError: 400, and 410 for a continue token that is not remembered.
        """
        limit, token = max(number(query, "limit", lowest=None) or 0, 0), query.get("continue", "")
        _check_version(query.get("resourceVersion", ""))
        if token:
            snapshot = self._snapshots.get(token)
            if snapshot is None:
                _check_token(token)
                raise expired(TOO_OLD)
        else:
            selected = selection(aim, query)
            items = tuple(body for body in self._store.view(aim.resource.plural, aim.namespace) if selected(body))
            snapshot = _Snapshot(items, self._store.revision)
        shown, left = (snapshot.items[:limit], snapshot.items[limit:]) if limit else (snapshot.items, ())
        metadata: dict[str, Any] = {"resourceVersion": str(snapshot.revision)}
        if left:
            metadata["continue"] = self._keep(_Snapshot(left, snapshot.revision), shown[-1])
            # The real server does not count what a selector leaves over.
            if not query.get("labelSelector") and not query.get("fieldSelector"):
                metadata["remainingItemCount"] = len(left)
        return Page(shown, metadata)

    def _keep(self, snapshot: _Snapshot, last: Body) -> str:
        metadata = last["metadata"]
        start = f"{metadata.get('namespace', '')}/{metadata['name']}\0"
        content = {"v": TOKEN_VERSION, "rv": snapshot.revision, "start": start, "lab": secrets.token_hex(4)}
        token = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
        self._snapshots[token] = snapshot
        while len(self._snapshots) > SNAPSHOTS:
            self._snapshots.popitem(last=False)
        return token

    def forget(self) -> None:
        """Let every continue token expire."""
        self._snapshots.clear()


# ---- watch ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, with its object."""

    type: str
    object: Body


def _seen(change: Change, selected: Test) -> WatchEvent | None:
    """What a watch with a selector shows of a change: what comes to be selected is ADDED, what no longer is, DELETED."""
    before = change.previous is not None and selected(change.previous)
    after = change.type != "DELETED" and selected(change.object)
    if not before and not after:
        return None
    kind = "MODIFIED" if before and after else "ADDED" if after else "DELETED"
    return WatchEvent(kind, change.object)


def _bookmark(revision: int, annotations: Body | None = None) -> WatchEvent:
    metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    return WatchEvent("BOOKMARK", {"metadata": metadata})


def watch(store: ObjectStore, aim: Target, query: Query) -> AsyncIterator[WatchEvent]:
    """The events of a watch until `timeoutSeconds`; a revision that is too old gives one ERROR event, as in the real server.

    Raises StatusError (400), at once, for a selector or a revision that is none.
    """
    seconds = number(query, "timeoutSeconds")
    deadline = asyncio.get_running_loop().time() + seconds if seconds else None
    return _events(store, aim, query, selection(aim, query), _revision(query), deadline)


async def _events(
    store: ObjectStore, aim: Target, query: Query, selected: Test, start: int | None, deadline: float | None
) -> AsyncIterator[WatchEvent]:
    bookmarks = truth(query.get("allowWatchBookmarks"))
    with store.follow() as queue:
        try:
            for event in _first(store, aim, selected, start, initial=truth(query.get("sendInitialEvents"))):
                yield event
        except StatusError as error:
            yield WatchEvent("ERROR", error.body())
            return
        while (wait := _remaining(deadline)) > 0:
            try:
                # wait_for may swallow a cancellation before Python 3.12.
                async with asyncio.timeout(wait):
                    change = await queue.get()
            except TimeoutError:
                if bookmarks:
                    yield _bookmark(store.revision)
                continue
            if change.resource == aim.resource.plural and (seen := _seen(change, selected)):
                yield seen


def _revision(query: Query) -> int | None:
    """The revision to start from; None is the present state first."""
    text = query.get("resourceVersion", "")
    if text in ("", "0"):
        return None
    if not text.isdecimal():
        raise bad_request(f"invalid resource version {text!r}")
    return int(text)


def _first(store: ObjectStore, aim: Target, selected: Test, start: int | None, *, initial: bool) -> list[WatchEvent]:
    """What a watch shows before it waits."""
    if start is None or initial:
        there = [body for body in store.view(aim.resource.plural, aim.namespace) if selected(body)]
        events = [WatchEvent("ADDED", body) for body in there]
        return [*events, _bookmark(store.revision, _INITIAL_EVENTS_END)] if initial else events
    changes = [change for change in store.since(start) if change.resource == aim.resource.plural]
    return [event for change in changes if (event := _seen(change, selected))]


def _remaining(deadline: float | None) -> float:
    if deadline is None:
        return BOOKMARK_SECONDS
    return min(BOOKMARK_SECONDS, deadline - asyncio.get_running_loop().time())
