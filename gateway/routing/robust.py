"""Means over workers that one of them cannot move at will. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

EACH = 10
"""Of so many values one at each end counts as its neighbour; always one where there are three or more."""


def fair_mean(values: Sequence[float]) -> float:
    """The mean in which the extremes count as their neighbours (Winsorised, Tukey 1962): of honest workers under even
    load the plain mean within a few per cent, and one that claims a million has the say of one that has a little more
    than the others. Of one or two values nobody can say which is odd."""
    if len(values) < 3:
        return fmean(values)
    ordered = sorted(values)
    cut = max(1, len(ordered) // EACH)
    low, high = ordered[cut], ordered[-1 - cut]
    return fmean(min(high, max(low, value)) for value in ordered)
