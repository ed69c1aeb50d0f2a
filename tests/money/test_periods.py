from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.model import Per
from gateway.money.periods import period_of
from gateway.money.till import Till
from gateway.store.connection import Store
from tests.money.tills import Clock, held, quota

PERS: tuple[Per, ...] = ("minute", "day", "month", "total")


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("per", "at", "name", "ends"),
    [
        ("minute", "2026-11-22T13:05:59.999", "2026-11-22T13:05", "2026-11-22T13:06:00"),
        ("day", "2026-12-31T23:59:59", "2026-12-31", "2027-01-01T00:00:00"),
        ("month", "2026-12-31T23:59:59", "2026-12", "2027-01-01T00:00:00"),
        ("month", "2024-02-29T12:00:00", "2024-02", "2024-03-01T00:00:00"),
    ],
)
def test_a_period_is_of_the_calendar(per: Per, at: str, name: str, ends: str) -> None:
    assert period_of(per, seconds(at)) == (name, seconds(ends))


def test_a_total_never_ends() -> None:
    assert period_of("total", 0.0) == ("total", None)


INSTANTS = (
    *(
        "1970-01-01T00:00:00",
        "2000-02-29T23:59:59",
        "2000-12-31T23:59:59",
        "2024-02-28T00:00:00",
        "2024-03-01T00:00:00",
    ),
    *(
        "2026-01-31T10:00:00",
        "2026-11-22T13:59:59",
        "2026-12-01T00:00:00",
        "2099-12-31T23:59:59",
        "2100-02-28T23:59:59",
    ),
)


@pytest.mark.parametrize("at", INSTANTS)
async def test_the_store_counts_by_the_same_calendar(valkey: Store, at: str) -> None:
    clock = Clock(max(1, round(seconds(at) * 1000)))
    till = Till(valkey, "a", clock=clock.monotonic, store_ms=clock.store)
    for per in PERS:
        one = quota(per, per=per)
        (share,) = (await held(till, per, (one, 5))).shares
        known = till.left(one)
        assert known is not None
        assert (share.period, known.resets) == period_of(per, seconds(at))
