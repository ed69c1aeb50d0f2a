"""The balancer of docker-compose.yml follows a gateway to its new address: by a real nginx, before a real DNS server.

Runs where an nginx that can do it is at hand (1.27.3); tests/deploy/test_configs.py reads the same file as text.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.deploy.standin import addresses, without_resolve
from tests.deploy.written import OPS
from tests.finders.nameserver import name_server

NGINX = shutil.which("nginx")
MISSING = without_resolve(NGINX)
pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")
OLD, NEW, OTHER, BALANCER = "old", "new", "other", "balancer"
FOUND_SECONDS = 8.0
"""Until a new address is used: 2 s that an answer is valid, and nginx looks anew once a second at the soonest."""


async def answering(address: str, name: str) -> asyncio.Server:
    """Every request on a connection of its own gets this name."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(name) + name.encode())
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, address, 8080)


@asynccontextmanager
async def balancing(folder: Path, address: str, dns_port: int) -> AsyncIterator[httpx.AsyncClient]:
    """nginx by the file of docker-compose.yml, with addresses and paths of this machine."""
    assert NGINX is not None
    text = (OPS / "nginx.conf").read_text().replace("/tmp/", f"{folder}/").replace("0.0.0.0:8080", f"{address}:8080")
    (folder / "nginx.conf").write_text(text.replace("127.0.0.11 ", f"127.0.0.1:{dns_port} "))
    with (folder / "log").open("wb") as log:
        words = ["-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
        process = await asyncio.create_subprocess_exec(NGINX, *words, stdout=log, stderr=log)
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}:8080", trust_env=False) as client:
            yield client
    finally:
        process.terminate()
        await process.wait()


async def told(client: httpx.AsyncClient, names: set[str]) -> None:
    """Returns once exactly these have answered some requests in a row. Raises TimeoutError."""
    async with asyncio.timeout(FOUND_SECONDS):
        while True:
            try:
                if {(await client.get("/")).text for _ in range(8)} == names:
                    return
            except httpx.ConnectError:
                pass
            await asyncio.sleep(0.05)


async def test_a_gateway_with_a_new_address_is_found_and_one_that_left_is_not_asked(tmp_path: Path) -> None:
    at = addresses([OLD, NEW, OTHER, BALANCER])
    async with AsyncExitStack() as ends:
        for name in (OLD, NEW, OTHER):
            await ends.enter_async_context(await answering(at[name], name))
        server = await ends.enter_async_context(name_server())
        server.records = {("gateway-1", "A"): [at[OLD]], ("gateway-2", "A"): [at[OTHER]]}
        client = await ends.enter_async_context(balancing(tmp_path, at[BALANCER], server.port))
        await told(client, {OLD, OTHER})
        server.records["gateway-1", "A"] = [at[NEW]]
        await told(client, {NEW, OTHER})
        del server.records["gateway-1", "A"]
        await told(client, {OTHER})
