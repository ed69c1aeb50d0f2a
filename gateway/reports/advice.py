"""What the ledger advises: another worker, GPUs that stand idle, what was bought although our own had room. Pure.

Each piece comes with its numbers and its formula, and only where there is data for it; else what is missing is said.
docs/reports.md has the formulas.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, NamedTuple

from gateway.model import US_PER_HOUR, Policy, Upstream, micro_usd, usd
from gateway.reports.doubts import Doubts
from gateway.reports.elsewhere import Traffic, work_for, worker_of
from gateway.reports.fleet_cost import US_PER_MINUTE, Fleet
from gateway.reports.saved import UTILISATION

HOURS_PER_DAY, DAYS_PER_MONTH = 24, 30
LEAST_HOURS = 24
"""Of data: a day has its nights."""
IDLE_SHARE = 0.05
"""Of an hour: a worker that delivered less, had requests in fewer minutes, and whose GPUs told less, was idle."""
LEAST_IDLE_HOURS = 4.0
"""A day: less is no news."""
ROOMY = Fraction(1, 2)
"""A backend that delivered less than this share of an hour had room in it."""
Kind = Literal["another_worker", "idle", "bought_although"]


class Hourly(NamedTuple):
    """Traffic of one hour since the epoch, with why it went where it went."""

    hour: int
    traffic: Traffic
    rule: str
    outcome: str
    reason: str


class WorkerHour(NamedTuple):
    """One worker in one hour; the fleet has the work that it delivered."""

    hour: int
    worker: str
    fleet: Fleet


@dataclass(frozen=True, slots=True)
class Advice:
    kind: Kind
    says: str
    worth: int | None
    """Micro-dollars a day; None: not known."""
    working: str


@dataclass(frozen=True, slots=True)
class Advised:
    hours: int
    """From the first to the last that the ledger knows of."""
    advice: tuple[Advice, ...]
    """Most worth first."""
    notes: tuple[str, ...]
    """Why there is no other advice: what is missing, and what would not pay."""
    doubts: Doubts = field(default_factory=Doubts)


@dataclass(frozen=True, slots=True)
class Seen:
    """All that advice is made of. `bought` and `ours`: what tenants got. `hours`: from first to last."""

    hours: int
    bought: Sequence[Hourly]
    ours: Sequence[Traffic]
    workers: Sequence[WorkerHour]
    policy: Policy
    utilisation: Fraction = UTILISATION
    """That a further worker is reckoned with."""
    gpu_price: int | None = None
    """Micro-dollars for which one GPU is bought; None: it is rented."""
    notes: list[str] = field(default_factory=list)

    @property
    def days(self) -> Fraction:
        return Fraction(self.hours, HOURS_PER_DAY)


def advise(seen: Seen) -> Advised:
    if seen.hours < LEAST_HOURS:
        said = f"the ledger holds {seen.hours} hours of what was asked for; {LEAST_HOURS} are needed"
        return Advised(seen.hours, (), (said,))
    found = [*_another_worker(seen), *_idle(seen), *_bought_although(seen)]
    found.sort(key=lambda one: -(one.worth or 0))
    return Advised(seen.hours, tuple(found), tuple(dict.fromkeys(seen.notes)))


def _another_worker(seen: Seen) -> Iterable[Advice]:
    spilled = [one for one in seen.bought if one.outcome == "spilled"]
    if not spilled:
        seen.notes.append("nothing was spilled, so no further worker is asked for")
    for backend in seen.policy.backends:
        worker = worker_of(seen.policy, backend)
        if worker is None:
            continue
        theirs = [one for one in spilled if _serves(seen.policy, backend, one.traffic.model)]
        if theirs and worker.usd_per_hour is None:
            seen.notes.append(f"{backend} has no gpu.usd_per_hour: what another worker costs is not known")
        elif theirs:
            yield from _pays(seen, backend, worker, theirs)


def _pays(seen: Seen, backend: str, worker: Upstream, spilled: Sequence[Hourly]) -> Iterable[Advice]:
    """Hour by hour: one more worker takes as much of the spilled work as it delivers at the stated utilisation."""
    work, spend = defaultdict[int, int](int), defaultdict[int, int](int)
    for one in spilled:
        ours = [each for each in seen.ours if each.model == one.traffic.model and each.backend == backend]
        took = work_for(worker, one.traffic, ours)
        if isinstance(took, str):
            seen.notes.append(f"{one.traffic.model} on {backend}: {took}")
            continue
        if one.traffic.unpriced:
            seen.notes.append(f"spilled attempts of {one.traffic.model} have no price: what they cost is in no figure")
        work[one.hour] += took
        spend[one.hour] += one.traffic.charged
    if not work:
        return
    room = seen.utilisation * US_PER_HOUR
    saves = sum(spend[hour] * min(Fraction(1), room / work[hour]) for hour in work if work[hour]) / seen.days
    rent = micro_usd(worker.usd_per_hour or 0.0) * HOURS_PER_DAY
    hours = Fraction(sum(work.values()), US_PER_HOUR) / seen.days
    name = f"{worker.hardware.count} x {worker.hardware.kind or 'GPU'}"
    working = (
        f"spilled: {float(hours):.2f} worker-hours a day in {len(work)} of {seen.hours} hours, "
        f"bought for {_usd(Fraction(sum(spend.values())) / seen.days)} a day; one more worker ({name}) takes at most "
        f"{float(seen.utilisation):.2f} of each hour and so saves {_usd(saves)} a day; "
    )
    if seen.gpu_price is not None:
        yield _owned(backend, name, seen.gpu_price * worker.hardware.count, saves, working)
    elif saves > rent:
        month = rent * DAYS_PER_MONTH
        said = f"one more worker at {backend} ({name}) pays back a month's rent in {_days(month / saves)} at this spill"
        working += f"its rent is {_usd(rent)} a day: {_usd(month)} a month / {_usd(saves)} = {_days(month / saves)}"
        yield Advice("another_worker", said, int(saves - rent), working)
    else:
        seen.notes.append(f"another worker at {backend} would not pay: {working}its rent is {_usd(rent)} a day")


def _owned(backend: str, name: str, price: int, saves: Fraction, working: str) -> Advice:
    days = price / saves if saves else None
    said = "never pays back" if days is None else f"pays back in {_days(days)}"
    working += f"its price is {_usd(price)}, without what running it costs"
    return Advice("another_worker", f"one more worker at {backend} ({name}) {said} at this spill", int(saves), working)


def _idle(seen: Seen) -> Iterable[Advice]:
    known = {one.hour for one in seen.workers}
    if len(known) < LEAST_HOURS:
        seen.notes.append(f"worker-hours are known of {len(known)} hours; {LEAST_HOURS} are needed to tell who is idle")
        return
    of_worker = defaultdict[tuple[str, str, str], list[Fleet]](list)
    for one in seen.workers:
        of_worker[one.fleet.backend, one.fleet.gpu_kind, one.worker].append(one.fleet)
    groups = defaultdict[tuple[str, str], list[tuple[float, int, int | None]]](list)
    for (backend, kind, _), hours in of_worker.items():
        idle = [one for one in hours if is_idle(one)]
        minutes = sum(one.up for one in idle)
        a_day = minutes / 60 * HOURS_PER_DAY / len(known)
        priced = sum(one.priced for one in idle)
        rate = sum(one.rate_sum for one in idle) // max(1, priced) if priced == minutes else None
        groups[backend, kind].append((a_day, hours[-1].gpus, rate))
    for (backend, kind), workers in sorted(groups.items()):
        yield from _stands(backend, kind, workers, len(known))


def _stands(backend: str, kind: str, workers: list[tuple[float, int, int | None]], hours: int) -> Iterable[Advice]:
    """The idlest workers, as many as make the most idle GPU-hours together at the hours of the least idle of them."""
    workers.sort(key=lambda one: one[:2], reverse=True)
    choices = [(workers[n][0] * sum(gpus for _, gpus, _ in workers[: n + 1]), n + 1) for n in range(len(workers))]
    _, count = max(choices)
    chosen = workers[:count]
    least = chosen[-1][0]
    if least < LEAST_IDLE_HOURS:
        return
    gpus = sum(each for _, each, _ in chosen)
    rates = [rate for _, _, rate in chosen if rate is not None]
    worth = int(least * sum(rates)) if len(rates) == count else None
    rent = "is not known: no gpu.usd_per_hour" if worth is None else f"is {_usd(worth)} a day"
    noun, verb = ("GPU", "stands") if gpus == 1 else ("GPUs", "stand")
    said = f"{gpus} {kind or ''} {noun} of {backend} {verb} idle {least:.1f} hours a day".replace("  ", " ")
    working = (
        f"of {hours} hours known, {count} of {len(workers)} workers delivered less than {IDLE_SHARE:.0%} of an "
        f"hour's work and had requests in less than {IDLE_SHARE:.0%} of its minutes for at least {least:.1f} hours a "
        f"day each; their rent in that time {rent}"
    )
    yield Advice("idle", said, worth, working)


def is_idle(hour: Fleet) -> bool:
    """Of one worker: nothing of ours in it, and its GPUs say no other."""
    if not hour.up or hour.work_us >= IDLE_SHARE * hour.up * US_PER_MINUTE or hour.busy >= IDLE_SHARE * hour.up:
        return False
    return hour.measured_use is None or hour.measured_use < IDLE_SHARE


def _bought_although(seen: Seen) -> Iterable[Advice]:
    """What was bought in an hour in which a backend of ours that serves the model had room, by rule and reason."""
    used = _used(seen.workers)
    if not used:
        seen.notes.append("no worker-hours: whether our own workers had room when something was bought is not known")
        return
    found = defaultdict[tuple[str, str, str, str], list[tuple[Hourly, Fraction]]](list)
    for one in seen.bought:
        for backend in seen.policy.backends:
            share = used.get((one.hour, backend))
            if share is not None and share < ROOMY and _serves(seen.policy, backend, one.traffic.model):
                found[backend, one.traffic.model, one.rule, one.reason].append((one, share))
    for (backend, model, rule, reason), lines in sorted(found.items()):
        spent = sum(one.traffic.charged for one, _ in lines)
        requests = sum(one.traffic.requests for one, _ in lines)
        if any(one.traffic.unpriced for one, _ in lines):
            seen.notes.append(f"bought attempts of {model} have no price: what they cost is in no figure")
        hours = {one.hour: share for one, share in lines}
        mean = sum(hours.values()) / len(hours)
        said = f"{requests} requests for {model} were bought (rule {rule}, {reason}) although {backend} had room"
        working = (
            f"in {len(hours)} of {seen.hours} hours {backend} delivered {float(mean):.1%} of what it could, "
            f"less than {float(ROOMY):.0%}, while {_usd(spent)} was spent; look at the limit, the `slo` and the "
            f"`spill` of rule {rule}: within an hour there may have been bursts"
        )
        yield Advice("bought_although", said, int(spent / seen.days), working)


def _used(workers: Sequence[WorkerHour]) -> Mapping[tuple[int, str], Fraction]:
    """(hour, backend) -> share of the time of its workers that took traffic."""
    work, minutes = defaultdict[tuple[int, str], int](int), defaultdict[tuple[int, str], int](int)
    for one in workers:
        work[one.hour, one.fleet.backend] += one.fleet.work_us
        minutes[one.hour, one.fleet.backend] += one.fleet.up - one.fleet.out
    return {key: Fraction(work[key], minutes[key] * US_PER_MINUTE) for key in work if minutes[key]}


def _serves(policy: Policy, backend: str, model: str) -> bool:
    found = policy.models.get(model)
    return found is not None and policy.kind(backend) == "local" and bool(policy.ways(found, backend))


def _usd(micro: Fraction | int) -> str:
    return usd(micro, 2)


def _days(days: Fraction | float) -> str:
    return f"{float(days):.1f} days"
