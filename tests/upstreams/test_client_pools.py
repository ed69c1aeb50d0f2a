"""Which connections the client holds on to while the policy changes under it. Real sockets on loopback."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from uvicorn import Config

from gateway.errors import PermitMismatch, PermitRefused
from gateway.model import Discovery, Kind, Member, Permit, Policy, Source, Tls, Upstream
from gateway.routing.join import found, join
from gateway.upstreams.client import Client, read_all
from gateway.upstreams.gpu_pages import GpuPages
from gateway.upstreams.http1 import Exchange
from tests import worlds
from tests.upstreams.http1.rawserver import HI, OK, TIMEOUTS, Peer, RawServer, always

LOOPBACK = (ip_network("127.0.0.0/8"),)
GPUS = b'DCGM_FI_PROF_SM_ACTIVE{gpu="0",Hostname="n"} 0.5\n'
GPU_PAGE = OK + b"Content-Length: %d\r\n\r\n" % len(GPUS) + GPUS


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = Client()
    yield made
    await made.aclose()


def policy_of(*workers: Upstream) -> Policy:
    return replace(worlds.policy(), upstreams={worker.name: worker for worker in workers})


def worker(server: RawServer, name: str = "w1", **changes: Any) -> Upstream:
    return worlds.upstream(name, "gpu", url=f"http://127.0.0.1:{server.port}", networks=LOOPBACK, **changes)


async def send(client: Client, upstream: Upstream) -> Exchange:
    policy = policy_of(upstream)
    permit = Permit("r1", policy.version, frozenset({upstream.name}))
    return await client.send(permit, policy, "r1", upstream, "/", (), b"{}", TIMEOUTS)


async def ask(client: Client, upstream: Upstream) -> bytes:
    async with await send(client, upstream) as exchange:
        return await read_all(exchange, 100)


async def test_a_request_that_holds_the_policy_before_leaves_the_pool_of_the_new_one_alone(client: Client) -> None:
    async with RawServer(always(HI)) as one, RawServer(always(HI)) as two:
        before, after = worker(one), worker(two)
        client.keep(policy_of(after))
        for _ in range(3):
            assert [await ask(client, before), await ask(client, after)] == [b"hi", b"hi"]
        assert (one.accepted, two.accepted) == (1, 1)
        client.keep(policy_of(after))
        await one.all_closed()
        assert await ask(client, after) == b"hi"
        assert two.accepted == 1


async def test_what_the_policy_still_names_keeps_its_connections(client: Client) -> None:
    """Also the node's GPU page, on another address than the worker; http has no use for the TLS files."""
    async with RawServer(always(HI)) as engine, RawServer(always(GPU_PAGE)) as node:
        for number in range(3):
            named = worker(engine, dcgm=f"http://127.0.0.1:{node.port}/metrics", tls=tls(f"files {number}"))
            client.keep(policy_of(named))
            assert await ask(client, named) == b"hi"
            assert await GpuPages(client).look(named) is not None
        assert (engine.accepted, node.accepted) == (1, 1)
        client.keep(policy_of())
        await engine.all_closed()
        await node.all_closed()


async def test_an_exchange_on_a_pool_that_is_given_up_ends_normally(client: Client) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: 4\r\n\r\nhi")
        await go_on.wait()
        await peer.send(b"hi")
        await peer.gone()

    async with RawServer(script) as server:
        async with await send(client, worker(server)) as exchange:
            assert await exchange.read() == b"hi"
            client.keep(policy_of())
            go_on.set()
            assert await read_all(exchange, 100) == b"hi"
        await server.all_closed()


def tls(digest: str) -> Tls:
    return Tls(digest.encode(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


async def test_a_found_worker_whose_name_leads_elsewhere_by_now_gets_nothing(client: Client) -> None:
    """Its address lay in its backend's networks when it was found; whom the connection reaches is looked at again."""
    got: list[bytes] = []

    async def listen(peer: Peer) -> None:
        got.append(await peer.reader.read(1))

    async with RawServer(listen) as server:
        worker = worlds.upstream("", "gpu", networks=(ip_network("10.0.0.0/8"),))
        made = replace(worlds.policy(), discovery={"gpu": Discovery((Source(registration=True),), worker)})
        url = f"http://localhost:{server.port}"
        member = Member("gpu", "registration", url, ("10.0.0.9",), server.port, "liar")
        policy = join(made, found(made, [member], {}, {}))
        liar = policy.upstreams["liar"]
        permit = Permit("r1", policy.version, frozenset({"liar"}))
        with pytest.raises(PermitRefused):
            await client.send(permit, policy, "r1", liar, "/", (), b"{}", TIMEOUTS)
        with pytest.raises(PermitMismatch):
            await client.send(permit, made, "r1", liar, "/", (), b"{}", TIMEOUTS)
        await server.all_closed()
    assert got == [b""]


UVICORN_KEEPS = float(Config("").timeout_keep_alive)
"""And so do vLLM and SGLang, which are served by it, over TLS as well."""
BALANCERS_KEEP = 60.0
"""The shortest default among those that end TLS before an API."""


@pytest.mark.parametrize(
    ("kind", "scheme", "least", "peer_keeps"),
    [
        ("local", "http", 1.0, UVICORN_KEEPS),
        ("local", "https", 1.0, UVICORN_KEEPS),
        ("managed", "http", 1.0, UVICORN_KEEPS),
        ("managed", "https", 10.0, BALANCERS_KEEP),
    ],
)
def test_a_connection_is_let_go_before_who_stands_there_ends_it(
    client: Client, kind: Kind, scheme: str, least: float, peer_keeps: float
) -> None:
    """One address may be a worker's and an API's: each has connections of its own."""
    for other in ("local", "managed"):
        client._pool_of(replace(worlds.upstream("x", "gpu"), kind=other, url=f"{scheme}://10.0.0.1"))
    pool, _ = client._pool_of(replace(worlds.upstream("w", "gpu"), kind=kind, url=f"{scheme}://10.0.0.1"))
    assert least <= pool.idle_seconds < peer_keeps - 0.5
