"""From samples and tallies to tables and a verdict. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from loadtests.bench.table import Line, spread
from loadtests.soak.kinds import EXCUSES, KINDS, OUTCOMES
from loadtests.soak.load import Tally
from loadtests.soak.watch import Sample

MOST_GROWTH_MB, MOST_MB = 5.0, 120.0
MOST_REFUSED = 5.0
"""Percent: 1 % of faults, a worker killed every minute, and a queue that is meant to overflow."""
WINDOWS = 10
"""A run of 600 s has ten minutes: the second is the first settled one, to be compared with the last."""
SPARE_DESCRIPTORS, SPARE_TASKS = 4, 2
READ_SECONDS, SHOWN_SECONDS = 0.1, 0.35
"""Between two readings of one sample: the store and the servers are asked one after the other on a busy machine, and
the snapshot behind /metrics is up to 0.25 s older."""
DEVIATIONS = 3.0
QUANTILE = 0.95
"""Of the samples. A twentieth may be worse: the machine stood still between two readings, or a worker was killed."""
APART = f"apart in {QUANTILE:.0%} of the samples"
MOST_ROWS = 24
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Run:
    """`before` the load and `after` it, at rest; `workers`: processes of the gateway that serve; `own_seconds`: CPU of
    the load and the simulated fleet. `ended`: why the run broke off; then `after` is None."""

    seconds: float
    rate: float
    workers: int
    before: Sample
    samples: Sequence[Sample]
    after: Sample | None
    tally: Tally
    loud: Sequence[str]
    own_seconds: float
    ended: Sequence[str] = ()

    def window(self, number: int) -> list[float]:
        """Heap in MB of the samples in one tenth of the run, counted from 0."""
        low, high = (self.seconds * edge / WINDOWS for edge in (number, number + 1))
        return [one.heap / _MB for one in self.samples if low <= one.at < high]


def growth_mb(run: Run) -> list[float]:
    """Median of the last tenth less median of the second; nothing where either has no sample."""
    first, last = run.window(1), run.window(WINDOWS - 1)
    return [median(last) - median(first)] if first and last else []


def judge(run: Run) -> list[Line]:
    before, tally = run.before, run.tally
    ends = [run.after] if run.after is not None else []
    refused = sum(count for (_, what), count in tally.answers.items() if not good(what)) - expected_errors(tally)
    judged = max(1, sum(tally.answers.values()))
    drifts = high([abs(one.leased - one.held) for one in run.samples])
    shown = high([abs(one.shown - one.held) for one in run.samples])
    extra = [after.descriptors - before.descriptors for after in ends]
    workers = run.workers
    return [
        Line("heap, last minute over the second", spread(growth_mb(run)), MOST_GROWTH_MB * workers, "MB PSS"),
        Line("memory of the largest process", spread([most_mb(run)]), MOST_MB, "MB PSS"),
        Line("descriptors over those before", spread(extra), SPARE_DESCRIPTORS * workers, "descriptors"),
        Line(
            "tasks over those before",
            spread([one.tasks - before.tasks for one in ends]),
            SPARE_TASKS * workers,
            "tasks",
        ),
        Line("leases in the store against the servers' truth", spread(drifts), transit(run, READ_SECONDS), APART),
        Line("leases on /metrics against the servers' truth", spread(shown), transit(run, SHOWN_SECONDS), APART),
        Line("leases left in the store", spread([one.leased for one in ends]), 0, "leases"),
        Line("leases left on /metrics", spread([one.shown for one in ends]), 0, "leases"),
        Line("requests left at the servers", spread([one.held for one in ends]), 0, "requests"),
        Line("receipts dropped", spread([one.dropped for one in ends]), 0, "receipts"),
        Line("errors in the gateway's log", spread([len(run.loud)]), 0, "lines"),
        Line("answers neither right nor a documented error", spread([tally.wrong_count]), 0, "answers"),
        Line("refused or broken off", spread([100 * refused / judged]), MOST_REFUSED, "% of the answers"),
    ]


def transit(run: Run, seconds: float) -> int:
    """How far apart two counts of the same requests may be that were taken `seconds` after each other.

    What came and what went between them are each of Poisson's kind with the mean `rate x seconds`; their difference has
    the standard deviation sqrt(2 x rate x seconds). Beyond DEVIATIONS of these are 0.3 % of honest samples."""
    return math.ceil(DEVIATIONS * math.sqrt(2.0 * run.rate * seconds))


def high(values: Sequence[float]) -> list[float]:
    """The QUANTILE of `values`, by nearest rank; nothing where there are none."""
    return sorted(values)[max(0, math.ceil(QUANTILE * len(values)) - 1) :][:1]


def most_mb(run: Run) -> float:
    return max(one.worst for one in (run.before, *run.samples)) / _MB


def good(what: str) -> bool:
    return what in OUTCOMES


def expected_errors(tally: Tally) -> int:
    return sum(count for (_, what), count in tally.answers.items() if what == "model_not_found")


HEADINGS = (
    "s",
    "sent",
    "active",
    "PSS MB",
    "heap MB",
    "store MB",
    "fds",
    "tasks",
    "leases",
    "shown",
    "true",
    "dropped",
    "errors",
)


def row(one: Sample) -> tuple[str, ...]:
    sizes = [f"{size / _MB:.1f}" for size in (one.memory, one.heap, one.store_memory)]
    counts = (one.descriptors, one.tasks, one.leased, one.shown, one.held, one.dropped, one.loud)
    return (f"{one.at:.0f}", str(one.sent), str(one.active), *sizes, *map(str, counts))


def rows(run: Run) -> list[tuple[str, ...]]:
    """At rest, then at most MOST_ROWS of the samples, then at rest again."""
    step = max(1, -(-len(run.samples) // MOST_ROWS))
    ends = [run.after] if run.after is not None else []
    return [row(one) for one in (run.before, *run.samples[::step], *ends)]


ANSWER_HEADINGS = ("kind", "right", *(code for _, code in sorted(EXCUSES)), "broke off", "as expected")


def answers(tally: Tally) -> list[tuple[str, ...]]:
    made = []
    for kind in KINDS:
        found = {what: count for (name, what), count in tally.answers.items() if name == kind.name}
        right = sum(count for what, count in found.items() if good(what))
        more = [found.get(what, 0) for what in (*ANSWER_HEADINGS[2:-1], "model_not_found")]
        made.append((kind.name, *map(str, (right, *more))))
    return made


def sentences(run: Run) -> list[str]:
    tally = run.tally
    left = sum(tally.left.values())
    share = 100 * left / max(1, tally.sent)
    ways = ", ".join(f"{way} {count}" for way, count in sorted(tally.left.items()))
    outcomes = {what: sum(n for (_, w), n in tally.answers.items() if w == what) for what in sorted(OUTCOMES)}
    said = [
        f"{tally.sent} requests in {run.seconds:.0f} s; {left} clients left ({share:.1f} %): {ways}",
        "served: " + ", ".join(f"{what} {count}" for what, count in outcomes.items() if count),
    ]
    if run.after is not None:
        cores, own = ((run.after.cpu_seconds - run.before.cpu_seconds) / run.seconds, run.own_seconds / run.seconds)
        said.append(f"CPU: gateway and store {cores:.0%} of a core, load and simulated fleet {own:.0%}")
    return said
