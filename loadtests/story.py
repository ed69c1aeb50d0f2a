"""A whole run, as the picture, the report and the JSON file tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.model import Price
from loadtests.phases import Phase
from loadtests.plan import Result
from loadtests.sampler import Sample
from loadtests.tally import PEAK, Evidence, Row, Verdict


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
        return next(row for row in self.rows if row.name == PEAK)

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
            f"{found.flagged} requests flagged X-Data-Residency: local, {found.flagged_left or 'none'} of them left."
        )

    @property
    def footnote(self) -> str:
        told = self.settings
        return f"{told['fleet']}; lengths: {told['lengths']}, {told['scaled']}; seed {told['seed']}; make load"


def _at(times: float) -> str:
    """Within a tenth, twice is twice."""
    return "At twice" if abs(times - 2.0) <= 0.1 else f"At {times:.1f} times"
