"""How much of an answer about an order is read."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import ip_network

import pytest

from gateway.model import Permit, Timeouts
from gateway.upstreams.client import Client, TooLong
from gateway.upstreams.desk import ClientDesk
from gateway.upstreams.dialects.managed.parts import look
from gateway.upstreams.dialects.ordering import LOOK_BYTES, Call
from tests import worlds
from tests.upstreams.http1.rawserver import OK, Peer, RawServer


async def large(peer: Peer) -> None:
    while await peer.request() is not None:
        await peer.send(OK + b"Content-Length: %d\r\n\r\n" % (LOOK_BYTES + 1) + bytes(LOOK_BYTES + 1))


async def test_a_look_is_bounded_by_less_than_a_result() -> None:
    client = Client()
    async with RawServer(large) as server:
        there = worlds.upstream(
            "w1", "gpu", url=f"http://127.0.0.1:{server.port}", networks=(ip_network("127.0.0.0/8"),)
        )
        policy = replace(worlds.policy(), upstreams={"w1": there})
        desk = ClientDesk(
            client=client,
            permit=Permit("r1", policy.version, frozenset({"w1"})),
            policy=policy,
            request="r1",
            attempt="a1",
            upstream=there,
            timeouts=Timeouts(),
            until=time.monotonic() + 20,
            most=4 * LOOK_BYTES,
        )
        with pytest.raises(TooLong):
            await desk.call(look("/tasks/1"))
        assert len((await desk.call(Call("POST", "/made"))).body) == LOOK_BYTES + 1
    await client.aclose()
