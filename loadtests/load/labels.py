"""Words beside the curve that they name, where they cover nothing: tries places along it and takes the clearest."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

Curve = tuple[Sequence[float], Sequence[float]]
"""Times and values; NaN is a gap."""
PLACES = 60
"""Along the time axis."""
GAP_PIXELS, PAD_PIXELS = 5.0, 3.0
HIT, OVERLAP, OUTSIDE = 1.0, 50.0, 100.0
"""Costs of covering a point of a curve, another label, or leaving the panel; being off the middle costs up to 1."""


class Labels:
    """The labels of one panel, whose limits are settled and whose curves are all known."""

    def __init__(self, axis: Axes, curves: Sequence[Curve], around: float) -> None:
        """`around`: the time near which a label reads best."""
        self._axis, self._around = axis, around
        self._points = [_pixels(axis, curve) for curve in curves]
        self._taken: list[Bbox] = []

    def name(self, text: str, curve: Curve, colour: str, *, only_above: bool = False, **style: object) -> None:
        """Beside `curve`, above or below it."""
        shown = self._axis.text(0, 0, text, color=colour, ha="center", va="center", zorder=6, **style)  # type: ignore[arg-type]
        shown.set_path_effects([withStroke(linewidth=3, foreground="white")])
        size = shown.get_window_extent()
        boxes = self._places(_pixels(self._axis, curve), size.width, size.height, only_above)
        if not boxes:
            shown.remove()
            return
        best = min(boxes, key=self._cost)
        self._taken.append(best)
        x, y = self._axis.transData.inverted().transform(((best.x0 + best.x1) / 2, (best.y0 + best.y1) / 2))
        shown.set_position((float(x), float(y)))

    def _places(self, own: list[tuple[float, float]], width: float, height: float, only_above: bool) -> list[Bbox]:
        panel = self._axis.get_window_extent()
        found = []
        for i in range(PLACES):
            x = panel.x0 + (i + 0.5) / PLACES * panel.width
            near = [y for px, y in own if abs(px - x) <= width / 2]
            if not near:
                continue
            levels = [max(near) + GAP_PIXELS, *([] if only_above else [min(near) - GAP_PIXELS - height])]
            found += [Bbox.from_bounds(x - width / 2, y, width, height) for y in levels]
        return found

    def _cost(self, box: Bbox) -> float:
        panel, wide = self._axis.get_window_extent(), box.padded(PAD_PIXELS)
        inside = panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1
        hits = sum(wide.contains(x, y) for points in self._points for x, y in points)
        overlaps = sum(wide.overlaps(other) for other in self._taken)
        around = float(self._axis.transData.transform((self._around, 0))[0])
        off = abs((box.x0 + box.x1) / 2 - around) / panel.width
        return float(HIT * hits + OVERLAP * overlaps + (0.0 if inside else OUTSIDE) + off)


def _pixels(axis: Axes, curve: Curve) -> list[tuple[float, float]]:
    """The known points of a curve on the screen, with some between them where they are far apart."""
    found: list[tuple[float, float]] = []
    for x, y in zip(*curve, strict=True):
        if math.isnan(y):
            continue
        at = tuple(axis.transData.transform((x, y)))
        if found and at[0] - found[-1][0] > 0:
            steps = int((at[0] - found[-1][0]) // 8)
            (ax, ay), n = found[-1], steps + 1
            found += [(ax + (at[0] - ax) * i / n, ay + (at[1] - ay) * i / n) for i in range(1, n)]
        found.append((at[0], at[1]))
    return found
