"""Probing: one replica a worker, patience with slow pages, and what a page that fails means."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.errors import BadAnswer, BadPage, ConnectFailed, UpstreamFault, UpstreamTimeout
from gateway.fleet import readings
from gateway.fleet.probes import (
    CORE_SHARE,
    INTERVAL_SECONDS,
    LATE_TO_FAIL,
    LEAST_AT_ONCE,
    LOOK_SECONDS,
    MISSES_TO_FAIL,
    SLOWEST_SECONDS,
    Patience,
    Probes,
    interval_of,
)
from gateway.model import GpuLook, GpuSample, Reading, Scrape, Upstream
from gateway.store.connection import Store
from tests.polling import until
from tests.worlds import policy, upstream


async def one_round(probes: Probes, now: float) -> None:
    async with asyncio.TaskGroup() as group:
        await probes.tick(group, now)


def probes(
    store: Store, owner: str, answer: Callable[[Upstream], Scrape], asked: Counter[str], gpu: float | None = None
) -> Probes:
    async def worker(one: Upstream) -> Scrape:
        asked[one.name] += 1
        return answer(one)

    async def gpus(_: Upstream) -> GpuLook | None:
        return None if gpu is None else GpuLook((GpuSample(index=0, sm=gpu),), 0.1, 30.0)

    return Probes(store, owner, policy, worker, gpus, judged)


async def judged(_: Upstream, scrape: Scrape, look: GpuLook | None) -> Scrape:
    return scrape if look is None else replace(scrape, gpu=look.use)


def failing(fault: UpstreamFault) -> Callable[[Upstream], Scrape]:
    def answer(_: Upstream) -> Scrape:
        raise fault

    return answer


async def reading_of(store: Store, name: str) -> Reading | None:
    return (await readings.read(store)).get(name)


async def test_each_worker_is_asked_once_a_round_by_one_of_three_replicas(valkey: Store) -> None:
    asked = Counter[str]()
    replicas = [probes(valkey, f"r{i}", lambda _: Scrape(running=2, waiting=1), asked, gpu=0.5) for i in range(3)]
    await asyncio.gather(*(one_round(replica, 100.0) for replica in replicas))
    assert asked == {"w1": 1, "w2": 1}
    seen = await reading_of(valkey, "w1")
    assert seen is not None
    assert (seen.running, seen.waiting, seen.gpu, seen.healthy) == (2, 1, 0.5, True)


async def test_a_claim_of_a_dead_replica_made_before_the_clock_was_set_back_holds_no_more(valkey: Store) -> None:
    seconds, _ = await valkey.call("TIME")
    await valkey.call("HSET", readings.PROBES_KEY, "w1", f"dead|{(int(seconds) + 3600) * 1000}")
    assert await readings.claim(valkey, "living", ["w1"]) == {"w1"}


async def test_a_refused_connection_is_unhealthy_at_once(valkey: Store) -> None:
    await one_round(probes(valkey, "r", failing(ConnectFailed("refused")), Counter()), 100.0)
    seen = await reading_of(valkey, "w1")
    assert seen is not None
    assert (seen.healthy, seen.reason) == (False, "unreachable")


@pytest.mark.parametrize(
    ("fault", "enough"), [(UpstreamTimeout("first_byte", 0.5), LATE_TO_FAIL), (BadAnswer("no gauges"), MISSES_TO_FAIL)]
)
async def test_late_or_wrong_pages_prove_nothing_until_there_are_many_in_a_row(
    valkey: Store, fault: UpstreamFault, enough: int
) -> None:
    prober = probes(valkey, "r", failing(fault), Counter())
    for number in range(1, enough):
        await one_round(prober, number * 1e9)
        assert await reading_of(valkey, "w1") is None
    await one_round(prober, enough * 1e9)
    seen = await reading_of(valkey, "w1")
    assert seen is not None
    assert (seen.healthy, seen.reason) == (False, fault.reason)


async def test_a_worker_that_says_it_is_not_ready_takes_no_traffic_at_once(valkey: Store) -> None:
    await one_round(probes(valkey, "r", failing(BadPage("answered 503", "not_ready")), Counter()), 100.0)
    seen = await reading_of(valkey, "w1")
    assert seen is not None
    assert (seen.healthy, seen.reason) == (False, "not_ready")


async def test_a_worker_whose_gpu_page_fails_still_counts(valkey: Store) -> None:
    async def worker(_: Upstream) -> Scrape:
        return Scrape(running=1)

    async def gpus(_: Upstream) -> GpuLook | None:
        raise ConnectFailed("refused")

    await one_round(Probes(valkey, "r", policy, worker, gpus, judged), 100.0)
    seen = await reading_of(valkey, "w1")
    assert seen is not None
    assert (seen.healthy, seen.running, seen.gpu) == (True, 1, None)


@pytest.mark.parametrize("broken", ["worker", "gpus"])
async def test_a_look_that_nobody_foresaw_to_fail_harms_no_other_worker(
    valkey: Store, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    def answer(part: str, one: Upstream) -> None:
        if (part, one.name) == (broken, "w1"):
            raise ValueError("a page that no parser foresaw")

    async def worker(one: Upstream) -> Scrape:
        answer("worker", one)
        return Scrape(running=1)

    async def gpus(one: Upstream) -> None:
        answer("gpus", one)

    prober = Probes(valkey, "r", policy, worker, gpus, judged)
    await one_round(prober, 100.0)
    await one_round(prober, 1e9)
    assert (await readings.read(valkey)).keys() == {"w2"} | ({"w1"} if broken == "gpus" else set())
    assert [(one.message, one.fields) for one in caplog.records] == [("look failed", {"upstream": "w1"})]  # type: ignore[attr-defined]


async def test_a_gpu_page_that_hangs_keeps_no_reading_back_and_does_not_make_the_worker_slow(valkey: Store) -> None:
    hangs, looks = asyncio.Event(), []

    async def worker(_: Upstream) -> Scrape:
        return Scrape(running=1)

    async def gpus(_: Upstream) -> GpuLook | None:
        if looks:
            await hangs.wait()
        return GpuLook((GpuSample(index=0, sm=0.5),), 0.1, 30.0)

    async def judged(_: Upstream, scrape: Scrape, look: GpuLook | None) -> Scrape:
        looks.append(look)
        return scrape

    one_worker = replace(policy(), upstreams={"w1": upstream("w1", "gpu")})
    prober, began = Probes(valkey, "r", lambda: one_worker, worker, gpus, judged), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(1, 4):
            await prober.tick(group, number * 1e9)
            await until(lambda count=number: len(looks) == count)  # type: ignore[misc]
        hangs.set()
    ages = [one.age for one in looks if one is not None]
    assert len(ages) == 3
    assert ages[0] < ages[1] < ages[2] < 0.1 + time.monotonic() - began, "they went by the last look"


def test_a_slow_page_is_asked_for_less_and_less_often_and_a_quick_one_at_once_again() -> None:
    patience, intervals = Patience(), []
    for _ in range(6):
        patience.took(0.4, 0.0)
        intervals.append(patience.interval)
    assert intervals[0] == 2 * INTERVAL_SECONDS
    assert intervals[-1] == SLOWEST_SECONDS
    patience.took(0.01, 0.0)
    assert patience.interval == INTERVAL_SECONDS


@pytest.mark.parametrize("workers", [0, 1, 100, 300, 1000, 3000])
def test_a_fleet_of_any_size_costs_no_more_than_its_share(workers: int) -> None:
    interval = interval_of(workers)
    assert INTERVAL_SECONDS <= interval <= SLOWEST_SECONDS
    assert workers / interval * LOOK_SECONDS <= CORE_SHARE + 1e-9


async def test_a_large_fleet_is_not_looked_at_all_at_once(valkey: Store) -> None:
    asked = Counter[str]()
    crowd = replace(policy(), upstreams={f"w{i}": upstream(f"w{i}", "gpu") for i in range(400)})

    async def worker(one: Upstream) -> Scrape:
        asked[one.name] += 1
        return Scrape(running=1)

    async def gpus(_: Upstream) -> None: ...

    prober = Probes(valkey, "r", lambda: crowd, worker, gpus, judged)
    begun = []
    for number in range(30):
        await one_round(prober, 100.0 + number * 1e-3)
        begun.append(asked.total())
    steps = [after - before for before, after in pairwise([0, *begun])]
    assert max(steps) <= 80
    assert set(asked.values()) == {1}
    assert len(asked) == 400
    assert len(await readings.read(valkey)) == 400
    assert steps[0] >= LEAST_AT_ONCE
