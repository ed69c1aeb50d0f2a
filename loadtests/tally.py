"""From results and samples to rows: per phase for the table, per second for the picture, and the verdict. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

import msgspec

from gateway.model import Price
from gateway.routing.estimate import price_of
from loadtests.phases import Phase
from loadtests.plan import Result
from loadtests.sampler import Sample

QUIET_SPILL, PEAK_SPILL = 0.02, 0.20
"""Spilled share: at most, in the quiet phases; at least, at the peak."""
LATE_SECONDS = 0.2
"""A generator that starts its requests later than this at p99 did not offer the load that it claims."""
QUIET, PEAK = ("warm", "calm"), "peak"


class Row(msgspec.Struct, frozen=True):
    """One phase, by when its requests were due. `spilled` are all answers that did not come from our own workers."""

    name: str
    seconds: float
    offered: float
    """Requests per second."""
    requests: int
    local: int
    spilled: int
    shed: int
    failed: int
    ttft: Mapping[str, float | None]
    """Seconds: p50 and p95 of all, p95_local and p95_spilled."""
    spent: float
    """USD at list prices for what was bought."""
    all_bought: float
    """USD, had every answer been bought."""
    cpu: float | None
    """Cores in use, on average, by everything together."""

    @property
    def share(self) -> float:
        return self.spilled / max(1, self.local + self.spilled)


class Verdict(msgspec.Struct, frozen=True):
    word: Literal["PASS", "FAIL", "VOID"]
    text: str

    def __str__(self) -> str:
        return f"{self.word}: {self.text}"


class Evidence(msgspec.Struct, frozen=True):
    """What the verdict looks at besides the rows."""

    planned: int
    flagged: int
    flagged_left: int
    late_p99: float
    bought: int | None
    """Requests that the simulated API received, by its own journal; None where there is no simulator."""
    honesty: Mapping[str, Any] | None


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values do not exceed; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def row(phase: Phase, results: Sequence[Result], samples: Sequence[Sample], price: Price) -> Row:
    mine = [r for r in results if phase.start <= r.due < phase.end]
    answered = [r for r in mine if r.answered]
    spilled = [r for r in answered if r.left]
    times = {kind: ttfts(answered, keep) for kind, keep in KINDS.items()}
    return Row(
        name=phase.name,
        seconds=phase.end - phase.start,
        offered=len(mine) / (phase.end - phase.start),
        requests=len(mine),
        local=len(answered) - len(spilled),
        spilled=len(spilled),
        shed=sum(r.shed for r in mine),
        failed=sum(r.failed for r in mine),
        ttft={
            "p50": percentile(times["all"], 0.5),
            "p95": percentile(times["all"], 0.95),
            "p95_local": percentile(times["local"], 0.95),
            "p95_spilled": percentile(times["spilled"], 0.95),
        },
        spent=usd(spilled, price),
        all_bought=usd(answered, price),
        cpu=cores(samples, phase.start, phase.end),
    )


KINDS: Mapping[str, Callable[[Result], bool]] = {
    "all": lambda r: True,
    "local": lambda r: not r.left,
    "spilled": lambda r: r.left,
}


def ttfts(results: Sequence[Result], keep: Callable[[Result], bool]) -> list[float]:
    return [r.ttft for r in results if r.answered and r.ttft is not None and keep(r)]


def usd(results: Sequence[Result], price: Price) -> float:
    """List price of these answers."""
    return sum(price_of(price, r.prompt, r.output) for r in results)


def cores(samples: Sequence[Sample], start: float, end: float) -> float | None:
    """CPU time of all processes together over a span, in cores."""
    return sum(used.values()) if (used := cores_by_process(samples, start, end)) else None


def cores_by_process(samples: Sequence[Sample], start: float, end: float) -> dict[str, float]:
    inside = [s for s in samples if start <= s.at <= end and s.cpu]
    if len(inside) < 2:
        return {}
    first, last = inside[0], inside[-1]
    return {
        name: (last.cpu[name] - used) / (last.at - first.at) for name, used in first.cpu.items() if name in last.cpu
    }


def evidence(
    results: Sequence[Result], planned: int, bought: int | None, honesty: Mapping[str, Any] | None
) -> Evidence:
    flagged = [r for r in results if r.flagged]
    late = percentile([r.began - r.due for r in results], 0.99)
    return Evidence(planned, len(flagged), sum(r.left for r in flagged), late or 0.0, bought, honesty)


def judge(rows: Sequence[Row], found: Evidence) -> Verdict:
    """A flagged request that left is a failure whatever else holds; a void run proves nothing else."""
    sent = sum(r.spilled + r.failed for r in rows)
    if found.flagged_left:
        return Verdict("FAIL", f"{found.flagged_left} of {found.flagged} flagged requests left the fleet")
    if found.bought is not None and found.bought > sent:
        return Verdict("FAIL", f"the API's journal holds {found.bought} requests, the answers account for {sent}")
    if found.honesty is not None and found.honesty["void"]:
        return Verdict("VOID", "; ".join(map(str, found.honesty["reasons"])))
    if found.late_p99 > LATE_SECONDS:
        return Verdict("VOID", f"requests started {found.late_p99:.2f} s late at p99, limit {LATE_SECONDS} s")
    faults = list(_faults(rows, found))
    if faults:
        return Verdict("FAIL", "; ".join(faults))
    peak = next(r for r in rows if r.name == PEAK)
    return Verdict(
        "PASS",
        f"{sum(r.requests for r in rows)} requests, none failed; {found.flagged} flagged, none left; "
        f"{peak.share:.0%} spilled at the peak, under {QUIET_SPILL:.0%} before and after",
    )


def _faults(rows: Sequence[Row], found: Evidence) -> list[str]:
    failed = sum(r.failed for r in rows) + found.planned - sum(r.requests for r in rows)
    faults = [f"{failed} requests failed"] if failed else []
    for r in rows:
        if r.name in QUIET and r.share >= QUIET_SPILL:
            faults.append(f"{r.share:.1%} spilled in {r.name}, expected under {QUIET_SPILL:.0%}")
        if r.name == PEAK and r.share <= PEAK_SPILL:
            faults.append(f"{r.share:.1%} spilled at the peak, expected over {PEAK_SPILL:.0%}")
    return faults


def mean_output(results: Sequence[Result], *, local: bool) -> float | None:
    """Tokens of the answers that stayed, or of those that were bought."""
    tokens = [r.output for r in results if r.answered and r.left is not local]
    return fmean(tokens) if tokens else None


def metered(samples: Sequence[Sample]) -> float | None:
    """USD that the gateway says were spent between the first and the last look."""
    spent = [s.spent for s in samples if s.spent is not None]
    return spent[-1] - spent[0] if spent else None


def reasons(results: Sequence[Result]) -> dict[str, int]:
    """Why answers were spilled, by the gateway's own word."""
    return dict(Counter(r.reason for r in results if r.answered and r.left).most_common())


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells, for the terminal and the report."""
    head = ["phase", "s", "offered/s", "local", "spilled", "shed", "failed", "spilled share"]
    head += ["TTFT p50", "p95", "p95 local", "p95 spilled", "spent", "all bought", "CPU cores"]
    return head, [
        [
            *(r.name, f"{r.seconds:.0f}", f"{r.offered:.1f}", str(r.local), str(r.spilled), str(r.shed), str(r.failed)),
            f"{r.share:.1%}",
            *(_seconds(r.ttft[key]) for key in ("p50", "p95", "p95_local", "p95_spilled")),
            *(f"${r.spent:.3f}", f"${r.all_bought:.3f}"),
            "" if r.cpu is None else f"{r.cpu:.2f}",
        ]
        for r in rows
    ]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"


def columns(head: list[str], cells: list[list[str]]) -> list[str]:
    """A table as lines of text: the first column to the left, numbers to the right."""
    rows = [head, *cells]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
