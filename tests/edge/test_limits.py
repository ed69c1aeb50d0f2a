"""Limits of a caller by an injected clock: windows to the second, and how headers and refusals tell of them."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.edge.limits import Entry, lasting, limit_headers, limit_word, limited
from gateway.edge.seats import Seats
from gateway.errors import InvalidRequest, RateLimited
from gateway.model import Quota, Short, Tenant, Usage
from gateway.money.keeping import utc
from gateway.money.till import Till
from gateway.routing.quotas import Quotas
from gateway.store.connection import Store
from gateway.telemetry import Telemetry
from tests.worlds import board, request

REQUESTS = Quota("tenant t: requests_per_minute", "requests", 2, "minute", "tenant")
DAILY = Quota("key t/k: requests_per_day", "requests", 100, "day", "key")
TOKENS = Quota("tenant t: tokens_per_day", "tokens", 1_000, "day", "tenant")
SEATS = Quota("tenant t: concurrent", "concurrent", 1, "total", "tenant")


class Desk:
    """One replica whose store's clock is `ms`."""

    def __init__(self, store: Store) -> None:
        self.ms = int(time.time()) // 60 * 60_000 + 59_000
        self.telemetry = Telemetry()
        till = Till(store, "one", store_ms=lambda: self.ms)
        self.services: Any = SimpleNamespace(quotas=Quotas(), till=till, seats=Seats(), telemetry=self.telemetry)

    async def enter(self, *quotas: Quota, **asked: Any) -> Entry:
        entry = Entry(self.services, request(tenant=Tenant("t", quotas=quotas), **asked))
        await entry.enter(board())
        return entry


async def test_a_window_ends_with_its_minute(valkey: Store) -> None:
    desk = Desk(valkey)
    for _ in range(2):
        (await desk.enter(REQUESTS, DAILY)).leave(sent=True, usage=None)
    with pytest.raises(RateLimited) as caught:
        await desk.enter(REQUESTS, DAILY)
    assert REQUESTS.name in caught.value.message
    desk.ms += 999
    with pytest.raises(RateLimited):
        await desk.enter(REQUESTS)
    desk.ms += 1
    await desk.enter(REQUESTS)
    await desk.services.till.aclose()


@pytest.mark.parametrize("skew_minutes", [-90, 0, 90])
async def test_a_clock_that_differs_from_the_stores_changes_no_time_to_wait(valkey: Store, skew_minutes: int) -> None:
    desk = Desk(valkey)
    desk.ms += skew_minutes * 60_000 - 29_000  # 30 s before a minute ends
    await desk.enter(REQUESTS)
    told = dict(limit_headers(desk.services, (REQUESTS,), anthropic=False))
    assert 25 <= int(told[b"x-ratelimit-reset-requests"].removesuffix(b"s")) <= 30
    told = dict(limit_headers(desk.services, (REQUESTS,), anthropic=True))
    assert told[b"anthropic-ratelimit-requests-reset"].decode() == utc(desk.ms // 1000 + 30)
    await desk.enter(REQUESTS)
    with pytest.raises(RateLimited) as caught:
        await desk.enter(REQUESTS)
    assert 25 <= (caught.value.retry_after or 0) <= 30
    await desk.services.till.aclose()


async def test_what_was_never_sent_takes_nothing(valkey: Store) -> None:
    desk = Desk(valkey)
    for _ in range(5):
        entry = await desk.enter(REQUESTS, TOKENS)
        entry.leave(sent=False, usage=Usage(500, 500))
        entry.leave(sent=True, usage=None)  # once
        await desk.services.till.flush()
    used = [one.used for one in await desk.services.till.report([REQUESTS, TOKENS])]
    assert used == [0, 0]
    await desk.services.till.aclose()


async def test_tokens_are_settled_at_what_was_used_also_beyond_what_was_foreseen(valkey: Store) -> None:
    desk = Desk(valkey)
    entry = await desk.enter(TOKENS, max_tokens=None)
    entry.leave(sent=True, usage=Usage(300, 900))
    await desk.services.till.flush()
    (usage,) = await desk.services.till.report([TOKENS])
    assert usage.used == 1_200
    with pytest.raises(InvalidRequest) as caught:
        await desk.enter(TOKENS, max_tokens=1_001)
    assert caught.value.param == "max_tokens"
    await desk.services.till.aclose()


async def test_seats(valkey: Store) -> None:
    desk = Desk(valkey)
    entry = await desk.enter(SEATS)
    with pytest.raises(RateLimited) as caught:
        await desk.enter(SEATS)
    assert caught.value.retry_after == 1
    entry.leave(sent=True, usage=None)
    await desk.services.till.flush()
    (await desk.enter(SEATS)).leave(sent=True, usage=None)
    await desk.services.till.aclose()


async def test_whoever_finds_no_seat_is_told_how_long_one_is_taken(valkey: Store) -> None:
    desk = Desk(valkey)
    seats = replace(SEATS, cap=2)
    entry = await desk.enter(seats)
    entry._began -= 30.0
    entry.leave(sent=True, usage=None)
    await desk.services.till.flush()
    for _ in range(seats.cap):
        await desk.enter(seats)
    with pytest.raises(RateLimited) as caught:
        await desk.enter(seats)
    assert caught.value.retry_after == 16, "30 s and a moment, of two"
    await desk.services.till.aclose()


async def test_without_the_store_it_goes_on_uncounted(valkey: Store) -> None:
    gone = Store("unix:///nowhere.sock")
    desk = Desk(gone)
    entry = await desk.enter(REQUESTS)
    assert entry.uncounted
    entry.leave(sent=True, usage=None)


async def test_whoever_has_no_limits_pays_for_none(valkey: Store) -> None:
    entry = await Desk(valkey).enter()
    assert (entry.headers(), entry.uncounted) == ([], False)


async def test_headers_of_both_families(valkey: Store) -> None:
    desk = Desk(valkey)
    await desk.enter(REQUESTS, DAILY, TOKENS, max_tokens=100)
    told = dict(limit_headers(desk.services, (REQUESTS, DAILY, TOKENS), anthropic=False))
    assert told[b"x-ratelimit-limit-requests"] == b"2", "the tighter one"
    assert told[b"x-ratelimit-remaining-requests"] == b"1"
    assert int(told[b"x-ratelimit-remaining-tokens"]) < 900
    told = dict(limit_headers(desk.services, (REQUESTS,), anthropic=True))
    assert sorted(told) == [b"anthropic-ratelimit-requests-" + word for word in (b"limit", b"remaining", b"reset")]
    assert told[b"anthropic-ratelimit-requests-reset"].endswith(b":00Z")
    await desk.services.till.aclose()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (0.2, "1s"), (59.1, "1m0s"), (60, "1m0s"), (3599.5, "1h0m0s"), (86_399, "23h59m59s"), (-3, "0s")],
)
def test_how_long_in_openais_words(seconds: float, text: str) -> None:
    assert lasting(seconds) == text


def test_the_refusal_is_true_to_the_second() -> None:
    assert limited(Short(REQUESTS, 0, 160.0, 9e9), 7, 100.5).retry_after == 60
    assert limited(Short(REQUESTS, 0, 100.1, 9e9), 7, 100.0).retry_after == 1
    assert limited(Short(SEATS, 0, None, None), 7, 100.0).retry_after == 7
    assert [limit_word(one) for one in (REQUESTS, DAILY, SEATS)] == [
        "requests_per_minute",
        "requests_per_day",
        "concurrent",
    ]
