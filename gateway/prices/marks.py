"""What is said wherever a price is used that should not be trusted blindly. Pure: the day is an argument."""

from __future__ import annotations

from datetime import date
from typing import Final

from gateway.model import Confidence, Mark, Origin

MAX_AGE_DAYS: Final = 180
"""A price that was read longer ago is old, unless a policy says otherwise."""
LOW: Final[frozenset[Confidence]] = frozenset({"guide", "third_party", "unverified", "conflict"})
"""One weak source, or several that disagree."""


def marks(as_of: str | None, confidence: Confidence, today: date, max_age_days: int = MAX_AGE_DAYS) -> tuple[Mark, ...]:
    """Of a price that was read on the day `as_of`. What the operator wrote without a day has no age."""
    read = None if as_of is None else earliest(as_of)
    made: list[Mark] = []
    if read is not None and (today - read).days > max_age_days:
        made.append("old")
    if confidence in LOW:
        made.append("low_confidence")
    return tuple(made)


def origin(
    source: str, as_of: str | None, confidence: Confidence, today: date, max_age_days: int = MAX_AGE_DAYS
) -> Origin:
    return Origin(source, as_of, confidence, marks(as_of, confidence, today, max_age_days))


def earliest(as_of: str) -> date:
    """The first day that `2026`, `2026-11` or `2026-11-21` can mean: an age is never told too low.

    Raises ValueError where it is none of them.
    """
    year, month, day = (*as_of.split("-"), "1", "1")[:3]
    return date(int(year), int(month), int(day))
