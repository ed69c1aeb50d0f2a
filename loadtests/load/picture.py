"""The picture of a run: five panels over one time axis, labelled where the curves are; two runs stand side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from loadtests.load.panels import INK, MUTED, PANELS, SPILLED
from loadtests.load.story import Story, clock

FAINT, SHADE = "#c9d1d9", "#fdf1e4"
WIDTH, HEIGHT, DPI = 10.0, 10.6, 150
"""Inches; 1000 px wide in a README: 10 points of text are 14 pixels there."""
TITLE_LETTERS = 78
LINE = 1.3 / 72 / HEIGHT
"""Of the figure's height, for each point of a line of text."""
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


def draw(stories: Sequence[Story], path: Path) -> None:
    """Writes a PNG: one column for each story, panels of one row on one scale."""
    count = len(stories)
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH * (1 if count == 1 else 0.8 * count), HEIGHT), DPI, facecolor="white")
        grid: Any = figure.subplots(
            len(PANELS),
            count,
            squeeze=False,
            sharex="col",
            sharey="row",
            gridspec_kw={"height_ratios": [height for height, _ in PANELS], "hspace": 0.33, "wspace": 0.07},
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
    under = 0.985 - LINE * size * (1 + lines.count("\n")) - 0.006
    figure.text(left, under, story.subtitle, size=9.8 if not side else 8.8, color=MUTED, va="top")


def balanced(text: str, letters: int) -> str:
    """In as few lines as `letters` to a line allow, and these about as long as each other."""
    count = len(textwrap.wrap(text, letters))
    width = next(w for w in range(max(1, len(text) // count), letters + 1) if len(textwrap.wrap(text, w)) <= count)
    return textwrap.fill(text, width)


def panels(axes: Sequence[Axes], story: Story, *, first: bool) -> None:
    named = [panel(axis, story) for axis, (_, panel) in zip(axes, PANELS, strict=True)]
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
