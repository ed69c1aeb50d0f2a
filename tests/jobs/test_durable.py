"""What is acknowledged is on the store's disk, or it is said that it is not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from gateway.errors import StartupFault, StoreFault
from gateway.jobs.durable import Durable
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from tests.conftest import PATIENT, connected


@pytest.fixture
async def kept(own_server: Embedded) -> AsyncIterator[Store]:
    """A store as a gateway starts it; those that tests share write no file."""
    async with connected(own_server) as client:
        yield client


async def test_the_embedded_store_syncs_when_it_is_asked(kept: Store) -> None:
    durable = Durable(kept, required=True)
    await durable.look()
    assert durable.kind == "waitaof"
    await kept.call("SET", "gw:x", "1")
    calls = await count(kept)
    await durable.sync()
    assert await count(kept) == calls + 1


async def test_who_waits_at_the_same_time_waits_for_one_sync(kept: Store) -> None:
    durable = Durable(kept)
    await durable.look()
    calls = await count(kept)
    await asyncio.gather(*(durable.sync() for _ in range(100)))
    assert await count(kept) - calls in (1, 2)


@pytest.mark.parametrize(
    ("server", "settings", "kind"),
    [
        ("redis", {"appendonly": "yes", "appendfsync": "everysec"}, "weak"),
        ("redis", {"appendonly": "yes", "appendfsync": "always"}, "always"),
        ("valkey", {"appendonly": "no"}, "weak"),
    ],
)
async def test_what_a_store_can_do_is_said(
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    server: str,
    settings: dict[str, str],
    kind: str,
) -> None:
    running: Embedded = request.getfixturevalue("redis_server" if server == "redis" else "own_server")
    store = Store(running.url, timeout=PATIENT)
    await store.check()
    for name, value in settings.items():
        await store.call("CONFIG", "SET", name, value)
    try:
        durable = Durable(store)
        with caplog.at_level(logging.INFO, "gateway"):
            await durable.look()
        assert durable.kind == kind
        assert [record.levelname for record in caplog.records] == ["WARNING" if kind == "weak" else "INFO"]
        await durable.sync()
        if kind == "weak":
            with pytest.raises(StartupFault, match="GATEWAY_JOBS_DURABILITY"):
                await Durable(store, required=True).look()
    finally:
        await store.call("CONFIG", "SET", "appendfsync", "everysec")
        await store.aclose()


async def test_a_store_that_is_away_is_told_to_all_who_wait() -> None:
    durable = Durable(Store("redis://127.0.0.1:1"))
    durable.kind = "waitaof"
    answers = await asyncio.gather(*(durable.sync() for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreFault] * 3


async def count(store: Store) -> int:
    lines = (await store.call("INFO", "commandstats")).decode().splitlines()
    found = [line for line in lines if line.startswith("cmdstat_waitaof:")]
    return int(found[0].partition("calls=")[2].partition(",")[0]) if found else 0
