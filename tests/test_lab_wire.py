"""The control socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kubectl_egress.lab import wire


async def echo(question: Mapping[str, Any]) -> Any:
    return question["say"]


def test_a_socket_has_its_name_only_when_it_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for the file to appear would be refused between its binding and its listening."""
    path = tmp_path / "control.sock"
    named: list[bool] = []
    start = asyncio.start_unix_server

    async def started(*arguments: Any, **options: Any) -> asyncio.Server:
        server = await start(*arguments, **options)
        named.append(path.exists())
        return server

    async def conversation() -> Any:
        monkeypatch.setattr(asyncio, "start_unix_server", started)
        server = await wire.serve(path, echo)
        line = wire.Line(path)
        try:
            return await line.ask({"do": "echo", "say": "hello"})
        finally:
            line.close()
            server.close()

    assert asyncio.run(conversation()) == "hello"
    assert named == [False]
