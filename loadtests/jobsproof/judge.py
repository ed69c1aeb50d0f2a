"""What must hold at the end, as plain functions on the evidence: no gateway is asked what it believes of itself.
Amounts are micro-dollars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

COMPLETED, FAILED, UNKNOWN = "completed", "failed", "unknown_outcome"
LEAST_COMPARED = 0.5
"""Of what was billed: with fewer rows whose cost is known nothing would have been compared."""


@dataclass(slots=True)
class Seen:
    """One job, as its caller saw it."""

    id: str
    model: str
    mark: str
    ids: set[str] = field(default_factory=set)
    """What the same Idempotency-Key gave, where it was used again."""
    first: tuple[str, str] = ("", "")
    """Status and error code, as the first answer after its end told them."""
    last: set[tuple[str, str, float | None]] = field(default_factory=set)
    """The same and the moment of its end, of all processes at the very end."""
    digests: set[str] = field(default_factory=set)
    """Of its film, as each process gave it out."""
    expected: str = ""
    tries: dict[str, str] = field(default_factory=dict)
    """Attempt -> upstream."""

    @property
    def ends(self) -> set[tuple[str, str]]:
        return {self.first, *((status, code) for status, code, _ in self.last)}

    @property
    def end(self) -> str:
        return self.first[0] if self.first[0] != FAILED else self.first[1] or FAILED


class Booked(NamedTuple):
    """A row of the ledger."""

    micro: int
    """What it counts."""
    known: bool
    """Whether its cost is what the answer told; else it is booked at what was set aside."""
    managed: bool


@dataclass(slots=True)
class Evidence:
    count: int
    seen: Sequence[Seen]
    submits: Mapping[str, int]
    """Mark -> submits that the bought APIs took."""
    bills: Mapping[str, int]
    """Mark -> what they charge, by their own count."""
    ledger: Mapping[str, Booked]
    """Attempt -> its row."""
    listed: frozenset[str]
    """Jobs that the operator is told to look up."""
    left: Mapping[str, int]
    """What is left of leases, jobs and money in the store, by its name."""
    strays: int
    """Files of the artefact folder that no job names ..."""
    drafts: int = 0
    """... and those that nobody finished."""
    lost: int = 0
    """Answers that the bought APIs kept to themselves."""
    kills: int = 0
    freezes: int = 0
    restarts: int = 0
    seconds: float = 0.0
    wrong: Sequence[str] = ()


class Line(NamedTuple):
    what: str
    figure: str
    holds: bool
    which: Sequence[str] = ()
    """Jobs, by their marks, of which it does not hold."""


def judge(run: Evidence) -> list[Line]:
    """Every promise, with its figure."""
    return [*_ends(run), *_orders(run), *_money(run), *_rests(run), *_trouble(run)]


def holds(run: Evidence) -> bool:
    return not run.wrong and all(line.holds for line in judge(run))


def _ends(run: Evidence) -> list[Line]:
    ids = {id for one in run.seen for id in (one.id, *one.ids)}
    open_ = [one.mark for one in run.seen if one.first[0] not in (COMPLETED, FAILED)]
    turned = [one.mark for one in run.seen if len(one.ends) != 1 or len(one.last) != 1]
    films = [one for one in run.seen if one.first[0] == COMPLETED]
    spoiled = [one.mark for one in films if one.digests != {one.expected}]
    return [
        Line("jobs accepted, one for each Idempotency-Key", _of(len(ids), run.count), len(ids) == run.count),
        _none("jobs without an end", open_, run.count),
        _none("jobs of whose end two answers differ", turned, run.count),
        _none("films that a process does not give out as they were made", spoiled, len(films)),
    ]


def _orders(run: Evidence) -> list[Line]:
    twice = [mark for mark, times in run.submits.items() if times > 1]
    strange = sorted(run.submits.keys() - {one.mark for one in run.seen})
    unknown = [one for one in run.seen if one.end == UNKNOWN]
    untold = [one.mark for one in unknown if one.id not in run.listed]
    billed = [one for one in run.seen if run.bills.get(one.mark) and one.first[0] != COMPLETED]
    hidden = [one.mark for one in billed if one.id not in run.listed]
    return [
        _none("orders paid for twice", twice, len(run.submits)),
        _none("orders that no job asked for", strange, len(run.submits)),
        _none("unknown outcomes that the operator is not told of", untold, len(unknown)),
        _none("jobs billed without a film that the operator is not told of", hidden, len(billed)),
    ]


def _money(run: Evidence) -> list[Line]:
    tries = {attempt: one.mark for one in run.seen for attempt in one.tries}
    missing = [mark for attempt, mark in tries.items() if attempt not in run.ledger]
    short, differ, compared = [], [], 0
    for one in run.seen:
        rows = [row for attempt in one.tries if (row := run.ledger.get(attempt)) is not None and row.managed]
        booked, billed = sum(row.micro for row in rows), run.bills.get(one.mark, 0)
        if booked < billed:
            short.append(one.mark)
        if one.first[0] == COMPLETED and len(rows) == 1 and rows[0].known:
            compared += 1
            differ += [one.mark] * (booked != billed)
    booked, billed = sum(row.micro for row in run.ledger.values() if row.managed), sum(run.bills.values())
    enough = compared >= LEAST_COMPARED * len(run.bills)
    return [
        _none("attempts without a row in the ledger", missing, len(tries)),
        _none("jobs billed above what is booked", short, len(run.bills)),
        _none("jobs whose known cost is not what was billed", differ, compared),
        Line("billed, and booked for it", f"{_usd(billed)}, {_usd(booked)}", billed <= booked and enough),
    ]


def _rests(run: Evidence) -> list[Line]:
    left = {what: number for what, number in run.left.items() if number}
    return [
        Line("left in the store: leases, open jobs, money set aside", f"{left or 0}", not left),
        Line("files that no job names", f"{run.strays}", not run.strays),
        Line("drafts of the dead, which go after six hours", f"{run.drafts}", True),
    ]


def _trouble(run: Evidence) -> list[Line]:
    told = f"{run.kills}, {run.freezes}, {run.restarts}"
    ends = Counter(one.end for one in run.seen).most_common()
    return [
        Line("processes killed, frozen for a while, restarts of the store", told, run.kills > 0 < run.restarts),
        Line("answers that the bought APIs kept to themselves", f"{run.lost}", True),
        Line("how jobs ended", ", ".join(f"{end} {times:,}" for end, times in ends), True),
        Line("took", f"{run.seconds:.0f} s", True),
    ]


def _none(what: str, which: Sequence[str], of: int) -> Line:
    return Line(what, _of(len(which), of), not which, which)


def _of(some: int, all_: int) -> str:
    return f"{some:,} of {all_:,}"


def _usd(micro: int) -> str:
    return f"${micro // 10**6:,}.{micro % 10**6:06d}"
