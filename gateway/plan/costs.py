"""What each way costs in a month, and from which volume and utilisation on own GPUs cost less than buying.

A month is 730 hours. Own GPUs: `workers x USD per hour x 730 x overhead`; workers are whole ones, as many as make the
volume at the stated utilisation. Bought: volume x list price. Money is exact; what is shown is rounded up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from gateway.plan.answers import Answers, Medium
from gateway.plan.gpus import Worker, worker
from gateway.plan.prices import Bought, bought, own

HOURS: Final = 730
"""Of a month: 8,760 hours of a year over twelve."""
SPARE_WORKERS: Final = 2
"""The least of a model that nobody else serves: one of them may fail."""

Option = Literal["managed", "private", "hybrid", "self"]

GUIDE_TOKENS: Final = 11_000_000_000
GUIDE_GPU_USD: Final = Fraction(2)
GUIDE_FACTORS: Final = (Fraction(3), Fraction(5))
GUIDE_PER_1M: Final = Fraction("0.8") * Fraction("0.28") + Fraction("0.2") * Fraction("0.88")
"""DeepSeek-V3-0324 at list price, four prompt tokens to one of output: $0.40, the price at which one H100 at $2.00 and
a factor of 3 gives the guide's figure. The guide does not state its own."""


class Range(NamedTuple):
    """USD, or anything else that depends on the overhead: at its least and at its most."""

    least: Fraction
    most: Fraction

    def plus(self, other: Range) -> Range:
        return Range(self.least + other.least, self.most + other.most)


NOTHING: Final = Range(Fraction(0), Fraction(0))


@dataclass(frozen=True, slots=True)
class Line:
    """One medium: what of it is made, bought and served by whom."""

    medium: Medium
    volume: int
    bought: Bought
    worker: Worker
    pays_above: Range
    """Utilisation from which on a worker costs less than buying what it makes; above 1: never."""
    breaks_even: Range
    """Units a month that cost as much bought as one worker costs, however busy it is."""
    capacity: Fraction
    """Units a month of one worker at the stated utilisation."""

    def workers(self, share: Fraction, least: int = 1) -> int:
        """Whole ones, for that share of the volume; none for nothing, unless so many are the least."""
        return max(least, math.ceil(self.volume * share / self.capacity))


def line(answers: Answers, medium: Medium) -> Line:
    sold, made = bought(answers, medium), worker(answers, medium, own(answers, medium))
    month = made.usd_per_hour * HOURS
    factors = (answers.overhead_min, answers.overhead_max)
    pays = [made.usd_per_hour * factor / (made.per_hour * sold.usd) for factor in factors]
    even = [month * factor / sold.usd for factor in factors]
    capacity = made.per_hour * answers.utilisation * HOURS
    return Line(medium, answers.volume(medium), sold, made, Range(*pays), Range(*even), capacity)


def worth_making(answers: Answers, lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Of a hybrid: what own GPUs make for less, at the stated utilisation and the least overhead. If that is nothing,
    what comes nearest to it, so that its cost can be seen."""
    made = [each for each in lines if each.volume]
    share, busy = answers.baseline_share, answers.utilisation
    paying = [each for each in made if each.pays_above.least <= busy and each.volume * share >= each.breaks_even.least]

    def lost(each: Line) -> Fraction:
        return gpus(answers, each, each.workers(share)).least - each.volume * share * each.bought.usd

    return tuple(paying or sorted(made, key=lost)[:1])


def managed(lines: tuple[Line, ...]) -> Range:
    usd = sum((each.volume * each.bought.usd for each in lines), Fraction(0))
    return Range(usd, usd)


def private(answers: Answers, lines: tuple[Line, ...]) -> Range:
    usd = managed(lines).least
    return Range(usd * answers.private_min, usd * answers.private_max)


def gpus(answers: Answers, each: Line, workers: int) -> Range:
    month = workers * each.worker.usd_per_hour * HOURS
    return Range(month * answers.overhead_min, month * answers.overhead_max)


def hybrid(answers: Answers, lines: tuple[Line, ...], *, by_private: bool) -> Range:
    """The baseline on own GPUs, the rest bought."""
    made = worth_making(answers, lines)
    left = Fraction(0)
    total = NOTHING
    for each in lines:
        share = answers.baseline_share if each in made else Fraction(0)
        left += each.volume * (1 - share) * each.bought.usd
        if each in made:
            total = total.plus(gpus(answers, each, each.workers(share)))
    premium = Range(answers.private_min, answers.private_max) if by_private else Range(Fraction(1), Fraction(1))
    return total.plus(Range(left * premium.least, left * premium.most))


def self_deployed(answers: Answers, lines: tuple[Line, ...]) -> Range:
    total = NOTHING
    for each in lines:
        total = total.plus(gpus(answers, each, each.workers(Fraction(1), SPARE_WORKERS)))
    return total


def hybrid_pays_above(answers: Answers, lines: tuple[Line, ...]) -> Range:
    """Utilisation from which on the baseline as a whole costs less on own GPUs: each medium's, weighted by its bill."""
    made = worth_making(answers, lines)
    bill = sum((each.volume * each.bought.usd for each in made), Fraction(0))
    if not bill:
        return NOTHING
    least = sum((each.volume * each.bought.usd * each.pays_above.least for each in made), Fraction(0)) / bill
    most = sum((each.volume * each.bought.usd * each.pays_above.most for each in made), Fraction(0)) / bill
    return Range(least, most)


def guide_break_even() -> Range:
    """Tokens a month at which the guide's own figures meet: one H100 all month, at 3 and at 5 times its price."""
    even = [GUIDE_GPU_USD * HOURS * factor * 1_000_000 / GUIDE_PER_1M for factor in GUIDE_FACTORS]
    return Range(*even)
