"""The figures of the ready-made folders: in each README, side by side in the one above, and what they must be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from loadtests.model.policies.figures import Figures

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
"""What is between them is written anew; a page without them is left alone."""
COLUMNS = (
    "traffic", "attained", "in 1 s + 40 ms", "spilled", "refused", "USD/h", "of buying all", "first token p50", "p95",
    "switches/min",
)  # fmt: skip
HEAD = (f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS))
SUMMED = frozenset({"asked", "flagged", "flagged_left"})
MOST_SWITCHES = 3.0
"""Per minute. A square wave of 30 s turns twice by itself."""
SLACK = 0.005
"""Attained shares this close are called equal."""
Rows = Mapping[str, Figures]
"""Traffic -> figures of one folder."""


@dataclass(frozen=True, slots=True)
class Made:
    """How the figures came about."""

    seeds: int
    traces: bool

    def __str__(self) -> str:
        lengths = (
            "the Azure 2023 conversation trace" if self.traces else "built-in distributions of the Azure 2023 trace"
        )
        options = " TRACES=DIR" if self.traces else ""
        seeds = "one seed" if self.seeds == 1 else f"{self.seeds} seeds"
        return f"`make policy-model{options}`: simulated time, {seeds}, lengths from {lengths}."


def mean(runs: Sequence[Figures]) -> Figures:
    """Of several seeds; counts are summed."""
    found: dict[str, Any] = {}
    for name in Figures.__slots__:
        values = [getattr(run, name) for run in runs]
        found[name] = sum(values) if name in SUMMED else fmean(values)
    return Figures(**found)


def line(traffic: str, one: Figures) -> str:
    shares = [f"{share:.1%}" for share in (one.attained, one.chat, one.spilled, one.refused)]
    money = [f"{one.usd_per_hour:.2f}", f"{one.cost:.0%}"] if one.spilled else ["0", "0%"]
    return (
        f"| {' | '.join([traffic, *shares, *money, f'{one.p50:.2f} s', f'{one.p95:.2f} s', f'{one.switches:.1f}'])} |"
    )


def block(rows: Rows, made: Made) -> str:
    flagged, gone = (sum(getattr(one, name) for one in rows.values()) for name in ("flagged", "flagged_left"))
    told = f"Flagged requests: {flagged}, of which {gone} left."
    return "\n".join([str(made), "", *HEAD, *(line(traffic, one) for traffic, one in rows.items()), "", told])


def summary(folders: Mapping[str, Rows], made: Made, chosen: Sequence[str]) -> str:
    """All folders on the traffic patterns of `chosen`: attained, refused, and what it costs."""
    head = ["folder", *(f"{traffic}: attained / in 1 s + 40 ms / refused / USD/h" for traffic in chosen)]
    lines = [str(made), "", f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for name, rows in folders.items():
        found = [rows[traffic] for traffic in chosen]
        cells = [f"{one.attained:.1%} / {one.chat:.1%} / {one.refused:.1%} / {one.usd_per_hour:.2f}" for one in found]
        lines.append(f"| [{name}]({name}) | {' | '.join(cells)} |")
    return "\n".join(lines)


def put(page: Path, text: str) -> bool:
    """Writes `text` between the marks; False where the page has none."""
    before, begun, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        return False
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
    return True


def faults(folders: Mapping[str, Rows]) -> Iterator[str]:
    """What no folder may do, and what each promises beside the others."""
    for name, rows in folders.items():
        for traffic, one in rows.items():
            if one.flagged_left:
                yield f"{name}, {traffic}: {one.flagged_left} flagged requests left"
            if one.switches > MOST_SWITCHES:
                yield f"{name}, {traffic}: flaps, {one.switches:.1f} switches a minute"
            if name == "air-gapped" and one.spilled:
                yield f"{name}, {traffic}: {one.spilled:.1%} left a folder without APIs"
    cheap, quick = folders.get("cost-saver", {}), folders.get("latency-first", {})
    for traffic in [one for one in cheap if one in quick]:
        if cheap[traffic].usd_per_hour > quick[traffic].usd_per_hour:
            yield f"{traffic}: cost-saver costs more than latency-first"
        if quick[traffic].chat < cheap[traffic].chat - SLACK:
            yield f"{traffic}: latency-first answers fewer in time than cost-saver"
