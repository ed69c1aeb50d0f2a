"""A whole run, as the picture, the report and the JSON file tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.model import Price
from loadtests import tally
from loadtests.phases import Phase, timeline
from loadtests.plan import Plan, Result
from loadtests.sampler import Sample
from loadtests.tally import Evidence, Row, Verdict
from loadtests.target import Facts

CPU_LIMIT = 1.2
"""Cores that everything together may take at the peak."""


class Story(msgspec.Struct, frozen=True):
    phases: tuple[Phase, ...]
    capacity: float
    """Requests/s that the fleet carries with every seat busy, for the mean lengths."""
    spread: float
    """Share by which the capacity of any ten seconds differs from that: one standard error of their mean length."""
    slo_ttft: float | None
    price: Price
    settings: Mapping[str, Any]
    """What the run was: source of lengths, seed, target, versions, machine."""
    rows: tuple[Row, ...]
    evidence: Evidence
    verdict: Verdict
    reasons: Mapping[str, int]
    cpu: Mapping[str, float]
    """Cores at the peak, by process."""
    samples: tuple[Sample, ...]
    results: tuple[Result, ...]

    @property
    def peak(self) -> Row:
        return next(row for row in self.rows if row.name == tally.PEAK)

    def phase(self, name: str) -> Phase:
        return next(phase for phase in self.phases if phase.name == name)

    @property
    def title(self) -> str:
        """The finding, in one sentence with its numbers."""
        peak = self.peak
        times = peak.offered / self.capacity
        p95 = peak.ttft["p95"]
        if p95 is None:
            return f"{_at(times)} the fleet's capacity nothing was answered"
        kept = "stays at" if self.slo_ttft is None or p95 <= self.slo_ttft else "rises to"
        return f"{_at(times)} the fleet's capacity {peak.share:.0%} spills to the API; TTFT p95 {kept} {p95:.1f} s"

    @property
    def subtitle(self) -> str:
        answered = sum(row.local + row.spilled for row in self.rows)
        found, shed = self.evidence, sum(row.shed for row in self.rows)
        failed = sum(row.failed for row in self.rows)
        return (
            f"{answered:,} answers, {failed} failed, {shed} shed. "
            f"Of {found.flagged} flagged X-Data-Residency: local {found.flagged_left or 'none'} left the fleet."
        )

    @property
    def footnote(self) -> str:
        told = self.settings
        what = f"{told['fleet']}; lengths: {told['lengths']}, {told['scaled']}; seed {told['seed']}."
        return f"{what}\n* of the mean length; near the limit the shorter ones stay, so the fleet answers more of them."


def _at(times: float) -> str:
    """Within a tenth, twice is twice."""
    return "At twice" if abs(times - 2.0) <= 0.1 else f"At {times:.1f} times"


def assemble(
    plan: Plan,
    spread: float,
    known: Facts,
    settings: Mapping[str, Any],
    results: Sequence[Result],
    samples: Sequence[Sample],
    found: Evidence,
) -> Story:
    phases = timeline(plan.seconds)
    rows = tuple(tally.row(phase, results, samples, known.price) for phase in phases)
    peak = next(phase for phase in phases if phase.name == tally.PEAK)
    return Story(
        phases=phases,
        capacity=plan.capacity,
        spread=spread,
        slo_ttft=known.ttft,
        price=known.price,
        settings=settings,
        rows=rows,
        evidence=found,
        verdict=tally.judge(rows, found),
        reasons=tally.reasons(results),
        cpu=tally.cores_by_process(samples, peak.start, peak.end),
        samples=tuple(samples),
        results=tuple(sorted(results, key=lambda r: r.due)),
    )


def notes(story: Story) -> list[str]:
    """What else a reader should know, in sentences."""
    found, total = story.evidence, sum(story.cpu.values())
    lines = [f"flagged X-Data-Residency: local: {found.flagged} requests, {found.flagged_left} left the fleet"]
    if found.bought is not None:
        lines.append(f"the simulated API's own journal: {found.bought} requests received")
    metered = tally.metered(story.samples)
    if metered is not None:
        lines.append(f"spent: ${sum(r.spent for r in story.rows):.4f}; by the gateway's own meter ${metered:.4f}")
    means = tally.mean_output(story.results, local=True), tally.mean_output(story.results, local=False)
    if None not in means:
        lines.append("answers of {:.0f} tokens on average stayed, of {:.0f} were spilled".format(*means))
    if story.reasons:
        lines.append("why spilled: " + ", ".join(f"{reason} {count}" for reason, count in story.reasons.items()))
    if story.cpu:
        each = ", ".join(f"{name} {cores:.2f}" for name, cores in story.cpu.items())
        over = f"; OVER the limit of {CPU_LIMIT}" if total > CPU_LIMIT else f" of {CPU_LIMIT} allowed"
        lines.append(f"CPU at the peak: {total:.2f} cores{over} ({each})")
    if found.honesty is not None:
        kept = "VOID" if found.honesty["void"] else "honest"
        lines.append(f"simulator: {kept} (steps late at p99 by {found.honesty['step_late_p99_ratio']:.2f} of a step)")
    lines.append(f"load generator: requests started {1000 * found.late_p99:.0f} ms late at p99")
    return lines
