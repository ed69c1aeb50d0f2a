"""The picture of a run: five panels over one time axis, labelled where the curves are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from loadtests import series
from loadtests.plan import Result
from loadtests.story import Story
from loadtests.tally import usd

LOCAL, SPILLED, MEMORY = "#2f6fb2", "#e07b28", "#8a63b8"
INK, MUTED, FAINT, SHADE = "#1f2933", "#66727f", "#c9d1d9", "#f3f5f7"
INCHES, DPI = (10.0, 11.0), 150
"""1000 px wide in a README: 10 points of text are 14 pixels there."""
FEWEST_WAITING = 6.0
"""Top of the waiting panel where hardly anything waits."""
HEIGHTS = (3.3, 1.9, 0.9, 1.7, 1.3)
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
}


def draw(story: Story, path: Path) -> None:
    """Writes a PNG."""
    with mpl.rc_context(STYLE):
        figure = Figure(INCHES, DPI, facecolor="white")
        axes: list[Axes] = list(
            figure.subplots(
                len(HEIGHTS),
                1,
                sharex=True,
                gridspec_kw={"height_ratios": HEIGHTS, "hspace": 0.36},
            )
        )
        figure.subplots_adjust(left=0.075, right=0.975, top=0.905, bottom=0.062)
        figure.text(0.02, 0.975, story.title, size=15.5, weight="bold", va="center")
        figure.text(0.02, 0.951, story.subtitle, size=9.8, color=MUTED, va="center")
        for axis, panel in zip(axes, (requests, fleet, waiting, first_token, money), strict=True):
            panel(axis, story)
            frame(axis, story)
        name_phases(axes[0], story)
        axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} s"))
        figure.text(0.02, 0.016, story.footnote, size=8.4, color=MUTED, va="center")
        figure.savefig(path)


def frame(axis: Axes, story: Story) -> None:
    """What all panels share: the phases' shades, the time axis, few ticks."""
    for phase in story.phases[1::2]:
        axis.axvspan(phase.start, phase.end, color=SHADE, zorder=0, linewidth=0)
    axis.set_xlim(0, story.phases[-1].end)
    axis.tick_params(length=0)
    axis.grid(axis="y", color=FAINT, linewidth=0.6, alpha=0.7)
    axis.yaxis.set_major_locator(axis.yaxis.get_major_locator() if axis.get_yticks().size <= 6 else MaxNLocator(5))
    axis.set_axisbelow(True)


def name_phases(axis: Axes, story: Story) -> None:
    top = axis.get_ylim()[1]
    for phase in story.phases:
        level = phase.low == phase.high
        share = f"{phase.high:.0%} of capacity" if level else f"{phase.low:.0%} → {phase.high:.0%}"
        middle = (phase.start + phase.end) / 2
        axis.text(middle, top * 0.985, phase.name, ha="center", va="top", size=9.5, weight="bold", color=MUTED)
        axis.text(middle, top * 0.93, share, ha="center", va="top", size=8.5, color=MUTED)


def label(axis: Axes, x: float, y: float, text: str, colour: str = INK, **more: object) -> None:
    """Text on a white halo, so that it reads on any curve."""
    style = {"size": 9.2, "color": colour, "va": "center", **more}
    axis.text(x, y, text, path_effects=[withStroke(linewidth=3, foreground="white")], zorder=6, **style)  # type: ignore[arg-type]


def heading(axis: Axes, text: str) -> None:
    axis.set_title(text, loc="left", color=INK, weight="bold", pad=5)


def spot(story: Story, name: str, share: float = 0.5) -> float:
    """A time within a phase."""
    phase = story.phase(name)
    return phase.start + share * (phase.end - phase.start)


