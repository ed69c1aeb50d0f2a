"""What a run must show: no process of ours is asked what it believes; the clients, the provider and the files are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from loadtests.jobsproof.provider import film

COMPLETED, FAILED = "completed", "failed"


@dataclass
class Seen:
    """Of one job: how it was first seen to have ended, and how at the very end; `film` is what could be fetched."""

    id: str
    first: tuple[str, str] = ("", "")
    """Status and error code."""
    last: tuple[str, str] = ("", "")
    moments: set[float] = field(default_factory=set)
    """At which it ended, as each answer told."""
    film: bytes | None = None


@dataclass
class Evidence:
    count: int
    seen: list[Seen] = field(default_factory=list)
    taken: Counter[str] = field(default_factory=Counter)
    """Orders that the provider took, by mark."""
    lost: int = 0
    """Its answers that it did not give."""
    kills: int = 0
    freezes: int = 0
    restarts: int = 0
    seconds: float = 0.0


class Line(NamedTuple):
    what: str
    figure: str
    holds: bool


def judge(run: Evidence) -> list[Line]:
    ends = Counter(one.last[0] if one.last[0] != FAILED else one.last[1] for one in run.seen)
    ids = {one.id for one in run.seen}
    open_ = [one for one in run.seen if one.last[0] not in (COMPLETED, FAILED)]
    turned = [one for one in run.seen if one.first != one.last or len(one.moments) > 1]
    twice = [mark for mark, orders in run.taken.items() if orders > 1]
    spoiled = [one for one in run.seen if one.last[0] == COMPLETED and one.film != film(one.id)]
    return [
        Line("jobs accepted", f"{len(ids):,} of {run.count:,}", len(ids) == len(run.seen) == run.count),
        Line("jobs that did not end", f"{len(open_)}", not open_),
        Line("jobs with more than one end", f"{len(turned)}", not turned),
        Line("orders paid for twice", f"{len(twice)} of {len(run.taken):,}", not twice),
        Line(
            "orders that no job of a client's asked for", f"{len(run.taken.keys() - ids)}", not run.taken.keys() - ids
        ),
        Line("films lost or spoiled", f"{len(spoiled)} of {ends[COMPLETED]:,}", not spoiled),
        Line(
            "processes killed, frozen for a while, restarts of the store",
            f"{run.kills}, {run.freezes}, {run.restarts}",
            run.kills > 0 < run.restarts,
        ),
        Line("answers that the provider kept to itself", f"{run.lost}", True),
        Line("how they ended", ", ".join(f"{end} {times}" for end, times in ends.most_common()), True),
        Line("took", f"{run.seconds:.0f} s", True),
    ]


def holds(run: Evidence) -> bool:
    return all(line.holds for line in judge(run))
