from __future__ import annotations

import asyncio

from gateway.fleet import readings
from gateway.model import Scrape
from gateway.store.connection import Store


async def test_a_reading_comes_back_with_the_stores_time(store: Store) -> None:
    await readings.write(store, "w1", Scrape(running=3, waiting=2, kv=0.5, gpu=0.75, gpu_age=1.5, started=100.0))
    seconds, micros = await store.call("TIME")
    found = (await readings.read(store))["w1"]
    assert (found.running, found.waiting, found.kv, found.gpu, found.healthy) == (3, 2, 0.5, 0.75, True)
    assert found.gpu_at is not None
    assert abs(found.at - found.gpu_at - 1.5) < 0.01
    assert 0 <= int(seconds) + int(micros) / 1e6 - found.at < 5


async def test_what_was_not_published_stays_unknown(store: Store) -> None:
    await readings.write(store, "w1", Scrape(running=0))
    found = (await readings.read(store))["w1"]
    assert (found.waiting, found.kv, found.gpu, found.gpu_at) == (None, None, None, None)


async def test_a_restart_begins_a_new_life_and_nothing_else_does(store: Store) -> None:
    lives = []
    for started in (None, 100.0, 100.4, None, 100.0, 250.0, None, 250.0, 40.0):
        await readings.write(store, "w1", Scrape(started=started))
        lives.append((await readings.read(store))["w1"].life)
    assert lives == [0, 0, 0, 0, 0, 1, 1, 1, 2]


async def test_a_store_that_forgot_the_lives_learns_them_from_who_writes(store: Store) -> None:
    for started in (100.0, 200.0):
        await readings.write(store, "w1", Scrape(started=started))
    known = await readings.read(store)
    lives = []
    for started, told in ((None, {}), (200.0, known), (200.0, {}), (300.0, known), (300.0, known)):
        if not told:
            await store.call("FLUSHALL")
        await readings.write_all(store, {"w1": Scrape(started=started)}, told)
        lives.append((await readings.read(store))["w1"].life)
    assert lives == [0, 1, 0, 2, 2]


async def test_each_worker_is_scraped_by_one_replica(store: Store) -> None:
    workers = [f"w{i}" for i in range(20)]
    held = await asyncio.gather(*(readings.claim(store, f"replica{i}", workers) for i in range(4)))
    assert sorted(name for names in held for name in names) == sorted(workers)
    again = await asyncio.gather(*(readings.claim(store, f"replica{i}", workers) for i in range(4)))
    assert again == held


async def test_a_reading_that_cannot_be_read_hides_no_other(store: Store) -> None:
    await readings.write(store, "w1", Scrape(running=1))
    await store.call("HSET", readings.READINGS_KEY, "junk", "x", "odd", "0||1|{}]", "old", b"\xff|1|1|{}")
    assert set(await readings.read(store)) == {"w1"}
