"""Calendar months of UTC as plain numbers, so that partitions and retention are arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime

MICRO_PER_SECOND = 10**6
MONTHS_OF_A_YEAR = 12
FIRST, LAST = MONTHS_OF_A_YEAR, 9_999 * MONTHS_OF_A_YEAR + MONTHS_OF_A_YEAR - 1
"""What datetime can tell: January of year 1 to December of 9999."""


def month_of(micros: int) -> int:
    """The month of a moment in microseconds since the epoch: 12 x year + month - 1; the nearest that there is."""
    try:
        at = datetime.fromtimestamp(micros // MICRO_PER_SECOND, UTC)
    except (ValueError, OverflowError, OSError):
        return FIRST if micros < 0 else LAST
    return at.year * MONTHS_OF_A_YEAR + at.month - 1


def start_of(month: int) -> int:
    """Its first moment, microseconds since the epoch."""
    year, number = divmod(month, MONTHS_OF_A_YEAR)
    return int(datetime(year, number + 1, 1, tzinfo=UTC).timestamp()) * MICRO_PER_SECOND


def name_of(month: int) -> str:
    """As `2026_11`."""
    year, number = divmod(month, MONTHS_OF_A_YEAR)
    return f"{year:04}_{number + 1:02}"


def parse(name: str) -> int | None:
    """The month of `name_of`; None for any other text."""
    try:
        at = datetime.strptime(name, "%Y_%m")
    except ValueError:
        return None
    month = at.year * MONTHS_OF_A_YEAR + at.month - 1
    return month if name_of(month) == name else None
