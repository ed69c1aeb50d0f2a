"""All rules on one scenario, and the table of all scenarios."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import fmean

from loadtests.model.hindsight import Point, best, grid
from loadtests.model.rules import FixedCount, FixedWork, Gauge, LearnedLimit, NoSpill, Switch, make_policy
from loadtests.model.run import Rule, Tally, simulate
from loadtests.model.scenarios import Scenario
from loadtests.model.traffic import Source

COUNTS, WORKS, SWITCHES = grid(2, 128), grid(0.1e6, 12e6), grid(2, 128, 10)
"""Requests, and GPU-us, per worker."""
TARGET = 0.99
STEADY_POINTS, CHANGING_POINTS, MOST_COST, MOST_LIGHT = 0.005, 0.015, 1.15, 0.02
"""What the learned limit is held to: attained at most so far below the target, cost against the best fixed limit."""


@dataclass(frozen=True, slots=True)
class Row:
    scenario: Scenario
    learned: Point
    worst_seed: float
    light_spill: float
    plain: Point
    """The learned limit with leases that keep the work of their prompt."""
    no_spill: Point
    gauge: Point
    switch: Point
    count: Point
    work: Point

    @property
    def ratio(self) -> float:
        """Cost against the cheaper of the fixed limits that attain as much; against the better where none does."""
        enough = [point for point in (self.count, self.work) if point[0] >= self.learned[0] - 1e-9]
        cost = min(cost for _, cost in enough) if enough else max(self.count, self.work)[1]
        return self.learned[1] / cost if cost else 1.0

    def faults(self) -> list[str]:
        found = []
        allowed = CHANGING_POINTS if self.scenario.changing else STEADY_POINTS
        if self.learned[0] < TARGET - allowed:
            found.append(f"attained {self.learned[0]:.4f}")
        if self.ratio > MOST_COST:
            found.append(f"cost {self.ratio:.2f} x best fixed")
        if self.light_spill > MOST_LIGHT:
            found.append(f"light phases spill {self.light_spill:.3f}")
        return found


def compare(scenario: Scenario, src: Source, seeds: Sequence[int]) -> Row:
    def runs(make: Callable[[int], Rule]) -> list[Tally]:
        return [simulate(scenario, src, make(seed), seed) for seed in seeds]

    policy = make_policy(scenario.workers, scenario.slo)
    learned = runs(lambda seed: LearnedLimit(policy, Random(seed)))
    attained = {seed: tally.attained for seed, tally in zip(seeds, learned, strict=True)}

    def fixed(make: Callable[[float, int], Rule], limits: Sequence[float]) -> Point:
        return best(lambda limit, seed: simulate(scenario, src, make(limit, seed), seed), limits, attained)

    return Row(
        scenario,
        mean(learned),
        min(attained.values()),
        fmean(tally.light_spill for tally in learned),
        plain=mean(runs(lambda seed: LearnedLimit(policy, Random(seed), shrinking=False))),
        no_spill=mean(runs(lambda seed: NoSpill(Random(seed)))),
        gauge=mean(runs(lambda seed: Gauge(Random(seed)))),
        switch=fixed(lambda limit, seed: Switch(Random(seed), most=limit), SWITCHES),
        count=fixed(lambda limit, seed: FixedCount(Random(seed), most=limit), COUNTS),
        work=fixed(lambda limit, seed: FixedWork(Random(seed), most=limit), WORKS),
    )


def mean(tallies: Sequence[Tally]) -> Point:
    return fmean(tally.attained for tally in tallies), fmean(tally.cost for tally in tallies)


HEAD = (
    "| traffic | no spill | waiting gauge >= 1 | on/off switch, best | fixed count, best | fixed work, best "
    "| learned, whole leases | **learned** | worst seed | cost / best fixed | light spill |"
)


def line(row: Row) -> str:
    shown = (row.no_spill, row.gauge, row.switch, row.count, row.work, row.plain)
    cells = [row.scenario.name, *(f"{attained:.3f} / {cost:.2f}" for attained, cost in shown)]
    cells += [f"**{row.learned[0]:.4f} / {row.learned[1]:.3f}**", f"{row.worst_seed:.3f}", f"{row.ratio:.2f}"]
    cells.append(f"{row.light_spill:.4f}" if row.scenario.phases and row.scenario.changing else "")
    return "| " + " | ".join(cells) + " |"


MARK = "<!-- written by python -m loadtests.model: -->"
"""Everything after this line of the page is written anew; what is before it is kept."""


def document(before: str, rows: Sequence[Row], seeds: int, traces: bool, seconds: float) -> str:
    intro = before.partition(MARK)[0] + MARK + "\n"
    faults = [f"- {row.scenario.name}: {'; '.join(row.faults())}" for row in rows if row.faults()]
    version = ".".join(map(str, sys.version_info[:3]))
    lengths = "the Azure 2023 traces" if traces else "built-in distributions of the traces' shape"
    made = (
        f"{datetime.now(UTC):%Y-%m-%d}, Python {version} on {platform.system()} {platform.machine()}, {cpu()}, one "
        f"core, {seconds / 60:.0f} minutes; {seeds} seeds; lengths from {lengths}."
    )
    verdict = ["Every target is met."] if not faults else ["Short of the target:", "", *faults]
    rule = "|" + " --- |" * HEAD.count(" | ") + " --- |"
    return "\n".join([intro, made, "", HEAD, rule, *map(line, rows), "", *verdict, ""])


def cpu() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((text.split(":", 1)[1].strip() for text in lines if text.startswith("model name")), "unknown processor")
