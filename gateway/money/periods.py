"""Periods of the calendar, UTC: pure. `till.lua:period_of` says the same of the store's clock (a test compares)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gateway.model import Per


def period_of(per: Per, seconds: float) -> tuple[str, float | None]:
    """The period that holds an instant (seconds since the epoch): its name in the store, and its end (None: never).

    Names are the beginning of ISO 8601, so their order as text is their order in time.
    """
    at = datetime.fromtimestamp(seconds, UTC)
    match per:
        case "minute":
            begin = at.replace(second=0, microsecond=0)
            return begin.strftime("%Y-%m-%dT%H:%M"), (begin + timedelta(minutes=1)).timestamp()
        case "day":
            begin = at.replace(hour=0, minute=0, second=0, microsecond=0)
            return begin.strftime("%Y-%m-%d"), (begin + timedelta(days=1)).timestamp()
        case "month":
            later = at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1, day=1)
            return at.strftime("%Y-%m"), later.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        case _:
            return "total", None
