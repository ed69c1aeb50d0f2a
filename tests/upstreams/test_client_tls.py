"""TLS outwards as a policy folder says it: whom we believe, and what we show. Real handshakes on loopback."""

from __future__ import annotations

import json
import shutil
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConnectFailed, UpstreamFault
from gateway.model import Permit, Policy
from gateway.policy.compile import compile_folder
from gateway.upstreams.client import Client, read_all
from gateway.upstreams.gpu_pages import GpuPages
from tests.certificates import Authority, Pair
from tests.upstreams.http1.rawserver import HI, TIMEOUTS, RawServer, always


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def served(authority: Authority) -> Pair:
    return authority.issue("server")


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Pair:
    return authority.issue("ours", "gateway")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = Client()
    yield made
    await made.aclose()


def serving(pair: Pair, clients: Authority | None = None) -> RawServer:
    """A server that shows `pair` and, where `clients` is given, wants a certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.own.cert)
    return RawServer(always(HI), tls=context)


def policy_for(folder: Path, port: int, host: str = "localhost", server_name: str | None = None, **tls: Path) -> Policy:
    backend: dict[str, Any] = {
        "name": "gpu",
        "kind": "local",
        "zone": "onprem",
        "networks": ["127.0.0.0/8"],
        "upstreams": [{"name": "w1", "url": f"https://{host}:{port}"}],
    }
    if tls:
        name = {} if server_name is None else {"server_name": server_name}
        backend["tls"] = {**{key: str(path) for key, path in tls.items()}, **name}
    model = {"name": "m", "served_by": [{"backend": "gpu", "as": "m"}]}
    (folder / "backends.yaml").write_text(json.dumps({"zones": {"onprem": {}}, "backends": [backend]}))
    (folder / "models.yaml").write_text(json.dumps({"models": [model]}))
    (folder / "routing.yaml").write_text(json.dumps({"rules": [{"name": "r", "route": {"backends": ["gpu"]}}]}))
    return compile_folder(folder, {})


async def ask(client: Client, policy: Policy) -> bytes:
    upstream = policy.upstreams["w1"]
    permit = Permit("r1", policy.version, frozenset({"w1"}))
    async with await client.send(permit, policy, "r1", upstream, "/", (), b"{}", TIMEOUTS) as exchange:
        return await read_all(exchange, 100)


async def test_own_authority_and_certificate(
    client: Client, authority: Authority, served: Pair, ours: Pair, tmp_path: Path
) -> None:
    async with serving(served, clients=authority) as server:
        policy = policy_for(tmp_path, server.port, ca=authority.own.cert, cert=ours.cert, key=ours.key)
        assert [await ask(client, policy) for _ in range(3)] == [b"hi"] * 3
        worker = policy.upstreams["w1"]
        assert await client.page(worker.url + "/metrics", worker.networks, worker.tls) == b"hi"
        assert server.accepted == 1, "pages and requests share connections"


async def test_a_server_that_wants_a_certificate_and_gets_none(
    client: Client, authority: Authority, served: Pair, tmp_path: Path
) -> None:
    async with serving(served, clients=authority) as server:
        with pytest.raises(UpstreamFault):
            await ask(client, policy_for(tmp_path, server.port, ca=authority.own.cert))


async def test_a_server_that_wants_another_authoritys_certificate(
    client: Client, authority: Authority, served: Pair, tmp_path: Path
) -> None:
    stranger = Authority.make(tmp_path, "stranger").issue("strange")
    async with serving(served, clients=authority) as server:
        with pytest.raises(UpstreamFault):
            await ask(
                client,
                policy_for(tmp_path, server.port, ca=authority.own.cert, cert=stranger.cert, key=stranger.key),
            )


async def test_an_authority_that_is_not_named(
    client: Client, authority: Authority, served: Pair, tmp_path: Path
) -> None:
    other = Authority.make(tmp_path, "other")
    async with serving(served) as server:
        with pytest.raises(ConnectFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await ask(client, policy_for(tmp_path, server.port, ca=other.own.cert))
        with pytest.raises(ConnectFailed, match="CERTIFICATE_VERIFY_FAILED"):  # the system's do not know it either
            await ask(client, policy_for(tmp_path, server.port))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_certificate_for_another_host(client: Client, authority: Authority, tmp_path: Path, host: str) -> None:
    async with serving(authority.issue("elsewhere", "elsewhere")) as server:
        with pytest.raises(ConnectFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await ask(client, policy_for(tmp_path, server.port, host, ca=authority.own.cert))


async def test_the_name_in_the_certificate_may_be_said(client: Client, authority: Authority, tmp_path: Path) -> None:
    async with serving(authority.issue("elsewhere", "elsewhere")) as server:
        ca, port = authority.own.cert, server.port
        assert await ask(client, policy_for(tmp_path, port, "127.0.0.1", "elsewhere", ca=ca)) == b"hi"
        with pytest.raises(ConnectFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await ask(client, policy_for(tmp_path, port, "127.0.0.1", "localhost", ca=ca))


async def test_a_new_certificate_is_shown_on_new_connections(
    client: Client, authority: Authority, served: Pair, ours: Pair, tmp_path: Path
) -> None:
    """The first is of an authority that the server does not know: what was opened with it is not used again."""
    stranger = Authority.make(tmp_path, "stranger").issue("strange")
    cert, key = tmp_path / "shown.pem", tmp_path / "shown.key"
    async with serving(served, clients=authority) as server:
        shutil.copy(stranger.cert, cert)
        shutil.copy(stranger.key, key)
        before = policy_for(tmp_path, server.port, ca=authority.own.cert, cert=cert, key=key)
        shutil.copy(ours.cert, cert)
        shutil.copy(ours.key, key)
        with pytest.raises(UpstreamFault):
            await ask(client, before)  # not the files as they are now: as they were
        after = policy_for(tmp_path, server.port, ca=authority.own.cert, cert=cert, key=key)
        assert await ask(client, after) == b"hi"
        assert after.version == before.version
        client.keep(after)
        assert len(client._pools) == 1, "the old one is given up"


async def test_rotation_leaves_no_pools_behind(
    client: Client, authority: Authority, served: Pair, ours: Pair, tmp_path: Path
) -> None:
    """Those of GPU pages too, which are on another address than any worker."""
    cert = tmp_path / "shown.pem"
    async with serving(served, clients=authority) as server, serving(served, clients=authority) as node:
        for number in range(3):
            cert.write_bytes(ours.cert.read_bytes() + b"# %d\n" % number)
            policy = policy_for(tmp_path, server.port, ca=authority.own.cert, cert=cert, key=ours.key)
            worker = replace(policy.upstreams["w1"], dcgm=f"https://localhost:{node.port}/metrics")
            policy = replace(policy, upstreams={"w1": worker})
            client.keep(policy)
            assert await ask(client, policy) == b"hi"
            await GpuPages(client).look(worker)
            assert len(client._pools) == 2
        assert (server.accepted, node.accepted) == (3, 3)
