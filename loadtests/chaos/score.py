"""From what clients saw and what the servers' journals hold to figures, and from figures to a verdict. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from loadtests.chaos.traffic import TOLD_LATER, Asked

SLOW_SECONDS = 2.0
"""A request whose first byte takes longer counts as not served yet: it is told in the time to recover."""
RECOVERY_SECONDS = 5.0
NOTED_SECONDS = 0.02
"""A simulated server notes the end of a request this long after its last byte at most, when the next may be there."""
TAKEN = frozenset({"finished", "aborted", "dropped", "active"})
"""Outcomes of deliveries for which a bought API may charge."""


@dataclass(frozen=True, slots=True)
class Promise:
    """The most of each that a scenario may show, and the least share of the requests that must be `served`. `recovery`
    in seconds."""

    served: float = 0.9

    lost: int = 0
    cut: int = 0
    """Broke off without being told so: only where the gateway itself was killed."""
    refused: int | None = 0
    """429 or 503 with Retry-After, in our own words; None: any number, because there is no room."""
    duplicated: int = 0
    """Taken by a bought API more often than its client asked."""
    repeated: int = 0
    """Done whole by workers of ours more often than its client asked: only where one had it and could not say so."""
    mis_sent: int = 0
    over_admitted: int = 0
    leaked: int = 0
    recovery: float = RECOVERY_SECONDS


@dataclass(frozen=True, slots=True)
class Figures:
    """`served` and `told` are for information; the rest is judged against the promise of the same name."""

    requests: int
    served: int
    told: int
    refused: int
    lost: int
    cut: int
    duplicated: int
    repeated: int
    mis_sent: int
    over_admitted: int
    leaked: int
    recovery: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request as one server received it; times are Unix seconds, `ended` None while it runs."""

    server: str
    managed: bool
    nonce: str
    began: float
    ended: float | None
    outcome: str
    status: int


def deliveries(server: str, managed: bool, entries: Iterable[Mapping[str, Any]]) -> list[Delivery]:
    return [
        Delivery(server, managed, e["user"], e["time"], e["ended"], e["outcome"], e["status"])
        for e in entries
        if e["user"]
    ]


def figures(
    asked: Sequence[Asked], seen: Sequence[Delivery], seats: Mapping[str, int], leaked: int, mark: float | None
) -> Figures:
    """`mark`: the monotonic instant from which recovery counts; `seats`: worker -> what it may hold."""
    found = Counter(one.what.partition(" ")[0] for one in asked)
    failed = [one for one in asked if one.what.startswith("refused") and one.what.partition(" ")[2] not in TOLD_LATER]
    return Figures(
        requests=len(asked),
        served=found["right"],
        told=found["told"],
        refused=found["refused"] - len(failed),
        lost=found["lost"] + len(failed),
        cut=found["cut"],
        duplicated=_more_than_asked(asked, (one.nonce for one in seen if one.managed and one.outcome in TAKEN)),
        repeated=_more_than_asked(
            asked, (one.nonce for one in seen if one.outcome == "finished" and one.status == 200)
        ),
        mis_sent=mis_sent(asked, seen),
        over_admitted=over_admitted(seen, seats),
        leaked=leaked,
        recovery=recovery(asked, mark),
    )


def _more_than_asked(asked: Sequence[Asked], nonces: Iterable[str]) -> int:
    found = Counter(nonces)
    return sum(found[one.nonce] > one.tries for one in asked)


def mis_sent(asked: Sequence[Asked], seen: Sequence[Delivery]) -> int:
    """Deliveries of flagged requests to a bought API."""
    flagged = {one.nonce for one in asked if one.flagged}
    return sum(one.managed and one.nonce in flagged for one in seen)


def over_admitted(seen: Sequence[Delivery], seats: Mapping[str, int]) -> int:
    """By how many requests the fullest worker was over its seats at its worst instant."""
    moves: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for one in seen:
        if one.server in seats:
            end = float("inf") if one.ended is None else max(one.began, one.ended - NOTED_SECONDS)
            moves[one.server] += [(one.began, 1), (end, -1)]
    worst = 0
    for server, steps in moves.items():
        held = 0
        for _, step in sorted(steps):
            held += step
            worst = max(worst, held - seats[server])
    return worst


def recovery(asked: Sequence[Asked], mark: float | None) -> float:
    """Seconds from `mark` to the last request sent that was not served, or not soon."""
    if mark is None:
        return 0.0
    bad = [one.sent for one in asked if one.sent >= mark and not _good(one)]
    return max(bad) - mark if bad else 0.0


def _good(one: Asked) -> bool:
    if one.what == "left":
        return True
    return one.what == "right" and one.first is not None and one.first - one.sent <= SLOW_SECONDS


def refusals(asked: Sequence[Asked]) -> list[str]:
    """What was refused, by code."""
    found = Counter(one.what for one in asked if one.what.startswith("refused"))
    return [f"{count} {what}" for what, count in sorted(found.items())]


def broken(promise: Promise, seen: Figures) -> list[str]:
    """What does not hold, in words; nothing where all does."""
    said = []
    if seen.served < promise.served * seen.requests:
        said.append(f"served {seen.served} of {seen.requests}, promised {promise.served:.0%} at least")
    for field in fields(Promise):
        if field.name == "served":
            continue
        most, value = getattr(promise, field.name), getattr(seen, field.name)
        if most is not None and value > most:
            said.append(f"{field.name.replace('_', '-')} {value:g}, promised {most:g} at most")
    return said
