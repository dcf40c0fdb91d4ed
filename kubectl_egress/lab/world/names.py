"""The lab's DNS: A and AAAA records for the names of the outside world, nothing else, and a record of who asked what."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from dnslib import AAAA, QTYPE, RCODE, RR, A, DNSError, DNSRecord  # type: ignore[import-untyped]

from kubectl_egress.lab.world.ledger import Ledger

SHORT_LIFE = 5
"""Seconds that an answer may be kept."""


def answer(query: DNSRecord, addresses: Mapping[str, Sequence[str]]) -> DNSRecord:
    """A and AAAA for a known name as it has addresses, no records of another type for it, NXDOMAIN for every other name."""
    reply = query.reply()
    name = str(query.q.qname).rstrip(".").lower()
    if name not in addresses:
        reply.header.rcode = RCODE.NXDOMAIN
    for address in addresses.get(name, ()):
        kind, data = (QTYPE.AAAA, AAAA(address)) if ":" in address else (QTYPE.A, A(address))
        if query.q.qtype == kind:
            reply.add_answer(RR(query.q.qname, kind, rdata=data, ttl=SHORT_LIFE))
    return reply


class NameServer(asyncio.DatagramProtocol):
    """DNS over UDP."""

    def __init__(self, addresses: Mapping[str, Sequence[str]], ledger: Ledger) -> None:
        self._addresses = addresses
        self._ledger = ledger
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        """Keep what answers go through."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int, *tuple[int, ...]]) -> None:
        """Answer one query; what is none gets no answer."""
        try:
            query = DNSRecord.parse(data)
        except DNSError:
            return
        kind = str(QTYPE.get(query.q.qtype))
        self._ledger.queries.append({"name": str(query.q.qname), "type": kind, "from": addr[0]})
        if self._transport is not None:
            self._transport.sendto(answer(query, self._addresses).pack(), addr)
