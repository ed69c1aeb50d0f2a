"""The best fixed limit, chosen with the answer at hand: what nobody could have set in advance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from loadtests.model.run import Tally

GRID = 20
"""Grid points: limits in equal ratios."""
Point = tuple[float, float]
"""Attained, cost."""
Play = Callable[[float, int], Tally]
"""One run under a fixed limit, with a seed."""


def grid(lowest: float, highest: float, points: int = GRID) -> list[float]:
    ratio = (highest / lowest) ** (1 / (points - 1))
    return [lowest * ratio**i for i in range(points)]


def best(play: Play, limits: Sequence[float], attained: Mapping[int, float]) -> Point:
    """Attained and cost of the cheapest fixed limit that attains as much as the rule it is compared with.

    `attained` is that rule's share per seed. One seed runs the whole grid; the others run the limits around the place
    where the mean crosses the wanted share. Where no limit attains as much, the point that attains most.
    """
    seeds, wanted = list(attained), fmean(attained.values())
    first = [play(limit, seeds[0]) for limit in limits]

    def point(i: int) -> Point:
        runs = [first[i], *(play(limits[i], seed) for seed in seeds[1:])]
        return fmean(run.attained for run in runs), fmean(run.cost for run in runs)

    low = crossing([tally.attained for tally in first], attained[seeds[0]])
    if first[low].attained < attained[seeds[0]]:
        return at_equal([point(i) for i in range(max(0, low - 1), min(len(limits), low + 2))], wanted)
    points = [point(low)]
    while points[0][0] < wanted and low > 0:
        low -= 1
        points.insert(0, point(low))
    while points[-1][0] >= wanted and low + len(points) < len(limits):
        points.append(point(low + len(points)))
    return at_equal(points, wanted)


def crossing(attained: Sequence[float], wanted: float) -> int:
    """The index of the highest limit that attains enough; where none does, of the one that attains most."""
    enough = [i for i, share in enumerate(attained) if share >= wanted]
    return enough[-1] if enough else attained.index(max(attained))


def at_equal(points: Sequence[Point], wanted: float) -> Point:
    """The lowest cost at which `wanted` is attained, on the lines between neighbouring limits."""
    found = [point for point in points if point[0] >= wanted]
    for (one, one_cost), (other, other_cost) in pairwise(points):
        low, high = min(one, other), max(one, other)
        if low < wanted < high:
            share = (wanted - one) / (other - one)
            found.append((wanted, one_cost + share * (other_cost - one_cost)))
    return min(found, key=lambda point: point[1]) if found else max(points)
