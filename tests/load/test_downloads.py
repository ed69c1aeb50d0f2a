"""A slice of the bench of downloads: what many take in memory, that all get on alike, and that each gets the film."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from loadtests.downloads.bench import Readers, film, measure, running
from loadtests.downloads.worker import BLOCK, working

MB = 1 << 20
CLIENTS = 60
FIXED = 16 * MB
"""What threads and first connections take, however many follow."""
KB_EACH = 192
SIZE = 4 * MB


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


async def test_memory_and_fairness(folder: Path) -> None:
    result = await measure(folder / "bench", CLIENTS, SIZE)
    assert len(result.seconds) == CLIENTS
    assert result.growth < FIXED + CLIENTS * KB_EACH * 1024, result.lines()
    assert result.fairness < 5, result.lines()


async def slowly(client: httpx.AsyncClient, path: str) -> bytes:
    """Takes it in pieces smaller than those that it is read in, and lets others in between."""
    read = b""
    async with client.stream("GET", path) as answer:
        pieces: AsyncIterator[bytes] = answer.aiter_bytes(5_003)
        async for piece in pieces:
            read += piece
            await asyncio.sleep(0)
    return read


async def test_each_gets_all_of_it_at_its_own_pace_and_who_leaves_disturbs_nobody(folder: Path) -> None:
    async with working(SIZE) as worker, running(folder / "whole", worker) as gateway:
        path = await film(gateway)
        url = httpx.URL(gateway.url)
        leaving = Readers(url.host, url.port or 0, path)
        await leaving.ask(8)
        headers = {"Authorization": "Bearer demo"}
        async with httpx.AsyncClient(base_url=gateway.url, headers=headers, trust_env=False, timeout=30) as client:
            getting = [asyncio.create_task(slowly(client, path)) for _ in range(8)]
            await asyncio.sleep(0)
            leaving.close()
            whole = BLOCK * (SIZE // len(BLOCK))
            assert all(got == whole for got in await asyncio.gather(*getting))
            part = await client.get(path, headers={"Range": f"bytes={MB + 1}-{3 * MB}"})
            assert part.content == whole[MB + 1 : 3 * MB + 1]
