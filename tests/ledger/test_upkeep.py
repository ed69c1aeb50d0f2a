"""Partitions are there before their month is, and rows go when their time is over, by the calendar and not before."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.ledger.database import Database
from gateway.ledger.inserting import Values
from gateway.ledger.months import month_of, start_of
from tests.ledger.conftest import KEEP_MONTHS
from tests.ledger.reading import asked, told
from tests.ledger.rows import NOW, row
from tests.ledger.test_database import batch

DAY = 86_400 * 10**6
THIS = month_of(NOW)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(url: str, opened: Callable[..., Database], clock: Clock) -> Database:
    return opened(url, clock)


def ending(*moments: int) -> tuple[Values, ...]:
    return batch(*(row(number, ended=moment) for number, moment in enumerate(moments)))


def tend(database: Database) -> int:
    """All steps; how many."""
    steps = 1
    while database.tend():
        steps += 1
    return steps


def there(url: str) -> list[int]:
    return [ended for (ended,) in asked(url, "SELECT ended FROM attempts ORDER BY ended")]


def test_whole_months_go_and_no_more(url: str, kept: Database) -> None:
    first = start_of(THIS - KEEP_MONTHS)
    moments = [first - 40 * DAY, first - 1, first, NOW - 8 * DAY, NOW]
    kept.store(ending(*moments))
    assert tend(kept) >= 1
    assert there(url) == moments[2:]
    assert asked(url, "SELECT since FROM attempts_kept") == [(first,)]
    assert not kept.tend()


def test_months_pass(url: str, kept: Database, clock: Clock) -> None:
    """Partitions are dropped whole, and what they held is unknown again."""
    for month in range(6):
        clock.now = start_of(THIS + month) + DAY
        kept.store(batch(row(month, ended=clock.now)))
        tend(kept)
    assert there(url) == [start_of(THIS + month) + DAY for month in (2, 3, 4, 5)]
    if kept.shared:
        assert asked(url, "SELECT count(*) FROM attempts_seen") == [(4,)]


def test_what_is_known_of_old_rows_goes_in_steps(
    postgres_url: str, opened: Callable[..., Database], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that comes late goes with them, and none is stored twice."""
    monkeypatch.setattr("gateway.ledger.upkeep.STEP_MARKS", 2)
    database = opened(postgres_url, clock)
    old = start_of(THIS - KEEP_MONTHS) - 1
    database.store(ending(*[old] * 5, NOW - 8 * DAY, NOW))
    assert tend(database) > 2
    assert asked(postgres_url, "SELECT count(*) FROM attempts_seen") == [(2,)]
    database.store(batch(row(9, ended=old)))
    tend(database)
    assert there(postgres_url) == [NOW - 8 * DAY, NOW]
    assert asked(postgres_url, "SELECT count(*) FROM attempts_seen") == [(2,)]


def test_a_clock_that_jumped_removes_nothing(url: str, kept: Database, clock: Clock) -> None:
    kept.store(ending(NOW))
    clock.now = start_of(THIS + 120)
    tend(kept)
    assert there(url) == [NOW]


def test_rows_of_a_clock_that_jumped_remove_nothing_for_a_week(url: str, kept: Database, clock: Clock) -> None:
    kept.store(ending(NOW - 9 * DAY, NOW))
    clock.now = start_of(THIS + 120)
    for day in range(9):
        clock.now += DAY
        kept.store(batch(row(10 + day, ended=clock.now)))
        tend(kept)
        assert (NOW in there(url)) is (day < 7)


def test_a_row_from_the_future_removes_nothing(url: str, kept: Database) -> None:
    kept.store(ending(NOW, start_of(THIS + 120)))
    tend(kept)
    assert len(there(url)) == 2


def test_what_was_removed_by_age_is_not_to_be_deleted_by_hand(url: str, kept: Database) -> None:
    kept.store(ending(start_of(THIS - KEEP_MONTHS) - 1, NOW - 8 * DAY, NOW))
    tend(kept)
    with pytest.raises(Exception, match="immutable"):
        told(url, "DELETE FROM attempts")


def partitions(url: str) -> list[str]:
    found = asked(url, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'attempts'::regclass")
    return sorted(name for (name,) in found)


def test_partitions_are_made_ahead_and_dropped(
    postgres_url: str, opened: Callable[..., Database], clock: Clock
) -> None:
    database = opened(postgres_url, clock)
    assert partitions(postgres_url) == [
        *(f"attempts_{name}" for name in ("2026_10", "2026_11", "2026_12", "2027_01")),
        "attempts_other",
    ]
    database.store(ending(NOW))
    assert asked(postgres_url, "SELECT tableoid::regclass::text FROM attempts") == [("attempts_2026_11",)]
    clock.now = start_of(month_of(NOW) + KEEP_MONTHS + 1)
    database.store(batch(row(8, ended=clock.now - 8 * DAY), row(9, ended=clock.now)))
    tend(database)
    assert "attempts_2026_11" not in partitions(postgres_url)
    assert there(postgres_url) == [clock.now - 8 * DAY, clock.now]


def test_rows_of_no_month_are_kept_too(postgres_url: str, opened: Callable[..., Database], clock: Clock) -> None:
    """Those of a clock that was ahead also stand in the way of their month's partition, which is then done without."""
    database = opened(postgres_url, clock)
    ahead = start_of(THIS + 4)
    database.store(ending(ahead, 0, 2**53))
    assert asked(postgres_url, "SELECT DISTINCT tableoid::regclass::text FROM attempts") == [("attempts_other",)]
    clock.now = ahead
    database.tend()
    database.store(batch(row(7, ended=ahead), row(8, ended=ahead - 8 * DAY)))
    database.tend()
    assert len(there(postgres_url)) == 3 + 2 - 1  # the one of 1970 went by age
