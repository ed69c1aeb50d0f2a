from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.errors import StoreFault
from gateway.model import Quota
from gateway.money import till as tills
from gateway.money import unsettled
from gateway.money.till import STREAM, Till
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from tests.conftest import PATIENT
from tests.money.tills import NOON, Clock, Faulty, count, held, quota, row, rows, short

DAY = quota("tenant a: usd per day", 1_000_000)
MINUTE = quota("key k: requests_per_minute", 3, per="minute", unit="requests")
SEATS = quota("key k: concurrent", 2, per="total", unit="concurrent")
SILENT = 5.1
"""Seconds: a little more than SILENT_MS of till.lua."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def faulty(embedded: Embedded) -> Faulty:
    return Faulty(embedded.url, timeout=PATIENT)


@pytest.fixture
async def lossy(faulty: Faulty, valkey: Store) -> AsyncIterator[Faulty]:
    await faulty.check()
    yield faulty
    await faulty.aclose()


def make(store: Store, clock: Clock, name: str = "a") -> Till:
    return Till(store, name, clock=clock.monotonic, store_ms=clock.store)


async def pass_(clock: Clock, seconds: float, *alive: Till) -> None:
    """Time in which these replicas say that they live."""
    while seconds > 0:
        clock.pass_(min(1.0, seconds))
        seconds -= 1.0
        for till in alive:
            await till.tick()


async def test_all_of_it_or_nothing(store: Store, clock: Clock) -> None:
    till = make(store, clock)
    hold = await held(till, "r", (DAY, 400_000), (SEATS, 1))
    await held(till, "s", (SEATS, 1))
    assert (await short(till, (DAY, 1), (SEATS, 1))).quota == SEATS
    till.give(hold, lambda _: 7)
    await till.flush()
    assert await count(till, DAY) == (7, 6_000)
    assert await count(till, SEATS) == (0, 1)
    await held(till, "t", (DAY, 999_993), (SEATS, 1))


async def test_a_slice_is_a_hundredth_of_what_is_left_and_spares_the_way(lossy: Faulty, clock: Clock) -> None:
    till = make(lossy, clock)
    hold = await held(till, "r", (DAY, 4_000))
    assert await count(till, DAY) == (0, 10_000)
    lossy.faults = ["before"] * 9
    assert till.take("s", [(DAY, 6_000)]) is not None
    assert till.take("t", [(DAY, 1)]) is None
    till.give(hold)
    assert till.take("t", [(DAY, 4_000)]) is not None


async def test_near_the_end_each_request_reserves_exactly(store: Store, clock: Clock) -> None:
    till = make(store, clock)
    await held(till, "r", (DAY, 999_000))
    hold = await held(till, "s", (DAY, 500))
    assert await count(till, DAY) == (0, 999_500)
    till.give(hold)
    await till.flush()
    assert await count(till, DAY) == (0, 999_010)


async def test_a_request_that_is_short_hears_of_what_is_left_until_when(store: Store, clock: Clock) -> None:
    till = make(store, clock)
    await held(till, "r", (MINUTE, 2))
    clock.pass_(12.0)
    assert await short(till, (MINUTE, 2)) == (MINUTE, 1, NOON / 1000 + 60, NOON / 1000 + 60, False)
    assert till.left(MINUTE) == (1, NOON / 1000 + 60, NOON / 1000 + 60)
    assert till.level(MINUTE) == pytest.approx(2 / 3)
    clock.pass_(48.0)
    assert till.left(MINUTE) is None
    await held(till, "s", (MINUTE, 3))


async def test_who_is_short_hears_whether_it_is_used_or_only_set_aside(store: Store, clock: Clock) -> None:
    till = make(store, clock)
    hold = await held(till, "r", (DAY, 900_000), (MINUTE, 3))
    assert (await short(till, (DAY, 900_000))).running
    assert not (await short(till, (DAY, 1_000_001))).running, "more than all of it"
    assert not (await short(till, (MINUTE, 1))).running, "who was sent has used it"
    till.give(hold, lambda quota: 200_000 if quota == DAY else 3)
    await till.flush()
    assert not (await short(till, (DAY, 900_000))).running


@asynccontextmanager
async def listening(store: Store, till: Till, name: str) -> AsyncIterator[None]:
    """Its channel is heard, and its loop runs."""
    heard = asyncio.Event()
    ears = store.subscription(f"gw:room:{name}", till.heard, heard.set)
    tasks = [asyncio.create_task(run()) for run in (ears.run, till.run)]
    await heard.wait()
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_last_cent_can_be_spent_from_any_replica(store: Store) -> None:
    """By the real clock and channel: what two others hold idle comes back when it is missing elsewhere."""
    a, b, c = (Till(store, name) for name in "abc")
    async with listening(store, a, "a"), listening(store, b, "b"), listening(store, c, "c"):
        for till in (a, b):
            till.give(await held(till, "r", (DAY, 100)), lambda _: 50)
        await held(c, "s", (DAY, 999_900))
        assert (await short(c, (DAY, 1))).left == 0
        assert (await short(a, (DAY, 1))).left == 0


async def test_what_an_attempt_cost_and_its_row_are_told_together_and_once(store: Store, clock: Clock) -> None:
    till = make(store, clock)
    hold = await held(till, "one", (DAY, 500), row=row("one", 500))
    till.book(row("one", 500, 123), hold)
    till.book(row("one", 500, 123), hold)
    till.give(hold, lambda _: 500)
    assert (await rows(store), await count(till, DAY)) == ([], (0, 10_000))
    await till.flush()
    assert [(one["attempt"], one["cost"]) for one in await rows(store)] == [("one", 123)]
    assert await store.call("XLEN", STREAM) == 1
    assert await count(till, DAY) == (123, 9_500)


async def test_the_operator_pays_what_counts_in_nobodys_own(store: Store, clock: Clock) -> None:
    till, ours, theirs = make(store, clock), quota("budget all"), quota("tenant a: usd", of="tenant")
    hold = await held(till, "one", (ours, 9), (theirs, 9))
    till.book(row("one", 9, 5, payer="operator"), hold)
    await till.flush()
    assert [(await count(till, one))[0] for one in (ours, theirs)] == [5, 0]


@pytest.mark.parametrize("fault", ["before", "after", "late"])
async def test_a_batch_whose_answer_was_lost_is_settled_once(lossy: Faulty, clock: Clock, fault: str) -> None:
    till = make(lossy, clock)
    hold = await held(till, "one", (DAY, 500), row=row("one", 500))
    till.book(row("one", 500, 123), hold)
    lossy.faults = [fault]
    await till.flush()
    await till.flush()
    await lossy.deliver()
    assert await count(till, DAY) == (123, 9_500)
    assert await lossy.call("XLEN", STREAM) == 1


@pytest.mark.parametrize("fault", ["before", "after", "late"])
async def test_a_draw_whose_answer_was_lost_leaks_nothing(lossy: Faulty, clock: Clock, fault: str) -> None:
    till = make(lossy, clock)
    await till.tick()
    lossy.faults = [fault]
    with pytest.raises(StoreFault):
        await till.hold("one", [(DAY, 500_000)], row("one", 500_000))
    await till.flush()
    await till.tick()
    await lossy.deliver()
    assert await count(till, DAY) == (0, 0)
    assert await lossy.call("KEYS", "gw:{money}:open:*") == []


async def test_what_is_told_late_of_an_attempt_that_is_over_changes_nothing(lossy: Faulty, clock: Clock) -> None:
    till = make(lossy, clock)
    await held(till, "one", (DAY, 1))
    lossy.faults = ["late"]
    hold = till.take("two", [(DAY, 300)], row("two", 300))
    await asyncio.sleep(0)
    assert hold is not None
    till.book(row("two", 300, 5), hold)
    await till.flush()
    await lossy.deliver()
    assert await lossy.call("KEYS", "gw:{money}:open:*") == []


async def test_what_is_over_before_it_was_told_leaves_nothing_open(store: Store, clock: Clock) -> None:
    till = make(store, clock)
    await held(till, "one", (DAY, 1))
    hold = till.take("two", [(DAY, 300)], row("two", 300))
    assert hold is not None
    till.book(row("two", 300, 5), hold)
    await till.flush()
    await asyncio.sleep(0)
    assert await store.call("KEYS", "gw:{money}:open:*") == []
    assert await count(till, DAY) == (5, 9_995), "what it did not use stays in the slice"


async def test_what_was_told_twice_without_an_answer_ends_with_its_attempt(lossy: Faulty, clock: Clock) -> None:
    till = make(lossy, clock)
    await held(till, "one", (DAY, 1))
    hold = till.take("two", [(DAY, 300)], row("two", 300))
    assert hold is not None
    lossy.faults = ["after"]
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENT):
        while await lossy.call("HKEYS", "gw:{money}:open:a.1") != [b"two"]:
            pass
    await till.flush()
    till.book(row("two", 300, 5), hold)
    await till.flush()
    assert await lossy.call("KEYS", "gw:{money}:open:*") == []


async def test_thousands_of_attempts_that_begin_at_once_are_told(store: Store, clock: Clock) -> None:
    till = make(store, clock)
    await held(till, "one", (DAY, 1))
    for number in range(5_000):
        assert till.take(f"a{number}", [(DAY, 1)], row("two", 1)) is not None
    await asyncio.sleep(0)
    assert await store.call("HLEN", "gw:{money}:open:a.1") == 5_000


async def test_an_attempt_whose_beginning_was_lost_is_told_again(lossy: Faulty, clock: Clock) -> None:
    till = make(lossy, clock)
    await held(till, "one", (DAY, 1))
    lossy.faults = ["before"]
    assert till.take("two", [(DAY, 300)], row("two", 300)) is not None
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENT):
        while await lossy.call("HKEYS", "gw:{money}:open:a.1") != [b"two"]:
            await till.flush()


async def test_who_leaves_while_it_waits_for_the_store_holds_nothing(store: Store, clock: Clock) -> None:
    till = make(store, clock)
    await till.tick()
    asking = asyncio.create_task(till.hold("one", [(DAY, 500_000)]))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    async def free() -> bool:
        await till.flush()
        return till._draws == 1 and await count(till, DAY) == (0, 10_000)

    async with asyncio.timeout(PATIENT):
        while not await free():
            pass


async def test_what_the_dead_held_is_booked(store: Store, clock: Clock) -> None:
    dead, alive = make(store, clock, "a"), make(store, clock, "b")
    await alive.tick()
    await held(dead, "one", (DAY, 500), (MINUTE, 1), (SEATS, 2), row=row("one", 500))
    taken = dead.take("two", [(DAY, 300)], row("two", 300))
    assert taken is not None
    await asyncio.sleep(0)
    await pass_(clock, SILENT, alive)
    (usage, minute, seats) = await alive.report([DAY, MINUTE, SEATS])
    assert (usage.used, usage.held, usage.lost) == (10_000, 0, 10_000)
    assert (minute.used, seats.used, seats.held) == (1, 0, 0)
    found = {one["attempt"]: one for one in await rows(store)}
    assert {one["state"] for one in found.values()} == {"unreconciled"}
    assert found["one"]["began"] == 1_795_348_800_123_456
    by_role = sorted((one["role"], one["reserved"], one["reason"]) for one in found.values())
    assert by_role == [("asked", 300, ""), ("asked", 500, ""), ("slice", 9_200, DAY.name)]

    dead.book(row("two", 300, 120), taken)
    await dead.flush()
    assert dead.fenced == 1
    assert (await count(alive, DAY), len(await rows(store))) == ((10_000, 0), 3)
    await held(dead, "three", (DAY, 990_000))
    assert await store.call("ZRANGE", "gw:{money}:owners", 0, -1) == [b"a.2", b"b.1"]


async def test_what_is_over_is_nobody_elses_before_the_store_knows_of_it(store: Store, clock: Clock) -> None:
    """Whoever dies between an answer and its settlement has that attempt booked at all that it held."""
    dead, alive = make(store, clock, "a"), make(store, clock, "b")
    await alive.tick()
    hold = await held(dead, "one", (DAY, 9_000), row=row("one", 9_000))
    dead.book(row("one", 9_000, 10), hold)
    dead.take("two", [(DAY, 5_000)], row("two", 5_000))
    await asyncio.sleep(0)
    await pass_(clock, SILENT, alive)
    used, kept = await count(alive, DAY)
    assert (used, kept) == (sum(one["reserved"] for one in await rows(store)), 0)


async def test_what_was_not_told_of_the_dead_is_in_the_row_of_its_slice(lossy: Faulty, clock: Clock) -> None:
    dead, alive = make(lossy, clock, "a"), make(lossy, clock, "b")
    await alive.tick()
    dead.give(await held(dead, "one", (DAY, 500)))
    await dead.flush()
    lossy.faults = ["before"]
    assert dead.take("two", [(DAY, 300)], row("two", 300)) is not None
    await asyncio.sleep(0)
    await pass_(clock, SILENT, alive)
    assert [(one["role"], one["reserved"]) for one in await rows(lossy)] == [("slice", 10_000)]


@pytest.mark.parametrize("seconds", [3_600.0, -3_600.0])
async def test_a_clock_that_is_set_kills_nobody_and_opens_nothing_twice(
    store: Store, clock: Clock, seconds: float
) -> None:
    a, b = make(store, clock, "a"), make(store, clock, "b")
    day = quota("day", 100)
    clock.pass_(12 * 3600 - 1)
    await held(a, "r", (day, 100))
    await b.tick()
    clock.pass_(seconds)
    await b.tick()
    await a.tick()
    assert a.fenced == 0
    assert await store.call("ZCARD", "gw:{money}:owners") == 2
    clock.pass_(-seconds)
    assert (await short(b, (day, 1))).left == 0


async def test_a_store_that_was_away_for_everybody_kills_nobody(store: Store, clock: Clock) -> None:
    a, b = make(store, clock, "a"), make(store, clock, "b")
    holds = [await held(till, name, (DAY, 500), row=row(name, 500)) for till, name in ((a, "one"), (b, "two"))]
    clock.pass_(600.0)
    a.book(row("one", 500, 100), holds[0])
    await a.flush()
    await a.tick()
    b.book(row("two", 500, 100), holds[1])
    await b.flush()
    assert [one["state"] for one in await rows(store)] == ["settled", "settled"]
    assert (await count(a, DAY))[0] == 200


async def test_without_the_store_slices_go_on_until_they_expire(lossy: Faulty, clock: Clock) -> None:
    till = make(lossy, clock)
    await held(till, "r", (DAY, 1), (SEATS, 1))
    lossy.faults = ["before"] * 99
    clock.pass_(9.9)
    assert till.take("s", [(DAY, 1)]) is not None
    with pytest.raises(StoreFault):
        await till.hold("t", [(DAY, 500_000)])
    clock.pass_(0.2)
    assert till.take("s", [(DAY, 1)]) is None


async def test_seats_do_not_outlast_the_time_after_which_they_are_free_for_others(store: Store, clock: Clock) -> None:
    till, seats = make(store, clock), quota("seats", 1000, unit="concurrent", per="total")
    await held(till, "r", (seats, 1))
    assert till.take("s", [(seats, 1)]) is not None
    clock.pass_(4.0)
    assert till.take("t", [(seats, 1)]) is None


async def test_idle_slices_go_back_and_busy_ones_last(store: Store, clock: Clock) -> None:
    till, other = make(store, clock), quota("other", 1_000_000)
    await held(till, "r", (DAY, 1))
    till.give(await held(till, "s", (other, 1)))
    for _ in range(15):
        await pass_(clock, 1, till)
        assert till.take("t", [(DAY, 1)]) is not None
    await till.flush()
    assert await count(till, other) == (0, 0)
    assert 9_000 < (await count(till, DAY))[1] < 11_000


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (quota("usd", 100_000), quota("usd", 10_000)),
        (quota("usd", 10_000, hard=False), quota("usd", 10_000)),
    ],
    ids=["lowered", "soft made hard"],
)
async def test_a_busy_replica_obeys_a_cap_that_was_changed(
    store: Store, clock: Clock, before: Quota, now: Quota
) -> None:
    till = make(store, clock)
    till.give(await held(till, "r", (before, 9_000)), lambda _: 9_000)
    for _ in range(10):
        await held(till, "s", (before, 1))
    for _ in range(30):
        for _ in range(600):
            till.take("t", [(now, 1)])
        await till.flush()
        await pass_(clock, 1, till)
    used, set_aside = await count(till, now)
    assert 9_000 < used + set_aside <= 10_000
    assert (await short(till, (now, 1_001))).quota is now


async def test_who_leaves_gives_back_all_that_is_idle(store: Store, clock: Clock) -> None:
    till = make(store, clock)
    hold = await held(till, "r", (DAY, 1))
    till.give(hold, lambda _: 1)
    await till.aclose()
    assert await count(till, DAY) == (1, 0)
    assert await store.call("KEYS", "gw:{money}:[^qe]*") == []


@pytest.mark.parametrize("faults", [1, 4])
async def test_who_leaves_tells_the_last_of_it_also_to_a_store_that_answers_late(
    lossy: Faulty, clock: Clock, faults: int
) -> None:
    till = make(lossy, clock)
    for number in range(200):
        till.book(row(f"a{number}", 1, 1))
    hold = await held(till, "r", (DAY, 1))
    till.give(hold)
    lossy.faults = ["after"] * faults
    await till.aclose()
    assert len(await rows(lossy)) == 200
    assert await lossy.call("KEYS", "gw:{money}:[^qel]*") == [], "it has left"


async def test_what_the_store_did_not_take_in_the_end_is_counted(
    lossy: Faulty, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tills, "LAST_SECONDS", 0.2)
    dropped: list[None] = []
    till = Till(lossy, "a", lambda: dropped.append(None), clock=clock.monotonic, store_ms=clock.store)
    for number in range(70):
        till.book(row(f"a{number}", 1, 1))
    lossy.faults = ["before"] * 999
    await till.aclose()
    assert len(dropped) == 70
    assert "did not take" in caplog.text


async def test_what_cannot_be_told_goes_when_there_is_too_much(
    valkey: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsettled, "MAX_QUEUED", 2)
    dropped: list[None] = []
    till = Till(valkey, "a", lambda: dropped.append(None), clock=clock.monotonic, store_ms=clock.store)
    for id in "abc":
        till.book(row(id, 1, 1))
    await till.flush()
    assert ([one["attempt"] for one in await rows(valkey)], len(dropped)) == (["b", "c"], 1)


async def test_after_a_flush_nothing_drawn_before_counts_and_no_row_is_lost(store: Store, clock: Clock) -> None:
    till = make(store, clock)
    over, open_ = [await held(till, id, (DAY, 500), row=row(id, 500)) for id in ("over", "open")]
    await store.call("FLUSHALL")
    till.book(row("over", 500, 200), over)
    await till.flush()
    assert till.take("s", [(DAY, 1)]) is None
    assert await count(till, DAY) == (200, 0)
    await till.flush()
    await asyncio.sleep(0)
    assert await store.call("HKEYS", "gw:{money}:open:a.2") == [b"open"]
    till.book(row("open", 500, 100), open_)
    await till.flush()
    assert sorted(one["cost"] for one in await rows(store)) == [100, 200]
    assert await count(till, DAY) == (300, 0)


async def test_a_soft_quota_goes_past_its_cap_and_tells(store: Store, clock: Clock) -> None:
    till, soft = make(store, clock), quota("soft", 100, hard=False)
    assert till.level(soft) == 0.0
    await held(till, "r", (soft, 90))
    assert till.level(soft) == pytest.approx(0.9)
    hold = await held(till, "s", (soft, 60))
    assert till.level(soft) == pytest.approx(1.5)
    till.give(hold, lambda _: 60)
    await till.flush()
    assert await count(till, soft) == (60, 90)


async def test_what_is_settled_later_counts_in_its_own_period(store: Store, clock: Clock) -> None:
    till = make(store, clock)
    hold = await held(till, "r", (DAY, 500))
    clock.pass_(24 * 3600)
    await held(till, "s", (DAY, 500))
    till.give(hold, lambda _: 77)
    await till.flush()
    assert await count(till, DAY) == (0, 10_000)
    clock.pass_(-24 * 3600)
    assert await count(till, DAY) == (77, 0)
