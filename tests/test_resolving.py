from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from kubectl_egress.cluster import resolving
from kubectl_egress.cluster.resolving import addresses_of

KNOWN = {"a.example.com.": ["203.0.113.1", "2001:db8::1"], "b.example.com.": ["fe80::1%eth0"]}


@pytest.fixture(autouse=True)
def dns(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(name: str, *_: Any, **__: Any) -> list[Any]:
        if name not in KNOWN:
            raise socket.gaierror(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in KNOWN[name]]

    monkeypatch.setattr(resolving, "getaddrinfo", getaddrinfo)


def test_names_with_their_addresses_and_those_without_left_out() -> None:
    assert addresses_of(["a.example.com", "b.example.com", "c.example.com", "a.example.com"]) == {
        "a.example.com": frozenset({"203.0.113.1", "2001:db8::1"}),
        "b.example.com": frozenset({"fe80::1"}),
    }
    assert addresses_of([]) == {}


def test_more_names_than_threads() -> None:
    names = [f"n{number}.example.com" for number in range(50)]
    assert addresses_of([*names, "a.example.com"]).keys() == {"a.example.com"}


def test_a_resolver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(resolving, "getaddrinfo", lambda *_, **__: never.wait() and [])
    assert addresses_of(["a.example.com"], seconds=0.05) == {}
    never.set()
