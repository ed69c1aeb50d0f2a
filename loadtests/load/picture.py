"""The picture of a run: five panels over one time axis, labelled where the curves are; two runs stand side by side."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from loadtests.load import series
from loadtests.load.labels import Curve, Labels
from loadtests.load.plan import Result
from loadtests.load.story import Story, clock, dollars
from loadtests.load.tally import worth

LOCAL, SPILLED, LOST = "#2f6fb2", "#e07b28", "#a3243b"
INK, MUTED, FAINT, SHADE = "#1f2933", "#66727f", "#c9d1d9", "#fdf1e4"
WIDTH, HEIGHT, DPI = 10.0, 10.6, 150
"""Inches; 1000 px wide in a README: 10 points of text are 14 pixels there."""
TITLE_LETTERS = 78
CENTS = 0.1
"""USD from which on an axis needs no more than cents."""
FEWEST_WAITING = 6.0
"""Top of the waiting panel where hardly anything waits."""
HEIGHTS = (3.5, 1.1, 1.5, 1.7, 1.3)
TICK_SECONDS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
MOST_TICKS = 9
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
DASHED: Any = (0, (4, 3))
Named = Callable[[], None]
"""Writes a panel's labels, once its limits are settled."""


def draw(stories: Sequence[Story], path: Path) -> None:
    """Writes a PNG: one column for each story, panels of one row on one scale."""
    count = len(stories)
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH * (1 if count == 1 else 0.8 * count), HEIGHT), DPI, facecolor="white")
        grid: Any = figure.subplots(
            len(HEIGHTS),
            count,
            squeeze=False,
            sharex="col",
            sharey="row",
            gridspec_kw={"height_ratios": HEIGHTS, "hspace": 0.33, "wspace": 0.07},
        )
        figure.subplots_adjust(left=0.075 / count, right=1 - 0.025 / count, top=0.862, bottom=0.058)
        for column, story in enumerate(stories):
            axes: list[Axes] = list(grid[:, column])
            head(figure, axes[0], story, "AB"[column] if count > 1 else "")
            panels(axes, story, first=column == 0)
        figure.text(0.02 / count, 0.014, stories[0].footnote, size=8.4, color=MUTED, va="center")
        figure.savefig(path)


def head(figure: Figure, axis: Axes, story: Story, side: str) -> None:
    """The finding over its column."""
    left = axis.get_position().x0 - (0.055 if not side else 0.02)
    size, letters = (14.5, TITLE_LETTERS) if not side else (11.5, TITLE_LETTERS)
    who = f"{side}: {story.settings['target']}. " if side else ""
    lines = balanced(f"{who}{story.title}", letters)
    figure.text(left, 0.985, lines, size=size, weight="bold", va="top", linespacing=1.25)
    figure.text(left, 0.923, story.subtitle, size=9.8 if not side else 8.8, color=MUTED, va="center")


