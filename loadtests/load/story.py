"""A whole run against one gateway, as the picture, the report and the JSON file tell it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.model import Price
from loadtests.load import series, tally
from loadtests.load.phases import Phase
from loadtests.load.plan import Result
from loadtests.load.prepare import Prepared
from loadtests.load.sampler import Sample
from loadtests.load.slo import Promise, Slo, judged, limits
from loadtests.load.tally import Evidence, Generator, Row, Verdict

NICE = (0.1, 0.2, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Seconds a title may say that a time stayed under."""


class Story(msgspec.Struct, frozen=True):
    scenario: str
    about: str
    phases: tuple[Phase, ...]
    capacity: float | None
    """Chats/s that the fleet carries with every seat busy, for the mean lengths; None where no chat is sent."""
    spread: float
    """Share by which the capacity of any ten seconds differs from that: one standard error of their mean length."""
    slo_ttft: float | None
    """The limit of its p95 over the whole run, seconds."""
    price: Price
    settings: Mapping[str, Any]
    """What the run was: source of lengths, seed, target, versions, machine."""
    rows: tuple[Row, ...]
    kinds: tuple[Row, ...]
    whole: Row
    full: tuple[tuple[float, float], ...]
    """Stretches in which the fleet had no room for everything, seconds."""
    evidence: Evidence
    generator: Generator
    promises: tuple[Promise, ...]
    verdict: Verdict
    reasons: Mapping[str, int]
    cpu: Mapping[str, float]
    """Cores over the run, by process."""
    samples: tuple[Sample, ...]
    results: tuple[Result, ...]

    @property
    def seconds(self) -> float:
        return self.phases[-1].end

    @property
    def tells(self) -> bool:
        """Whether this gateway says where an answer was made."""
        return any(r.outcome for r in self.results)

    @property
    def title(self) -> str:
        """The finding, in one sentence with its numbers."""
        row, time_said = self.whole, self._ttft()
        if not row.local + row.spilled:
            return f"Nothing was answered: {row.failed:,} requests failed, {row.shed:,} were shed"
        if not self.tells:
            return f"{row.local:,} of {row.requests:,} requests were answered{time_said}"
        if not self.full:
            bought = f"{row.spilled:,} of {row.requests:,} requests" if row.spilled else "nothing"
            return f"The fleet was never full: {bought} bought{time_said}"
        share, spent = self._bought()
        return (
            f"{self._when()} the fleet was full: {share:.0%} was bought for {dollars(spent)}{self._lost()}{time_said}"
        )

    def _when(self) -> str:
        if len(self.full) == 1:
            start, end = self.full[0]
            return f"From {clock(start)} to {clock(end)}"
        return f"{len(self.full)} times, for {clock(sum(end - start for start, end in self.full))} in all,"

    def _bought(self) -> tuple[float, float]:
        """Share of the answers that were bought while the fleet was full, and USD spent in the whole run."""
        inside = [r for r in self.results if r.answered and any(start <= r.due <= end for start, end in self.full)]
        return sum(r.left for r in inside) / max(1, len(inside)), self.whole.spent

    def _lost(self) -> str:
        row = self.whole
        lost = {"shed": row.shed, "failed": row.failed}
        return "".join(f", {count:,} {what}" for what, count in lost.items() if count)

    def _ttft(self) -> str:
        p95 = self.whole.ttft["p95"]
        if p95 is None:
            return ""
        if self.slo_ttft is not None and p95 > self.slo_ttft:
            return f"; TTFT p95 rose to {p95:.1f} s"
        under = next((nice for nice in NICE if p95 < nice), math.ceil(p95))
        return f"; TTFT p95 stayed under {under:g} s"

    @property
    def unanswered(self) -> int:
        """Requests that were due and have no result."""
        return self.evidence.planned - len(self.results)

    @property
    def subtitle(self) -> str:
        row, found, failed = self.whole, self.evidence, self.whole.failed + self.unanswered
        gone = f", {row.gone:,} left by their clients" if row.gone else ""
        flagged = (
            f" Of {found.flagged:,} flagged X-Data-Residency: local {found.flagged_left or 'none'} left the fleet."
        )
        return (
            f"{self.verdict.word}: {row.local + row.spilled:,} answers, {row.shed:,} shed, {failed:,} failed{gone}."
            f"{flagged if found.flagged and self.tells else ''}"
        )

    @property
    def footnote(self) -> str:
        told = self.settings
        return f"{told['fleet']}; lengths: {told['lengths']}, {told['scaled']}; {told['load']}; seed {told['seed']}."


