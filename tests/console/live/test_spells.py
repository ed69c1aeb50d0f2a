"""A store that blinks is not shown as one that is away; one that is away is, at once after its first second."""

from __future__ import annotations

import pytest

from gateway.console.live.spells import Spells

BLIP = 0.06


def after(*changes: tuple[float, bool], now: float) -> bool:
    """Whether it is told at `now` that the store is away, which went (True) and came back (False) at those seconds."""
    times = iter([*(at for at, _ in changes), now])
    spells = Spells(lambda: next(times))
    for _, degraded in changes:
        spells.heard(degraded, "why")
    return spells.telling


@pytest.mark.parametrize(
    ("changes", "now", "told"),
    [
        ([], 5.0, False),
        ([(10.0, True)], 10.0 + BLIP, False),
        ([(10.0, True)], 10.9, False),
        ([(10.0, True)], 11.0, True),
        ([(10.0, True), (10.5, True)], 11.0, True),  # told twice, gone once
        ([(10.0, True)], 3610.0, True),
        ([(10.0, True), (20.0, False)], 20.5, False),
        ([(10.0, True), (20.0, False), (20.1, True)], 20.2, True),  # it came back for a moment only
        ([(10.0, True), (20.0, False), (40.0, True)], 40.0 + BLIP, False),  # that was long ago
        ([(0.0, True), (0.7, False), (1.0, True), (1.7, False), (2.0, True)], 2.1, True),  # it flaps
        ([(at / 2, bool(at % 2 == 0)) for at in range(6)], 3.0, False),
        ([(10.0, False)], 20.0, False),
    ],
)
def test_when_it_is_told(changes: list[tuple[float, bool]], now: float, told: bool) -> None:
    if changes and not changes[-1][1]:
        assert not after(*changes, now=now)
    assert after(*changes, now=now) is told