def balanced(text: str, letters: int) -> str:
    """In as few lines as `letters` to a line allow, and these about as long as each other."""
    count = len(textwrap.wrap(text, letters))
    width = next(w for w in range(max(1, len(text) // count), letters + 1) if len(textwrap.wrap(text, w)) <= count)
    return textwrap.fill(text, width)


def panels(axes: Sequence[Axes], story: Story, *, first: bool) -> None:
    named = [
        panel(axis, story) for axis, panel in zip(axes, (requests, waiting, fleet, first_token, money), strict=True)
    ]
    for axis in axes:
        frame(axis, story)
    times(axes[-1], story)
    figure = axes[0].get_figure()
    assert figure is not None
    figure.canvas.draw()  # limits and layout are settled: labels look for their places in pixels
    name_phases(axes[0], story)
    name_full(axes[0], story)
    for write in named:
        write()


def frame(axis: Axes, story: Story) -> None:
    """What all panels share: where the fleet was full, the phases' edges, few ticks."""
    for start, end in story.full:
        axis.axvspan(start, end, color=SHADE, zorder=0, linewidth=0)
    for phase in story.phases[1:]:
        axis.axvline(phase.start, color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    axis.set_xlim(0, story.seconds)
    axis.tick_params(length=0)
    axis.grid(axis="y", color=FAINT, linewidth=0.6, alpha=0.7)
    if axis.get_yticks().size > 6:
        axis.yaxis.set_major_locator(MaxNLocator(5))
    axis.set_axisbelow(True)


def times(axis: Axes, story: Story) -> None:
    step = next((s for s in TICK_SECONDS if story.seconds / s <= MOST_TICKS), TICK_SECONDS[-1])
    axis.set_xticks([step * i for i in range(int(story.seconds // step) + 1)])
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: clock(value)))
    axis.tick_params(axis="x", pad=7)


def name_phases(axis: Axes, story: Story) -> None:
    """Over the first panel, as far as they fit."""
    panel = axis.get_window_extent()
    for phase in story.phases:
        room = phase.seconds / story.seconds * panel.width
        shown = axis.text(
            (phase.start + phase.end) / 2,
            1.012,
            phase.name,
            transform=axis.get_xaxis_transform(),
            ha="center",
            va="bottom",
            size=8.8,
            color=MUTED,
        )
        if shown.get_window_extent().width > room:
            shown.remove()


def name_full(axis: Axes, story: Story) -> None:
    """What the shade means, in the longest of them, if it fits."""
    start, end = max(story.full, key=lambda span: span[1] - span[0], default=(0.0, 0.0))
    shown = axis.text((start + end) / 2, 0.975, "fleet full", transform=axis.get_xaxis_transform())
    shown.set(ha="center", va="top", size=9.2, weight="bold", color=SPILLED)
    if shown.get_window_extent().width > (end - start) / story.seconds * axis.get_window_extent().width:
        shown.remove()


def heading(axis: Axes, text: str, pad: float = 5) -> None:
    axis.set_title(text, loc="left", color=INK, weight="bold", pad=pad)


def around(story: Story) -> float:
    """Where a label reads best: in the middle of the longest full stretch, else of the run."""
    start, end = max(story.full, key=lambda span: span[1] - span[0], default=(0.0, story.seconds))
    return (start + end) / 2


def requests(axis: Axes, story: Story) -> Named:
    end = story.seconds
    xs = series.grid(0, end)
    offered = series.rate(story.results, lambda r: True, xs, end)
    bands = [
        ("answered by the local fleet" if story.tells else "answered", LOCAL, _answered_here),
        ("spilled to the API", SPILLED, _answered_there),
        ("shed or failed", LOST, lambda r: r.shed or r.failed),
        ("left by their clients", MUTED, lambda r: r.gone),
    ]
    base, areas = [0.0] * len(xs), []
    for text, colour, keep in bands:
        top = [low + more for low, more in zip(base, series.rate(story.results, keep, xs, end), strict=True)]
        axis.fill_between(xs, base, top, color=colour, linewidth=0)
        areas.append((text, colour, base, top))
        base = top
    axis.plot(xs, offered, color=INK, linewidth=1.8)
    axis.set_ylim(0, max(axis.get_ylim()[1], 1.28 * max(offered), 1.25 * (story.capacity or 0)))
    heading(axis, "Requests per second, by when they were due", pad=18)
    if story.capacity is not None:
        low, high = (story.capacity * (1 + sign * story.spread) for sign in (-1, 1))
        axis.axhspan(low, high, color=INK, alpha=0.13, linewidth=0)
        axis.axhline(story.capacity, color=INK, linewidth=1, linestyle=DASHED)

    def named() -> None:
        labels = Labels(axis, [(xs, offered)], around(story))
        for text, colour, low, top in areas:
            inside(axis, xs, low, top, text, colour)
        labels.name("offered", (xs, offered), INK, only_above=True, weight="bold")
        if story.capacity is not None:
            level: Curve = (xs, [story.capacity] * len(xs))
            Labels(axis, [(xs, offered)], 0.0).name(f"the fleet carries {story.capacity:.1f}/s", level, INK, size=9)

    return named


def inside(axis: Axes, xs: Sequence[float], low: Sequence[float], top: Sequence[float], text: str, colour: str) -> None:
    """In an area, where it is thickest over the width of the words; nothing where it is too thin for them."""
    shown = axis.text(0, 0, text, color="white", ha="center", va="center", size=11, weight="bold", zorder=6)
    size, unit = shown.get_window_extent(), axis.transData.transform([(0, 0), (1, 1)])
    half = size.width / (unit[1][0] - unit[0][0]) / 2
    need = 1.3 * size.height / (unit[1][1] - unit[0][1])
    best = (0.0, 0.0, 0.0)
    for x in xs:
        span = [(a, b) for at, a, b in zip(xs, low, top, strict=True) if abs(at - x) <= half]
        if x < xs[0] + half or x > xs[-1] - half:
            continue
        floor, roof = max(a for a, _ in span), min(b for _, b in span)
        best = max(best, (roof - floor, x, (floor + roof) / 2))
    if best[0] >= need:
        shown.set_position((best[1], best[2]))
        return
    shown.remove()
    if max(b - a for a, b in zip(low, top, strict=True)) > 0:
        Labels(axis, [(xs, top)], xs[0]).name(text, _where_thick(xs, low, top), colour, only_above=True, size=9)


def _where_thick(xs: Sequence[float], low: Sequence[float], top: Sequence[float]) -> Curve:
    """The upper edge of an area, as far as it is more than half as thick as at its thickest."""
    most = max(b - a for a, b in zip(low, top, strict=True))
    return xs, [b if b - a > most / 2 else math.nan for a, b in zip(low, top, strict=True)]


def waiting(axis: Axes, story: Story) -> Named:
    xs, queue = [s.at for s in story.samples], [_known(s.queue) for s in story.samples]
    fine = series.grid(0, story.seconds)
    held = series.waiting(story.results, fine)
    axis.fill_between(fine, 0, held, color=MUTED, linewidth=0, step="mid")
    axis.plot(xs, queue, color=LOCAL, linewidth=2.0)
    top = max(FEWEST_WAITING, *held, *(v for v in queue if not math.isnan(v))) * 1.25
    axis.set_ylim(-0.02 * top, max(top, axis.get_ylim()[1]))
    axis.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    heading(axis, "Queue: requests waiting")

    def named() -> None:
        labels = Labels(axis, [(fine, held), (xs, queue)], around(story))
        if any(held):
            here: Curve = (fine, [value or math.nan for value in held])
            labels.name("in the gateway, for a worker with room", here, MUTED, only_above=True)
        labels.name("in the workers", (xs, queue), LOCAL, only_above=True)

    return named


def fleet(axis: Axes, story: Story) -> Named:
    xs = [s.at for s in story.samples]
    gpu = [_known(s.gpu) for s in story.samples]
    leased = [_known(max((v for v in (s.seats, s.work) if v is not None), default=None)) for s in story.samples]
    axis.plot(xs, leased, color=INK, linewidth=1.4)
    axis.plot(xs, gpu, color=LOCAL, linewidth=2.0)
    axis.set_ylim(0, 1.22)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    heading(axis, "GPU, mean of the local workers")

    def named() -> None:
        labels = Labels(axis, [(xs, leased), (xs, gpu)], around(story))
        labels.name("leased, of seats or of work", (xs, leased), INK)
        labels.name("GPU busy (SM active)", (xs, gpu), LOCAL)

    return named


def first_token(axis: Axes, story: Story) -> Named:
    xs = series.grid(0, story.seconds)
    drawn = []
    for keep, colour, name in ((_local, LOCAL, "local" if story.tells else "all"), (_left, SPILLED, "spilled")):
        p50, p95 = (series.quantile(story.results, keep, xs, share) for share in (0.5, 0.95))
        axis.fill_between(xs, p50, p95, color=colour, alpha=0.18, linewidth=0)
        axis.plot(xs, p50, color=colour, linewidth=1.0)
        axis.plot(xs, p95, color=colour, linewidth=2.0)
        drawn.append(((xs, p95), f"{name} p95", colour, (xs, p50)))
    top = max((v for curve, *_ in drawn for v in curve[1] if not math.isnan(v)), default=0.0)
    slo = story.slo_ttft
    if slo is not None:
        axis.axhline(slo, color=INK, linewidth=1, linestyle=DASHED)
    axis.set_ylim(0, max(axis.get_ylim()[1], 1.2 * top, 1.2 * (slo or 0)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
    heading(axis, "Time to first token, p50 to p95")

    def named() -> None:
        curves = [curve for both in drawn for curve in (both[0], both[3])]
        line: Curve = (xs, [slo or 0.0] * len(xs))
        labels = Labels(axis, [*curves, line], around(story))
        for curve, text, colour, _ in drawn:
            labels.name(text, curve, colour)
        if slo is not None:
            Labels(axis, curves, 0.0).name(f"SLO {slo:g} s", line, INK, size=9)

    return named


def money(axis: Axes, story: Story) -> Named:
    xs = series.grid(0, story.seconds)
    spent = series.cumulative(story.results, lambda r: worth(r, story.price) if r.left else 0.0, xs)
    whole = series.cumulative(story.results, lambda r: worth(r, story.price), xs)
    chats = {row.name for row in story.kinds} == {"chat"}
    axis.fill_between(xs, 0, spent, color=SPILLED, alpha=0.9, linewidth=0)
    if chats:
        axis.plot(xs, whole, color=MUTED, linewidth=1.6)
    top = max(whole[-1] if chats else spent[-1], 1e-6)
    axis.set_ylim(0, max(axis.get_ylim()[1], top * 1.15))
    digits = 2 if axis.get_ylim()[1] >= CENTS else 4
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"${value:.{digits}f}"))
    heading(axis, f"Spent on the API{', at list price' if chats else ''}, by when requests were due")

    def named() -> None:
        labels = Labels(axis, [(xs, spent), (xs, whole)] if chats else [(xs, spent)], story.seconds)
        labels.name(f"spent: {dollars(story.whole.spent)}", (xs, spent), SPILLED, only_above=True, weight="bold")
        if chats:
            labels.name(f"had everything been bought: {dollars(story.whole.all_bought)}", (xs, whole), MUTED)

    return named


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _answered_here(result: Result) -> bool:
    return result.answered and not result.left


def _answered_there(result: Result) -> bool:
    return result.answered and result.left


def _local(result: Result) -> bool:
    return not result.left


def _left(result: Result) -> bool:
    return result.left