def at(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """The curve's value at the nearest point that is known."""
    known = [(abs(here - x), y) for here, y in zip(xs, ys, strict=True) if not math.isnan(y)]
    return min(known)[1] if known else 0.0


def requests(axis: Axes, story: Story) -> None:
    end = story.phases[-1].end
    xs = series.grid(0, end)
    local = series.rate(story.results, lambda r: r.answered and not r.left, xs, end)
    spilled = series.rate(story.results, lambda r: r.answered and r.left, xs, end)
    total = [a + b for a, b in zip(local, spilled, strict=True)]
    corners = [story.phases[0].start, *(phase.end for phase in story.phases)]
    planned = [load * story.capacity for load in (story.phases[0].low, *(phase.high for phase in story.phases))]
    axis.fill_between(xs, 0, local, color=LOCAL, linewidth=0)
    axis.fill_between(xs, local, total, color=SPILLED, linewidth=0)
    axis.plot(corners, planned, color=INK, linewidth=1.6)
    low, high = (story.capacity * (1 + sign * story.spread) for sign in (-1, 1))
    axis.axhspan(low, high, color=INK, alpha=0.16, linewidth=0)
    axis.axhline(story.capacity, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axis.set_ylim(0, max(*planned, *total) * 1.24)
    heading(axis, "Requests per second, by when they were due")
    peak = spot(story, "peak")
    inside = {"ha": "center", "size": 11.5, "weight": "bold"}
    axis.text(peak, low * 0.5, "answered by the local fleet", color="white", va="center", **inside)  # type: ignore[arg-type]
    axis.text(peak, (high + at(xs, total, peak)) / 2, "spilled to the API", color="white", va="center", **inside)  # type: ignore[arg-type]
    ramp = story.phase("ramp up")
    lead = ramp.start + 0.42 * (ramp.end - ramp.start)
    label(axis, lead, (ramp.load(lead) + 0.12) * story.capacity, "offered", ha="right")
    label(axis, 1, high + story.capacity * 0.09, f"the fleet carries {story.capacity:.1f}/s*")


def fleet(axis: Axes, story: Story) -> None:
    xs = [s.at for s in story.samples]
    phase = story.phase("peak")
    fullest = [_known(max((v for v in (s.seats, s.work) if v is not None), default=None)) for s in story.samples]
    for ys, name, colour, above in (
        (fullest, "leased, of seats or of work", INK, True),
        ([_known(s.gpu) for s in story.samples], "GPU (SM active)", LOCAL, False),
        ([_known(s.kv) for s in story.samples], "KV cache", MEMORY, False),
    ):
        axis.plot(xs, ys, color=colour, linewidth=1.8)
        near = [y for x, y in zip(xs, ys, strict=True) if phase.start < x < phase.end and not math.isnan(y)] or [0.0]
        label(axis, spot(story, "peak"), max(near) + 0.1 if above else min(near) - 0.07, name, colour, ha="center")
    axis.set_ylim(0, 1.2)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    heading(axis, "Utilisation, mean of the workers")


def waiting(axis: Axes, story: Story) -> None:
    xs = [s.at for s in story.samples]
    queue = [_known(s.queue) for s in story.samples]
    fine = [x / 4 for x in range(int(story.phases[-1].end * 4))]
    held = series.waiting(story.results, fine)
    axis.fill_between(fine, 0, held, color=MUTED, linewidth=0, step="post")
    axis.plot(xs, queue, color=LOCAL, linewidth=2.0)
    top = max(FEWEST_WAITING, *held, *(v for v in queue if not math.isnan(v))) * 1.15
    axis.set_ylim(-0.02 * top, top)
    axis.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    heading(axis, "Requests waiting")
    label(axis, 1, top * 0.28, "queue depth, all workers", LOCAL)
    label(axis, spot(story, "peak"), top * 0.8, "flagged requests, in the gateway", MUTED, ha="center")


def first_token(axis: Axes, story: Story) -> None:
    xs = series.grid(0, story.phases[-1].end)
    for keep, colour, name, phase in ((_local, LOCAL, "local", "warm"), (_left, SPILLED, "spilled", "peak")):
        p50, p95 = (series.quantile(story.results, keep, xs, share) for share in (0.5, 0.95))
        axis.fill_between(xs, p50, p95, color=colour, alpha=0.18, linewidth=0)
        axis.plot(xs, p50, color=colour, linewidth=1.0)
        axis.plot(xs, p95, color=colour, linewidth=2.0)
        where = spot(story, phase)
        label(axis, where, at(xs, p95, where) + 0.16, f"{name} p95", colour, ha="center")
    if story.slo_ttft is not None:
        axis.axhline(story.slo_ttft, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        label(axis, 1, story.slo_ttft * 0.91, f"SLO {story.slo_ttft:g} s", INK)
    axis.set_ylim(0, max(axis.get_ylim()[1], (story.slo_ttft or 0) * 1.1))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
    heading(axis, "Time to first token, p50 to p95")


def money(axis: Axes, story: Story) -> None:
    xs = series.grid(0, story.phases[-1].end)
    spent = series.cumulative(story.results, lambda r: usd([r], story.price) if r.left else 0.0, xs)
    whole = series.cumulative(story.results, lambda r: usd([r], story.price), xs)
    axis.fill_between(xs, 0, spent, color=SPILLED, alpha=0.9, linewidth=0)
    axis.plot(xs, whole, color=MUTED, linewidth=1.6)
    axis.set_ylim(0, max(whole[-1], 1e-6) * 1.1)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"${value:.2f}"))
    heading(axis, "Spent on the API so far, at list price")
    last, top = spot(story, "calm", 0.97), axis.get_ylim()[1]
    label(axis, last, spent[-1] + 0.11 * top, f"spent: ${spent[-1]:.2f}", SPILLED, ha="right", weight="bold")
    label(axis, last, whole[-1] - 0.24 * top, f"had everything been bought: ${whole[-1]:.2f}", MUTED, ha="right")


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _local(result: Result) -> bool:
    return not result.left


def _left(result: Result) -> bool:
    return result.left
