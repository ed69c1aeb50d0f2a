"""A name server on UDP port 53 of one address: it knows one name, whose addresses can be changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

PORT, TTL_SECONDS = 53, 1


class Names(asyncio.DatagramProtocol):
    """`addresses` may be replaced at any time. Lives on the loop that called `open`."""

    def __init__(self, name: str, addresses: Sequence[str]) -> None:
        self.name, self.addresses = f"{name}.", tuple(addresses)
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, host: str) -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, (host, PORT))

    async def aclose(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # it is one by its methods alone

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(self._answer(dns.message.from_wire(data)).to_wire(), addr)

    def _answer(self, asked: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(asked)
        answer.flags |= dns.flags.AA | dns.flags.RA
        question = asked.question[0]
        if question.name.to_text() != self.name:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype == dns.rdatatype.A and self.addresses:
            answer.answer.append(dns.rrset.from_text(self.name, TTL_SECONDS, "IN", "A", *self.addresses))
        return answer
