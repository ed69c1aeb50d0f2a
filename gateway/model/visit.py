"""What one admission saw on its way to a lease, or to a refusal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.model.fleet import Reading
from gateway.model.money import Kept
from gateway.model.request import Candidate
from gateway.model.words import Bound, Role


class Look(NamedTuple):
    """A candidate as the pick saw it: the work leased on it and its last reading, at `at` (the store's clock)."""

    candidate: Candidate
    leased: int
    reading: Reading | None
    at: float


@dataclass(slots=True)
class Visit:
    """What one admission saw and did, kept also where it ends in a refusal: the receipt tells it."""

    looks: dict[str, Look] = field(default_factory=dict)
    """Upstream -> the last look at it."""
    waited: float = 0.0
    expected: float | None = None
    """Seconds that it was to expect when it first had to wait."""
    kept: Bound | None = None
    """What kept it from leaving although there was room to buy."""
    crowded: bool = False
    """There was no place in line for it, or the place went to a higher class."""
    stays: bool = False
    """It cannot leave, for whatever reason: it waits at home as long as its rule says then, with its whole share."""
    unpaid: dict[str, Kept] = field(default_factory=dict)
    """Backend -> why nothing could be set aside for it there: nobody looks there again."""
    past: str | None = None
    """The soft budget that is used up, for which our own workers were preferred."""
    role: Role = "asked"
    """Of the attempt that it leads to."""
    uncounted: bool = False
    """Its limits could not be counted, the store being away: nothing is bought for it."""
