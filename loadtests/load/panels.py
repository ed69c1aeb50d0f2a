"""The five panels of the picture: each draws its curves, and gives what writes its labels once limits are settled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from loadtests.load import series
from loadtests.load.labels import Curve, Labels
from loadtests.load.plan import Result
from loadtests.load.story import Story, dollars
from loadtests.load.tally import worth

LOCAL, SPILLED, LOST, INK, MUTED = "#2f6fb2", "#e07b28", "#a3243b", "#1f2933", "#66727f"
DASHED: Any = (0, (4, 3))
CENTS = 0.1
"""USD from which on an axis needs no more than cents."""
FEWEST_WAITING = 6.0
"""Top of the waiting panel where hardly anything waits."""
Named = Callable[[], None]
"""Writes a panel's labels, once its limits are settled."""


@dataclass(frozen=True, slots=True)
class Area:
    """Between two curves over the same times."""

    text: str
    colour: str
    xs: Sequence[float]
    low: Sequence[float]
    top: Sequence[float]

    @property
    def thickest(self) -> float:
        return max(b - a for a, b in zip(self.low, self.top, strict=True))

    def room(self, at: float, half: float) -> tuple[float, float, float]:
        """How high words may be that reach `half` to each side of a time, that time, and their middle."""
        if not self.xs[0] + half <= at <= self.xs[-1] - half:
            return 0.0, at, 0.0
        reach = half + series.STEP
        span = [(a, b) for x, a, b in zip(self.xs, self.low, self.top, strict=True) if abs(x - at) <= reach]
        floor, roof = max(a for a, _ in span), min(b for _, b in span)
        return roof - floor, at, (floor + roof) / 2

    def edge(self) -> Curve:
        """Its upper edge, where it is more than half as thick as at its thickest."""
        half = self.thickest / 2
        return self.xs, [b if b - a > half else math.nan for a, b in zip(self.low, self.top, strict=True)]


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
        areas.append(Area(text, colour, xs, base, top))
        base = top
    axis.plot(xs, offered, color=INK, linewidth=1.8)
    axis.set_ylim(0, max(axis.get_ylim()[1], 1.28 * max(offered), 1.25 * (story.capacity or 0)))
    heading(axis, "Requests per second, by when they were due", pad=18)
    carries = story.capacity if story.tells else None
    if carries is not None:
        low, high = (carries * (1 + sign * story.spread) for sign in (-1, 1))
        axis.axhspan(low, high, color=INK, alpha=0.13, linewidth=0)
        axis.axhline(carries, color=INK, linewidth=1, linestyle=DASHED)

    def named() -> None:
        labels = Labels(axis, [(xs, offered)], around(story))
        for area in areas:
            inside(labels, axis, area)
        labels.name("offered", (xs, offered), INK, only_above=True, weight="bold")
        if carries is not None:
            level: Curve = (xs, [carries] * len(xs))
            Labels(axis, [(xs, offered)], 0.0).name(f"the fleet carries {carries:.1f}/s", level, INK, size=9)

    return named


def inside(labels: Labels, axis: Axes, area: Area) -> None:
    """In an area, where it is thickest over the width of the words; beside its edge where it is too thin for them."""
    shown = axis.text(0, 0, area.text, color="white", ha="center", va="center", size=11, weight="bold", zorder=6)
    size, unit = shown.get_window_extent(), axis.transData.transform([(0, 0), (1, 1)])
    half = size.width / (unit[1][0] - unit[0][0]) / 2
    need = 1.3 * size.height / (unit[1][1] - unit[0][1])
    thick, x, y = max((area.room(at, half) for at in area.xs), default=(0.0, 0.0, 0.0))
    if thick >= need:
        shown.set_position((x, y))
        return
    shown.remove()
    if area.thickest > 0:
        labels.name(area.text, area.edge(), area.colour, only_above=True, size=9)


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
        if not any(held) and _empty(queue):
            unknown(axis)
            return
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
        if _empty(gpu) and _empty(leased):
            unknown(axis)
            return
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
    if chats and story.tells:
        axis.plot(xs, whole, color=MUTED, linewidth=1.6)
    top = max(whole[-1] if chats else spent[-1], 1e-6)
    axis.set_ylim(0, max(axis.get_ylim()[1], top * 1.15))
    digits = 2 if axis.get_ylim()[1] >= CENTS else 4
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"${value:.{digits}f}"))
    heading(axis, f"Spent on the API{', at list price' if chats else ''}, by when requests were due")

    def named() -> None:
        labels = Labels(axis, [(xs, spent), (xs, whole)] if chats else [(xs, spent)], story.seconds)
        if not story.tells:
            unknown(axis)
            return
        labels.name(f"spent: {dollars(story.whole.spent)}", (xs, spent), SPILLED, only_above=True, weight="bold")
        if chats:
            labels.name(f"had everything been bought: {dollars(story.whole.all_bought)}", (xs, whole), MUTED)

    return named


def unknown(axis: Axes) -> None:
    """In the middle of a panel that has nothing to show."""
    axis.text(0.5, 0.5, "not told by this gateway", transform=axis.transAxes, ha="center", va="center", color=MUTED)


def _empty(values: Sequence[float]) -> bool:
    return all(map(math.isnan, values))


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


PANELS: Sequence[tuple[float, Callable[[Axes, Story], Named]]] = (
    (3.5, requests),
    (1.1, waiting),
    (1.5, fleet),
    (1.7, first_token),
    (1.3, money),
)
"""With their heights, in proportion."""
