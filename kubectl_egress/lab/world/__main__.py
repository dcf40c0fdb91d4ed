"""The process of the outside world; it is started inside the world's network namespace."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import trustme

from kubectl_egress.lab import kernel, network, wire
from kubectl_egress.lab.world.certificates import Certificate
from kubectl_egress.lab.world.ledger import Ledger
from kubectl_egress.lab.world.names import NameServer
from kubectl_egress.lab.world.server import Servers

# Documentation prefixes (RFC 5737), but not 192.0.2.0/24, from which hosts get their aliases.
PREFIXES = ("203.0.113.", "198.51.100.")
PORTS = (80, 443)


class World:
    """Answers the lab process."""

    def __init__(self, authority: trustme.CA, *, ipv6: bool = False) -> None:
        self.ledger = Ledger()
        self.servers = Servers(authority, self.ledger, ipv6=ipv6)
        self.ipv6 = ipv6
        self.names: dict[str, tuple[str, ...]] = {}
        """What DNS knows: the servers, and istiod."""

    async def answer(self, question: Mapping[str, Any]) -> Any:
        """One question of the control socket; KeyError for one that there is not."""
        return await getattr(self, f"_do_{question['do']}")(question)

    async def _do_add(self, question: Mapping[str, Any]) -> dict[str, str]:
        self.servers.listen([*PORTS, *question.get("ports", ())])
        for name in question["names"]:
            if name not in self.servers.addresses:
                address = self._free_address()
                more = (network.in_ipv6(address, network.OUTSIDE_V6),) if self.ipv6 else ()
                for one in (address, *more):
                    await kernel.in_a_thread(partial(network.add_world_address, one))
                self.servers.add(name, address, Certificate(question.get("certificate", "good")), more)
                self.names[name] = (address, *more)
        return self.servers.addresses

    def _free_address(self) -> str:
        used = len(self.servers.addresses)
        return f"{PREFIXES[used // 250]}{used % 250 + 1}"

    async def _do_certificate(self, question: Mapping[str, Any]) -> None:
        self.servers.show(question["name"], Certificate(question["certificate"]), question.get("clients", ""))

    async def _do_resolve(self, question: Mapping[str, Any]) -> None:
        if question["address"]:
            self.names[question["name"]] = tuple(question["address"].split(","))
        else:
            self.names.pop(question["name"], None)

    async def _do_counters(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return self.ledger.as_json()

    async def _do_requests(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        return list(self.ledger.requests)

    async def _do_queries(self, _: Mapping[str, Any]) -> list[dict[str, str]]:
        return list(self.ledger.queries)

    async def _do_reset(self, _: Mapping[str, Any]) -> None:
        self.ledger.reset()


async def main(directory: Path, *, ipv6: bool) -> None:
    """Serve until killed; the control socket is there when DNS answers."""
    authority = trustme.CA.from_pem((directory / "ca.pem").read_bytes(), (directory / "ca.key").read_bytes())
    world = World(authority, ipv6=ipv6)
    loop = asyncio.get_running_loop()
    for address in (str(network.GATEWAY), *([network.GATEWAY_V6] if ipv6 else ())):
        await loop.create_datagram_endpoint(lambda: NameServer(world.names, world.ledger), local_addr=(address, 53))
    async with await wire.serve(directory / "world.sock", world.answer) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), ipv6="--ipv6" in sys.argv[2:]))