def clock(seconds: float) -> str:
    """`1:05`, or `1:02:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def dollars(usd: float) -> str:
    """Two digits that count, at least cents."""
    return f"${usd:.2f}" if usd >= 0.1 or not usd else f"${usd:.3f}"


def assemble(
    prepared: Prepared,
    slo: Slo,
    settings: Mapping[str, Any],
    results: Sequence[Result],
    samples: Sequence[Sample],
    found: Evidence,
) -> Story:
    plan, price = prepared.plan, prepared.price
    made = tally.generator(results, samples, plan.seconds)
    leases = samples[-1].leases if samples else None
    promises = judged(slo, plan.scenario, plan.phases, results, found.planned, leases)
    span = (0.0, plan.seconds)
    kinds = {kind.kind: None for kind in plan.kinds}
    return Story(
        scenario=plan.scenario,
        about=prepared.scenario.about,
        phases=plan.phases,
        capacity=prepared.capacity if len(kinds) == 1 else None,
        spread=prepared.mix.spread(prepared.capacity) if prepared.capacity else 0.0,
        slo_ttft=limits(slo, plan.scenario)[0].get("ttft_p95_s"),
        price=price,
        settings=settings,
        rows=tuple(tally.row(p.name, p.start, p.end, results, samples, price) for p in plan.phases),
        kinds=tuple(tally.row(kind, *span, [r for r in results if r.kind == kind], [], price) for kind in kinds),
        whole=tally.row("whole run", *span, results, samples, price),
        full=tuple(series.full(results, plan.seconds)),
        evidence=found,
        generator=made,
        promises=promises,
        verdict=tally.judge(results, found, made, promises),
        reasons=tally.reasons(results),
        cpu=tally.cores_by_process(samples, *span),
        samples=tuple(samples),
        results=tuple(sorted(results, key=lambda r: r.due)),
    )


def notes(story: Story) -> list[str]:
    """What else a reader should know, in sentences."""
    found, made, row = story.evidence, story.generator, story.whole
    lines = [f"flagged X-Data-Residency: local: {found.flagged} requests, {found.flagged_left} left the fleet"]
    if not story.tells:
        lines = ["this gateway does not say where its answers were made: all count as local"]
    if story.unanswered:
        lines.append(f"{story.unanswered} requests had no end when the wait for the last ones was over: they failed")
    if found.bought is not None:
        lines.append(f"the simulated API's own journal: {found.bought} chats received")
    metered = tally.metered(story.samples)
    if metered is not None:
        lines.append(f"spent: ${row.spent:.4f}; by the gateway's own meter ${metered:.4f}")
    means = tally.mean_output(story.results, local=True), tally.mean_output(story.results, local=False)
    if None not in means:
        lines.append("answers of {:.0f} tokens on average stayed, of {:.0f} were spilled".format(*means))
    if story.reasons:
        lines.append("why spilled: " + ", ".join(f"{reason} {count}" for reason, count in story.reasons.items()))
    if story.cpu:
        each = ", ".join(f"{name} {cores:.2f}" for name, cores in story.cpu.items())
        lines.append(f"CPU: {sum(story.cpu.values()):.2f} cores on average ({each})")
    if found.honesty is not None:
        kept = "VOID" if found.honesty["void"] else "honest"
        lines.append(f"simulator: {kept} (steps late at p99 by {found.honesty['step_late_p99_ratio']:.2f} of a step)")
    lines.append(_generator(made))
    return lines


def _generator(made: Generator) -> str:
    cpu = "" if made.cpu_busiest is None else f"; {made.cpu_busiest:.2f} of its one core in its busiest 10 s"
    late = f"{1000 * made.late_p50:.0f} ms late at p50, {1000 * made.late_p99:.0f} at p99, {1000 * made.late_most:.0f}"
    return f"load generator: requests started {late} at most{cpu}: {'; '.join(made.faults) or 'no bottleneck'}"
