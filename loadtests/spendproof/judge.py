"""What must hold at the end, as plain functions on the evidence. Amounts are micro-dollars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

LEAST_SETTLED = 0.5
"""Of what was billed: with fewer whose cost is known nothing would have been compared."""


class Booked(NamedTuple):
    """A row of the ledger that counts in the budget."""

    micro: int
    """What it counts."""
    settled: bool
    """False: its gateway died before it could tell."""
    known: bool = True
    """Whether its cost is what the API told; else it is booked at what was set aside, or at a guess."""
    attempt: bool = True
    """False: part of a slice that a replica took with it."""


class Counter(NamedTuple):
    """What the budget's own counters say."""

    used: int
    held: int


class Evidence(NamedTuple):
    cap: int
    ledger: Mapping[str, Booked]
    """Attempt -> its row."""
    bills: Mapping[str, int]
    """Attempt -> what the API bills for it, by its own count."""
    last: Counter
    """When all was over."""
    looks: int
    """How often the counters were read meanwhile ..."""
    most: int
    """... and the most that they came to together."""
    dearest: int
    """The most that one request can cost: less than that may be left where the budget is spent."""
    kills: int
    answered: int
    refused: int
    """Answers of 402."""
    wrong: Sequence[str] = ()
    """What else was not as it must be, such as an answer of 500."""


class Line(NamedTuple):
    what: str
    figure: str
    holds: bool


def judge(seen: Evidence) -> list[Line]:
    """Every promise, with its figure."""
    settled = {name: row for name, row in seen.ledger.items() if row.settled and row.known}
    lost = [row for row in seen.ledger.values() if not row.settled]
    differ = [name for name, row in settled.items() if row.micro != seen.bills.get(name, 0)]
    missing = [name for name in seen.bills if name not in seen.ledger]
    short = [name for name, micro in seen.bills.items() if micro > _booked(seen, name)]
    booked, billed = sum(row.micro for row in seen.ledger.values()), sum(seen.bills.values())
    spent = _usd(seen.last.used)
    return [
        Line(
            "spent and set aside, at most",
            f"{_usd(seen.most)} of {_usd(seen.cap)}, {seen.looks:,} looks",
            _within(seen),
        ),
        Line(
            "settled attempts that differ from the API's bill",
            f"{len(differ)} of {len(settled):,}",
            not differ and len(settled) >= LEAST_SETTLED * len(seen.bills),
        ),
        Line("billed attempts that the ledger lacks", f"{len(missing)} of {len(seen.bills):,}", not missing),
        Line("attempts billed above what is booked", f"{len(short)}: {_usd(billed)} billed", not short),
        Line("the ledger's sum beside the budget's counter", f"{_usd(booked)} and {spent}", booked == seen.last.used),
        Line("still set aside when all is over", _usd(seen.last.held), seen.last.held == 0),
        Line(
            "left of it when nobody could buy any more",
            f"{_usd(seen.cap - seen.last.used)}, the dearest request {_usd(seen.dearest)}",
            seen.cap - seen.last.used < seen.dearest,
        ),
        Line(
            "died on the way: booked at what was set aside",
            f"{sum(row.attempt for row in lost):,} attempts and {sum(not row.attempt for row in lost)} slices, "
            f"{_usd(sum(row.micro for row in lost))}",
            True,
        ),
        Line("answered, refused for the budget, replicas killed", _counts(seen), seen.kills > 0 and seen.refused > 0),
    ]


def holds(seen: Evidence) -> bool:
    return not seen.wrong and all(line.holds for line in judge(seen))


def _within(seen: Evidence) -> bool:
    return max(seen.most, seen.last.used + seen.last.held) <= seen.cap and seen.looks > 0


def _booked(seen: Evidence, attempt: str) -> int:
    row = seen.ledger.get(attempt)
    return 0 if row is None else row.micro


def _counts(seen: Evidence) -> str:
    return f"{seen.answered:,}, {seen.refused:,}, {seen.kills}"


def _usd(micro: int) -> str:
    return f"${micro // 10**6}.{micro % 10**6:06d}" if micro >= 0 else "-" + _usd(-micro)
