"""Both arms in one picture: what share of the pictures took longer than so long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from loadtests.mixed.arms import Arm

_COLOURS = ("#1b6ca8", "#c44e52")
_TAIL = 0.01


def draw(rounds: Sequence[tuple[Arm, Arm]], path: Path) -> None:
    """All rounds together, one line for each arm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for which, colour in enumerate(_COLOURS):
        took = sorted(seconds for arms in rounds for seconds, _ in arms[which].took)
        above = [1 - index / len(took) for index in range(len(took))]
        axes.step(took, above, where="post", color=colour, label=rounds[0][which].name, linewidth=2)
    axes.axhline(_TAIL, color="#888888", linewidth=0.8, linestyle=":")
    axes.annotate("p99", (axes.get_xlim()[0], _TAIL), xytext=(4, 3), textcoords="offset points", color="#555555")
    axes.set(yscale="log", xlabel="seconds from arrival to the picture", ylabel="share that took longer")
    axes.set_title("1-step thumbnails beside 50-step 2K pictures, four workers", loc="left")
    axes.legend(title="spread by", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
