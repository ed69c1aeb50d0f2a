"""From samples to rows, ratios and a verdict against what the gateway promises. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from loadtests.bench.cases import CASES, Sample

BASE, JUDGED, BARE, UNPAID = "nginx", "gateway", "direct", "no money"
SILENT, TOLD = "silent", "traced"
"""Peers without any telemetry, and with all of it: 1 % of requests traced, everything sent to a collector."""
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Spread:
    middle: float
    low: float
    high: float

    def text(self, digits: int = 1) -> str:
        return f"{self.middle:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


def spread(values: Sequence[float]) -> Spread | None:
    """Median, least and greatest; None where nothing was measured."""
    good = [value for value in values if not math.isnan(value)]
    return Spread(median(good), min(good), max(good)) if good else None


@dataclass(frozen=True, slots=True)
class Process:
    """What one peer's processes took besides CPU: seconds to start, bytes of memory after the load."""

    startup: float
    pss: int
    store_pss: int


@dataclass(frozen=True, slots=True)
class Results:
    samples: tuple[Sample, ...]
    processes: Mapping[str, Process]
    decide_us: Mapping[str, Sequence[float]]
    """Fleet -> one figure a round, the rounds of all fleets in turn."""
    tell_us: Sequence[float] = ()
    """What telemetry does for one request, alone; one figure a round."""

    def of(self, case: str, peer: str) -> list[Sample]:
        return [sample for sample in self.samples if (sample.case, sample.peer) == (case, peer)]

    def paired(
        self, case: str, join: Callable[[Sample, Sample], float], base: str = BASE, judged: str = JUDGED
    ) -> Spread | None:
        """`join(judged, base)` of the samples of the same round."""
        both = zip(self.of(case, judged), self.of(case, base), strict=False)
        return spread([join(ours, theirs) for ours, theirs in both])


@dataclass(frozen=True, slots=True)
class Line:
    """One promise. `holds` is None where it could not be measured."""

    what: str
    found: Spread | None
    most: float
    unit: str

    @property
    def holds(self) -> bool | None:
        return None if self.found is None else self.found.middle <= self.most

    def text(self) -> str:
        word = {True: "holds", False: "FAILS", None: "not measured"}[self.holds]
        found = "-" if self.found is None else self.found.text(2)
        return f"{word:12}  {self.what}: {found} {self.unit}, at most {self.most:g}"


def cpu_ratio(ours: Sample, theirs: Sample) -> float:
    return ours.cpu_us / theirs.cpu_us if theirs.cpu_us else math.nan


def cpu_added(ours: Sample, theirs: Sample) -> float:
    return ours.cpu_us - theirs.cpu_us


def judge(results: Results) -> list[Line]:
    """The promises, in the order of the table they come from. A median decides."""
    decide, memory = results.decide_us, results.processes.get(JUDGED)
    growth = [many / few for few, many in zip(decide["fleet_10"], decide["fleet_1000"], strict=True)] if decide else []
    return [
        Line("2 KB request, CPU", results.paired("small", cpu_ratio), 10.0, f"x {BASE}"),
        Line("event of a stream, CPU", results.paired("events", cpu_ratio), 1.6, f"x {BASE}"),
        Line("200 KB request, CPU", results.paired("large", cpu_ratio), 5.0, f"x {BASE}"),
        Line("added p50 at 100/s", results.paired("rate", lambda a, b: a.p50_ms - b.p50_ms), 0.5, f"ms over {BASE}"),
        Line("added p99 at 100/s", results.paired("rate", lambda a, b: a.p99_ms - b.p99_ms), 2.0, f"ms over {BASE}"),
        Line("keys, limits, budgets, ledger", results.paired("small", cpu_added, UNPAID), 15.0, "us"),
        Line("telemetry of one request, 1 % traced", spread(results.tell_us), 10.0, "us"),
        Line("decide(), 16 candidates, 20 rules", spread(decide.get("candidates_16", ())), 20.0, "us"),
        Line("decide(), two conditions asked besides", spread(decide.get("candidates_16_cel", ())), 50.0, "us"),
        Line("decide(), 10 to 1,000 upstreams", spread(growth), 1.3, "x"),
        Line("memory of the worker process", spread([memory.pss / _MB] if memory else []), 120.0, "MB PSS"),
    ]


def faults(results: Results) -> list[str]:
    """Bad answers make a round worthless, however fast it was."""
    return [
        f"{sample.peer}, {sample.case}: {sample.failures} bad answers ({sample.why})"
        for sample in results.samples
        if sample.failures
    ]


def exit_code(lines: Sequence[Line], wrong: Sequence[str]) -> int:
    """0: all hold; 1: one fails, or answers were bad; 2: none fails, but some could not be measured."""
    held = [line.holds for line in lines]
    if wrong or False in held:
        return 1
    return 2 if None in held else 0


HEADINGS = ("case", "peer", "CPU us per unit", "store and writer us", "a second", "p50 ms", "p99 ms", f"CPU x {BASE}")


def rows(results: Results, peers: Sequence[str]) -> list[tuple[str, ...]]:
    made = []
    for case in CASES:
        base = results.of(case.name, BASE)
        for peer in peers:
            found = results.of(case.name, peer)
            ratios = spread([cpu_ratio(ours, theirs) for ours, theirs in zip(found, base, strict=False)])
            cells = [
                _cell([s.cpu_us for s in found]) if peer != BARE else "",
                _cell([s.store_us for s in found]) if peer not in (BASE, BARE) else "",
                _cell([s.per_second for s in found], 0),
                _cell([s.p50_ms for s in found], 2),
                _cell([s.p99_ms for s in found], 2),
                ratios.text(2) if ratios is not None and peer not in (BASE, BARE) else "",
            ]
            made.append((f"{case.title} [{case.unit}]", peer, *cells))
    return made


def _cell(values: Sequence[float], digits: int = 1) -> str:
    found = spread(values)
    return "-" if found is None else found.text(digits)


def more(results: Results) -> list[str]:
    """Sentences for what has no row."""
    said = [
        f"{name}: ready after {one.startup:.2f} s, {one.pss / _MB:.1f} MB PSS after the load"
        + (f", its store {one.store_pss / _MB:.1f} MB" if one.store_pss else "")
        for name, one in results.processes.items()
    ]
    p50 = results.paired("rate", lambda a, b: a.p50_ms - b.p50_ms, BARE)
    p99 = results.paired("rate", lambda a, b: a.p99_ms - b.p99_ms, BARE)
    if p50 is not None and p99 is not None:
        said.append(f"gateway at 100/s, over no proxy at all: p50 {p50.text(2)} ms, p99 {p99.text(2)} ms")
    told = results.paired("small", cpu_added, SILENT, TOLD)
    if told is not None:
        said.append(f"2 KB request, CPU with all telemetry over none: {told.text(1)} us")
    said += [f"decide(), {name.replace('_', ' ')}: {_cell(us)} us" for name, us in results.decide_us.items()]
    return said


def plain(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *body))


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = (head, ["---"] * len(head), *body)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def as_json(results: Results, lines: Sequence[Line], machine: Mapping[str, str]) -> dict[str, object]:
    return {
        "machine": dict(machine),
        "samples": [asdict(sample) for sample in results.samples],
        "processes": {name: asdict(one) for name, one in results.processes.items()},
        "tell_us": list(results.tell_us),
        "decide_us": {name: list(figures) for name, figures in results.decide_us.items()},
        "verdict": [asdict(line) | {"holds": line.holds} for line in lines],
    }
