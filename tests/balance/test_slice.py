"""A fast slice of `make balance`: counts alone, no times."""

from __future__ import annotations

import asyncio
from pathlib import Path

from loadtests.balance.__main__ import MOST, Arm, play
from loadtests.balance.site import WORKERS, running


def test_a_burst_over_two_replicas_is_even_where_scraped_metrics_pile_it_up(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        ours, scraped = asyncio.run(play(site, bursts=1, size=64))
    assert ours.failed == scraped.failed == 0
    assert sum(ours.counts[0]) == sum(scraped.counts[0]) == 64
    assert max(ours.ratios) <= MOST
    assert max(scraped.ratios) > WORKERS / 2, "the yardstick sends most of it to one"


def test_the_table_shows_the_worst_burst() -> None:
    arm = Arm("x", [[16, 16, 16, 16], [64, 0, 0, 0]], failed=1)
    assert arm.row() == ["x", "2.50", "4.00", "64 0 0 0", "1"]
