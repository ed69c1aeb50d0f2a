"""Long streams, as many as wanted, for as long as a block lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

from loadtests.engine.stand import Stand


@asynccontextmanager
async def flowing(
    client: httpx.AsyncClient, stand: Stand, count: int, headers: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """`count` long streams; one that ends begins anew. Leaving closes all."""
    tasks = [asyncio.create_task(_flow(client, stand.long(stream=True), headers)) for _ in range(count)]
    try:
        yield
    finally:
        await leave(*tasks)


async def leave(*tasks: asyncio.Task[Any]) -> None:
    """As a client does that goes away: the connections close."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, httpx.HTTPError):
            await task


async def _flow(client: httpx.AsyncClient, body: dict[str, Any], headers: Mapping[str, str] | None) -> None:
    while True:
        async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
            answer.raise_for_status()
            async for _ in answer.aiter_raw():
                pass
